"""What a store is told of a payout: its bills, the credits and differences in them, and the sum."""

from sqlalchemy import Connection

from app.billing.remittance import Advice, read_advice
from app.reports.asked import Asked
from app.reports.report import Column, Note, Report, Row
from app.reports.words import money


def remittance(_db: Connection, asked: Asked) -> Report:
    """The advice of one payout that was sent. Raises ValueError without one, or for one of the other mode; NotFound."""
    if asked.payout_id is None:
        raise ValueError("name the payout whose remittance advice is wanted: --payout")
    advice = read_advice(asked.payout_id)
    head = advice.remittance
    if head.mode != asked.mode:
        raise ValueError(f"{asked.payout_id} is a payout of {head.mode} money")
    rows = _rows(advice)
    notes = [Note(text) for text in _told(advice)]
    paid = sum(bill.amount_minor for bill in advice.bills)
    if paid != head.amount_minor:
        bills, payout = money(paid, head.currency), money(head.amount_minor, head.currency)
        notes.append(Note(f"{head.id}: its bills come to {bills}, the payout to {payout}.", wrong=True))
    return Report(
        "remittance",
        f"Remittance advice {head.end_to_end_id}",
        head.mode,
        f"sent {head.sent_at:%Y-%m-%d} to {head.store}",
        (
            Column("kind", "Kind"),
            Column("bill", "Bill"),
            Column("period", "Period"),
            Column("lines", "Lines", "whole"),
            Column("line", "Line", "whole"),
            Column("payment_id", "Payment"),
            Column("what", "What"),
            Column("currency", "Currency"),
            Column("part", "of it", "money"),
            Column("amount", "Amount", "money", summed=True),
        ),
        rows,
        notes,
    )


def _rows(advice: Advice) -> list[Row]:
    """Bills are summed; below each, what of it is a credit, or differs from what a line asked for."""
    currency = advice.remittance.currency
    rows: list[Row] = []
    for bill in advice.bills:
        whose = (bill.reference, bill.period)
        rows.append(("bill", *whose, bill.lines, None, None, None, currency, None, bill.amount_minor))
        for credit in advice.credits:
            if credit.bill_id == bill.bill_id:
                what, minor = credit.refund_id, credit.amount_minor
                rows.append(("credit", *whose, None, None, credit.payment_id, what, currency, minor, None))
        for each in advice.breaks:
            if each.bill_id == bill.bill_id:
                what, minor = f"{each.kind}: {each.state}", each.difference_minor
                rows.append(("difference", *whose, None, each.line_no, each.payment_id, what, currency, minor, None))
    return rows


def _told(advice: Advice) -> list[str]:
    head = advice.remittance
    told = [
        f"To {head.store} ({head.store_id}), for {head.issuer}: {money(head.amount_minor, head.currency)}.",
        f"The bank shows it as {head.end_to_end_id}. Payout {head.id}, {head.state.replace('_', ' ')}.",
        "A difference is what is paid for a line less what the line asked for; it is in the bill's amount already.",
    ]
    if head.returned_because is not None:
        told.append(f"The bank sent it back: {head.returned_because}")
    return told
