"""Months close, one after the other; what is recorded later posts to the first month that is open by then."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import select, text

from app import clock
from app.billing.pay_models import ClosedMonth as Row
from app.db.together import row_of, together
from app.db.transaction import transaction
from app.errors import InvalidRequest
from app.events.event import event_of

#: So long after its end a month may close: by then all that happened in it by itself is recorded.
OVER_FOR = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class ClosedMonth:
    """A month (`YYYY-MM`, UTC) of one mode whose books are closed."""

    mode: str
    month: str
    closed_by: str
    closed_at: datetime


def close_month(month: str, *, mode: str, operator: str) -> ClosedMonth:
    """Closes the books of a month that is over by a day, the next after the last that was closed; any one at first.

    Raises InvalidRequest, Busy.
    """
    if not re.fullmatch(r"20[0-9]{2}-(0[1-9]|1[0-2])", month):
        raise InvalidRequest("A month is written as 2026-10.", pointer="/month")
    with transaction() as db:
        db.execute(_NOTHING_IS_BOOKED)
        closed = select(Row.month).where(Row.mode == mode).order_by(Row.month.desc()).limit(1)
        last = db.scalar(closed)
        if last is not None and month != following(last):
            raise InvalidRequest(f"The next month to close is {following(last)}.", pointer="/month")
        now = clock.now(db)
        if now < begin_of(following(month)) + OVER_FOR:
            raise InvalidRequest("A month closes when it has been over for a day.", pointer="/month")
        event = event_of("month_closed", at=now, facts={"month": month, "mode": mode})
        together(db, _insert(mode=mode, month=month, closed_by=operator), event)
        made = select(*_COLUMNS).where(Row.mode == mode, Row.month == month)
        return ClosedMonth(**db.execute(made).one()._mapping)


def list_closed_months(*, mode: str | None = None) -> list[ClosedMonth]:
    """The months that are closed, by mode, the oldest first. Raises Busy."""
    query = select(*_COLUMNS).order_by(Row.mode, Row.month)
    with transaction() as db:
        found = db.execute(query if mode is None else query.where(Row.mode == mode))
        return [ClosedMonth(**row._mapping) for row in found]


def following(month: str) -> str:
    """The month after this one: `2027-01` after `2026-12`."""
    year, number = int(month[:4]), int(month[5:])
    return f"{year + number // 12}-{number % 12 + 1:02}"


def begin_of(month: str) -> datetime:
    """Its first moment, in UTC."""
    return datetime(int(month[:4]), int(month[5:]), 1, tzinfo=UTC)


_COLUMNS = tuple(getattr(Row, name) for name in ClosedMonth.__dataclass_fields__)
_insert = row_of(Row)
#: Whoever books an entry, which may be effective in this month, holds the same lock together with others: a movement
#: that was recorded before the month closed can then be seen by whoever reads it afterwards.
_NOTHING_IS_BOOKED = text("SELECT pg_advisory_xact_lock(hashtextextended('months of the books', 0))")
