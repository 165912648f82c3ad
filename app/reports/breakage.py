"""What lapses: by the month in which it did, as a share of what was issued in a month, and how fast cards are redeemed."""

# ruff: noqa: E501, S608  queries are read as tables, and nothing of a caller's is put into one

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from sqlalchemy import Connection

from app.reports.asked import Asked, Month
from app.reports.posting import POSTED
from app.reports.programmes import COLUMNS, Programme, read_programmes
from app.reports.report import Chart, Column, Report, Row, Series

#: A card's months of age have this many days.
AGE_MONTH = timedelta(days=30)
#: So many months of age are drawn, so many months of the calendar, and so many programmes.
AGES, MONTHS, LINES = 24, 24, 3


@dataclass(slots=True)
class Cohort:
    """The cards that one programme issued in one month, in minor units."""

    issued_minor: int = 0
    #: Settled less refunded, in all, and by the card's age in months at the movement.
    redeemed_minor: int = 0
    redeemed_at_age: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    lapsed_minor: int = 0
    #: What lapsed in this month of the calendar, whenever it was issued.
    lapsed_within_minor: int = 0

    def add(self, kind: str, age: int, minor: int) -> None:
        if kind == "issue":
            self.issued_minor += minor
        elif kind == "lapse":
            self.lapsed_minor += minor
        else:
            signed = minor if kind == "settle" else -minor
            self.redeemed_minor += signed
            self.redeemed_at_age[age] += signed

    def share(self, part_minor: int) -> float | None:
        """As a part of what was issued."""
        return part_minor / self.issued_minor if self.issued_minor else None


Cohorts = Mapping[tuple[str, Month], Cohort]


def breakage(db: Connection, asked: Asked) -> Report:
    """By programme and month: what was issued in it and became of that, and what lapsed in it."""
    programmes = read_programmes(db, asked)
    cohorts: dict[tuple[str, Month], Cohort] = defaultdict(Cohort)
    when = (asked.mode, asked.issuer_id, asked.as_of)
    for row in db.exec_driver_sql(_BY_COHORT, when):
        cohorts[row.programme_id, Month.of(row.month)].add(row.kind, row.age, row.minor)
    for row in db.exec_driver_sql(_LAPSED, when):
        cohorts[row.programme_id, Month.of(row.month)].lapsed_within_minor = row.minor
    places = {id_: place for place, id_ in enumerate(programmes)}
    ordered = dict(sorted(cohorts.items(), key=lambda each: (places[each[0][0]], each[0][1])))
    return Report(
        "breakage",
        "Breakage and redemption",
        asked.mode,
        asked.moment,
        (
            *COLUMNS,
            Column("month", "Month"),
            Column("lapsed_in_month", "Lapsed in the month", "money", summed=True),
            Column("issued", "Issued in the month", "money", summed=True),
            Column("redeemed", "of it redeemed", "money", summed=True),
            Column("lapsed", "of it lapsed", "money", summed=True),
            Column("open", "of it open", "money", summed=True),
            Column("redeemed_share", "Redeemed", "share"),
            Column("lapsed_share", "Lapsed", "share"),
        ),
        [_row(programmes[id_], month, cohort) for (id_, month), cohort in ordered.items()],
        charts=(*_curves(programmes, ordered, asked), *_lapses(programmes, ordered, asked)),
    )


def _row(programme: Programme, month: Month, cohort: Cohort) -> Row:
    return (
        *programme.cells,
        str(month),
        cohort.lapsed_within_minor,
        cohort.issued_minor,
        cohort.redeemed_minor,
        cohort.lapsed_minor,
        cohort.issued_minor - cohort.redeemed_minor - cohort.lapsed_minor,
        cohort.share(cohort.redeemed_minor),
        cohort.share(cohort.lapsed_minor),
    )


def _curves(programmes: Mapping[str, Programme], cohorts: Cohorts, asked: Asked) -> Iterable[Chart]:
    """What part of what was issued had been redeemed at an age, of the cards that are all as old as that."""
    issued: dict[str, int] = defaultdict(int)
    for (id_, _), cohort in cohorts.items():
        issued[id_] += cohort.issued_minor
    for currency in sorted({programme.currency for id_, programme in programmes.items() if issued[id_]}):
        mine = sorted((id_ for id_ in issued if programmes[id_].currency == currency), key=lambda id_: -issued[id_])
        lines = {id_: curve_of([each for each in cohorts.items() if each[0][0] == id_], asked) for id_ in mine[:LINES]}
        ages = max(sum(1 for share in line if share is not None) for line in lines.values())
        if ages:
            series = tuple(Series(programmes[id_].programme, tuple(line[:ages])) for id_, line in lines.items())
            labels = tuple(str(age + 1) for age in range(ages))
            yield Chart(f"Redeemed by months of age, {currency}", "lines", "Months", labels, series, "share")


def curve_of(cohorts: Iterable[tuple[tuple[str, Month], Cohort]], asked: Asked) -> list[float | None]:
    """For each age the share that was redeemed by then; None where no month's cards are all so old."""
    found = list(cohorts)
    curve: list[float | None] = []
    for age in range(AGES):
        old = [cohort for (_, month), cohort in found if month.end + AGE_MONTH * (age + 1) <= asked.as_of]
        issued = sum(cohort.issued_minor for cohort in old)
        redeemed = sum(minor for cohort in old for at, minor in cohort.redeemed_at_age.items() if at <= age)
        curve.append(redeemed / issued if issued else None)
    return curve


def _lapses(programmes: Mapping[str, Programme], cohorts: Cohorts, asked: Asked) -> Iterable[Chart]:
    last = Month.of(asked.as_of - timedelta(microseconds=1))
    months = [last.later(-back) for back in reversed(range(MONTHS))]
    sums: dict[str, dict[Month, int]] = defaultdict(lambda: defaultdict(int))
    for (id_, month), cohort in cohorts.items():
        if cohort.lapsed_within_minor:
            sums[programmes[id_].currency][month] += cohort.lapsed_within_minor
    for currency, by_month in sorted(sums.items()):
        shown = [month for month in months if month >= min(by_month)]
        series = (Series("lapsed", tuple(by_month.get(month, 0) for month in shown)),)
        labels = tuple(str(month) for month in shown)
        yield Chart(f"Lapsed by month, {currency}", "bars", "Month", labels, series, "money", currency)


_BY_COHORT = f"""
SELECT c.programme_id, date_trunc('month', c.created_at) AS month, t.kind, sum(t.amount_minor)::bigint AS minor,
    floor(extract(epoch FROM t.posted - c.created_at) / {int(AGE_MONTH.total_seconds())})::integer AS age
FROM (SELECT t.kind, t.card_id, t.amount_minor, {POSTED} AS posted FROM transfer t WHERE t.mode = $1 AND t.card_id IS NOT NULL) AS t
JOIN card c ON c.id = t.card_id
WHERE t.posted < $3 AND ($2::text IS NULL OR c.issuer_id = $2)
GROUP BY c.programme_id, month, t.kind, age
"""

_LAPSED = f"""
SELECT c.programme_id, date_trunc('month', t.posted) AS month, sum(t.amount_minor)::bigint AS minor
FROM (SELECT t.card_id, t.amount_minor, {POSTED} AS posted FROM transfer t WHERE t.mode = $1 AND t.kind = 'lapse') AS t
JOIN card c ON c.id = t.card_id
WHERE t.posted < $3 AND ($2::text IS NULL OR c.issuer_id = $2)
GROUP BY c.programme_id, month
"""
