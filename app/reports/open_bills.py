"""What is not settled between stores and us: what nobody has billed yet, and the breaks that are open."""

from collections.abc import Iterator
from datetime import datetime

from sqlalchemy import Connection

from app.reports.asked import Asked
from app.reports.report import Column, Report, Row
from app.reports.streams import streamed


def unbilled(db: Connection, asked: Asked) -> Report:
    """By payment: what was settled before the month's end, less refunds, that no bill has taken up."""
    until = min(asked.month.end, asked.as_of)
    rows = streamed(db, _UNBILLED, (asked.mode, until, asked.issuer_id, asked.store_id))
    return Report(
        "unbilled",
        "Settled and not billed",
        asked.mode,
        f"before the end of {asked.month} (UTC)",
        (
            Column("store_id", "Store ID", on_paper=False),
            Column("store", "Store"),
            Column("issuer_id", "Issuer ID", on_paper=False),
            Column("issuer", "Issuer"),
            Column("payment_id", "Payment"),
            Column("last_at", "Last movement", "time"),
            Column("age_days", "Days", "whole"),
            Column("currency", "Currency"),
            Column("amount", "Not billed", "money", summed=True),
        ),
        _aged(rows, until, place=5),
    )


def breaks(db: Connection, asked: Asked) -> Report:
    """The breaks that are open now, the oldest first. What was open in the past is told by the events alone."""
    rows = streamed(db, _BREAKS, (asked.mode, asked.issuer_id, asked.store_id))
    return Report(
        "breaks",
        "Open breaks",
        asked.mode,
        asked.moment,
        (
            Column("break_id", "Break"),
            Column("bill_id", "Bill ID", on_paper=False),
            Column("bill", "Bill"),
            Column("line", "Line", "whole"),
            Column("store_id", "Store ID", on_paper=False),
            Column("store", "Store"),
            Column("kind", "Kind"),
            Column("state", "State"),
            Column("assignee", "Looked after by"),
            Column("opened_at", "Opened", "time"),
            Column("age_days", "Days", "whole"),
            Column("currency", "Currency"),
            Column("asked", "Line asks for", "money", summed=True),
            Column("expected", "Expected", "money"),
        ),
        _aged(rows, asked.as_of, place=9),
    )


def _aged(rows: Iterator[Row], now: datetime, *, place: int) -> Iterator[Row]:
    """The rows with their age in whole days beside the time that stands at `place`."""
    for row in rows:
        at = row[place]
        age = (now - at).days if isinstance(at, datetime) else None
        yield (*row[: place + 1], age, *row[place + 1 :])


_UNBILLED = """
SELECT m.store_id, s.name AS store, c.issuer_id, i.name AS issuer, m.payment_id, max(m.at) AS last_at, c.currency,
    sum(m.amount_minor)::bigint AS amount_minor
FROM (
    SELECT id, payment_id, card_id, store_id, amount_minor, at FROM settlement
    UNION ALL SELECT id, payment_id, card_id, store_id, -amount_minor, at FROM refund
) AS m
JOIN card c ON c.id = m.card_id
JOIN store s ON s.id = m.store_id
JOIN issuer i ON i.id = c.issuer_id
WHERE c.mode = $1 AND m.at < $2 AND ($3::text IS NULL OR c.issuer_id = $3) AND ($4::text IS NULL OR m.store_id = $4)
    AND NOT EXISTS (SELECT FROM billed b WHERE b.movement_id = m.id)
GROUP BY m.store_id, s.name, c.issuer_id, i.name, m.payment_id, c.currency HAVING sum(m.amount_minor) <> 0
ORDER BY s.name, m.store_id, m.payment_id
"""

_BREAKS = """
SELECT k.id, k.bill_id, b.reference, k.line_no, b.store_id, s.name AS store, k.kind, k.state, k.assignee, k.opened_at,
    n.currency, n.amount_minor, k.expected_minor
FROM bill_break k
JOIN bill b ON b.id = k.bill_id
JOIN bill_line n ON (n.bill_id, n.line_no) = (k.bill_id, k.line_no)
JOIN store s ON s.id = b.store_id
WHERE b.mode = $1 AND k.closed_at IS NULL AND b.state <> 'rejected'
    AND ($2::text IS NULL OR k.issuer_id = $2) AND ($3::text IS NULL OR b.store_id = $3)
ORDER BY k.opened_at, k.id
"""
