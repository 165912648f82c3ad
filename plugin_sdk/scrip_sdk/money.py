"""Money: a whole number of a currency's minor units (ISO 4217), never a float."""

import re
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from functools import total_ordering

#: ISO 4217: the currencies in use by their number of decimals. A test compares them with the service's.
_CURRENCIES = {
    0: "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF",
    2: (
        "AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BMD BND BOB BOV BRL BSD BTN BWP BYN BZD CAD CDF CHE CHF CHW "
        "CNY COP COU CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL HTG HUF "
        "IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK "
        "MXN MXV MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP "
        "SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD USN UYU UZS VED VES WST XAD XCD XCG "
        "YER ZAR ZMW ZWG"
    ),
    3: "BHD IQD JOD KWD LYD OMR TND",
    4: "CLF UYW",
}
MINOR_DIGITS = {code: digits for digits, codes in _CURRENCIES.items() for code in codes.split()}


@total_ordering
@dataclass(frozen=True)
class Money:
    """`amount_minor` minor units of `currency`, an ISO 4217 code in capitals; it may be below zero.

    Sums and comparisons of two currencies raise ValueError. So does a currency that is not in use, or has no minor
    unit; TypeError: an amount that is no whole number.
    """

    amount_minor: int
    currency: str

    def __post_init__(self) -> None:
        if type(self.amount_minor) is not int:
            raise TypeError("amount_minor must be an int, a whole number of minor units")
        if self.currency not in MINOR_DIGITS:
            raise ValueError("currency must be a code of ISO 4217 that is in use, in capitals")

    @classmethod
    def of(cls, amount: str | Decimal, currency: str) -> "Money":
        """`Money.of("30.00", "GBP")`; it may have fewer decimals than the currency, but not more.

        Raises ValueError: no plain number, too many decimals, no such currency. TypeError: a float or an int, of which
        nobody can say what it means.
        """
        if not isinstance(amount, str | Decimal):
            raise TypeError("amount must be a str or a Decimal")
        if isinstance(amount, str) and not re.fullmatch(r"-?[0-9]{1,15}(\.[0-9]{1,9})?", amount):
            raise ValueError("amount must be written plainly, as 30.00")
        exact = Decimal(amount)
        if not exact.is_finite() or abs(exact) >= 10**15:
            raise ValueError("amount must be a number below 10**15")
        digits = MINOR_DIGITS.get(currency)
        if digits is None:
            raise ValueError("currency must be a code of ISO 4217 that is in use, in capitals")
        minor = Fraction(exact) * 10**digits  # exact, whatever the caller's decimal context rounds to
        if minor.denominator != 1:
            raise ValueError(f"{currency} has {digits} decimals, no more")
        return cls(minor.numerator, currency)

    @classmethod
    def zero(cls, currency: str) -> "Money":
        return cls(0, currency)

    @property
    def decimal(self) -> Decimal:
        """The amount in major units, with all of its currency's decimals: `Decimal("30.00")`."""
        return Decimal(f"{self.amount_minor}E-{MINOR_DIGITS[self.currency]}")

    def __str__(self) -> str:
        return f"{self.decimal:f} {self.currency}"

    def __add__(self, other: "Money") -> "Money":
        if not isinstance(other, Money):
            return NotImplemented
        return Money(self.amount_minor + self._same(other), self.currency)

    def __sub__(self, other: "Money") -> "Money":
        if not isinstance(other, Money):
            return NotImplemented
        return Money(self.amount_minor - self._same(other), self.currency)

    def __lt__(self, other: "Money") -> bool:
        if not isinstance(other, Money):
            return NotImplemented
        return self.amount_minor < self._same(other)

    def __bool__(self) -> bool:
        """Whether it is any money at all."""
        return self.amount_minor != 0

    def _same(self, other: "Money") -> int:
        if other.currency != self.currency:
            raise ValueError(f"{self.currency} and {other.currency} do not mix")
        return other.amount_minor
