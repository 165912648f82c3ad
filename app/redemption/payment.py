"""A payment as its store sees it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from types import SimpleNamespace
from typing import Any

from sqlalchemy import bindparam, func, select

from app import clock
from app.config import settings
from app.db.base import AnyRow
from app.db.transaction import transaction
from app.errors import NotFound
from app.ids import PaymentId, StoreId
from app.money import Money
from app.oauth.keys import sign
from app.redemption.models import PaymentRow


@dataclass(frozen=True, slots=True)
class Payment:
    """State and amounts of one payment. `balance`: the card's, when this payment last moved while it was open, or
    settled; never what became of the card after."""

    id: PaymentId
    store_id: StoreId
    state: str
    confirmed: bool
    order_reference: str
    balance: Money
    held: Money
    settled: Money
    released: Money
    refunded: Money
    expires_at: datetime
    created_at: datetime
    as_of: datetime
    replayed: bool = False


#: What `describe_payment` needs of a row.
COLUMNS = (
    PaymentRow.id,
    PaymentRow.store_id,
    PaymentRow.state,
    PaymentRow.currency,
    PaymentRow.confirmed_at,
    PaymentRow.order_reference,
    PaymentRow.balance_minor,
    PaymentRow.held_minor,
    PaymentRow.settled_minor,
    PaymentRow.released_minor,
    PaymentRow.refunded_minor,
    PaymentRow.expires_at,
    PaymentRow.created_at,
)

_OWNED = select(*COLUMNS, func.clock_timestamp().label("stamp")).where(
    PaymentRow.id == bindparam("wanted_payment"), PaymentRow.store_id == bindparam("asking_store")
)


def read_payment(payment_id: PaymentId, *, store_id: StoreId) -> Payment:
    """One payment of this store, expired when its time is over. Raises NotFound for anybody else's."""
    with transaction() as db:
        row = db.execute(_OWNED, {"wanted_payment": payment_id, "asking_store": store_id}).first()
        if row is None:
            raise NotFound("There is no such payment.")
        return describe_payment(row, clock.read(row.stamp))


def described_with(row: AnyRow, changes: Mapping[str, Any], now: datetime) -> Payment:
    """The payment as it will be once these columns are written."""
    return describe_payment(SimpleNamespace(**{**row._mapping, **changes}), now)


def describe_payment(row: AnyRow | SimpleNamespace, now: datetime) -> Payment:
    """The payment at `now`: a hold that is over shows as expired, or settled where a part was, before any job ran."""
    is_over = row.state == "held" and row.expires_at <= now
    state = row.state if not is_over else "settled" if row.settled_minor else "expired"
    held = 0 if is_over else row.held_minor

    def money(amount_minor: int) -> Money:
        return Money(amount_minor, row.currency)

    return Payment(
        id=row.id,
        store_id=row.store_id,
        state=state,
        confirmed=row.confirmed_at is not None,
        order_reference=row.order_reference,
        balance=money(row.balance_minor),
        held=money(held),
        settled=money(row.settled_minor),
        released=money(row.released_minor + row.held_minor - held),
        refunded=money(row.refunded_minor),
        expires_at=row.expires_at,
        created_at=row.created_at,
        as_of=now,
    )


def sign_balance(payment: Payment) -> str | None:
    """The balance token of an open payment: a JWT that the store's pages verify offline and that authorises nothing.

    None for a payment that holds nothing.
    """
    if payment.state != "held":
        return None
    claims = {
        "iss": settings().public_url,
        "aud": payment.store_id,
        "sub": payment.id,
        "iat": int(payment.as_of.timestamp()),
        "exp": int(payment.expires_at.timestamp()),
        "balance_minor": payment.balance.amount_minor,
        "currency": payment.balance.currency,
    }
    return sign("balance", claims, typ="scrip-balance+jwt")
