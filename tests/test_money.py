"""Money is a whole number of minor units of one currency."""

import pytest

from app.money import MAX_MINOR, Money, is_currency, minor_digits, read_decimal


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


@pytest.mark.parametrize(
    "money", [Money(3_000, "GBP"), Money(5, "GBP"), Money(3_000, "JPY"), Money(1_500, "KWD"), Money(MAX_MINOR, "GBP")]
)
def test_a_decimal_text_is_read_as_it_is_written(money: Money) -> None:
    assert read_decimal(money.decimal, money.currency) == money


@pytest.mark.parametrize(
    "text", ["", "30", "30.0", "30.000", "030.00", "+30.00", "-30.00", "0.00", "3e1", "٣.00", " 30.00"]
)
def test_no_other_spelling_is_an_amount(text: str) -> None:
    assert read_decimal(text, "GBP") is None
    assert read_decimal(f"{MAX_MINOR}.00", "GBP") is None
    assert read_decimal("30.00", "JPY") is None


@pytest.mark.parametrize("code", ["GBP", "JPY", "KWD", "EUR"])
def test_a_currency_is_one_that_cards_can_be_issued_in(code: str) -> None:
    assert is_currency(code)


@pytest.mark.parametrize("code", ["", "gbp", "XAU", "XTS", "XXX", "ZZZ", "GBPX"])
def test_gold_test_codes_and_inventions_are_none(code: str) -> None:
    assert not is_currency(code)
    with pytest.raises(ValueError, match=code or "valid|not"):
        minor_digits(code)
