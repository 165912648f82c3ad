"""How an issuer stands: what it has paid in and issued, what must be on its account, and what the bank says is."""

from datetime import timedelta

from sqlalchemy import Connection

from app.reports.asked import Asked
from app.reports.positions import Kept, Position, names_of, newest_kept, positions_at
from app.reports.report import Column, Report, Row


def funding(db: Connection, asked: Asked) -> Report:
    """By issuer and currency, as of the moment; the bank's balance is the newest of a day that was over by then."""
    positions = positions_at(db, asked, asked.as_of)
    names = names_of(db, asked, {each.issuer_id for each in positions})
    kept = newest_kept(db, asked, asked.as_of.date() - timedelta(days=1))
    positions.sort(key=lambda each: (names[each.issuer_id], each.issuer_id, each.currency))
    return Report(
        "funding",
        "Funding position",
        asked.mode,
        asked.moment,
        (
            Column("issuer_id", "Issuer ID", on_paper=False),
            Column("issuer", "Issuer"),
            Column("currency", "Currency"),
            Column("funded", "Paid in", "money", summed=True),
            Column("adjusted", "Adjusted", "money", summed=True),
            Column("issued", "Issued", "money", summed=True),
            Column("available", "Available", "money", summed=True),
            Column("liability", "Cards' liability", "money", summed=True),
            Column("owed", "Owed to stores", "money", summed=True),
            Column("receivable", "Owed by stores", "money", summed=True),
            Column("in_transit", "In transit", "money", summed=True),
            Column("required", "Must be there", "money", summed=True),
            Column("balance", "Bank balance", "money"),
            Column("balance_day", "Balance of", "date"),
        ),
        [_row(names[each.issuer_id], each, kept.get((each.issuer_id, each.currency))) for each in positions],
    )


def _row(name: str, position: Position, kept: Kept | None) -> Row:
    return (
        position.issuer_id,
        name,
        position.currency,
        position.funded_minor,
        position.adjusted_minor,
        position.issued_minor,
        position.available_minor,
        position.liability_minor,
        position.owed_minor,
        position.receivable_minor,
        position.in_transit_minor,
        position.required_minor,
        kept.balance_minor if kept else None,
        kept.day if kept else None,
    )
