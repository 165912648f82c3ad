"""Expire: what is past its time is ended, so that letters go out without anybody asking."""

from collections.abc import Iterator
from datetime import datetime

from sqlalchemy import Select, select, union

from app import clock
from app.db.transaction import transaction
from app.issuance.models import Card, CardKey, ClaimLink, Code
from app.redemption.holds import close_due
from app.redemption.models import PaymentRow

BATCH = 100


def expire_due() -> int:
    """Ends up to a batch of due holds, bound codes, links and cards, one transaction each; returns how many."""
    with transaction() as db:
        now = clock.now(db)
        due = union(*_due(now)).limit(BATCH)
        card_ids = [str(row[0]) for row in db.execute(due)]
    return sum(_expire(card_id) for card_id in card_ids)


def _expire(card_id: str) -> bool:
    """Skips a card that somebody else has locked: that verb ends what is due."""
    with transaction() as db:
        card = select(Card.id).where(Card.id == card_id).with_for_update(skip_locked=True)
        if db.execute(card).first() is None:
            return False
        db.execute(select(CardKey.card_id).where(CardKey.card_id == card_id).with_for_update())
        return close_due(db, card_id, clock.now(db))


def _due(now: datetime) -> Iterator[Select[str]]:
    yield select(PaymentRow.card_id).where(PaymentRow.state == "held", PaymentRow.expires_at <= now)
    yield select(Code.card_id).where(Code.state == "bound", Code.bound_until <= now)
    yield select(ClaimLink.card_id).where(ClaimLink.state == "waiting", ClaimLink.expires_at <= now)
    held = select(CardKey.card_id).where(CardKey.card_id == Card.id, CardKey.payment_id.is_not(None)).exists()
    yield select(Card.id).where(Card.state == "active", Card.expires_at <= now, ~held)
