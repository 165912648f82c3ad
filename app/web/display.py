"""Money and dates as people read them, in their own locale."""

import copy
import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import lru_cache

from babel import Locale
from babel.core import UnknownLocaleError
from babel.dates import format_date

from app import clock
from app.money import Money, minor_digits

FALLBACK = Locale("en", "GB")
#: Between a currency's letters and the number, where the pattern has no space: `IQD 1.500` (CLDR's alphaNextToNumber).
LETTERS_MEET_DIGITS = re.compile(r"(?<=[A-Za-z])(?=\d)")


def display_money(money: Money, locale: str | None = None) -> str:
    """`£1,234.50` in the locale's own way, with as many decimals as ISO 4217 gives the currency.

    Babel alone would take CLDR's digits, which round away what 13 currencies still have (1.500 IQD would be 2 IQD).
    """
    digits = minor_digits(money.currency)
    known = known_locale(locale)
    pattern = copy.copy(known.currency_formats["standard"])
    pattern.frac_prec = (digits, digits)
    value = Decimal(money.amount_minor).scaleb(-digits)
    shown = pattern.apply(value, known, currency=money.currency, currency_digits=False)
    return LETTERS_MEET_DIGITS.sub("\N{NO-BREAK SPACE}", shown)


def display_date(at: datetime, locale: str | None = None) -> str:
    """`23 November 2026`: the day of a moment in UTC, the month in words, so that nobody takes it for the day."""
    return format_date(at.astimezone(UTC).date(), format="long", locale=known_locale(locale))


def last_day(at: datetime) -> datetime:
    """A moment of the last day that is whole before something ends at `at`; or now, where that is less than a day off.

    What ends five past midnight is not good on that day, whatever its date says.
    """
    return max(at - timedelta(days=1), min(at, clock.here()))


@lru_cache(maxsize=256)
def known_locale(name: str | None) -> Locale:
    """The locale of this name (`de_AT` or `de-AT`), or British English when there is none such."""
    try:
        return Locale.parse((name or "").replace("-", "_"))
    except (UnknownLocaleError, ValueError):
        return FALLBACK
