"""A letter as the rooms see it."""

from datetime import timedelta

import pytest
from sqlalchemy.exc import IntegrityError

from app import clock
from app.db.together import together
from app.db.transaction import transaction
from app.ids import LinkId
from app.mail.filling import Filled, fill_of
from app.mail.letter import letter_of, letter_state
from tests.world import World, rows


def test_a_letter_is_queued_in_the_transaction_that_wants_it(world: World) -> None:
    card = world.issue()
    with pytest.raises(RuntimeError, match="rolled back"):
        with transaction() as db:
            together(db, letter_of("receipt", card_id=card.id, facts={"taken_minor": 1}, due_at=clock.now(db)))
            raise RuntimeError("rolled back")
    assert rows("SELECT 1 FROM letter WHERE card_id = :id", id=card.id) == []
    with transaction() as db:
        together(db, letter_of("receipt", card_id=card.id, facts={"taken_minor": 1}, due_at=clock.now(db)))
    [row] = rows("SELECT state, tries, facts FROM letter WHERE card_id = :id", id=card.id)
    assert tuple(row) == ("queued", 0, {"taken_minor": 1})


def test_a_letter_cannot_carry_another_cards_link(world: World) -> None:
    mine, other = world.issue(deliver="email"), world.issue(deliver="email")
    link_id = rows("SELECT link_id FROM letter WHERE card_id = :id", id=other.id)[0].link_id
    with pytest.raises(IntegrityError, match="letter_card_id_link_id_fkey"):
        with transaction() as db:
            together(db, letter_of("claim", card_id=mine.id, link_id=link_id, facts={}, due_at=clock.now(db)))


def test_the_state_is_that_of_the_newest_letter_which_was_not_dropped(world: World) -> None:
    card = world.issue(deliver="email")
    link_id = rows("SELECT link_id FROM letter WHERE card_id = :id", id=card.id)[0].link_id
    with transaction() as db:
        assert letter_state(db, link_id) == "queued"
        db.exec_driver_sql("UPDATE letter SET state = 'failed' WHERE link_id = $1", (link_id,))
        assert letter_state(db, link_id) == "failed"
    with transaction() as db:
        due_at = clock.now(db) + timedelta(days=1)
        together(db, letter_of("new_link", card_id=card.id, link_id=link_id, facts={}, due_at=due_at))
        assert letter_state(db, link_id) == "queued"
        db.exec_driver_sql("UPDATE letter SET state = 'dropped' WHERE kind = 'new_link' AND link_id = $1", (link_id,))
        assert letter_state(db, link_id) == "failed"
        assert letter_state(db, LinkId("link_unknown")) is None


def test_a_filled_letter_does_not_show_what_it_holds() -> None:
    filled = Filled("sam@holder.example", "Sam", "en_GB", "claim", {"claim_url": "https://cards.example/#key"})
    assert repr(filled) == "Filled(locale='en_GB', template='claim')"


def test_an_unknown_kind_is_a_bug() -> None:
    with pytest.raises(LookupError, match="nobody fills letters of the kind praise"):
        fill_of("praise")
