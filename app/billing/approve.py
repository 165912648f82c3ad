"""Approve a bill: what it comes to becomes payable, and what was written off is given."""

from dataclasses import asdict
from datetime import datetime

from sqlalchemy import Connection, func, select, text, update

from app import clock
from app.billing.models import BillBreak, BillRow
from app.billing.payables import Payable
from app.billing.taking_up import LockedBill, lock_bill
from app.db.base import AnyRow
from app.db.together import many, together
from app.db.transaction import transaction
from app.errors import InvalidRequest
from app.events.event import event_of
from app.ids import new_id
from app.ledger.accounts import GOODWILL, OWED, account_id, opening_of
from app.ledger.transfer import transfer_of
from app.money import Money


def approve_bill(bill_id: str, *, operator: str) -> list[Payable]:
    """Finance approves a matched bill without open breaks; returns what is payable for it, by issuer and currency.

    From then on nothing of the bill changes. A payable of nothing or less is netted with the store's next.

    Raises NotFound; InvalidRequest when the bill is not matched, or has open breaks; Busy.
    """
    with transaction() as db:
        bill = lock_bill(db, bill_id)
        if bill.state != "matched":
            raise InvalidRequest(f"The bill is {bill.state}: only a matched one can be approved.", pointer="/bill_id")
        still_open = select(func.count()).where(BillBreak.bill_id == bill_id, BillBreak.closed_at.is_(None))
        if count := db.scalar(still_open):
            raise InvalidRequest(f"Breaks of the bill that are open: {count}.", pointer="/bill_id")
        now = clock.now(db)
        closed = {"state": "approved", "closed_by": operator, "closed_at": now}
        db.execute(update(BillRow).where(BillRow.id == bill_id).values(closed))
        payables = _make_payables(db, bill, now)
        _give_goodwill(db, bill, now)
        amounts = [_facts(each) for each in payables]
        facts = {"bill_id": bill_id, "store_id": bill.store_id, "mode": bill.mode, "payables": amounts}
        together(db, event_of("bill_approved", at=now, facts=facts))
        return payables


def _make_payables(db: Connection, bill: LockedBill, now: datetime) -> list[Payable]:
    db.exec_driver_sql("SET LOCAL statement_timeout = '5min'")
    comes_to = db.execute(_COMES_TO, {"bill_id": bill.id}).all()
    made = [
        Payable(new_id("pbl"), bill.id, bill.store_id, row.issuer_id, bill.mode, row.currency, int(row.minor), now)
        for row in comes_to
    ]
    if made:
        db.execute(_PAYABLE, [asdict(each) for each in made])
    return made


def _give_goodwill(db: Connection, bill: LockedBill, now: datetime) -> None:
    """Nothing of an approved bill's breaks changes any more, so it is given once."""
    written_off = db.execute(_WRITTEN_OFF, {"bill_id": bill.id}).all()
    accounts = {(GOODWILL, row.issuer_id, row.currency) for row in written_off}
    accounts |= {(OWED, bill.store_id, row.currency) for row in written_off}
    many(db, [opening_of(*account, bill.mode) for account in sorted(accounts)])
    many(
        db,
        [
            transfer_of(
                "goodwill",
                Money(row.amount_minor, row.currency),
                debit_id=account_id(GOODWILL, row.issuer_id, row.currency),
                credit_id=account_id(OWED, bill.store_id, row.currency),
                mode=bill.mode,
                document_id=row.id,
                at=now,
            )
            for row in written_off
        ],
    )
    many(db, [event_of("goodwill_given", at=now, facts=_goodwill(bill, row)) for row in written_off])


def _goodwill(bill: LockedBill, row: AnyRow) -> dict[str, object]:
    return {
        "break_id": row.id,
        "bill_id": bill.id,
        "store_id": bill.store_id,
        "issuer_id": row.issuer_id,
        "mode": bill.mode,
        "currency": row.currency,
        "amount_minor": row.amount_minor,
    }


def _facts(payable: Payable) -> dict[str, object]:
    return {name: getattr(payable, name) for name in ("id", "issuer_id", "currency", "amount_minor")}


#: What the bill took up, and by how much its closed breaks pay less, or more by a write-off.
_COMES_TO = text("""
    SELECT issuer_id, currency, sum(amount_minor) AS minor FROM (
        SELECT issuer_id, currency, amount_minor FROM billed WHERE bill_id = :bill_id
        UNION ALL
        SELECT b.issuer_id, l.currency, b.paid_minor - b.claimed_minor
        FROM bill_break b JOIN bill_line l ON (l.bill_id, l.line_no) = (b.bill_id, b.line_no)
        WHERE b.bill_id = :bill_id AND b.paid_minor <> b.claimed_minor
    ) AS parts
    GROUP BY issuer_id, currency ORDER BY issuer_id, currency
""")
_PAYABLE = text("""
    INSERT INTO payable (id, bill_id, store_id, issuer_id, mode, currency, amount_minor, approved_at)
    VALUES (:id, :bill_id, :store_id, :issuer_id, :mode, :currency, :amount_minor, :approved_at)
""")
_WRITTEN_OFF = text("""
    SELECT b.id, b.issuer_id, l.currency, b.paid_minor - b.claimed_minor AS amount_minor
    FROM bill_break b JOIN bill_line l ON (l.bill_id, l.line_no) = (b.bill_id, b.line_no)
    WHERE b.bill_id = :bill_id AND b.state = 'written_off' AND b.paid_minor > b.claimed_minor ORDER BY b.id
""")
