"""What a bill's file is read into: lines, wrong lines, or the reason why the whole cannot be read."""

import unicodedata
from typing import NamedTuple

from app.money import MAX_MINOR, is_currency

MOST_LINES = 1_000_000
LONGEST_PAYMENT_ID = 64
LONGEST_ORDER_REFERENCE = 200
#: So much of a wrong line is shown.
BEGINS_LENGTH = 200


class ReadLine(NamedTuple):
    """A line that could be read. The amount is in minor units, below zero where goods came back, never zero."""

    line_no: int
    payment_id: str
    amount_minor: int
    currency: str
    order_reference: str | None


class WrongLine(NamedTuple):
    """A line that could not be read: why, and how it begins."""

    line_no: int
    reason: str
    begins: str


Line = ReadLine | WrongLine


class Unreadable(Exception):
    """The file as a whole cannot be read; `line_no` says where that was seen, if anywhere."""

    def __init__(self, reason: str, line_no: int | None = None) -> None:
        super().__init__(reason if line_no is None else f"Line {line_no}: {reason}")
        self.reason, self.line_no = reason, line_no


class Wrong(Exception):
    """A line cannot be read; the message says why."""


def wrong_line(line_no: int, reason: str, text: str) -> WrongLine:
    """The wrong line, with what can be shown and stored of its text."""
    begins = text[:BEGINS_LENGTH]
    if not begins.isprintable():
        begins = "".join(each if each.isprintable() else "\ufffd" for each in begins)
    return WrongLine(line_no, reason, begins)


def checked_line(
    line_no: int, payment_id: str, amount_minor: int, currency: str, order_reference: str | None
) -> ReadLine:
    """The line, if its parts are within bounds. A payment's ID is taken as it is given. Raises Wrong."""
    if not payment_id:
        raise Wrong("It names no payment.")
    if len(payment_id) > LONGEST_PAYMENT_ID or not is_plain(payment_id):
        raise Wrong(f"A payment's ID has {LONGEST_PAYMENT_ID} plain characters at most.")
    if order_reference and (len(order_reference) > LONGEST_ORDER_REFERENCE or not is_plain(order_reference)):
        raise Wrong(f"An order reference has {LONGEST_ORDER_REFERENCE} characters at most, and no control characters.")
    if not 0 < abs(amount_minor) <= MAX_MINOR:
        raise Wrong("The amount is zero." if not amount_minor else "The amount is too large.")
    return ReadLine(line_no, payment_id, amount_minor, currency, order_reference or None)


def is_plain(text: str) -> bool:
    """Whether the text has neither control characters nor halves of surrogate pairs, which PostgreSQL cannot keep."""
    return text.isprintable() or not any(unicodedata.category(each) in ("Cc", "Cs") for each in text)


def checked_currency(code: str) -> str:
    """An ISO 4217 code in capitals, of a currency that cards can be issued in. Raises Wrong."""
    if len(code) != 3 or not code.isascii() or not is_currency(code):
        raise Wrong("Its currency is none of ISO 4217." if code else "It names no currency.")
    return code
