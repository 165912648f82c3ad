"""Expire: what is past its time is ended, so that letters go out without anybody asking."""

from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime

from sqlalchemy import Connection, func, literal_column, select, union_all

from app import clock
from app.db.base import AnySelect
from app.db.transaction import transaction
from app.ids import CardId
from app.issuance.models import Card, CardKey, ClaimLink, Code
from app.jobs.items import Broken, one_item
from app.redemption.holds import close_due
from app.redemption.models import PaymentRow

BATCH = 100


def expire_due() -> int:
    """Ends what is longest past its time, up to a batch, a transaction for each card; returns how many cards.

    A bug with one card is logged and stops no other.
    """
    with transaction() as db:
        due = union_all(*_due(clock.now(db))).order_by(literal_column("since")).limit(BATCH)
        card_ids = dict.fromkeys(CardId(row.card_id) for row in db.execute(due))
    return sum(_expire(card_id) for card_id in card_ids)


def holds_open(db: Connection) -> tuple[int, float]:
    """How many payments hold money, and for how many seconds the one that should have ended first is past its time."""
    now = clock.now(db)
    held = select(func.count().label("open"), func.min(PaymentRow.expires_at).label("first_end"))
    found = db.execute(held.where(PaymentRow.state == "held")).one()
    return found.open, max(0.0, (now - found.first_end).total_seconds()) if found.open else 0.0


def _expire(card_id: CardId) -> bool:
    """Skips a card that somebody else has locked: that verb ends what is due, or the next round does."""
    with suppress(Broken), one_item(card_id=card_id), transaction() as db:
        card = select(Card.id).where(Card.id == card_id).with_for_update(skip_locked=True)
        if db.execute(card).first() is None:
            return False
        db.execute(select(CardKey.card_id).where(CardKey.card_id == card_id).with_for_update())
        return close_due(db, card_id, clock.now(db))
    return False


def _due(now: datetime) -> Iterator[AnySelect]:
    """Cards by what is due on them, and since when. A card whose code is with a store waits for that to end."""
    with_store = select(Code.id).where(Code.id == CardKey.code_id, Code.state == "bound").exists()
    due = {
        PaymentRow.expires_at: select(PaymentRow.card_id).where(PaymentRow.state == "held"),
        Code.bound_until: select(Code.card_id).where(Code.state == "bound"),
        ClaimLink.expires_at: select(ClaimLink.card_id).where(ClaimLink.state == "waiting"),
        Card.expires_at: select(Card.id.label("card_id"))
        .join(CardKey, CardKey.card_id == Card.id)
        .where(Card.state == "active", ~with_store),
    }
    for since, cards in due.items():
        yield cards.where(since <= now).add_columns(since.label("since")).order_by(since).limit(BATCH)
