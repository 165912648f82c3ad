"""Every letter of the money's path, filled by the real rooms, sent and read."""

import re
from collections.abc import Iterator
from datetime import timedelta
from email.message import EmailMessage

import pytest

from app import clock
from app.errors import LinkNotAccepted
from app.factory import LETTERS
from app.issuance.holder_data import HolderData
from app.issuance.letters import fill_letter
from app.mail import filling
from app.mail.sending import send_due_letters
from app.redemption.expire import expire_due
from app.redemption.refund import refund_payment
from tests.mail.conftest import letter
from tests.mail.post_office import PostOffice
from tests.world import World, gbp, reference, rows


@pytest.fixture(autouse=True)
def real_fills() -> Iterator[None]:
    before = dict(filling._fills)
    for kind in LETTERS:
        filling.register(kind, fill_letter)
    yield
    filling._fills.clear()
    filling._fills.update(before)


def text_of(message: EmailMessage) -> str:
    body = message.get_body(("plain",))
    assert body is not None
    return str(body.get_content())


def link_in(message: EmailMessage) -> str:
    found = re.search(r"\S+/claim/\S+", text_of(message))
    assert found is not None, "this letter has no link"
    return found[0]


def newest(office: PostOffice) -> EmailMessage:
    """What the worker sends now: exactly one letter."""
    before = len(office.letters)
    send_due_letters()
    assert len(office.letters) == before + 1
    return office.letters[-1]


def test_the_holder_can_walk_the_whole_path_by_letters_alone(world: World, office: PostOffice) -> None:
    """Claim, a part is spent, the rest is spent, some of it comes back: four letters, three links that open."""
    holder = HolderData("sam@holder.example", "Sam", "en_GB", "Happy birthday!")
    world.issue(5_000, deliver="email", holder=holder)
    first = newest(office)
    assert first["Subject"] == "Your £50.00 gift card from Acme"
    assert "> Happy birthday!" in text_of(first)

    paid = world.exchange(world.claim(link_in(first)).code).payment.id
    world.settle(paid, 3_000)
    second = newest(office)
    assert second["Subject"] == "£20.00 left on your gift card from Acme"
    assert "Bookshop took £30.00" in text_of(second)

    rest = world.exchange(world.claim(link_in(second)).code).payment.id
    world.settle(rest, 2_000)
    third = newest(office)
    assert third["Subject"] == "Bookshop took £20.00 from your gift card"
    assert "Nothing is left." in text_of(third)
    assert "/claim/" not in text_of(third)

    refund_payment(rest, gbp(500), store_id=world.bookshop, reference=reference(world.bookshop))
    fourth = newest(office)
    assert fourth["Subject"] == "Bookshop gave £5.00 back to your gift card"
    assert world.claim(link_in(fourth)).balance == gbp(500)
    assert {message["To"] for message in office.letters} == {"Sam <sam@holder.example>"}


def test_a_hold_that_ran_out_is_told_with_a_new_link(own_database: object, world: World, office: PostOffice) -> None:
    card = world.issue(5_000, deliver="email")
    world.exchange(world.claim(link_in(newest(office))).code)
    with clock.ahead(timedelta(hours=1)):
        while expire_due():
            pass
        told = newest(office)
        assert told["Subject"] == "Your gift card from Acme is free again"
        assert "Bookshop held your gift card" in text_of(told)
        assert world.claim(link_in(told)).card_id == card.id


def test_a_letter_that_was_not_sent_before_its_link_died_is_dropped(world: World, office: PostOffice) -> None:
    card = world.issue(5_000, deliver="email")
    rows("UPDATE claim_link SET state = 'superseded' WHERE card_id = :id RETURNING id", id=card.id)
    send_due_letters()
    assert (letter(card.id).state, office.letters) == ("dropped", [])


def test_a_retried_letters_earlier_key_opens_the_link_as_well(world: World, office: PostOffice) -> None:
    """The server may have taken the letter although its answer was lost. Opening one of the keys kills the others."""
    world.issue(5_000, deliver="email")
    office.data_replies = ["451 4.3.0 taken, but you will never know"]
    send_due_letters()
    with clock.ahead(timedelta(seconds=13)):
        second = link_in(newest(office))
    first = link_in(office.refused[0])
    assert first != second
    assert world.claim(first).balance == gbp(5_000)
    with pytest.raises(LinkNotAccepted):
        world.claim(second)


def test_a_letter_whose_link_lapsed_before_it_could_be_sent_has_failed_and_the_card_says_so(
    own_database: object, world: World, office: PostOffice
) -> None:
    card = world.issue(deliver="email")
    with clock.ahead(timedelta(days=91)):
        send_due_letters()
        assert world.card(card.id).letter == "failed"
    assert office.letters == []
