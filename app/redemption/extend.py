"""Extend: a confirmed payment needs longer until its order completes."""

from app.db.request import Reference, answer_again, keep_answer
from app.db.together import together
from app.db.transaction import transaction
from app.events.event import event_of
from app.ids import PaymentId, StoreId
from app.issuance import one_key
from app.redemption import rules
from app.redemption.holds import change_payment, lock_payment
from app.redemption.payment import Payment, described_with


def extend_payment(payment_id: PaymentId, hold_ttl_s: int, *, store_id: StoreId, reference: Reference) -> Payment:
    """Holds a confirmed payment for `hold_ttl_s` from now, at most to the programme's limit, never for shorter.

    Raises NotFound, PaymentClosed, PaymentUnconfirmed, ReferenceReused, Busy.
    """
    with transaction() as db:
        locked = lock_payment(db, payment_id, store_id=store_id, reference=reference)
        if again := answer_again(db, reference, Payment, claimed=locked.is_first):
            return again
        until = rules.decide_extend(locked.payment, hold_ttl_s, locked.now)
        changes = {"expires_at": until}
        payment = described_with(locked.row, changes, locked.now)
        facts = {"until": until.isoformat()}
        together(
            db,
            change_payment(payment_id, **changes),
            one_key.bind_until(locked.row.code_id, until),
            event_of("payment_extended", at=locked.now, card_id=locked.row.card_id, payment_id=payment_id, facts=facts),
            keep_answer(reference, payment),
        )
        return payment
