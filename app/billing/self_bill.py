"""Self-billing: what a store has not billed long after the month's end, we bill for it."""

import csv
import io
import tempfile
from datetime import timedelta
from typing import BinaryIO

from app import clock
from app.billing.files import CSV
from app.billing.receive import receive_bill
from app.billing.rules import Period, period_named, period_of
from app.billing.unbilled import months_unbilled, unbilled
from app.config import settings
from app.db.transaction import transaction
from app.ids import StoreId
from app.jobs.worker import stopping

BY = "self-billing"


def self_bill() -> int:
    """Makes the bills `self:YYYY-MM` that are due, which the worker reads and matches as any other; how many.

    A month is due SELF_BILL_AFTER_DAYS after its end. Its bill has a line for each payment of which something that was
    settled in this month is unbilled; refunds of what was billed before come back by themselves, as credits, or as
    lines where there is nothing else: of a store that has stopped selling no other bill would ever take them up. One
    bill of a store and month is ever made: what finance rejects of it stays with the store. While a bill of the store
    waits to be matched none is made. Raises Busy.
    """
    after_days = settings().self_bill_after_days
    if after_days == 0:
        return 0
    with transaction() as db:
        due_before = period_of(clock.now(db) - timedelta(days=after_days)).begins_at
        due = months_unbilled(db, due_before)
    made, seen = 0, set[StoreId]()
    for store_id, month in due:
        if store_id in seen or stopping():  # the next month of a store waits until this bill is matched
            continue
        if _make(store_id, period_named(month)):  # or the month came to nothing, and keeps no other waiting
            seen.add(store_id)
            made += 1
    return made


def _make(store_id: StoreId, period: Period) -> bool:
    with tempfile.TemporaryFile() as file:
        if not _write(file, store_id, period, settled=True) and not _write(file, store_id, period, settled=False):
            return False
        reference = f"self:{period.name}"
        receive_bill(file, store_id=store_id, kind=CSV, source="self", by=BY, period=period.name, reference=reference)
    return True


def _write(file: BinaryIO, store_id: StoreId, period: Period, *, settled: bool) -> int:
    """The lines as CSV, of what was `settled` in the period or else of what was given back in it; how many."""
    file.seek(0)
    file.truncate()
    written = 0
    text = io.TextIOWrapper(file, encoding="ascii", newline="", write_through=True)
    rows = csv.writer(text)
    rows.writerow(["payment_id", "amount_minor", "currency"])
    with transaction() as db:
        for each in unbilled(db, period, store_id=store_id):
            at = each.last_settled_at if settled or each.last_settled_at else each.first_at
            if at is not None and at >= period.begins_at:
                rows.writerow([each.payment_id, each.amount.amount_minor, each.currency])
                written += 1
    text.detach()
    return written
