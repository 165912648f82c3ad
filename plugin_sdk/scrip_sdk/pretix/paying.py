"""How a card pays: the order stands already, so each step leaves behind what the next one needs to go on by itself.

A payment of pretix is *created* with the order. It is *pending* from before the service is asked until the service has
settled, and *confirmed* then. Whatever breaks in between, `advance` and `conclude` are called again (`periodic`): the
service does nothing twice, and neither do they.
"""

from contextlib import suppress
from typing import Any

from django.db import transaction
from django.utils.translation import gettext as _
from pretix.base.models import Order, OrderPayment, OrderRefund, Quota
from pretix.base.payment import PaymentException

from scrip_sdk import Money, ScripError
from scrip_sdk.django import payments
from scrip_sdk.django.models import ScripInstruction, ScripPayment
from scrip_sdk.django.records import OPEN, ORDERED, instructions, locked, payment_row
from scrip_sdk.keys import request_key
from scrip_sdk.pretix import words
from scrip_sdk.pretix.clients import NoClient, as_client_of
from scrip_sdk.pretix.models import EventPayment

CREATED, PENDING = OrderPayment.PAYMENT_STATE_CREATED, OrderPayment.PAYMENT_STATE_PENDING
CANCELED = OrderPayment.PAYMENT_STATE_CANCELED
#: A card whose payment is one of these is taken.
STANDS = (PENDING, OrderPayment.PAYMENT_STATE_CONFIRMED, OrderPayment.PAYMENT_STATE_REFUNDED)


def reference_of(order: Order) -> str:
    """What the service, and so the bill, calls an order."""
    return f"{order.event.organizer.slug}-{order.event.slug}-{order.code}".upper()


def amount_of(paid: "OrderPayment | OrderRefund") -> Money:
    """What a payment or a refund of pretix comes to."""
    return Money.of(paid.amount, paid.order.event.currency)


def pay(payment: OrderPayment) -> None:
    """Pays with the card that `payment` names. What cannot be told to the service now is told by `periodic`.

    Raises PaymentException when the card does not pay: it is given back, and the order waits for another payment.
    """
    card = EventPayment.objects.filter(
        payment_id=payment.info_data.get("payment_id"), event=payment.order.event
    ).first()
    if card is None or card.is_test != payment.order.testmode:
        _fail(payment, "other-mode")
        raise PaymentException(_("This gift card was not taken for this order. Please type its code again."))
    with transaction.atomic():
        # Of two presses at once one goes on.
        if not OrderPayment.objects.filter(pk=payment.pk, state=CREATED).update(state=PENDING):
            return
        is_ours = _claim(card, payment)
    payment.state = PENDING
    if not is_ours:
        _fail(payment, "other-order")
        raise PaymentException(_("This gift card pays for another order already."))
    advance(payment, card)


def _claim(card: EventPayment, payment: OrderPayment) -> bool:
    """One card may be in two carts of a shopper. It stays with the order that it pays."""
    locked_card = EventPayment.objects.select_for_update(of=("self",)).get(pk=card.pk)
    before = OrderPayment.objects.filter(pk=locked_card.order_payment_id).first()
    if before is not None and before.pk != payment.pk and before.state in STANDS:
        return False
    EventPayment.objects.filter(pk=card.pk).update(order_payment=payment)
    return True


def advance(payment: OrderPayment, card: EventPayment, *, ask: bool = True) -> bool:
    """Takes a pending payment as far as it goes; without `ask`, as far as it goes without the service.

    Returns False where the service is away, and would not answer for others either. Raises PaymentException when the
    card does not pay.
    """
    try:
        with as_client_of(card.event, is_test=card.is_test):
            if ask and payment_row(card.payment_id).state in OPEN:
                payment.order.refresh_from_db()
                if payment.order.pending_sum <= 0 and cancel(payment):
                    return True  # pretix lets a shopper pay in another way what is pending here
                _confirm_and_place(payment, card.payment_id)
    except NoClient:
        return False  # the organizer mends the settings
    except ScripError as error:
        if error.worth_repeating:
            return error.status == 500  # which is a bug, and of this payment maybe
        _fail(payment, error.slug)
        raise PaymentException(words.of_payment(error)) from None
    with as_client_of(card.event, is_test=card.is_test):
        conclude(payment, card.payment_id)
    return True


def _confirm_and_place(payment: OrderPayment, payment_id: str) -> None:
    """Raises ScripError. The settlement is delivered at the commit, or by `periodic`."""
    takes, reference = {payment_id: amount_of(payment)}, reference_of(payment.order)
    payments.confirm(reference, takes)
    with transaction.atomic():
        if OrderPayment.objects.select_for_update(of=("self",)).get(pk=payment.pk).state == PENDING:
            payments.place(reference, takes)


def conclude(payment: OrderPayment, payment_id: str) -> None:
    """Tells pretix what has become of a pending payment: confirmed once it is settled, failed once it never will be."""
    row = payment_row(payment_id)
    if row.state == ScripPayment.State.SETTLED:
        _confirm(payment, payment_id)
    elif row.state in ORDERED and _is_dead(payment_id, row.order_reference):
        _fail(payment, "given-up")
    elif row.state not in (*OPEN, *ORDERED):
        _fail(payment, row.state)


def _confirm(payment: OrderPayment, payment_id: str) -> None:
    """The money is the store's. What the order does not need any more goes back: it cannot be paid, was canceled, or
    was paid in another way meanwhile."""
    is_wanted = True
    try:
        payment.confirm()
    except Quota.QuotaExceededException:
        is_wanted = False
    with transaction.atomic():
        order = Order.objects.select_for_update(of=("self",)).get(pk=payment.order_id)
        surplus = min(payment.amount, -order.pending_sum) if is_wanted else payment.amount
        if surplus <= 0 or payment.refunded_amount:
            return
        refund = order.refunds.create(
            payment=payment,
            source=OrderRefund.REFUND_SOURCE_EXTERNAL,
            state=OrderRefund.REFUND_STATE_CREATED,
            amount=surplus,
            provider=payment.provider,
        )
        give_back(refund, payment_id)


def give_back(refund: OrderRefund, payment_id: str) -> None:
    """Sends a refund on its way to the card. Call it inside `as_client_of`. Raises ScripError."""
    with transaction.atomic():
        payments.refund(payment_id, amount_of(refund), part=refund.full_id)
        refund.info_data = {"payment_id": payment_id}
        refund.state = OrderRefund.REFUND_STATE_TRANSIT
        refund.save(update_fields=["info", "state"])


def conclude_refund(refund: OrderRefund) -> None:
    """Tells pretix what has become of a refund that is on its way."""
    payment_id, reference = str(refund.info_data.get("payment_id")), reference_of(refund.order)
    told = instructions().filter(key=request_key("refund", payment_id, reference, part=refund.full_id)).first()
    if told is None or told.state == ScripInstruction.State.PENDING:
        return
    with transaction.atomic():
        mine = OrderRefund.objects.select_for_update(of=("self",)).get(pk=refund.pk)
        if mine.state != OrderRefund.REFUND_STATE_TRANSIT:
            return
        if told.state == ScripInstruction.State.DONE:
            mine.done()
        else:
            mine.state = OrderRefund.REFUND_STATE_FAILED
            mine.save(update_fields=["state"])
            facts = {"local_id": mine.local_id, "provider": mine.provider, "error": told.last_error}
            mine.order.log_action("pretix.event.order.refund.failed", facts)
    refund.refresh_from_db()


def cancel(payment: OrderPayment) -> bool:
    """Cancels a payment that is created or pending, and gives its card back.

    Returns False where the service may have settled it already, or is being told to.
    """
    with transaction.atomic():
        if not _let_go(payment):
            return False
        payment.state = CANCELED
        payment.save(update_fields=["state"])
    return True


def _let_go(payment: OrderPayment) -> bool:
    """Returns whether the card is, or will be, given back."""
    payment_id = payment.info_data.get("payment_id")
    card = EventPayment.objects.filter(payment_id=payment_id, event=payment.order.event).first()
    row = None if card is None else locked(ScripPayment.objects.filter(payment_id=payment_id)).first()
    if card is None or row is None or card.order_payment_id not in (None, payment.pk):
        return True  # it has no card, or another payment stands on it by now
    try:
        with as_client_of(card.event, is_test=card.is_test):
            if row.state in OPEN:
                return payments.remove(payment_id)
            # What nobody has begun to tell is not told.
            settles = instructions().filter(payment_id=payment_id, verb=ScripInstruction.Verb.SETTLE, tries=0)
            settles.filter(state=ScripInstruction.State.PENDING).delete()
            return row.state not in ORDERED or payments.cancel(payment_id)
    except NoClient:
        return row.state not in ORDERED


def _fail(payment: OrderPayment, why: str) -> None:
    """The order waits for another payment; what the card held is given back."""
    payment.fail(info={**payment.info_data, "error": why})
    for card in EventPayment.objects.filter(order_payment=payment).select_related("event"):
        with suppress(NoClient), as_client_of(card.event, is_test=card.is_test):
            payments.remove(card.payment_id)


def _is_dead(payment_id: str, reference: str) -> bool:
    key = request_key("settle", payment_id, reference)
    return bool(instructions().filter(key=key, state=ScripInstruction.State.DEAD).exists())


def told_of(payment_id: str) -> Any:
    """What the service was told of a payment, or is to be told, in order."""
    return instructions().filter(payment_id=payment_id).order_by("id")
