"""What covers a refund: what is owed to its store, and how far below nothing an operator lets it go."""

from sqlalchemy import Connection, bindparam, func, select, update

from app import clock
from app.db.together import together
from app.db.transaction import transaction
from app.errors import InvalidRequest, NotFound, RefundNotCovered
from app.events.event import event_of
from app.ids import StoreId
from app.ledger.accounts import OWED, account_id
from app.money import MAX_MINOR, Money, is_currency
from app.redemption.models import Store


def allow_refunds(store_id: StoreId, currency: str, allowance_minor: int) -> None:
    """From now on the store's refunds may take what it is owed in this currency so far below nothing; 0: not at all.

    What is below nothing is netted with what the store is owed next. Raises NotFound, InvalidRequest, Busy.
    """
    if not is_currency(currency):
        raise InvalidRequest("There is no such currency.", pointer="/currency")
    if not 0 <= allowance_minor <= MAX_MINOR:
        raise InvalidRequest("An allowance is a whole number of minor units.", pointer="/allowance_minor")
    with transaction() as db:
        locked = select(Store.refund_allowances).where(Store.id == store_id).with_for_update(key_share=True)
        allowances = db.scalar(locked)
        if allowances is None:
            raise NotFound(f"There is no store {store_id!r}.")
        changed = {**allowances, currency: allowance_minor}
        kept = {name: allowance for name, allowance in changed.items() if allowance > 0}
        db.execute(update(Store).where(Store.id == store_id).values(refund_allowances=kept))
        facts = {"store_id": store_id, "currency": currency, "allowance_minor": allowance_minor}
        together(db, event_of("refunds_allowed", at=clock.now(db), facts=facts))


def check_cover(db: Connection, store_id: StoreId, amount: Money) -> None:
    """Locks the store, as payouts do, so that of all that takes from what it is owed each sees the others.

    The lock comes after those of card, key and payment; a payout takes none of these. Raises RefundNotCovered.
    """
    account = account_id(OWED, store_id, amount.currency)
    row = db.execute(_COVER, {"of_store": store_id, "owed_account": account}).one()
    left_minor = max(0, row.owed_minor + row.refund_allowances.get(amount.currency, 0))
    if amount.amount_minor > left_minor:
        left = Money(left_minor, amount.currency)
        detail = f"What the store is owed covers a refund of {left} now; more once it has settled more."
        raise RefundNotCovered(detail, left_minor=left_minor)


#: Locked inside, and summed outside with a snapshot of its own: after any wait.
_LOCKED = (
    select(Store.refund_allowances)
    .where(Store.id == bindparam("of_store"))
    .with_for_update(key_share=True)
    .subquery("locked")
)
_COVER = select(_LOCKED.c.refund_allowances, func.owed_of(bindparam("owed_account")).label("owed_minor"))
