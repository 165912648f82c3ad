"""Amounts are whole minor units of one currency, and are never rounded, mixed or guessed at."""

import decimal
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from iso4217 import Currency

from app.money import is_currency, minor_digits
from scrip_sdk import Money
from scrip_sdk.money import MINOR_DIGITS


def test_the_currencies_are_those_of_the_service() -> None:
    codes = {each.value for each in Currency if is_currency(each.value)}
    assert {code: minor_digits(code) for code in codes} == MINOR_DIGITS


@pytest.mark.parametrize(
    "amount,currency,minor,shown",
    [
        ("30.00", "GBP", 3_000, "30.00 GBP"),
        ("30", "GBP", 3_000, "30.00 GBP"),
        ("0.1", "GBP", 10, "0.10 GBP"),
        ("-0.01", "GBP", -1, "-0.01 GBP"),
        (Decimal("19.90"), "EUR", 1_990, "19.90 EUR"),
        (Decimal("19.900"), "EUR", 1_990, "19.90 EUR"),
        (Decimal("2E+3"), "JPY", 2_000, "2000 JPY"),
        ("3000", "JPY", 3_000, "3000 JPY"),
        ("1.234", "KWD", 1_234, "1.234 KWD"),
    ],
)
def test_an_amount_is_read_and_shown(amount: Any, currency: str, minor: int, shown: str) -> None:
    money = Money.of(amount, currency)
    assert (money, str(money)) == (Money(minor, currency), shown)
    assert Money.of(money.decimal, currency) == money


@pytest.mark.parametrize("wrong", ["30.001", "1e3", "NaN", "inf", "1_000", " 1", "1,00", "", ".5", "٣", "9" * 16])
def test_text_that_is_no_plain_amount_is_refused(wrong: str) -> None:
    with pytest.raises(ValueError):
        Money.of(wrong, "GBP")


@pytest.mark.parametrize("wrong", [Decimal("NaN"), Decimal("Infinity"), Decimal("0.001"), Decimal("1e400")])
def test_a_decimal_that_is_no_amount_is_refused(wrong: Decimal) -> None:
    with pytest.raises(ValueError):
        Money.of(wrong, "GBP")


@pytest.mark.parametrize("wrong", [30, 30.0, True, None])
def test_a_number_of_which_nobody_can_say_what_it_means_is_refused(wrong: Any) -> None:
    with pytest.raises(TypeError):
        Money.of(wrong, "GBP")
    if type(wrong) is not int:
        with pytest.raises(TypeError):
            Money(wrong, "GBP")


@pytest.mark.parametrize("currency", ["gbp", "ABC", "XAU", "XTS", "", "GBP "])
def test_what_is_no_currency_is_refused(currency: str) -> None:
    makers: list[Callable[[], Money]] = [lambda: Money(1, currency), lambda: Money.of("1", currency)]
    for make in makers:
        with pytest.raises(ValueError, match="ISO 4217"):
            make()


def test_a_shop_that_computes_in_few_digits_loses_none_here() -> None:
    with decimal.localcontext() as context:
        context.prec = 3
        assert Money.of("12345.67", "GBP").amount_minor == 1_234_567
        assert str(Money(1_234_567, "GBP").decimal) == "12345.67"


def test_amounts_of_one_currency_add_up_and_compare() -> None:
    assert Money(5, "GBP") + Money(3, "GBP") - Money(10, "GBP") == Money(-2, "GBP")
    assert sorted([Money(2, "GBP"), Money(1, "GBP")])[0] == Money(1, "GBP")
    assert max(Money(2, "GBP"), Money(1, "GBP")) >= Money(2, "GBP")
    assert sum([Money(2, "GBP"), Money(1, "GBP")], Money.zero("GBP")) == Money(3, "GBP")
    assert not Money.zero("GBP") and Money(-1, "GBP")


def test_two_currencies_never_mix() -> None:
    pound, euro = Money(1, "GBP"), Money(1, "EUR")
    assert pound != euro
    for mix in (lambda: pound + euro, lambda: pound - euro, lambda: pound < euro, lambda: pound >= euro):
        with pytest.raises(ValueError, match="do not mix"):
            mix()
    for mix in (lambda: pound + 1, lambda: pound < 1):  # type: ignore[operator]
        with pytest.raises(TypeError):
            mix()
