"""Rich authorization requests (RFC 9396): what a store asks the holder for, to the penny, and what it is answered."""

from dataclasses import dataclass
from typing import Any

from app.ids import PaymentId
from app.money import Money

TYPE = "giftcard_payment"
ACTIONS = ("settle",)
TYPES = (TYPE,)


@dataclass(frozen=True, slots=True)
class GiftcardPayment:
    """The one thing that can be asked for: at most this much, for this order, of this shopper of the store's."""

    amount: Money
    order_reference: str
    shopper_key: str | None


def answered_details(asked: GiftcardPayment, payment_id: PaymentId, approved: Money) -> list[dict[str, Any]]:
    """The same object, with what came of it (RFC 9396, section 7): the payment, and how much of it was approved."""
    shopper = {"shopper": {"key_hash": asked.shopper_key}} if asked.shopper_key is not None else {}
    return [
        {
            "type": TYPE,
            "actions": list(ACTIONS),
            "instructed_amount": _dump_amount(asked.amount),
            "order": asked.order_reference,
            **shopper,
            "payment_id": payment_id,
            "approved_amount": _dump_amount(approved),
        }
    ]


def claimed_details(payment_id: PaymentId) -> list[dict[str, Any]]:
    """What an access token says of it (RFC 9396, section 9.1): for which payment alone it is good."""
    return [{"type": TYPE, "actions": list(ACTIONS), "payment_id": payment_id}]


def _dump_amount(amount: Money) -> dict[str, str]:
    return {"currency": amount.currency, "amount": amount.decimal}
