"""What Oscar's books say of a card: a source for each payment, its transactions, and the order's payment events.

A source is allocated when the order is placed, debited when the service has settled, refunded when it has refunded: the
books follow what the service said, not what was hoped.
"""

from decimal import Decimal
from typing import Any

from oscar.core.loading import get_model

from scrip_sdk.oscar.cards import Card
from scrip_sdk.outbox import Instruction

SOURCE_TYPE, LABEL = "Gift card", "Gift card"
AUTHORISE, SETTLE, REFUND = "Authorise", "Settle", "Refund"


def source_of(card: Card) -> Any:
    """An unsaved source: Oscar saves it with the order."""
    source_type, _ = get_model("payment", "SourceType").objects.get_or_create(name=SOURCE_TYPE)
    source = get_model("payment", "Source")(
        source_type=source_type,
        currency=card.pays.currency,
        amount_allocated=card.pays.decimal,
        reference=card.payment_id,
        label=LABEL,
    )
    source.create_deferred_transaction(AUTHORISE, card.pays.decimal, reference=card.payment_id, status="Confirmed")
    return source


def connect() -> None:
    """From now on what the service has done is written into Oscar's books, in the transaction that notes it."""
    from scrip_sdk.django.signals import instruction_done

    instruction_done.connect(_write, dispatch_uid="scrip_sdk.oscar")


def _write(*, instruction: Instruction, answer_id: str, **_: Any) -> None:
    """A void, or an order that Oscar has forgotten, leaves nothing to write."""
    sources = get_model("payment", "Source").objects.select_for_update()
    source = sources.filter(reference=instruction.payment_id, source_type__name=SOURCE_TYPE).first()
    if source is None or instruction.amount is None:
        return
    amount = instruction.amount.decimal
    if instruction.verb == "settle":
        source.debit(amount, reference=answer_id, status="Settled")
        _event(source.order, SETTLE, amount, instruction.payment_id)
    elif instruction.verb == "refund":
        source.refund(amount, reference=answer_id, status="Refunded")
        _event(source.order, REFUND, amount, instruction.payment_id)


def _event(order: Any, name: str, amount: Decimal, reference: str) -> None:
    event_type, _ = get_model("order", "PaymentEventType").objects.get_or_create(name=name)
    order.payment_events.create(event_type=event_type, amount=amount, reference=reference)
