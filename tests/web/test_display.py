"""Money and dates as people read them."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from babel.numbers import get_currency_precision

from app.money import Money, minor_digits
from app.web.display import display_date, display_money, last_day

NBSP = "\N{NO-BREAK SPACE}"


@pytest.mark.parametrize(
    ("amount_minor", "currency", "locale", "shown"),
    [
        (5_000, "GBP", "en_GB", "£50.00"),
        (5_000, "GBP", "en-GB", "£50.00"),
        (5_000, "GBP", None, "£50.00"),
        (123_456_789, "GBP", "en_GB", "£1,234,567.89"),
        (0, "GBP", "en_GB", "£0.00"),
        (1, "GBP", "en_GB", "£0.01"),
        (-3_000, "GBP", "en_GB", "-£30.00"),
        (5_000, "USD", "en_GB", "US$50.00"),
        (5_000, "USD", "en_US", "$50.00"),
        (5_000, "EUR", "de_DE", f"50,00{NBSP}€"),
        (123_456, "EUR", "fr_FR", f"1\N{NARROW NO-BREAK SPACE}234,56{NBSP}€"),
        (5_000, "JPY", "en_GB", "JP¥5,000"),
        (5_000, "JPY", "ja_JP", "\N{FULLWIDTH YEN SIGN}5,000"),
        (12_345, "KWD", "en_GB", f"KWD{NBSP}12.345"),
        (10**12, "GBP", "en_GB", "£10,000,000,000.00"),
    ],
)
def test_money_in_its_readers_way(amount_minor: int, currency: str, locale: str | None, shown: str) -> None:
    assert display_money(Money(amount_minor, currency), locale) == shown


@pytest.mark.parametrize(
    "currency",
    ["AFN", "ALL", "IRR", "IQD", "KPW", "LAK", "LBP", "MGA", "MMK", "RSD", "SOS", "SYP", "YER"],
)
def test_decimals_are_iso_s_where_cldr_differs(currency: str) -> None:
    digits = minor_digits(currency)
    assert digits != get_currency_precision(currency)
    assert display_money(Money(1_234_567, currency), "en_GB").endswith("1234567"[-digits:])


@pytest.mark.parametrize("locale", ["xx", "", "../../etc/passwd", "en_GB\0", "x" * 10_000, "🦆", "_", None])
def test_an_unknown_locale_reads_as_british_english(locale: str | None) -> None:
    assert display_money(Money(5_000, "GBP"), locale) == "£50.00"
    assert display_date(datetime(2027, 11, 23, tzinfo=UTC), locale) == "23 November 2027"


def test_a_currency_that_is_none_is_a_bug() -> None:
    with pytest.raises(ValueError, match="XX1"):
        display_money(Money(1, "XX1"))


@pytest.mark.parametrize(
    ("locale", "shown"),
    [
        ("en_GB", "23 November 2027"),
        ("en_US", "November 23, 2027"),
        ("de", "23. November 2027"),
        ("sv_SE", "23 november 2027"),
    ],
)
def test_dates_have_their_month_in_words(locale: str, shown: str) -> None:
    assert display_date(datetime(2027, 11, 23, 12, tzinfo=UTC), locale) == shown


def test_a_date_is_the_day_in_utc_whatever_the_zone_of_the_time() -> None:
    early = datetime(2027, 11, 24, 1, 0, tzinfo=timezone(timedelta(hours=2)))
    assert display_date(early, "en_GB") == "23 November 2027"


def test_the_last_day_is_one_on_which_it_is_still_good() -> None:
    """What ends five past midnight is shown by the day before; what ends within a day, by today."""
    now = datetime.now(UTC)
    five_past = (now + timedelta(days=30)).replace(hour=0, minute=5)
    assert last_day(five_past).date() == five_past.date() - timedelta(days=1)
    assert last_day(now + timedelta(hours=2)).date() == now.date()
    past = now - timedelta(days=3)
    assert last_day(past) == past
