"""Reject a bill: it takes up nothing any more, and what it did another bill may."""

from sqlalchemy import update

from app import clock
from app.billing.bill import Bill, bill_of
from app.billing.models import BillRow
from app.billing.taking_up import give_back, lock_bill
from app.db.together import together
from app.db.transaction import transaction
from app.errors import BillClosed
from app.events.event import event_of


def reject_bill(bill_id: str, *, by: str, store_id: str | None = None) -> Bill:
    """The bill is rejected by finance, or withdrawn by the store that sent it, whose bill it must be then.

    Done twice it is done once. `by`: who does it. Raises NotFound; BillClosed: it is not matched yet, or approved,
    which its fact `state` says; Busy.
    """
    with transaction() as db:
        bill_of(db, bill_id, store_id=store_id)
        state = lock_bill(db, bill_id).state
        if state == "rejected":
            return bill_of(db, bill_id)
        if state != "matched":
            raise BillClosed(f"The bill is {state}.", state=state)
        give_back(db, bill_id)
        now = clock.now(db)
        closed = update(BillRow).where(BillRow.id == bill_id).values(state="rejected", closed_by=by, closed_at=now)
        db.execute(closed)
        bill = bill_of(db, bill_id)
        together(db, event_of("bill_rejected", at=now, facts={"bill_id": bill_id, "store_id": bill.store_id}))
        return bill
