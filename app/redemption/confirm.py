"""Confirm: an order stands on the payment, so its hold lasts longer."""

from app.db.request import Reference, answer_again, keep_answer
from app.db.together import together
from app.db.transaction import transaction
from app.events.event import event_of
from app.ids import PaymentId, StoreId
from app.issuance import one_key
from app.money import Money
from app.redemption import rules
from app.redemption.holds import change_payment, lock_payment
from app.redemption.payment import Payment, described_with


def confirm_payment(
    payment_id: PaymentId, *, store_id: StoreId, reference: Reference, order_reference: str, amount: Money | None = None
) -> Payment:
    """Fixes the order, keeps `amount` of the hold (all without one), and holds it for the programme's longer time.

    Raises NotFound, PaymentClosed, OrderSuperseded, CurrencyMismatch, AmountOverHold, ReferenceReused, Busy.
    """
    with transaction() as db:
        locked = lock_payment(db, payment_id, store_id=store_id, reference=reference)
        if again := answer_again(db, reference, Payment, claimed=locked.is_first):
            return again
        held, until = rules.decide_confirm(locked.payment, order_reference, amount, locked.now)
        changes = {
            "order_reference": order_reference,
            "confirmed_at": locked.row.confirmed_at or locked.now,
            "held_minor": held,
            "released_minor": locked.payment.released_minor + locked.payment.held_minor - held,
            "expires_at": until,
            "provisional": False,
        }
        payment = described_with(locked.row, changes, locked.now)
        facts = {"order_reference": order_reference, "held_minor": held, "until": until.isoformat()}
        together(
            db,
            change_payment(payment_id, **changes),
            one_key.bind_until(locked.row.code_id, until),
            event_of(
                "payment_confirmed", at=locked.now, card_id=locked.row.card_id, payment_id=payment_id, facts=facts
            ),
            keep_answer(reference, payment),
        )
        return payment
