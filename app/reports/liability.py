"""What cards are worth as of any moment, by issuer, programme and currency, and how it came to be."""

# ruff: noqa: E501, S608  queries are read as tables, and nothing of a caller's is put into one

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import Connection

from app.reports.asked import Asked, Month
from app.reports.posting import POSTED, SIGNED
from app.reports.programmes import COLUMNS, Programme, read_programmes
from app.reports.report import Chart, Column, Report, Series

#: So many months are drawn, and so many lines; the rest of the issuers is one more.
MONTHS, LINES = 24, 3
KINDS = ("issue", "refund", "settle", "lapse")


@dataclass(frozen=True, slots=True)
class Moved:
    """What one kind of movement did to a programme's cards within a month, in minor units."""

    programme_id: str
    kind: str
    month: Month
    signed_minor: int


def liability(db: Connection, asked: Asked) -> Report:
    """Whatever posted before the moment: what came onto cards less what left them."""
    programmes = read_programmes(db, asked)
    rows = db.exec_driver_sql(_MOVED, (asked.mode, asked.issuer_id, asked.as_of))
    moved = [Moved(row.programme_id, row.kind, Month.of(row.month), row.signed_minor) for row in rows]
    sums: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for each in moved:
        sums[each.programme_id][each.kind] += each.signed_minor
    return Report(
        "liability",
        "Liability",
        asked.mode,
        asked.moment,
        (
            *COLUMNS,
            Column("issued", "Issued", "money", summed=True),
            Column("refunded", "Refunded", "money", summed=True),
            Column("settled", "Settled", "money", summed=True),
            Column("lapsed", "Lapsed", "money", summed=True),
            Column("liability", "Liability", "money", summed=True),
        ),
        [
            (*each.cells, *(abs(sums[id_][kind]) for kind in KINDS), sum(sums[id_].values()))
            for id_, each in programmes.items()
            if id_ in sums
        ],
        charts=tuple(_charts(programmes, moved, asked)),
    )


def _charts(programmes: Mapping[str, Programme], moved: Iterable[Moved], asked: Asked) -> Iterable[Chart]:
    """By currency, the liability at the end of each month, of the largest issuers, or of one issuer's programmes."""
    last = Month.of(asked.as_of - timedelta(microseconds=1))
    months = [last.later(-back) for back in reversed(range(MONTHS))]
    lines: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(lambda: [0] * MONTHS))
    for each in moved:
        programme = programmes[each.programme_id]
        line = lines[programme.currency][programme.programme if asked.issuer_id else programme.issuer]
        for place, month in enumerate(months):
            if each.month <= month:
                line[place] += each.signed_minor
    for currency, named in sorted(lines.items()):
        since = next((place for place in range(MONTHS) if any(line[place] for line in named.values())), MONTHS - 1)
        yield Chart(
            f"Liability at the end of each month, {currency}",
            "lines",
            "Month",
            tuple(f"{month}{'' if month.end <= asked.as_of else ' so far'}" for month in months[since:]),
            tuple(Series(name, tuple(line[since:])) for name, line in _largest(named)),
            "money",
            currency,
        )


def _largest(named: Mapping[str, Sequence[int]]) -> list[tuple[str, Sequence[int]]]:
    """The lines that end highest, and all others as one."""
    ordered = sorted(named.items(), key=lambda each: (-each[1][-1], each[0]))
    shown, rest = ordered[:LINES], ordered[LINES:]
    if rest:
        shown.append((f"{len(rest)} others", [sum(values) for values in zip(*(line for _, line in rest), strict=True)]))
    return shown


_MOVED = f"""
SELECT c.programme_id, t.kind, date_trunc('month', t.posted) AS month, sum({SIGNED})::bigint AS signed_minor
FROM (SELECT t.kind, t.card_id, t.credit_id, t.amount_minor, {POSTED} AS posted FROM transfer t WHERE t.mode = $1 AND t.card_id IS NOT NULL) AS t
JOIN card c ON c.id = t.card_id
WHERE t.posted < $3 AND ($2::text IS NULL OR c.issuer_id = $2)
GROUP BY c.programme_id, t.kind, month
"""
