"""Split: the parts are the total, to the last penny, and none is more than its card holds."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scrip_sdk.money import Money
from scrip_sdk.split import split


def gbp(amount_minor: int) -> Money:
    return Money(amount_minor, "GBP")


minor = st.integers(0, 10**9)


@given(minor, st.lists(minor, max_size=6))
def test_all_parts_are_the_total_and_none_is_above_its_balance(total: int, balances: list[int]) -> None:
    made = split(gbp(total), [gbp(each) for each in balances])
    amounts = [each.amount_minor for each in made.amounts]
    assert sum(amounts) + made.remainder.amount_minor == total
    assert all(0 <= amount <= balance for amount, balance in zip(amounts, balances, strict=True))
    assert made.remainder.amount_minor == max(0, total - sum(balances))
    assert made.covered == (sum(balances) >= total)
    for place, (amount, balance) in enumerate(zip(amounts, balances, strict=True)):
        assert amount == balance or not any(amounts[place + 1 :]), "a later card pays before this one is empty"
    assert list(made.unneeded) == [place for place, amount in enumerate(amounts) if amount == 0]


@pytest.mark.parametrize(
    ("total", "balances", "amounts", "remainder", "unneeded"),
    [
        (3_000, [5_000], [3_000], 0, ()),
        (3_000, [2_000], [2_000], 1_000, ()),
        (3_000, [2_000, 5_000], [2_000, 1_000], 0, ()),
        (3_000, [3_000, 5_000], [3_000, 0], 0, (1,)),
        (3_000, [0, 3_000], [0, 3_000], 0, (0,)),
        (3_000, [], [], 3_000, ()),
        (0, [3_000], [0], 0, (0,)),
    ],
)
def test_the_first_card_pays_first(
    total: int, balances: list[int], amounts: list[int], remainder: int, unneeded: tuple[int, ...]
) -> None:
    made = split(gbp(total), [gbp(each) for each in balances])
    assert [each.amount_minor for each in made.amounts] == amounts
    assert (made.remainder, made.unneeded) == (gbp(remainder), unneeded)


@pytest.mark.parametrize(("total", "balance"), [(gbp(1), Money(1, "EUR")), (gbp(-1), gbp(1)), (gbp(1), gbp(-1))])
def test_what_cannot_be_split_is_refused(total: Money, balance: Money) -> None:
    with pytest.raises(ValueError, match=r"cannot pay|below zero"):
        split(total, [gbp(1), balance])
