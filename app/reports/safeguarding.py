"""Whether issuers' money is there: for each day the bank's balance against what must be on the account."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import timedelta

from sqlalchemy import Connection

from app.reports.asked import Asked
from app.reports.positions import MOST_AGE_DAYS, Day, days_of, names_of
from app.reports.report import Chart, Column, Note, Report, Row, Series
from app.reports.words import money

#: So many are drawn; the table has all.
MOST_CHARTS = 6


def safeguarding(db: Connection, asked: Asked) -> Report:
    """Each day of the month that is over: liability + owed + in transit against the newest balance by then."""
    first, last = asked.month.start.date(), min(asked.month.end, asked.as_of).date() - timedelta(days=1)
    days = days_of(db, asked, first, last) if first <= last else []
    names = names_of(db, asked, {each.position.issuer_id for each in days})
    days.sort(
        key=lambda each: (names[each.position.issuer_id], each.position.issuer_id, each.position.currency, each.day)
    )
    return Report(
        "safeguarding",
        "Safeguarding of issuers' money",
        asked.mode,
        f"days of {asked.month} (UTC)",
        (
            Column("issuer_id", "Issuer ID", on_paper=False),
            Column("issuer", "Issuer"),
            Column("currency", "Currency"),
            Column("day", "End of day", "date"),
            Column("liability", "Cards' liability", "money"),
            Column("owed", "Owed to stores", "money"),
            Column("receivable", "Owed by stores", "money"),
            Column("in_transit", "In transit", "money"),
            Column("required", "Must be there", "money"),
            Column("balance", "Bank balance", "money"),
            Column("balance_day", "Balance of", "date"),
            Column("balance_age", "Days old", "whole"),
            Column("source", "Source"),
            Column("short", "Short by", "money"),
        ),
        [_row(names[each.position.issuer_id], each) for each in days],
        list(notes_of(days, asked.mode)),
        charts=tuple(_charts(names, days)),
    )


def _row(name: str, day: Day) -> Row:
    position, kept = day.position, day.kept
    return (
        position.issuer_id,
        name,
        position.currency,
        day.day,
        position.liability_minor,
        position.owed_minor,
        position.receivable_minor,
        position.in_transit_minor,
        position.required_minor,
        kept.balance_minor if kept else None,
        kept.day if kept else None,
        day.age_days,
        kept.source if kept else None,
        day.short_minor,
    )


def _by_issuer(days: Iterable[Day]) -> dict[tuple[str, str], list[Day]]:
    found: dict[tuple[str, str], list[Day]] = defaultdict(list)
    for each in days:
        found[each.position.issuer_id, each.position.currency].append(each)
    return found


def notes_of(days: Iterable[Day], mode: str) -> Iterable[Note]:
    """What is wrong with these days, and what nobody knows of them."""
    for (issuer_id, currency), mine in _by_issuer(days).items():
        short = [each for each in mine if each.short_minor]
        whose = f"{issuer_id}, {currency}"
        if short:
            worst = max(short, key=lambda each: each.short_minor)
            most = f"most on {worst.day}: {money(worst.short_minor, currency)}"
            yield Note(f"{whose}: too little was there on {len(short)} of {len(mine)} days, {most}.", wrong=True)
        unknown = sum(each.is_unknown(mode) for each in mine)
        if all(each.kept is None for each in mine):
            yield Note(f"{whose}: nobody has entered a bank balance, so nothing can be said.", wrong=unknown > 0)
        elif unknown:
            old = f"no balance, or one older than {MOST_AGE_DAYS} days"
            yield Note(f"{whose}: nobody knows what was there on {unknown} of {len(mine)} days: {old}.", wrong=True)


def _charts(names: Mapping[str, str], days: Iterable[Day]) -> Iterable[Chart]:
    for (issuer_id, currency), mine in list(_by_issuer(days).items())[:MOST_CHARTS]:
        series = (
            Series("must be there", tuple(each.position.required_minor for each in mine)),
            Series("bank balance", tuple(each.kept.balance_minor if each.kept else None for each in mine)),
        )
        labels = tuple(f"{each.day:%m-%d}" for each in mine)
        yield Chart(f"{names[issuer_id]}, {currency}", "lines", "Day", labels, series, "money", currency)
