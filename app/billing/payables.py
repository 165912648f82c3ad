"""What approved bills come to, and what of it nobody pays yet."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, exists, select

from app.billing.pay_models import Payable as Row
from app.billing.pay_models import PayoutPayable
from app.billing.pay_rules import PayableSeen
from app.db.base import AnySelect
from app.db.transaction import transaction
from app.ids import IssuerId, StoreId


@dataclass(frozen=True, slots=True)
class Payable:
    """What an approved bill comes to for one issuer and currency, in minor units; below zero the store owes it."""

    id: str
    bill_id: str
    store_id: StoreId
    issuer_id: IssuerId
    mode: str
    currency: str
    amount_minor: int
    approved_at: datetime


def list_payables(*, mode: str | None = None, store_id: StoreId | None = None) -> list[Payable]:
    """Those that no payout pays, or has in draft; by store, issuer and currency, the oldest first. Raises Busy."""
    columns = [getattr(Row, name) for name in Payable.__dataclass_fields__]
    query = _unpaid(select(*columns)).order_by(Row.store_id, Row.issuer_id, Row.currency, Row.id)
    if mode is not None:
        query = query.where(Row.mode == mode)
    if store_id is not None:
        query = query.where(Row.store_id == store_id)
    with transaction() as db:
        return [Payable(**row._mapping) for row in db.execute(query)]


def unpaid(db: Connection, mode: str) -> list[PayableSeen]:
    """The same of one mode, for who drafts a run."""
    columns = [getattr(Row, name) for name in PayableSeen.__dataclass_fields__]
    return [PayableSeen(**row._mapping) for row in db.execute(_unpaid(select(*columns)).where(Row.mode == mode))]


def _unpaid(query: AnySelect) -> AnySelect:
    is_paid = exists().where(PayoutPayable.payable_id == Row.id, PayoutPayable.is_live)
    return query.where(~is_paid)
