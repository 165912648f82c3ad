"""The cards in a shopper's cart: taken from the service, and given back when he takes them off again."""

import secrets
from typing import Any

from django_scopes import scopes_disabled
from pretix.base.services.cart import add_payment_to_cart
from pretix.presale.views.cart import cart_session

from scrip_sdk import Payment
from scrip_sdk.django import payments
from scrip_sdk.django.models import ScripPayment
from scrip_sdk.pretix.clients import PROVIDER, NoClient, as_client_of
from scrip_sdk.pretix.models import EventPayment

#: More would make a placing wait too long, one confirm after the other.
CARDS_MAX = 5
#: In the cart's session: what the cart is called before it is an order, and all payments that it ever had.
REFERENCE, TAKEN = "scrip_reference", "scrip_taken"


def reference_of_cart(request: Any) -> str:
    """What the service calls the order until it has a code."""
    return str(cart_session(request).setdefault(REFERENCE, f"cart-{secrets.token_hex(10)}"))


def cards_in(request: Any) -> list[str]:
    """The payment IDs of the cards in this cart."""
    chosen = cart_session(request).get("payments", [])
    return [each["info_data"]["payment_id"] for each in chosen if each["provider"] == PROVIDER]


def take(event: Any, payment: Payment, *, is_test: bool, reference: str) -> ScripPayment:
    """Writes down what the service has given. Raises what `payments.record` raises."""
    row = payments.record(payment, order_reference=reference)
    # A shopper may type one code in the shops of two events, and of two organizers that are one store.
    with scopes_disabled():
        card, is_new = EventPayment.objects.get_or_create(
            payment_id=payment.id, defaults={"event": event, "is_test": is_test}
        )
        if not is_new:
            EventPayment.objects.filter(pk=card.pk, order_payment=None).update(event=event, is_test=is_test)
    return row


def put_into_cart(request: Any, provider: Any, row: ScripPayment) -> bool:
    """Returns whether it is new there."""
    if row.payment_id in cards_in(request):
        return False
    session = cart_session(request)
    session[TAKEN] = [*session.get(TAKEN, []), row.payment_id]
    add_payment_to_cart(request, provider, max_value=row.held.decimal, info_data={"payment_id": row.payment_id})
    return True


def give_back_removed(request: Any) -> None:
    """pretix takes a payment out of a cart without saying so: what is not there any more is given back."""
    session = cart_session(request)
    taken, here = session.get(TAKEN, []), cards_in(request)
    gone = [each for each in taken if each not in here]
    if not gone:
        return
    session[TAKEN] = [each for each in taken if each in here]
    # One on which an order stands, or is about to, is in no cart.
    for card in EventPayment.objects.filter(payment_id__in=gone, order_payment=None).select_related("event"):
        try:
            with as_client_of(card.event, is_test=card.is_test):
                payments.remove(card.payment_id)
        except NoClient:
            continue
