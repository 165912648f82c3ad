"""Where a payment request stands, and how much a card can give: tables, one row for each case."""

from datetime import UTC, datetime, timedelta

import pytest

from app.checkout.rules import HeldAlready, RequestSeen, Standing, check_repeat, decide_amount, decide_standing, is_lost
from app.errors import CardClosed, CardHeld, CurrencyMismatch
from app.money import Money
from tests.world import gbp

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
BEFORE, AFTER = NOW - timedelta(microseconds=1), NOW + timedelta(microseconds=1)


@pytest.mark.parametrize(
    ("state", "expires_at", "has_proven_code", "code_expires_at", "standing"),
    [
        ("pushed", AFTER, False, None, Standing.ASKING),
        ("pushed", NOW, False, None, Standing.EXPIRED),
        ("opened", AFTER, False, None, Standing.ASKING),
        ("opened", AFTER, True, None, Standing.CHOOSING),
        ("opened", NOW, False, None, Standing.EXPIRED),
        ("opened", BEFORE, True, None, Standing.EXPIRED),
        ("approved", AFTER, True, AFTER, Standing.APPROVED),
        ("approved", BEFORE, True, AFTER, Standing.APPROVED),
        ("approved", AFTER, True, NOW, Standing.RELEASED),
        ("approved", AFTER, True, BEFORE, Standing.RELEASED),
        ("redeemed", BEFORE, True, BEFORE, Standing.REDEEMED),
        ("released", AFTER, True, AFTER, Standing.RELEASED),
        ("cancelled", AFTER, False, None, Standing.CANCELLED),
        ("exhausted", AFTER, False, None, Standing.EXHAUSTED),
    ],
)
def test_a_request_stands_where_its_state_and_the_time_say(
    state: str, expires_at: datetime, has_proven_code: bool, code_expires_at: datetime | None, standing: Standing
) -> None:
    assert decide_standing(RequestSeen(state, expires_at, has_proven_code, code_expires_at), NOW) is standing


@pytest.mark.parametrize(
    ("balance", "wanted", "amount"),
    [(5_000, 3_000, 3_000), (3_000, 3_000, 3_000), (2_999, 3_000, 2_999), (1, 3_000, 1)],
)
def test_a_card_gives_what_is_wanted_or_all_that_it_has(balance: int, wanted: int, amount: int) -> None:
    assert decide_amount(gbp(balance), gbp(wanted)) == gbp(amount)


def test_a_card_in_another_currency_gives_nothing() -> None:
    """That is told before its being empty."""
    with pytest.raises(CurrencyMismatch):
        decide_amount(Money(0, "EUR"), gbp(1))


def test_an_empty_card_gives_nothing() -> None:
    with pytest.raises(CardClosed):
        decide_amount(gbp(0), gbp(1))


@pytest.mark.parametrize(
    ("order", "held", "is_fine"), [("1", 3_000, True), ("1", 2_000, True), ("1", 3_001, False), ("2", 3_000, False)]
)
def test_an_open_payment_is_led_to_for_its_own_order_and_no_more_than_is_read(
    order: str, held: int, is_fine: bool
) -> None:
    payment = HeldAlready(order, gbp(held), NOW)
    if is_fine:
        check_repeat(payment, order_reference="1", wanted=gbp(3_000))
    else:
        with pytest.raises(CardHeld) as refused:
            check_repeat(payment, order_reference="1", wanted=gbp(3_000))
        assert refused.value.facts == {"held_until": NOW}


@pytest.mark.parametrize(("age_s", "lost"), [(0, False), (29.999, False), (30, True), (3_600, True)])
def test_a_try_of_which_nothing_is_heard_for_half_a_minute_is_lost(age_s: float, lost: bool) -> None:
    assert is_lost(NOW - timedelta(seconds=age_s), NOW) is lost
    assert is_lost(None, NOW)
