"""Months that are billed, in UTC."""

import re
from datetime import UTC, datetime, timedelta

_MONTH = re.compile(r"20[0-9]{2}-(0[1-9]|1[0-2])")
#: Machines know the time nearly, not exactly: at the turn of a month a store may be ahead.
EARLY = timedelta(minutes=5)


def is_month(text: str) -> bool:
    """Whether it is a month as `2026-11`."""
    return _MONTH.fullmatch(text) is not None


def month_end(month: str) -> datetime:
    """When the month is over: the first moment of the next."""
    year, number = int(month[:4]), int(month[5:])
    return datetime(year + number // 12, number % 12 + 1, 1, tzinfo=UTC)


def is_ahead(month: str, now: datetime) -> bool:
    """Whether the month has not begun yet."""
    return month > f"{now.astimezone(UTC) + EARLY:%Y-%m}"
