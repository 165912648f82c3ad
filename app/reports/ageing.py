"""How old the liability is: by the cards' issue, and by the last movement of money on each."""

# ruff: noqa: E501, S608  queries are read as tables, and nothing of a caller's is put into one

from collections import defaultdict
from collections.abc import Iterable

from sqlalchemy import Connection

from app.reports.asked import Asked
from app.reports.posting import POSTED, SIGNED
from app.reports.programmes import COLUMNS, read_programmes
from app.reports.report import Chart, Column, Report, Row, Series

#: The first day of each band but the first one, in whole days before the moment; a year has 365.
BOUNDS = (31, 91, 181, 366, 731, 1_096, 1_826)
BANDS = (
    "0–30 days",
    "31–90 days",
    "91–180 days",
    "181–365 days",
    "1–2 years",
    "2–3 years",
    "3–5 years",
    "over 5 years",
)


def ageing(db: Connection, asked: Asked) -> Report:
    """The cards that had a balance then, in eight bands of age."""
    programmes = read_programmes(db, asked)
    found = db.exec_driver_sql(_BANDED, (asked.mode, asked.issuer_id, asked.as_of, list(BOUNDS))).all()
    sums: dict[tuple[str, int], list[int]] = defaultdict(lambda: [0, 0, 0, 0])
    for row in found:
        for place, band in ((0, row.by_issue), (2, row.by_activity)):
            sums[row.programme_id, band][place] += row.cards
            sums[row.programme_id, band][place + 1] += row.minor
    rows: list[Row] = [
        (*programme.cells, BANDS[band], *sums[id_, band])
        for id_, programme in programmes.items()
        for band in range(len(BANDS))
        if (id_, band) in sums
    ]
    return Report(
        "ageing",
        "Ageing of the liability",
        asked.mode,
        asked.moment,
        (
            *COLUMNS,
            Column("age", "Age"),
            Column("cards_by_issue", "Cards, by issue", "whole"),
            Column("by_issue", "Liability, by issue", "money", summed=True),
            Column("cards_by_activity", "Cards, by last activity", "whole"),
            Column("by_activity", "Liability, by last activity", "money", summed=True),
        ),
        rows,
        charts=tuple(_charts(rows)),
    )


def _charts(rows: Iterable[Row]) -> Iterable[Chart]:
    sums: dict[str, tuple[list[int], list[int]]] = defaultdict(lambda: ([0] * len(BANDS), [0] * len(BANDS)))
    for *_, currency, age, _cards, by_issue, _more, by_activity in rows:
        band, of_currency = BANDS.index(str(age)), sums[str(currency)]
        of_currency[0][band] += int(str(by_issue))
        of_currency[1][band] += int(str(by_activity))
    for currency, (issued, active) in sorted(sums.items()):
        series = (Series("by issue", tuple(issued)), Series("by last activity", tuple(active)))
        yield Chart(f"Liability by age, {currency}", "bars", "Age", BANDS, series, "money", currency)


_BANDED = f"""
SELECT programme_id, by_issue, by_activity, count(*) AS cards, sum(minor)::bigint AS minor FROM (
    SELECT c.programme_id, moved.minor,
        width_bucket(floor(extract(epoch FROM $3 - moved.first_at) / 86400), $4::numeric[]) AS by_issue,
        width_bucket(floor(extract(epoch FROM $3 - moved.last_at) / 86400), $4::numeric[]) AS by_activity
    FROM (
        SELECT t.card_id, sum({SIGNED}) AS minor, min(t.posted) AS first_at, max(t.posted) AS last_at
        FROM (SELECT t.kind, t.card_id, t.credit_id, t.amount_minor, {POSTED} AS posted FROM transfer t WHERE t.mode = $1 AND t.card_id IS NOT NULL) AS t
        JOIN card c ON c.id = t.card_id
        WHERE t.posted < $3 GROUP BY t.card_id
    ) AS moved JOIN card c ON c.id = moved.card_id
    WHERE moved.minor <> 0 AND ($2::text IS NULL OR c.issuer_id = $2)
) AS banded GROUP BY programme_id, by_issue, by_activity
"""
