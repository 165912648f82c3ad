"""Twelve months of an issuer's business: what was issued, settled, refunded and lapsed, and how often."""

# ruff: noqa: E501, S608  queries are read as tables, and nothing of a caller's is put into one

from collections import defaultdict
from collections.abc import Iterable, Mapping

from sqlalchemy import Connection

from app.reports.asked import Asked, Month
from app.reports.posting import POSTED
from app.reports.programmes import read_programmes
from app.reports.report import Chart, Column, Report, Row, Series

MONTHS = 12
KINDS = ("issue", "settle", "refund", "lapse")

#: By issuer, currency and month: for each kind the amount in minor units, and how often.
Sums = Mapping[tuple[str, str, Month], Mapping[str, tuple[int, int]]]


def volume(db: Connection, asked: Asked) -> Report:
    """The asked month and the eleven before it."""
    months = [asked.month.later(-back) for back in reversed(range(MONTHS))]
    issuers = {each.issuer_id: each.issuer for each in read_programmes(db, asked).values()}
    sums: dict[tuple[str, str, Month], dict[str, tuple[int, int]]] = defaultdict(dict)
    for row in db.exec_driver_sql(_MOVED, (asked.mode, asked.issuer_id, months[0].start, asked.month.end)):
        sums[row.issuer_id, row.currency, Month.of(row.month)][row.kind] = (row.minor, row.times)
    places = {id_: place for place, id_ in enumerate(issuers)}
    ordered = dict(sorted(sums.items(), key=lambda each: (places[each[0][0]], each[0][1:])))
    rows: list[Row] = [
        (id_, issuers[id_], currency, str(month), *(number for kind in KINDS for number in moved.get(kind, (0, 0))))
        for (id_, currency, month), moved in ordered.items()
    ]
    return Report(
        "volume",
        "Volume of twelve months",
        asked.mode,
        f"months {months[0]} to {months[-1]} (UTC)",
        (
            Column("issuer_id", "Issuer ID", on_paper=False),
            Column("issuer", "Issuer"),
            Column("currency", "Currency"),
            Column("month", "Month"),
            Column("issued", "Issued", "money", summed=True),
            Column("cards", "Cards", "whole", summed=True),
            Column("settled", "Settled", "money", summed=True),
            Column("settlements", "Settle-ments", "whole", summed=True),
            Column("refunded", "Refunded", "money", summed=True),
            Column("refunds", "Refunds", "whole", summed=True),
            Column("lapsed", "Lapsed", "money", summed=True),
            Column("lapses", "Lapses", "whole", summed=True),
        ),
        rows,
        charts=tuple(_charts(ordered, months)),
    )


def _charts(sums: Sums, months: list[Month]) -> Iterable[Chart]:
    """By currency, of all issuers together."""
    labels = tuple(str(month) for month in months)
    for currency in sorted({currency for _, currency, _ in sums}):
        by_month: dict[tuple[str, Month], int] = defaultdict(int)
        for (_, code, month), moved in sums.items():
            for kind, (minor, _) in moved.items():
                by_month[kind, month] += minor if code == currency else 0
        series = tuple(
            Series(name, tuple(by_month[kind, month] for month in months))
            for name, kind in (("issued", "issue"), ("settled", "settle"), ("refunded", "refund"), ("lapsed", "lapse"))
        )
        yield Chart(f"Volume by month, {currency}", "bars", "Month", labels, series, "money", currency)


_MOVED = f"""
SELECT c.issuer_id, c.currency, t.kind, date_trunc('month', t.posted) AS month, sum(t.amount_minor)::bigint AS minor, count(*) AS times
FROM (SELECT t.kind, t.card_id, t.amount_minor, {POSTED} AS posted FROM transfer t WHERE t.mode = $1 AND t.card_id IS NOT NULL) AS t
JOIN card c ON c.id = t.card_id
WHERE t.posted >= $3 AND t.posted < $4 AND ($2::text IS NULL OR c.issuer_id = $2)
GROUP BY c.issuer_id, c.currency, t.kind, month
"""
