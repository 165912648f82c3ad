"""What an issuer's machines read: its statement of a month, and which of its cards' payments stores have billed."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from app import clock
from app.db.transaction import snapshot
from app.errors import InvalidRequest
from app.ids import IssuerId
from app.reports.asked import Asked, Month
from app.reports.lines import BilledLine, billed_lines_of
from app.reports.statement import Line, read_statement

#: A caller waits for it.
WITHIN_S = 10


@dataclass(frozen=True, slots=True)
class IssuerStatement:
    """A statement as of the moment at which it was read. `is_over`: whether the month is."""

    month: Month
    mode: str
    as_of: datetime
    is_over: bool
    agrees: bool
    lines: Sequence[Line]


def read_issuer_statement(month: Month, *, issuer_id: IssuerId, mode: str) -> IssuerStatement:
    """The issuer's statement, all of it of one moment. Raises InvalidRequest for a month that has not begun, Busy."""
    with snapshot(within_s=WITHIN_S) as db:
        now = clock.now(db)
        if month.start > now:
            raise InvalidRequest("This month has not begun.", pointer="/month")
        lines, notes = read_statement(db, Asked(mode, now, month, issuer_id))
    return IssuerStatement(month, mode, now, month.end <= now, not any(note.wrong for note in notes), lines)


def list_billed_lines(
    month: Month, *, issuer_id: IssuerId, mode: str, after: str | None, limit: int
) -> Sequence[BilledLine]:
    """What stores have billed of the month's settlements and refunds of the issuer's cards, in a fixed order."""
    with snapshot(within_s=WITHIN_S) as db:
        return billed_lines_of(db, Asked(mode, clock.now(db), month, issuer_id), after=after, limit=limit)
