"""Each matched line, traced: the store's line, its settlement or refund, the card, the programme, the issuer."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from app.reports.asked import Asked
from app.reports.report import Column, Report, Row
from app.reports.streams import streamed


def lines(db: Connection, asked: Asked) -> Report:
    """What bills have taken up of the month's settlements and refunds."""
    when = (asked.mode, asked.month.start, asked.month.end, asked.issuer_id, asked.store_id)
    return Report(
        "lines",
        "Matched lines",
        asked.mode,
        f"settled and refunded in {asked.month} (UTC)",
        (
            Column("bill_id", "Bill ID", on_paper=False),
            Column("bill", "Bill"),
            Column("line", "Line", "whole"),
            Column("store_id", "Store ID", on_paper=False),
            Column("store", "Store"),
            Column("at", "Settled or refunded", "time"),
            Column("movement_id", "Settlement or refund"),
            Column("payment_id", "Payment"),
            Column("card_id", "Card"),
            Column("programme_id", "Programme ID", on_paper=False),
            Column("programme", "Programme"),
            Column("issuer_id", "Issuer ID", on_paper=False),
            Column("issuer", "Issuer"),
            Column("currency", "Currency"),
            Column("amount", "Amount", "money", summed=True),
        ),
        _rows(db, when),
    )


def _rows(db: Connection, when: tuple[object, ...]) -> Iterator[Row]:
    for row in streamed(db, _TRACED, when):
        yield tuple(row)


@dataclass(frozen=True, slots=True)
class BilledLine:
    """What an issuer may know of a line: its own card's payment, where and when, and how much; nothing of the bill.

    `id` is the settlement's or the refund's; the amount is below zero for a refund.
    """

    id: str
    payment_id: str
    card_id: str
    programme_id: str
    store_id: str
    store: str
    at: datetime
    currency: str
    amount_minor: int


def billed_lines_of(db: Connection, asked: Asked, *, after: str | None, limit: int) -> Sequence[BilledLine]:
    """An issuer's lines of the month, in the order of their IDs, at most `limit` from the one after `after`."""
    when = (asked.mode, asked.month.start, asked.month.end, asked.issuer_id, after, limit)
    return [BilledLine(**row._mapping) for row in db.exec_driver_sql(_OF_ISSUER, when)]


_TRACED = """
SELECT b.bill_id, bill.reference, b.line_no, b.store_id, s.name AS store, coalesce(st.at, rf.at) AS at, b.movement_id,
    b.payment_id, b.card_id, b.programme_id, p.name AS programme, b.issuer_id, i.name AS issuer, b.currency,
    b.amount_minor
FROM billed b
JOIN bill ON bill.id = b.bill_id
LEFT JOIN settlement st ON st.id = b.movement_id
LEFT JOIN refund rf ON rf.id = b.movement_id
JOIN store s ON s.id = b.store_id
JOIN programme p ON p.id = b.programme_id
JOIN issuer i ON i.id = b.issuer_id
WHERE bill.mode = $1 AND coalesce(st.at, rf.at) >= $2 AND coalesce(st.at, rf.at) < $3
    AND ($4::text IS NULL OR b.issuer_id = $4) AND ($5::text IS NULL OR b.store_id = $5)
ORDER BY at, b.movement_id
"""

_OF_ISSUER = """
SELECT b.movement_id AS id, b.payment_id, b.card_id, b.programme_id, b.store_id, s.name AS store,
    coalesce(st.at, rf.at) AS at, b.currency, b.amount_minor
FROM billed b
JOIN store s ON s.id = b.store_id
LEFT JOIN settlement st ON st.id = b.movement_id
LEFT JOIN refund rf ON rf.id = b.movement_id
WHERE s.mode = $1 AND coalesce(st.at, rf.at) >= $2 AND coalesce(st.at, rf.at) < $3 AND b.issuer_id = $4
    AND ($5::text IS NULL OR b.movement_id > $5)
ORDER BY b.movement_id LIMIT $6
"""
