"""Reject a bill: it takes up nothing any more, and what it did another bill may."""

from dataclasses import dataclass

from sqlalchemy import update

from app import clock
from app.billing.bill import Bill, bill_of
from app.billing.models import BillRow
from app.billing.taking_up import give_back, lock_bill
from app.db.request import Reference, done_before, keep_answer
from app.db.together import together
from app.db.transaction import transaction
from app.errors import BillClosed
from app.events.event import event_of


@dataclass(frozen=True, slots=True)
class Rejected:
    """The bill as it was rejected, and whether this request had done so before."""

    bill: Bill
    replayed: bool = False


def reject_bill(bill_id: str, *, by: str, store_id: str | None = None, reference: Reference | None = None) -> Rejected:
    """The bill is rejected by finance, or withdrawn by the store that sent it, whose bill it must be then.

    `by`: who does it. `reference`: of a request that may come twice. Raises NotFound; BillClosed: it is closed, or
    could not be read, which its fact `state` says; ReferenceReused; Busy, while a worker has it in hand.
    """
    with transaction() as db:
        if reference is not None and (done := done_before(db, reference, Rejected)) is not None:
            return done
        bill_of(db, bill_id, store_id=store_id)
        state = lock_bill(db, bill_id).state
        if state not in ("received", "read", "matched"):
            raise BillClosed(f"The bill is {state}.", state=state)
        give_back(db, bill_id)
        now = clock.now(db)
        closed = update(BillRow).where(BillRow.id == bill_id).values(state="rejected", closed_by=by, closed_at=now)
        db.execute(closed)
        rejected = Rejected(bill_of(db, bill_id))
        facts = {"bill_id": bill_id, "store_id": rejected.bill.store_id}
        kept = keep_answer(reference, rejected) if reference is not None else None
        together(db, event_of("bill_rejected", at=now, facts=facts), kept)
        return rejected
