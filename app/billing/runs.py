"""Payment runs: one person drafts what is paid, another releases it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, func, select, text, update

from app import clock
from app.billing.pay_models import PaymentRun, PayoutPayable, PayoutRow
from app.billing.pay_rules import NOT_COVERED, PayoutSeen, choose_payables, decide_release, end_to_end_id
from app.billing.payables import unpaid
from app.billing.payouts import COLUMNS as PAYOUT_COLUMNS
from app.billing.payouts import Payout
from app.db.together import many, row_of, together
from app.db.transaction import transaction
from app.errors import InvalidRequest, NotFound
from app.events.event import event_of
from app.ids import StoreId, new_id
from app.ledger.accounts import IN_TRANSIT, OWED, PAID, account_id, opening_of
from app.ledger.transfer import transfer_of
from app.redemption.models import Store


@dataclass(frozen=True, slots=True)
class Run:
    """A payment run with its payouts; `state`: drafted, released or dropped."""

    id: str
    mode: str
    drafted_by: str
    drafted_at: datetime
    state: str
    released_by: str | None
    released_at: datetime | None
    payouts: tuple[Payout, ...]


def draft_run(*, mode: str, operator: str) -> Run:
    """Chooses, for each store, issuer and currency, all payables that no payout pays, where they come to something.

    They are this run's until it is dropped. Raises NotFound when there is nothing to pay, Busy.
    """
    with transaction() as db:
        db.execute(_ONE_DRAFT, {"key": f"payment runs {mode}"})
        groups = choose_payables(unpaid(db, mode))
        if not groups:
            raise NotFound("There is nothing to pay.")
        now, run_id = clock.now(db), new_id("run")
        db.execute(_RUN, {"id": run_id, "mode": mode, "by": operator, "at": now})
        payouts, pays = [], []
        for group in groups:
            payout_id, (store_id, issuer_id, currency) = new_id("out"), group[0].whose
            total = sum(each.amount_minor for each in group)
            columns = (payout_id, run_id, store_id, issuer_id, mode, currency, total, end_to_end_id(payout_id))
            payouts.append(dict(zip(_PAYOUT_GIVEN, columns, strict=True)))
            pays += [{"payout_id": payout_id, "payable_id": each.id} for each in group]
        many(db, [_payout(**each) for each in payouts])
        many(db, [_pays(**each) for each in pays])
        facts = {"run_id": run_id, "mode": mode, "payouts": len(payouts)}
        together(db, event_of("payment_run_drafted", at=now, facts=facts))
        return _read(db, run_id)


def release_run(run_id: str, *, operator: str) -> Run:
    """Sends the payouts of a run that another operator drafted: all that what is owed now covers, in one transaction.

    The others are left out, and what they would have paid is free for the next run. Every refund of these stores waits
    meanwhile, so that refunds and payouts together never take more than is owed and allowed.

    Raises NotFound; InvalidRequest when the operator drafted it, or it is no draft any more; Busy.
    """
    with transaction() as db:
        db.exec_driver_sql("SET LOCAL statement_timeout = '5min'")
        run = _lock(db, run_id)
        if run.drafted_by == operator:
            raise InvalidRequest("You drafted it: another operator must release it.", pointer="/run_id")
        payouts = _payouts_of(db, run_id)
        covered = set(_covered(db, payouts))
        sent = [each for each in payouts if each.id in covered]
        left_out = [each for each in payouts if each.id not in covered]
        now = clock.now(db)
        released = {"state": "released", "released_by": operator, "released_at": now}
        db.execute(update(PaymentRun).where(PaymentRun.id == run_id).values(released))
        _leave_out(db, left_out, state="left_out", left_out_because=NOT_COVERED)
        many(db, [event_of("payout_left_out", at=now, facts={**one.facts, "reason": NOT_COVERED}) for one in left_out])
        _send(db, sent, now)
        facts = {"run_id": run_id, "mode": run.mode, "sent": len(sent), "left_out": len(left_out)}
        together(db, event_of("payment_run_released", at=now, facts=facts))
        return _read(db, run_id)


def drop_run(run_id: str, *, operator: str) -> Run:
    """Gives a draft up; what it would have paid is free for the next one.

    Raises NotFound; InvalidRequest when it is no draft any more; Busy.
    """
    with transaction() as db:
        run = _lock(db, run_id)
        now = clock.now(db)
        dropped = {"state": "dropped", "dropped_by": operator, "dropped_at": now}
        db.execute(update(PaymentRun).where(PaymentRun.id == run_id).values(dropped))
        _leave_out(db, _payouts_of(db, run_id), state="dropped")
        together(db, event_of("payment_run_dropped", at=now, facts={"run_id": run_id, "mode": run.mode}))
        return _read(db, run_id)


def find_run(run_id: str) -> Run:
    """A run with its payouts. Raises NotFound, Busy."""
    with transaction() as db:
        return _read(db, run_id)


def _read(db: Connection, run_id: str) -> Run:
    row = db.execute(select(*_RUN_COLUMNS).where(PaymentRun.id == run_id)).first()
    if row is None:
        raise NotFound(f"There is no payment run {run_id!r}.")
    return Run(**row._mapping, payouts=tuple(_payouts_of(db, run_id)))


def _lock(db: Connection, run_id: str) -> Run:
    row = db.execute(select(*_RUN_COLUMNS).where(PaymentRun.id == run_id).with_for_update()).first()
    if row is None:
        raise NotFound(f"There is no payment run {run_id!r}.")
    if row.state != "drafted":
        raise InvalidRequest(f"The run was {row.state} already.", pointer="/run_id")
    return Run(**row._mapping, payouts=())


def _payouts_of(db: Connection, run_id: str) -> list[Payout]:
    query = select(*PAYOUT_COLUMNS).where(PayoutRow.run_id == run_id).order_by(PayoutRow.id)
    return [Payout(**row._mapping) for row in db.execute(query)]


def _covered(db: Connection, payouts: Sequence[Payout]) -> list[str]:
    """Locks the stores as refunds do, in the order of their IDs, and only then reads what they are owed."""
    stores = sorted({each.store_id for each in payouts})
    query = select(Store.id, Store.refund_allowances).where(Store.id.in_(stores)).order_by(Store.id)
    locked = db.execute(query.with_for_update(key_share=True)).all()
    allowances = {
        (StoreId(row.id), currency): minor for row in locked for currency, minor in row.refund_allowances.items()
    }
    whose = sorted({(each.store_id, each.currency) for each in payouts})
    owed = {
        (store_id, currency): int(db.scalar(select(func.owed_of(account_id(OWED, store_id, currency)))) or 0)
        for store_id, currency in whose
    }
    return decide_release(
        [PayoutSeen(each.id, each.store_id, each.currency, each.amount_minor) for each in payouts], owed, allowances
    )


def _leave_out(db: Connection, payouts: Sequence[Payout], **ending: object) -> None:
    ids = [each.id for each in payouts]
    db.execute(update(PayoutRow).where(PayoutRow.id.in_(ids)).values(ending))
    db.execute(update(PayoutPayable).where(PayoutPayable.payout_id.in_(ids)).values(is_live=False))


def _send(db: Connection, payouts: Sequence[Payout], now: datetime) -> None:
    sent = {"state": "in_transit", "sent_at": now}
    db.execute(update(PayoutRow).where(PayoutRow.id.in_([each.id for each in payouts])).values(sent))
    accounts = {(kind, each.store_id, each.currency, each.mode) for each in payouts for kind in (IN_TRANSIT, PAID)}
    many(db, [opening_of(*account) for account in sorted(accounts)])
    many(
        db,
        [
            transfer_of(
                "send",
                each.amount,
                debit_id=account_id(OWED, each.store_id, each.currency),
                credit_id=account_id(IN_TRANSIT, each.store_id, each.currency),
                mode=each.mode,
                document_id=each.id,
                at=now,
            )
            for each in payouts
        ],
    )
    many(db, [event_of("payout_sent", at=now, facts=each.facts) for each in payouts])


_RUN_COLUMNS = tuple(getattr(PaymentRun, name) for name in Run.__dataclass_fields__ if name != "payouts")
_PAYOUT_GIVEN = ("id", "run_id", "store_id", "issuer_id", "mode", "currency", "amount_minor", "end_to_end_id")
_payout = row_of(PayoutRow)
_pays = row_of(PayoutPayable)
_RUN = text("INSERT INTO payment_run (id, mode, drafted_by, drafted_at) VALUES (:id, :mode, :by, :at)")
#: Two drafts at once would choose the same payables, and one of them break.
_ONE_DRAFT = text("SELECT pg_advisory_xact_lock(hashtextextended(:key, 0))")
