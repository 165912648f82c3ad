"""What a store may do, decided purely: every refusal once, in the order in which the rules check."""

import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from app.errors import (
    AmountOverHold,
    AmountOverSettled,
    CardClosed,
    CardHeld,
    CurrencyMismatch,
    OrderSuperseded,
    PaymentClosed,
    PaymentUnconfirmed,
    Refusal,
)
from app.ids import PaymentId, StoreId
from app.money import Money
from app.redemption import rules
from tests.world import gbp

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
A_MOMENT = timedelta(microseconds=1)

LIVE = rules.CodeSeen(
    state="live",
    bound_store_id=None,
    bound_shopper_key=None,
    bound_order_reference=None,
    bound_until=None,
    card_state="active",
    card_expires_at=NOW + MINUTE,
    mode="live",
    store_is_in_programme=True,
    is_the_key=True,
    payment_id=None,
)
BOUND = replace(
    LIVE,
    state="bound",
    bound_store_id="bookshop",
    bound_shopper_key="sam",
    bound_order_reference="123",
    bound_until=NOW + MINUTE,
    payment_id=PaymentId("pay"),
)
ASKER = rules.Asker(StoreId("bookshop"), "live", "sam", "123")


@pytest.mark.parametrize(
    ("code", "asker", "reason"),
    [
        (replace(LIVE, state="dead", mode="test"), ASKER, "dead"),
        (replace(LIVE, is_the_key=False, mode="test"), ASKER, "dead"),
        (replace(LIVE, mode="test", store_is_in_programme=False), ASKER, "other_mode"),
        (replace(LIVE, store_is_in_programme=False, card_state="spent"), ASKER, "other_programme"),
        (replace(LIVE, card_state="spent", card_expires_at=NOW), ASKER, "card_closed"),
        (replace(LIVE, card_expires_at=NOW), ASKER, "lapsed"),
        (replace(BOUND, bound_until=NOW), replace(ASKER, store_id=StoreId("toyshop")), "bound_elsewhere"),
        (replace(BOUND, bound_until=NOW), replace(ASKER, shopper_key="eve"), "binding_over"),
        (BOUND, replace(ASKER, shopper_key="eve"), "other_shopper"),
        (BOUND, replace(ASKER, shopper_key=None), "other_shopper"),
        (replace(BOUND, bound_shopper_key=None), replace(ASKER, order_reference="9"), "other_shopper"),
        (replace(BOUND, payment_id=None), replace(ASKER, shopper_key="eve"), "other_shopper"),
    ],
)
def test_a_code_is_refused_for_the_first_reason_that_holds(
    code: rules.CodeSeen, asker: rules.Asker, reason: str
) -> None:
    with pytest.raises(rules.Unaccepted) as refused:
        rules.decide_exchange(code, asker, NOW)
    assert refused.value.reason == reason


@pytest.mark.parametrize(
    ("code", "asker", "repeated"),
    [
        (LIVE, ASKER, None),
        (replace(LIVE, card_expires_at=NOW + A_MOMENT), ASKER, None),
        (BOUND, ASKER, "pay"),
        (replace(BOUND, bound_until=NOW + A_MOMENT), ASKER, "pay"),
        (BOUND, replace(ASKER, order_reference="another order of the same shopper"), "pay"),
        (replace(BOUND, bound_shopper_key=None), replace(ASKER, shopper_key="now given"), "pay"),
        (replace(BOUND, payment_id=None), ASKER, None),
        (replace(BOUND, payment_id=None, bound_shopper_key=None), replace(ASKER, order_reference="9"), None),
        (replace(BOUND, card_expires_at=NOW - MINUTE), ASKER, "pay"),
    ],
)
def test_a_code_is_accepted_anew_or_as_a_repeat(code: rules.CodeSeen, asker: rules.Asker, repeated: str | None) -> None:
    assert rules.decide_exchange(code, asker, NOW) == repeated


TOKEN = rules.CodeTokenSeen(
    store_id="bookshop",
    shopper_key="sam",
    order_reference="123",
    amount=gbp(3_000),
    expires_at=NOW + MINUTE,
    is_spent=False,
)


@pytest.mark.parametrize(
    ("token", "asked", "reason"),
    [
        (replace(TOKEN, store_id="toyshop", is_spent=True), None, "token_of_other_store"),
        (replace(TOKEN, is_spent=True, expires_at=NOW), None, "token_spent"),
        (replace(TOKEN, expires_at=NOW, shopper_key="eve"), None, "token_over"),
        (replace(TOKEN, shopper_key="eve", order_reference="9"), None, "token_of_other_shopper"),
        (replace(TOKEN, shopper_key=None, order_reference="9"), None, "token_of_other_shopper"),
        (replace(TOKEN, order_reference="9"), gbp(1), "token_of_other_order"),
        (TOKEN, gbp(2_999), "token_of_other_amount"),
        (TOKEN, gbp(3_001), "token_of_other_amount"),
        (TOKEN, Money(3_000, "EUR"), "token_of_other_amount"),
    ],
)
def test_a_code_token_is_refused_for_the_first_reason_that_holds(
    token: rules.CodeTokenSeen, asked: Money | None, reason: str
) -> None:
    with pytest.raises(rules.Unaccepted) as refused:
        rules.decide_code_token(token, ASKER, asked, NOW)
    assert refused.value.reason == reason


@pytest.mark.parametrize("asked", [None, gbp(3_000)])
def test_a_code_token_bounds_the_hold_by_the_amount_that_was_shown(asked: Money | None) -> None:
    last = replace(TOKEN, expires_at=NOW + A_MOMENT)
    assert rules.decide_code_token(last, ASKER, asked, NOW) == gbp(3_000)


@pytest.mark.parametrize(("asked", "held"), [(None, 5_000), (gbp(3_000), 3_000), (gbp(9_000), 5_000)])
def test_a_hold_takes_what_is_asked_or_what_there_is(asked: Money | None, held: int) -> None:
    assert rules.hold_amount(5_000, asked, "GBP") == held


def test_what_the_field_showed_is_in_the_cards_currency() -> None:
    rules.check_shown(gbp(1), "GBP")
    with pytest.raises(CurrencyMismatch):
        rules.check_shown(gbp(1), "EUR")


def test_a_hold_in_another_currency_is_refused() -> None:
    with pytest.raises(CurrencyMismatch):
        rules.hold_amount(5_000, Money(1, "EUR"), "GBP")


@pytest.mark.parametrize(("asked_s", "lasts_s"), [(None, 1_800), (60, 60), (9_999, 1_800)])
def test_a_store_may_hold_for_less_than_the_programme_gives_not_for_more(asked_s: int | None, lasts_s: int) -> None:
    assert rules.hold_until(NOW, asked_s=asked_s, programme_s=1_800) == NOW + timedelta(seconds=lasts_s)


HELD = rules.PaymentSeen(
    state="held",
    currency="GBP",
    order_reference="123",
    confirmed=False,
    held_minor=5_000,
    settled_minor=0,
    released_minor=0,
    refunded_minor=0,
    expired_minor=0,
    created_at=NOW - MINUTE,
    expires_at=NOW + MINUTE,
    expired_at=None,
    hold_max_s=3_600,
    confirmed_ttl_s=600,
)
CONFIRMED = replace(HELD, confirmed=True)
OVER = replace(HELD, expires_at=NOW)
SETTLED = replace(HELD, state="settled", held_minor=0, settled_minor=3_000, released_minor=2_000)
EXPIRED = replace(
    HELD,
    state="expired",
    held_minor=0,
    released_minor=5_000,
    expired_minor=5_000,
    expires_at=NOW - MINUTE,
    expired_at=NOW - MINUTE,
)
EUR = Money(1, "EUR")


def confirm(payment: rules.PaymentSeen, order: str = "123", amount: Money | None = None) -> Any:
    return rules.decide_confirm(payment, order, amount, NOW)


def settle(
    payment: rules.PaymentSeen, amount: Money, order: str | None = None, *, final: bool = True
) -> rules.Settling:
    return rules.decide_settle(payment, amount, final=final, order_reference=order, now=NOW)


def settle_late(
    payment: rules.PaymentSeen,
    amount: Money,
    order: str | None = None,
    *,
    balance: int = 5_000,
    in_use: bool = False,
    final: bool = True,
) -> rules.Settling:
    return rules.decide_late_settle(
        payment, amount, final=final, order_reference=order, card_balance_minor=balance, is_in_use=in_use, now=NOW
    )


@pytest.mark.parametrize(
    ("decide", "refusal"),
    [
        (lambda: confirm(OVER, "other", EUR), PaymentClosed),
        (lambda: confirm(SETTLED), PaymentClosed),
        (lambda: confirm(CONFIRMED, "other", EUR), OrderSuperseded),
        (lambda: confirm(replace(HELD, settled_minor=1), "other"), OrderSuperseded),
        (lambda: confirm(HELD, "123", EUR), CurrencyMismatch),
        (lambda: confirm(HELD, "123", gbp(5_001)), AmountOverHold),
        (lambda: settle(OVER, EUR, "other"), PaymentClosed),
        (lambda: settle(replace(HELD, state="voided", held_minor=0), gbp(1)), PaymentClosed),
        (lambda: settle(CONFIRMED, EUR, "other"), OrderSuperseded),
        (lambda: settle(HELD, EUR), CurrencyMismatch),
        (lambda: settle(HELD, gbp(5_001)), AmountOverHold),
        (lambda: settle_late(replace(EXPIRED, expired_at=None), EUR), PaymentClosed),
        (lambda: settle_late(replace(EXPIRED, expired_at=NOW - rules.LATE_SETTLE), EUR), PaymentClosed),
        (lambda: settle_late(replace(EXPIRED, expired_minor=0), EUR), PaymentClosed),
        (lambda: settle_late(EXPIRED, EUR, in_use=True), PaymentClosed),
        (lambda: settle_late(replace(EXPIRED, confirmed=True), EUR, "other"), OrderSuperseded),
        (lambda: settle_late(EXPIRED, EUR), CurrencyMismatch),
        (lambda: settle_late(EXPIRED, gbp(5_001), balance=0), AmountOverHold),
        (lambda: settle_late(EXPIRED, gbp(3_001), balance=3_000), PaymentClosed),
        (lambda: rules.decide_void(OVER, NOW), PaymentClosed),
        (lambda: rules.decide_void(SETTLED, NOW), PaymentClosed),
        (lambda: rules.decide_extend(OVER, 60, NOW), PaymentClosed),
        (lambda: rules.decide_extend(HELD, 60, NOW), PaymentUnconfirmed),
        (lambda: rules.decide_refund(SETTLED, EUR), CurrencyMismatch),
        (lambda: rules.decide_refund(SETTLED, gbp(3_001)), AmountOverSettled),
        (lambda: rules.decide_refund(replace(SETTLED, refunded_minor=1), gbp(3_000)), AmountOverSettled),
        (lambda: rules.decide_reissue(card_state="spent", held_until=NOW), CardHeld),
        (lambda: rules.decide_reissue(card_state="spent", held_until=None), CardClosed),
    ],
)
def test_each_refusal_in_the_order_of_the_checks(decide: Any, refusal: type[Refusal]) -> None:
    with pytest.raises(refusal):
        decide()


def test_confirm_keeps_the_whole_hold_or_less_of_it_for_longer() -> None:
    assert confirm(HELD) == (5_000, NOW + timedelta(seconds=600))
    assert confirm(HELD, "the real order number", gbp(3_000)) == (3_000, NOW + timedelta(seconds=600))


def test_confirm_again_may_hold_less_but_not_for_longer() -> None:
    assert confirm(CONFIRMED, "123", gbp(3_000)) == (3_000, CONFIRMED.expires_at)


def test_confirm_never_holds_past_the_programmes_limit_nor_shorter_than_before() -> None:
    assert confirm(replace(HELD, confirmed_ttl_s=99_999))[1] == HELD.created_at + timedelta(seconds=3_600)
    assert confirm(replace(HELD, expires_at=NOW + timedelta(days=1)))[1] == NOW + timedelta(days=1)


def test_settle_splits_the_hold() -> None:
    assert settle(HELD, gbp(3_000)) == rules.Settling(3_000, 2_000, 0)
    assert settle(HELD, gbp(3_000), final=False) == rules.Settling(3_000, 0, 2_000)
    assert settle(HELD, gbp(5_000), final=False) == rules.Settling(5_000, 0, 0)


def test_a_late_settle_takes_up_to_what_expired_until_72_hours_have_passed() -> None:
    just_in_time = replace(EXPIRED, expired_at=NOW - rules.LATE_SETTLE + A_MOMENT)
    assert settle_late(just_in_time, gbp(5_000), "123") == rules.Settling(5_000, 0, 0, late=True)
    assert settle_late(EXPIRED, gbp(2_000), balance=2_000) == rules.Settling(2_000, 0, 0, late=True)


def test_a_late_settle_that_is_not_final_leaves_the_rest_for_another() -> None:
    assert settle_late(EXPIRED, gbp(2_000), final=False) == rules.Settling(
        2_000, 0, 0, late=True, late_left_minor=3_000
    )
    confirmed_for_less = replace(EXPIRED, expired_minor=3_000)
    with pytest.raises(AmountOverHold):
        settle_late(confirmed_for_less, gbp(3_001))


def test_void_releases_what_is_held() -> None:
    assert rules.decide_void(replace(HELD, held_minor=2_000, settled_minor=3_000), NOW) == 2_000


def test_extend_is_never_shorter_and_never_past_the_limit() -> None:
    assert rules.decide_extend(CONFIRMED, 600, NOW) == NOW + timedelta(seconds=600)
    assert rules.decide_extend(CONFIRMED, 1, NOW) == CONFIRMED.expires_at
    assert rules.decide_extend(CONFIRMED, 10**6, NOW) == CONFIRMED.hold_limit


def test_refund_up_to_what_is_settled_even_while_held_in_part() -> None:
    rules.decide_refund(SETTLED, gbp(3_000))
    rules.decide_refund(replace(HELD, held_minor=2_000, settled_minor=3_000), gbp(3_000))


def test_reissue_of_an_active_unheld_card() -> None:
    rules.decide_reissue(card_state="active", held_until=None)


def test_a_hold_is_over_at_its_time_and_not_a_moment_before() -> None:
    assert not rules.is_open(OVER, NOW)
    assert rules.is_open(replace(HELD, expires_at=NOW + A_MOMENT), NOW)
    assert rules.closed(OVER).facts == {"state": "expired"}


@pytest.mark.parametrize("module", ["app.redemption.rules", "app.issuance.rules", "app.issuance.code"])
def test_a_rule_is_read_without_the_web_and_without_the_database(module: str) -> None:
    loaded = f"import {module}, sys; print(sorted({{'flask', 'sqlalchemy'}} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
