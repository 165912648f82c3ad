"""How a value of a report is written for people: decimals by ISO 4217, thousands apart, times in UTC."""

from datetime import date, datetime
from decimal import Decimal

from app.money import minor_digits
from app.reports.report import Kind, Value


def decimal_of(amount_minor: float, currency: str) -> Decimal:
    """The amount with the currency's decimals."""
    return Decimal(int(amount_minor)).scaleb(-minor_digits(currency))


def in_words(value: Value, kind: Kind, currency: str | None) -> str:
    """A value as a page shows it: `1,234.50`, `12.5 %`, `2026-11-28`."""
    if value is None:
        return ""
    if isinstance(value, int | float) and kind in ("money", "whole", "share"):
        if kind == "share":
            return f"{value * 100:.1f} %"
        return f"{decimal_of(value, currency):,}" if kind == "money" and currency else f"{value:,}"
    return plain(value).replace("T", " ")[:19] if isinstance(value, datetime) else plain(value)


def plain(value: Value) -> str:
    """A value as a file has it, where its kind has no form of its own: times by RFC 3339, in UTC."""
    if isinstance(value, datetime):
        return f"{value.replace(tzinfo=None).isoformat(timespec='microseconds')}Z"
    if isinstance(value, date):
        return value.isoformat()
    return "" if value is None else str(value)


def money(amount_minor: int, currency: str) -> str:
    """An amount in a sentence: `1,234.50 GBP`."""
    return f"{decimal_of(amount_minor, currency):,} {currency}"


def printable(text: str) -> str:
    """The text with what a terminal would not print, or obey, by its number: `[U+001B]`."""
    return "".join(each if each.isprintable() else f"[U+{ord(each):04X}]" for each in text)
