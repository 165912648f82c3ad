"""The service's answers in the words of the model."""

from app.issuance.card import Card
from app.issuance.claim import Claimed
from app.redemption.exchange import Exchanged
from app.redemption.payment import Payment
from app.redemption.refund import Refund
from app.redemption.settle import Settlement

Facts = dict[str, object]


def nothing(_: object) -> Facts:
    """A verb that answers nothing."""
    return {}


def card_facts(card: Card) -> Facts:
    """As `issuer_rules.seen`."""
    key = card.reached_through
    return {
        "state": card.state,
        "balance": card.balance.amount_minor,
        "issued": card.issued.amount_minor,
        "ends_at": card.expires_at,
        "reached_through": (key.kind, key.state) if key else None,
        "letter": card.letter,
    }


def claimed_facts(claimed: Claimed) -> Facts:
    """What the page shows beside the code."""
    return {"balance": claimed.balance.amount_minor, "ends_at": claimed.expires_at}


def payment_facts(payment: Payment) -> Facts:
    """As the model's `Payment.seen`."""
    return {
        "state": payment.state,
        "confirmed": payment.confirmed,
        "order": payment.order_reference,
        "balance": payment.balance.amount_minor,
        "held": payment.held.amount_minor,
        "settled": payment.settled.amount_minor,
        "released": payment.released.amount_minor,
        "refunded": payment.refunded.amount_minor,
        "until": payment.expires_at,
    }


def exchanged_facts(exchanged: Exchanged) -> Facts:
    """The payment, and whether it is new."""
    return {"opened": exchanged.opened, **payment_facts(exchanged.payment)}


def settlement_facts(settlement: Settlement) -> Facts:
    """What one settle did, and the payment after it."""
    return {
        "taken": settlement.settled.amount_minor,
        "given_free": settlement.released.amount_minor,
        "left_held": settlement.remaining.amount_minor,
        **payment_facts(settlement.payment),
    }


def refund_facts(refund: Refund) -> Facts:
    """What came back, and the payment after it."""
    return {"amount": refund.amount.amount_minor, **payment_facts(refund.payment)}
