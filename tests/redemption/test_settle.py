"""Settling a payment."""

import pytest

from app.errors import AmountOverHold, PaymentClosed
from tests.world import World, gbp


def test_a_final_settle_takes_its_amount_and_sends_the_rest_back_by_a_new_link(world: World) -> None:
    opened = world.payment(5_000)
    settlement = world.settle(opened.payment.id, 3_000)
    assert (settlement.settled, settlement.released, settlement.remaining) == (gbp(3_000), gbp(2_000), gbp(0))
    card = world.card_of(opened.payment.id)
    assert card.balance == gbp(2_000)
    assert card.reached_through is not None
    assert (card.reached_through.kind, card.reached_through.state) == ("link", "waiting")
    with pytest.raises(PaymentClosed):
        world.settle(opened.payment.id, 1)


def test_more_than_the_hold_is_refused_and_changes_nothing(world: World) -> None:
    opened = world.payment(5_000)
    with pytest.raises(AmountOverHold):
        world.settle(opened.payment.id, 5_001)
    assert world.card_of(opened.payment.id).balance == gbp(5_000)
