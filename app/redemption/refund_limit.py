"""Refund limits: how much a store may refund in a day by clients that have a secret, which may be stolen."""

from datetime import datetime, timedelta

from sqlalchemy import Connection, func, select, update

from app import clock
from app.db.together import together
from app.db.transaction import transaction
from app.errors import InvalidRequest, NotFound, RefundLimitReached
from app.events.event import event_of
from app.ids import StoreId
from app.money import MAX_MINOR, Money, is_currency
from app.redemption.models import PaymentRow, RefundRow, Store

#: The limit is for so long back from any moment: no night at which it begins anew.
WINDOW = timedelta(days=1)


def limit_refunds(store_id: StoreId, currency: str, limit_minor: int | None) -> None:
    """From now on the store refunds at most so much of this currency in WINDOW, None: as much as it likes.

    It is for clients of tier basic. Those of tier fapi are not limited, but what they refund counts. Raises NotFound,
    InvalidRequest, Busy.
    """
    if not is_currency(currency):
        raise InvalidRequest("There is no such currency.", pointer="/currency")
    if limit_minor is not None and not 0 <= limit_minor <= MAX_MINOR:
        raise InvalidRequest("A limit is a whole number of minor units.", pointer="/limit_minor")
    with transaction() as db:
        locked = select(Store.refund_limits).where(Store.id == store_id).with_for_update(key_share=True)
        limits = db.scalar(locked)
        if limits is None:
            raise NotFound(f"There is no store {store_id!r}.")
        changed = {**limits, currency: limit_minor}
        kept = {name: limit for name, limit in changed.items() if limit is not None}
        db.execute(update(Store).where(Store.id == store_id).values(refund_limits=kept))
        facts = {"store_id": store_id, "currency": currency, "limit_minor": limit_minor}
        together(db, event_of("refunds_limited", at=clock.now(db), facts=facts))


def check_limit(db: Connection, store_id: StoreId, amount: Money, now: datetime) -> None:
    """Locks the store, where it has a limit for this currency, so that of many refunds at once each counts the others.

    Raises RefundLimitReached.
    """
    limited = select(Store.refund_limits).where(Store.id == store_id, Store.refund_limits.has_key(amount.currency))
    limits = db.scalar(limited.with_for_update(key_share=True))
    if limits is None:
        return
    refunded = (
        select(func.coalesce(func.sum(RefundRow.amount_minor), 0))
        .join(PaymentRow, PaymentRow.id == RefundRow.payment_id)
        .where(RefundRow.store_id == store_id, RefundRow.at > now - WINDOW, PaymentRow.currency == amount.currency)
    )
    left_minor = max(0, limits[amount.currency] - int(db.scalars(refunded).one()))  # a sum is a numeric
    if amount.amount_minor > left_minor:
        left = Money(left_minor, amount.currency)
        detail = f"By a client that has a secret, {left} more can be refunded now."
        raise RefundLimitReached(detail, left_minor=left_minor)
