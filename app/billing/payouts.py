"""Payouts: what was sent to stores, what the bank says of it, and what comes back."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, select, update

from app import clock
from app.billing.pay_models import PayoutPayable, PayoutRow
from app.db.together import many
from app.db.transaction import transaction
from app.errors import InvalidRequest, NotFound
from app.events.event import event_of
from app.ids import IssuerId, StoreId
from app.ledger.accounts import IN_TRANSIT, OWED, PAID, account_id
from app.ledger.transfer import transfer_of
from app.money import Money


@dataclass(frozen=True, slots=True)
class Payout:
    """One payment by the bank, in minor units; `state`: drafted, in_transit, paid, returned, left_out or dropped."""

    id: str
    run_id: str
    store_id: StoreId
    issuer_id: IssuerId
    mode: str
    currency: str
    amount_minor: int
    end_to_end_id: str
    state: str
    left_out_because: str | None = None
    sent_at: datetime | None = None
    paid_at: datetime | None = None
    returned_at: datetime | None = None
    returned_because: str | None = None

    @property
    def amount(self) -> Money:
        return Money(self.amount_minor, self.currency)

    @property
    def facts(self) -> dict[str, object]:
        """For its events."""
        named = ("run_id", "store_id", "issuer_id", "mode", "currency", "amount_minor")
        return {"payout_id": self.id, **{name: getattr(self, name) for name in named}}


COLUMNS = tuple(getattr(PayoutRow, name) for name in Payout.__dataclass_fields__)


def list_payouts(*, state: str | None = None, run_id: str | None = None, mode: str | None = None) -> list[Payout]:
    """Payouts in the order in which they were drafted. Raises Busy."""
    query = select(*COLUMNS).order_by(PayoutRow.id)
    for column, wanted in ((PayoutRow.state, state), (PayoutRow.run_id, run_id), (PayoutRow.mode, mode)):
        query = query if wanted is None else query.where(column == wanted)
    with transaction() as db:
        return [Payout(**row._mapping) for row in db.execute(query)]


def note_paid(payout_ids: Sequence[str]) -> list[Payout]:
    """The bank says that these have arrived; all of them or none. What is paid already stays as it is.

    Returns those that were not. Raises NotFound; InvalidRequest for one that is not on its way; Busy.
    """
    with transaction() as db:
        found = [each for each in _lock(db, payout_ids, ("in_transit", "paid")) if each.state == "in_transit"]
        now, ids = clock.now(db), [each.id for each in found]
        db.execute(update(PayoutRow).where(PayoutRow.id.in_(ids)).values(state="paid", paid_at=now))
        _move(db, "arrive", found, IN_TRANSIT, PAID, now)
        many(db, [event_of("payout_paid", at=now, facts=each.facts) for each in found])
        return found


def note_returned(payout_ids: Sequence[str], *, reason: str) -> list[Payout]:
    """The bank has sent these back, on their way or later; all of them or none. What was returned stays as it is.

    They are owed again, and what they paid is free for the next run, which pays it by another payout. Returns those
    that were not returned before. Raises NotFound; InvalidRequest for one that was never sent, or no reason; Busy.
    """
    if not reason.strip() or not reason.isprintable():
        raise InvalidRequest("Say what the bank says, on one line.", pointer="/reason")
    with transaction() as db:
        known = ("in_transit", "paid", "returned")
        found = [each for each in _lock(db, payout_ids, known) if each.state != "returned"]
        now, ids = clock.now(db), [each.id for each in found]
        back = {"state": "returned", "returned_at": now, "returned_because": reason}
        db.execute(update(PayoutRow).where(PayoutRow.id.in_(ids)).values(back))
        db.execute(update(PayoutPayable).where(PayoutPayable.payout_id.in_(ids)).values(is_live=False))
        _move(db, "return", [each for each in found if each.state == "in_transit"], IN_TRANSIT, OWED, now)
        _move(db, "return", [each for each in found if each.state == "paid"], PAID, OWED, now)
        facts = [{**each.facts, "reason": reason} for each in found]
        many(db, [event_of("payout_returned", at=now, facts=each) for each in facts])
        return found


def _lock(db: Connection, payout_ids: Sequence[str], states: Sequence[str]) -> list[Payout]:
    """In the order of their IDs, so that two that name the same do not wait for each other in a circle."""
    query = select(*COLUMNS).where(PayoutRow.id.in_(sorted(set(payout_ids)))).order_by(PayoutRow.id)
    found = [Payout(**row._mapping) for row in db.execute(query.with_for_update())]
    if unknown := set(payout_ids) - {each.id for each in found}:
        raise NotFound(f"There is no payout {min(unknown)!r}.")
    for each in found:
        if each.state not in states:
            raise InvalidRequest(f"Payout {each.id} is {each.state}.", pointer="/payout_ids")
    return found


def _move(db: Connection, kind: str, payouts: Sequence[Payout], debit: str, credit: str, now: datetime) -> None:
    many(
        db,
        [
            transfer_of(
                kind,
                each.amount,
                debit_id=account_id(debit, each.store_id, each.currency),
                credit_id=account_id(credit, each.store_id, each.currency),
                mode=each.mode,
                document_id=each.id,
                at=now,
            )
            for each in payouts
        ],
    )
