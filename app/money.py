"""Money: a whole number of a currency's minor units (ISO 4217), never a float."""

import re
from dataclasses import dataclass
from functools import cache

from iso4217 import Currency

#: The largest amount in one movement, in minor units: far above any card, far below what a bigint sum could overflow.
MAX_MINOR = 10**12


@dataclass(frozen=True, slots=True, order=False)
class Money:
    """`amount_minor` minor units of `currency` (an ISO 4217 code in capitals)."""

    amount_minor: int
    currency: str

    def __str__(self) -> str:
        """Plain decimals by ISO's digits, for letters to machines and logs: `30.00 GBP`."""
        return f"{self.decimal} {self.currency}"

    @property
    def decimal(self) -> str:
        """The amount alone, with all of its currency's decimals: `30.00`."""
        digits = minor_digits(self.currency)
        sign = "-" if self.amount_minor < 0 else ""
        whole, rest = divmod(abs(self.amount_minor), 10**digits)
        return f"{sign}{whole}{f'.{rest:0{digits}d}' if digits else ''}"


def read_decimal(text: str, currency: str) -> Money | None:
    """The amount that `decimal` writes so, above zero and within bounds; None for any other spelling."""
    digits = minor_digits(currency)
    fraction = rf"\.[0-9]{{{digits}}}" if digits else ""
    if not re.fullmatch(rf"(0|[1-9][0-9]{{0,12}}){fraction}", text):
        return None
    amount_minor = int(text.replace(".", ""))
    return Money(amount_minor, currency) if 0 < amount_minor <= MAX_MINOR else None


@cache
def minor_digits(currency: str) -> int:
    """How many decimals the currency has by ISO 4217 (GBP 2, JPY 0, KWD 3).

    Raises ValueError for a code that is not a currency in use, or has no minor unit (gold, test codes).
    """
    digits = Currency(currency).exponent
    if digits is None:
        raise ValueError(f"{currency} has no minor unit")
    return int(digits)


def is_currency(code: str) -> bool:
    """Whether `code` names a currency that cards can be issued in."""
    try:
        minor_digits(code)
    except ValueError:
        return False
    return True
