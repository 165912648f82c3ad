"""One card, one key: the writes that move the single way to a card's value, for `together`."""

from datetime import datetime

from sqlalchemy import update
from sqlalchemy.sql.dml import Update

from app.db.together import write
from app.ids import CardId, CodeId, LinkId, PaymentId, StoreId
from app.issuance.models import Card, CardKey, Code


@write
def point_at(
    card_id: CardId,
    *,
    link_id: LinkId | None = None,
    code_id: CodeId | None = None,
    payment_id: PaymentId | None = None,
) -> Update:
    """Makes this link, code or held code the card's one key; with none of them, nothing reaches the card."""
    return (
        update(CardKey)
        .where(CardKey.card_id == card_id)
        .values(link_id=link_id, code_id=code_id, payment_id=payment_id)
    )


@write
def kill_code(code_id: CodeId, at: datetime) -> Update:
    """The code is dead for good; its hash goes with it."""
    return update(Code).where(Code.id == code_id, Code.state != "dead").values(state="dead", hash=None, died_at=at)


@write
def bind_code(
    code_id: CodeId, *, store_id: StoreId, shopper_key: str | None, order_reference: str, until: datetime
) -> Update:
    """The code is this store's alone until then, and its shopper's, or where none is named, its order's."""
    return (
        update(Code)
        .where(Code.id == code_id)
        .values(
            state="bound",
            store_id=store_id,
            shopper_key=shopper_key,
            order_reference=order_reference,
            bound_until=until,
        )
    )


@write
def bind_until(code_id: CodeId, until: datetime) -> Update:
    """A code stays bound as long as its payment's hold."""
    return update(Code).where(Code.id == code_id, Code.state == "bound").values(bound_until=until)


@write
def spend_card(card_id: CardId) -> Update:
    """Nothing is left."""
    return update(Card).where(Card.id == card_id).values(state="spent")


@write
def keep_card(card_id: CardId, until: datetime) -> Update:
    """The card is active, again or still, and lives until then."""
    return update(Card).where(Card.id == card_id).values(state="active", expires_at=until)
