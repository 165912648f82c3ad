"""A hold that ends while a verb is at work: whichever reading of the clock is the first after, one card, one key."""

from collections.abc import Callable
from contextlib import suppress

import pytest

from app import clock
from app.db.transaction import transaction
from app.errors import Refusal
from app.ids import CardId, LinkId
from app.ledger.audit import audit
from app.redemption.expire import expire_due
from app.redemption.reissue import fresh_code, reissue_card, resend_link
from tests.world import World, key_of, make_world, reference

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
    with transaction() as db:
        assert {check.name: found for check, count, found in audit(db) if count} == {}
