"""A worker killed at any stage of sending loses no letter: it goes out again, and the holder can use whichever came."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from app import config
from app.errors import LinkNotAccepted
from app.issuance.card import Card
from tests.faults.killed_worker import STAGES
from tests.faults.post import link_in, post_office, send_after_the_lease, states_of_letters, worker
from tests.mail.post_office import PostOffice, opened
from tests.world import World, gbp, make_world

PATIENCE_S = 60
#: The mail server has the letter already, so the next worker's is the second.
DELIVERED_BEFORE = frozenset({"handed over", "written down"})


@pytest.fixture
def office(own_database: config.Settings) -> Iterator[PostOffice]:
    with opened(post_office()) as office:
        yield office


@pytest.mark.parametrize("stage", STAGES)
def test_the_letter_of_a_killed_worker_is_never_lost(stage: str, office: PostOffice, keys_dir: Path) -> None:
    world = make_world()
    card = worker_killed_at(stage, world, keys_dir)
    assert len(office.letters) == (stage in DELIVERED_BEFORE)
    check_not_lost(world, card, office)
    assert len(office.letters) == (2 if stage == "handed over" else 1)


@pytest.mark.parametrize("used", [0, 1], ids=["the first", "the second"])
def test_of_a_letter_that_came_twice_the_holder_can_use_either_and_then_the_other_is_dead(
    used: int, office: PostOffice, keys_dir: Path
) -> None:
    world = make_world()
    worker_killed_at("handed over", world, keys_dir)
    send_after_the_lease()
    links = [link_in(message) for message in office.letters]
    assert len(set(links)) == 2
    assert world.claim(links[used]).balance == gbp(5_000)
    with pytest.raises(LinkNotAccepted):
        world.claim(links[1 - used])


def test_a_sender_that_writes_down_first_and_sends_then_is_noticed(office: PostOffice, keys_dir: Path) -> None:
    world = make_world()
    card = worker_killed_at("hasty", world, keys_dir)
    with pytest.raises(AssertionError):
        check_not_lost(world, card, office)


def worker_killed_at(stage: str, world: World, keys_dir: Path) -> Card:
    """Issues a card by e-mail to a worker that dies at this stage."""
    card = world.issue(deliver="email")
    with worker(keys_dir, "tests.faults.killed_worker", KILLED_AT=stage) as process:
        assert process.wait(PATIENCE_S) == -9
    return card


def check_not_lost(world: World, card: Card, office: PostOffice) -> None:
    """The next worker finds it, or it was sent; the newest one that arrived opens its link."""
    send_after_the_lease()
    assert states_of_letters() == [("sent", 1)]
    assert office.letters, "the letter is lost"
    assert world.claim(link_in(office.letters[-1])).card_id == card.id
