"""Breaks as finance sees them: listed, read, and locked by whoever changes one."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, func, select

from app import clock
from app.billing.break_models import BreakAttachment, BreakNote
from app.billing.models import BillBreak, BillLine, BillRow
from app.db.base import AnyRow
from app.db.transaction import transaction
from app.errors import NotFound
from app.ids import IssuerId, PaymentId, StoreId
from app.redemption.models import Store


@dataclass(frozen=True, slots=True)
class Break:
    """Why a line did not match, and what becomes of it. Amounts are minor units of the line's currency.

    `amount_minor` is the line's, `expected_minor` what its payment came to when it was matched, where it is the
    store's. `would_…`: what the proposal comes to. `claimed_minor`: what the line took up once the break was closed.
    """

    id: str
    bill_id: str
    bill_reference: str
    bill_state: str
    period: str
    store_id: StoreId
    store_name: str
    mode: str
    line_no: int
    payment_id: PaymentId
    amount_minor: int
    currency: str
    order_reference: str | None
    kind: str
    expected_minor: int | None
    other_bill_id: str | None
    issuer_id: IssuerId | None
    opened_at: datetime
    age_days: int
    state: str
    assignee: str | None
    proposal_id: str | None
    proposal: str | None
    proposed_payment_id: PaymentId | None
    proposed_issuer_id: IssuerId | None
    would_claim_minor: int | None
    would_pay_minor: int | None
    reason: str | None
    proposed_by: str | None
    proposed_at: datetime | None
    approved_by: str | None
    approved_at: datetime | None
    closed_at: datetime | None
    claimed_minor: int | None
    paid_minor: int | None
    replayed: bool = False


@dataclass(frozen=True, slots=True)
class Note:
    """What somebody said about a break."""

    id: str
    break_id: str
    note: str
    noted_by: str
    at: datetime
    replayed: bool = False


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file that was added to a break, but for its content. `size` in bytes; `sha256` in hexadecimal."""

    id: str
    break_id: str
    name: str
    media_type: str
    size: int
    sha256: str
    attached_by: str
    at: datetime


def list_breaks(
    *,
    mode: str | None = None,
    state: str | None = None,
    closed: bool | None = None,
    kind: str | None = None,
    bill_id: str | None = None,
    store_id: str | None = None,
    assignee: str | None = None,
    older_than_days: int | None = None,
    after: str | None = None,
    limit: int,
) -> list[Break]:
    """Breaks of one mode, or of both, oldest first, from the one after `after`. Raises Busy."""
    with transaction() as db:
        now = clock.now(db)
        asked = (
            (mode, BillRow.mode == mode),
            (state, BillBreak.state == state),
            (closed, BillBreak.closed_at.is_not(None) if closed else BillBreak.closed_at.is_(None)),
            (kind, BillBreak.kind == kind),
            (bill_id, BillBreak.bill_id == bill_id),
            (store_id, BillRow.store_id == store_id),
            (assignee, BillBreak.assignee == assignee),
            (older_than_days, BillBreak.opened_at <= now - timedelta(days=older_than_days or 0)),
            (after, BillBreak.id > (after or "")),
        )
        where = [condition for given, condition in asked if given is not None]
        rows = db.execute(select(*_COLUMNS).select_from(_TABLES).where(*where).order_by(BillBreak.id).limit(limit))
        return [_shown(row, now) for row in rows]


def read_break(break_id: str, *, mode: str | None = None) -> tuple[Break, list[Note], list[Attachment]]:
    """One break, of this mode or of any, with what people said about it and added to it, oldest first.

    Raises NotFound, Busy.
    """
    with transaction() as db:
        found = find_break(db, break_id, mode=mode)
        notes = select(*(getattr(BreakNote, name) for name in _NOTE)).where(BreakNote.break_id == break_id)
        files = select(*_ATTACHMENT).where(BreakAttachment.break_id == break_id)
        return (
            found,
            [Note(**row._mapping) for row in db.execute(notes.order_by(BreakNote.id))],
            [Attachment(**row._mapping) for row in db.execute(files.order_by(BreakAttachment.id))],
        )


def find_break(db: Connection, break_id: str, *, mode: str | None, locked: bool = False) -> Break:
    """One break, of this mode or of any; `locked` where it is about to change, after its bill. Raises NotFound."""
    query = select(*_COLUMNS).select_from(_TABLES).where(BillBreak.id == break_id)
    if mode is not None:
        query = query.where(BillRow.mode == mode)
    row = db.execute(query.with_for_update(of=BillBreak) if locked else query).first()
    if row is None:
        raise NotFound("There is no such break.")
    return _shown(row, clock.now(db))


def _shown(row: AnyRow, now: datetime) -> Break:
    return Break(**row._mapping, age_days=max(0, (now - row.opened_at).days))


#: The columns of the tables beside the break's own, by what a `Break` calls them.
_BESIDE = {
    "bill_reference": BillRow.reference,
    "bill_state": BillRow.state,
    "period": BillRow.period,
    "store_id": BillRow.store_id,
    "store_name": Store.name,
    "mode": BillRow.mode,
    "payment_id": BillLine.payment_id,
    "amount_minor": BillLine.amount_minor,
    "currency": BillLine.currency,
    "order_reference": BillLine.order_reference,
}
_COLUMNS = [
    _BESIDE[name].label(name) if name in _BESIDE else getattr(BillBreak, name)
    for name in Break.__dataclass_fields__
    if name not in ("age_days", "replayed")
]
_IS_LINE = (BillLine.bill_id == BillBreak.bill_id) & (BillLine.line_no == BillBreak.line_no)
_TABLES = (
    BillBreak.__table__.join(BillRow.__table__, BillRow.id == BillBreak.bill_id)
    .join(BillLine.__table__, _IS_LINE)
    .join(Store.__table__, Store.id == BillRow.store_id)
)
_NOTE = ("id", "break_id", "note", "noted_by", "at")
_ATTACHMENT = (
    BreakAttachment.id,
    BreakAttachment.break_id,
    BreakAttachment.name,
    BreakAttachment.media_type,
    BreakAttachment.size,
    func.encode(BreakAttachment.content_sha256, "hex").label("sha256"),
    BreakAttachment.attached_by,
    BreakAttachment.at,
)
