"""What is paid together, and what of it is covered: pure decisions, as tables."""

import re

import pytest

from app.billing.pay_rules import PayableSeen, PayoutSeen, choose_payables, decide_release, end_to_end_id
from app.ids import IssuerId, StoreId, new_id

A, B, X, Y = StoreId("str_a"), StoreId("str_b"), IssuerId("iss_x"), IssuerId("iss_y")


def test_payables_are_paid_by_store_issuer_and_currency_where_they_come_to_something() -> None:
    payables = [
        PayableSeen("6", B, X, "GBP", 5),
        PayableSeen("2", A, X, "GBP", -30),
        PayableSeen("1", A, X, "GBP", 100),
        PayableSeen("3", A, X, "EUR", 7),
        PayableSeen("4", A, Y, "GBP", -1),
        PayableSeen("5", B, Y, "GBP", 0),
    ]
    chosen = [[each.id for each in group] for group in choose_payables(payables)]
    assert (
        chosen
        == [["3"], ["1", "2"], ["6"]]
        == [[each.id for each in group] for group in choose_payables(reversed(payables))]
    )
    assert choose_payables([]) == []


@pytest.mark.parametrize(
    ("amounts", "owed", "allowance", "covered"),
    [
        ((100,), 100, 0, [0]),
        ((101,), 100, 0, []),
        ((101,), 100, 1, [0]),
        ((100,), -50, 149, []),
        ((100,), -50, 150, [0]),
        ((60, 60), 100, 0, [0]),
        ((120, 60, 40), 100, 0, [1, 2]),
        ((60, 41, 40), 100, 0, [0, 2]),
    ],
)
def test_what_is_owed_and_allowed_covers_one_payout_after_the_other(
    amounts: tuple[int, ...], owed: int, allowance: int, covered: list[int]
) -> None:
    payouts = [PayoutSeen(str(place), A, "GBP", amount) for place, amount in enumerate(amounts)]
    others = [PayoutSeen("b", B, "GBP", 10**6), PayoutSeen("e", A, "EUR", 5)]
    seen = decide_release([*payouts, *others], {(A, "GBP"): owed, (A, "EUR"): 5}, {(A, "GBP"): allowance})
    assert seen == [*(str(place) for place in covered), "e"]


def test_the_banks_reference_is_of_capitals_and_digits_and_fits() -> None:
    assert re.fullmatch(r"SCRIP[A-Z0-9]{26}", end_to_end_id(new_id("out")))
