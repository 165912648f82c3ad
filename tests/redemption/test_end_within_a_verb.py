"""A hold or a card that ends while a verb is at work, whichever reading of the clock is the first after it."""

from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta

import pytest

from app import clock
from app.errors import CardClosed, Refusal
from app.ids import CardId, LinkId
from app.redemption.expire import expire_due
from app.redemption.refund import refund_payment
from app.redemption.reissue import fresh_code, reissue_card, resend_link
from tests.world import World, assert_audit_is_clean, gbp, key_of, make_world, reference, rows

#: More than any of these verbs reads the clock.
READINGS = 6
Verb = Callable[[World, CardId, LinkId, str], object]
VERBS: dict[str, Verb] = {
    "reissue": lambda world, card_id, link_id, key: reissue_card(
        card_id, issuer_id=world.issuer_id, deliver="link", reference=reference(world.issuer_id)
    ),
    "resend": lambda world, card_id, link_id, key: resend_link(link_id, key=key),
    "fresh code": lambda world, card_id, link_id, key: fresh_code(link_id),
}


@pytest.mark.parametrize("verb", VERBS)
def test_a_hold_that_ends_between_two_readings_leaves_no_payment_without_its_card(
    own_database: object, verb: str
) -> None:
    world = make_world()
    for readings_before in range(1, READINGS):
        card = world.issue()
        link_id, key = key_of(card.claim_link or "")
        payment = world.exchange(world.claim(card.claim_link).code, hold_ttl_s=60).payment
        with clock.set_to(payment.expires_at - readings_before * clock.TICK), suppress(Refusal):
            VERBS[verb](world, card.id, link_id, key)
        with clock.set_to(payment.expires_at):
            expire_due()
    assert_audit_is_clean()


def test_a_card_that_ends_between_two_readings_of_a_refund_keeps_its_rest_or_gets_a_new_life_not_both(
    own_database: object,
) -> None:
    """Its link has lapsed before, so that the refund has something to end at its first reading too."""
    world, kept = make_world(), set()
    for readings_before in range(1, READINGS):
        payment = world.payment().payment
        world.settle(payment.id, 2_000)
        ends_at = world.card_of(payment.id).expires_at
        with clock.set_to(ends_at - readings_before * clock.TICK):
            refund_payment(payment.id, gbp(500), store_id=world.bookshop, reference=reference(world.bookshop))
        card = world.card_of(payment.id)
        lives_on = round((card.expires_at - ends_at) / timedelta(days=1))
        kept.add((card.balance.amount_minor, lives_on))
    assert kept == {(3_500, 14), (500, 90)}
    assert_audit_is_clean()


def test_a_card_that_ends_between_two_readings_of_a_reissue_gets_no_link_that_is_over_when_it_is_made(
    own_database: object,
) -> None:
    world, outcomes = make_world(), []
    for readings_before in range(1, READINGS):
        card = world.issue()
        with clock.set_to(card.expires_at - readings_before * clock.TICK):
            try:
                reissue_card(card.id, issuer_id=world.issuer_id, deliver="link", reference=reference(world.issuer_id))
            except CardClosed:
                outcomes.append("closed")
            else:
                outcomes.append("reissued")
        links = rows("SELECT expires_at > created_at AS lives FROM claim_link WHERE card_id = :id", id=card.id)
        assert all(link.lives for link in links)
    assert set(outcomes) == {"closed", "reissued"}
    assert_audit_is_clean()
