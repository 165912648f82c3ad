"""Void: the order failed; the hold is released, and the code stays with its store until the hold's time is over."""

from datetime import timedelta
from typing import Any

from sqlalchemy import Connection

from app.db.request import Reference, answer_again, keep_answer
from app.db.together import Write, together
from app.db.transaction import transaction
from app.events.event import event_of
from app.ids import PaymentId, StoreId
from app.issuance import one_key
from app.issuance import rules as issuance_rules
from app.issuance.reissue import queue_reissue
from app.redemption import rules
from app.redemption.holds import Locked, change_payment, keep_for, lock_payment
from app.redemption.payment import Payment, described_with


def void_payment(payment_id: PaymentId, *, store_id: StoreId, reference: Reference) -> Payment:
    """Releases the hold. After a part was settled, the payment ends as settled and the rest goes back by a new link.

    Otherwise the code may be typed again at this store, by this shopper, for as long as a hold lasts; then it dies.
    Raises NotFound, PaymentClosed, ReferenceReused, Busy.
    """
    with transaction() as db:
        locked = lock_payment(db, payment_id, store_id=store_id, reference=reference)
        if again := answer_again(db, reference, Payment, claimed=locked.is_first):
            return again
        payment, writes = _released(locked)
        together(db, writes, keep_answer(reference, payment))
        return payment


def release_hold(db: Connection, payment_id: PaymentId, *, store_id: StoreId) -> bool:
    """The same where not the store asks for it, but the holder's approval came to nothing.

    A payment that the store has asked for meanwhile, in whatever way, is the store's: it stays as it is. Returns
    whether the hold was released. Raises NotFound, PaymentClosed, Busy.
    """
    locked = lock_payment(db, payment_id, store_id=store_id)
    if not locked.row.provisional:
        return False
    together(db, _released(locked)[1])
    return True


def _released(locked: Locked) -> tuple[Payment, list[Write | None]]:
    released_minor = rules.decide_void(locked.payment, locked.now)
    changes: dict[str, Any] = {
        "state": "settled" if locked.payment.settled_minor else "voided",
        "held_minor": 0,
        "released_minor": locked.payment.released_minor + released_minor,
        "ended_at": locked.now,
    }
    payment = described_with(locked.row, changes, locked.now)
    facts = {"store_id": payment.store_id, "released_minor": released_minor}
    return payment, [
        change_payment(payment.id, **changes),
        *(_reissue_rest(locked) if locked.payment.settled_minor else _keep_code(locked)),
        event_of("payment_voided", at=locked.now, card_id=locked.row.card_id, payment_id=payment.id, facts=facts),
    ]


def _keep_code(locked: Locked) -> list[Write | None]:
    """A long hold was for an order that is gone: the code waits no longer than a first hold would."""
    row = locked.row
    until = min(row.expires_at, locked.now + timedelta(seconds=row.hold_ttl_s))
    return [
        one_key.bind_until(row.code_id, until),
        one_key.point_at(row.card_id, code_id=row.code_id),
        keep_for(row.card_id, row.card_expires_at, locked.now, at_least=until),
    ]


def _reissue_rest(locked: Locked) -> list[Write | None]:
    row = locked.row
    expires_at = issuance_rules.after_release(row.card_expires_at, locked.now)
    facts = {"store": row.store_name}
    _, writes = queue_reissue(
        row.card_id, "hold_expired", reason="void", card_expires_at=expires_at, at=locked.now, facts=facts
    )
    return [one_key.kill_code(row.code_id, locked.now), keep_for(row.card_id, row.card_expires_at, locked.now), *writes]
