"""Money is a whole number of minor units of one currency."""

import pytest

from app.money import Money, is_currency, minor_digits


@pytest.mark.parametrize(
    ("money", "shown"),
    [
        (Money(3_000, "GBP"), "30.00 GBP"),
        (Money(-5, "GBP"), "-0.05 GBP"),
        (Money(3_000, "JPY"), "3000 JPY"),
        (Money(1_500, "KWD"), "1.500 KWD"),
        (Money(10**12, "GBP"), "10000000000.00 GBP"),
    ],
)
def test_money_is_shown_with_the_decimals_of_iso_4217(money: Money, shown: str) -> None:
    assert str(money) == shown


@pytest.mark.parametrize("code", ["GBP", "JPY", "KWD", "EUR"])
def test_a_currency_is_one_that_cards_can_be_issued_in(code: str) -> None:
    assert is_currency(code)


@pytest.mark.parametrize("code", ["", "gbp", "XAU", "XTS", "XXX", "ZZZ", "GBPX"])
def test_gold_test_codes_and_inventions_are_none(code: str) -> None:
    assert not is_currency(code)
    with pytest.raises(ValueError, match=code or "valid|not"):
        minor_digits(code)
