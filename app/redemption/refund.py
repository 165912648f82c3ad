"""Refund: goods came back; settled money returns to the card, never to an old code."""

from dataclasses import dataclass

from app.db.request import Reference, answer_again, keep_answer
from app.db.together import Write, row_of, together
from app.db.transaction import transaction
from app.events.event import event_of
from app.ids import PaymentId, StoreId, new_id
from app.issuance import one_key
from app.issuance import rules as issuance_rules
from app.issuance.reissue import queue_reissue
from app.ledger.accounts import OWED, account_id
from app.ledger.transfer import transfer_of
from app.mail.letter import letter_of
from app.money import Money
from app.redemption import rules
from app.redemption.holds import Locked, change_payment, keep_for, lock_payment
from app.redemption.models import RefundRow
from app.redemption.payment import Payment, described_with
from app.redemption.refund_cover import check_cover
from app.redemption.refund_limit import check_limit


@dataclass(frozen=True, slots=True)
class Refund:
    """Money that went back to the card of a payment."""

    id: str
    amount: Money
    payment: Payment
    replayed: bool = False


def refund_payment(
    payment_id: PaymentId,
    amount: Money,
    *,
    store_id: StoreId,
    reference: Reference,
    reason: str | None = None,
    is_limited: bool = False,
) -> Refund:
    """Moves `amount` from what is owed to the store back to the card. Never refused for the card's state.

    An open key and an open hold stay as they are. A spent or lapsed card becomes active, and gets a new link, as does
    one whose link has lapsed. `is_limited`: the store's refund limit counts for who asks.
    Raises NotFound, CurrencyMismatch, AmountOverSettled, RefundLimitReached, RefundNotCovered, ReferenceReused, Busy.
    """
    with transaction() as db:
        locked = lock_payment(db, payment_id, store_id=store_id, reference=reference)
        if again := answer_again(db, reference, Refund, claimed=locked.is_first):
            return again
        rules.decide_refund(locked.payment, amount)
        if is_limited:
            check_limit(db, store_id, amount, locked.now)
        check_cover(db, store_id, amount)
        changes = {"refunded_minor": locked.payment.refunded_minor + amount.amount_minor}
        if locked.payment.state == "held":
            changes["balance_minor"] = locked.balance_minor + amount.amount_minor
        refund = Refund(new_id("ref"), amount, described_with(locked.row, changes, locked.now))
        together(
            db,
            change_payment(payment_id, **changes),
            _refund_insert(locked, refund, reason),
            transfer_of(
                "refund",
                amount,
                debit_id=account_id(OWED, store_id, amount.currency),
                credit_id=locked.row.account_id,
                mode=locked.row.mode,
                card_id=locked.row.card_id,
                payment_id=payment_id,
                at=locked.now,
            ),
            _event(locked, refund),
            _after(locked, amount),
            keep_answer(reference, refund),
        )
        return refund


def _after(locked: Locked, amount: Money) -> list[Write | None]:
    row, now = locked.row, locked.now
    left = locked.balance_minor + amount.amount_minor
    facts = {"store": row.store_name, "refunded_minor": amount.amount_minor, "left_minor": left}
    if row.card_state == "active" and row.link_state != "lapsed":
        told = letter_of("refund", card_id=row.card_id, facts=facts, due_at=now)
        return [keep_for(row.card_id, row.card_expires_at, now), told]
    expires_at = issuance_rules.after_refund(row.card_expires_at, now)
    _, writes = queue_reissue(row.card_id, "refund", reason="refund", card_expires_at=expires_at, at=now, facts=facts)
    return [one_key.keep_card(row.card_id, expires_at), *writes]


def _refund_insert(locked: Locked, refund: Refund, reason: str | None) -> Write:
    return _refund(
        id=refund.id,
        payment_id=locked.row.id,
        card_id=locked.row.card_id,
        store_id=locked.row.store_id,
        amount_minor=refund.amount.amount_minor,
        reason=reason,
        at=locked.now,
    )


_refund = row_of(RefundRow)


def _event(locked: Locked, refund: Refund) -> Write:
    facts = {
        "refund_id": refund.id,
        "store_id": locked.row.store_id,
        "mode": locked.row.mode,
        "currency": refund.amount.currency,
        "refunded_minor": refund.amount.amount_minor,
    }
    return event_of(
        "payment_refunded", at=locked.now, card_id=locked.row.card_id, payment_id=locked.row.id, facts=facts
    )
