"""Codes for tests: what happens to a call that brings one is written in the code itself.

Each passes the check character, so that a page or a client that checks codes lets it through. They begin with TEST;
then come a letter for what happens, the currency, the amount, and a number that tells cards of one amount apart. At the
service they are unknown codes.

| Name | Code | What happens when it is exchanged |
|---|---|---|
| `VALID` | `TEST-V401-004W-8000` | a card of 50.00 GBP |
| `VALID_SMALL` | `TEST-V401-000F-M00V` | a card of 5.00 GBP: less than most orders |
| `VALID_EUR` | `TEST-V359-004W-800Y` | a card of 50.00 EUR |
| `EMPTY` | `TEST-E401-0000-000A` | a card with nothing left: refused like every other, `code-not-accepted` |
| `REFUSED` | `TEST-R401-0000-000S` | `code-not-accepted` |
| `TRY_LATER` | `TEST-T401-004W-800C` | `try-later`, with `Retry-After: 30` |
| `SLOW` | `TEST-S401-004W-800R` | a card of 50.00 GBP, and the answer takes `FakeScrip.slow_s` seconds |
| `LOST_ANSWER` | `TEST-A401-004W-800J` | a card of 50.00 GBP: the work is done, and no answer ever comes |
| `LOST_ONCE` | `TEST-1401-004W-8009` | the same, but the second time the answer comes |
| `DOWN` | `TEST-D401-004W-800K` | no connection, and nothing is done |
| `BUSY_ONCE` | `TEST-B401-004W-800Y` | `busy` the first time, then a card of 50.00 GBP |
| `MISTYPED` | `TEST-V401-004W-8001` | fails the check character: no call is made |
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from decimal import Decimal

from scrip_sdk.code import ALPHABET, read_code
from scrip_sdk.money import Money

PREFIX = "TEST"
#: What happens, by the letter that says so.
KINDS = {
    "V": "valid",
    "E": "empty",
    "R": "refused",
    "T": "try later",
    "S": "slow",
    "A": "lost answer",
    "1": "lost once",
    "D": "down",
    "B": "busy once",
}
_LETTERS = {kind: letter for letter, kind in KINDS.items()}
_CURRENCY, _AMOUNT, _NUMBER = 3, 5, 2
MOST_MINOR, MOST_NUMBER = 32**_AMOUNT - 1, 32**_NUMBER - 1


@dataclass(frozen=True)
class Magic:
    """What a code for tests says: what happens, and how much its card has."""

    kind: str
    amount: Money


def code_for(amount: str | Decimal, currency: str = "GBP", *, kind: str = "valid", number: int = 0) -> str:
    """A code in groups of four whose card has this amount, as `"30.00"`; `number` (0 to 1,023) tells cards apart.

    Raises ValueError for an amount below zero or above 335,544.31 (33,554,431 minor units), or another kind or number.
    """
    money = Money.of(amount, currency)
    if kind not in _LETTERS or not 0 <= money.amount_minor <= MOST_MINOR or not 0 <= number <= MOST_NUMBER:
        raise ValueError("there is no code for tests of this kind, amount or number")
    body = PREFIX + _LETTERS[kind] + _written(_number_of(currency), _CURRENCY)
    return grouped(with_check(body + _written(money.amount_minor, _AMOUNT) + _written(number, _NUMBER)))


def read_magic(code: str) -> Magic | None:
    """What sixteen characters of a code say, where it is one for tests."""
    if not code.startswith(PREFIX) or code[4] not in KINDS:
        return None
    currency, amount_minor = _currency_of(_read(code[5:8])), _read(code[8:13])
    try:
        return None if currency is None else Magic(KINDS[code[4]], Money(amount_minor, currency))
    except ValueError:  # no such currency
        return None


def draw_code() -> str:
    """Sixteen characters drawn at random, as a holder is shown who opens a letter."""
    return with_check("".join(secrets.choice(ALPHABET) for _ in range(15)))


def with_check(body: str) -> str:
    """Fifteen characters and the one that makes them pass."""
    return next(code for code in (body + last for last in ALPHABET) if read_code(code) is not None)


def grouped(code: str) -> str:
    """As people read it: `TEST-VN2F-…`."""
    return "-".join(code[start : start + 4] for start in range(0, 16, 4))


def _written(value: int, length: int) -> str:
    return "".join(ALPHABET[value >> 5 * place & 31] for place in reversed(range(length)))


def _read(digits: str) -> int:
    value = 0
    for digit in digits:
        value = value * 32 + ALPHABET.index(digit)
    return value


def _number_of(currency: str) -> int:
    """Three capitals as a number: some of them are no characters of a code."""
    value = 0
    for letter in currency:
        value = value * 26 + ord(letter) - ord("A")
    return value


def _currency_of(value: int) -> str | None:
    if value >= 26**3:
        return None
    return "".join(chr(ord("A") + value // 26**place % 26) for place in (2, 1, 0))


VALID = code_for("50.00", "GBP")
VALID_SMALL = code_for("5.00", "GBP")
VALID_EUR = code_for("50.00", "EUR")
EMPTY = code_for("0.00", "GBP", kind="empty")
REFUSED = code_for("0.00", "GBP", kind="refused")
TRY_LATER = code_for("50.00", "GBP", kind="try later")
SLOW = code_for("50.00", "GBP", kind="slow")
LOST_ANSWER = code_for("50.00", "GBP", kind="lost answer")
LOST_ONCE = code_for("50.00", "GBP", kind="lost once")
DOWN = code_for("50.00", "GBP", kind="down")
BUSY_ONCE = code_for("50.00", "GBP", kind="busy once")
#: VALID with its last character wrong.
MISTYPED = VALID[:-1] + ("0" if VALID[-1] != "0" else "1")
