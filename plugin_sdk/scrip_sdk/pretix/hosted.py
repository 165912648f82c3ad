"""The hosted checkout: the shopper types the code at the service's page, and pretix never sees one."""

from typing import Any

from django.contrib import messages
from django.shortcuts import redirect
from django.utils.translation import gettext as _
from django.views import View
from pretix.base.models import Order, OrderPayment
from pretix.multidomain.urlreverse import eventreverse, eventreverse_absolute
from pretix.presale.views.cart import cart_session

from scrip_sdk import Money, ScripError
from scrip_sdk.checkout import CheckoutDeclined, finish_checkout, start_checkout
from scrip_sdk.django import client
from scrip_sdk.django.shoppers import shopper_of_request
from scrip_sdk.pretix import words
from scrip_sdk.pretix.carts import put_into_cart, take
from scrip_sdk.pretix.clients import NoClient, as_client_of

#: In the session, by reference: for which payment of an order the shopper was sent away, or None for a cart.
SENT = "scrip_sent"


def send_away(request: Any, event: Any, *, reference: str, amount: Money, payment: "OrderPayment | None") -> str:
    """The address of the service's page. Call it inside `as_client_of`. Raises ScripError."""
    url = start_checkout(
        client(),
        order=reference,
        amount=amount,
        return_url=eventreverse_absolute(event, "plugins:scrip_pretix:return"),
        session=request.session,
        shopper=shopper_of_request(request),
    )
    known = dict(list(request.session.get(SENT, {}).items())[-4:])
    request.session[SENT] = {**known, reference: payment and payment.pk}
    return url


class ReturnView(View):
    """The shopper comes back, with a card or without."""

    def get(self, request: Any, *args: Any, **kwargs: Any) -> Any:
        """Takes the card, once, and leads to where the shopper was."""
        is_test = bool(request.event.testmode)
        try:
            with as_client_of(request.event, is_test=is_test):
                approved = finish_checkout(client(), request.GET.dict(), request.session)
                held = client().get(approved.payment_id)
                row = take(request.event, held, is_test=is_test, reference=approved.order)
        except CheckoutDeclined:
            messages.info(request, _("Nothing was taken from a gift card."))
        except (NoClient, ScripError) as error:
            messages.error(request, words.of_return(error))
        else:
            return redirect(self._go_on(request, row, request.session.get(SENT, {}).get(approved.order)))
        return redirect(_checkout(request))

    def _go_on(self, request: Any, row: Any, payment_pk: "int | None") -> str:
        provider = request.event.get_payment_providers()["scrip"]
        if payment_pk is None:
            put_into_cart(request, provider, row)
            session = cart_session(request)
            session["payments"] = [each for each in session["payments"] if each["multi_use_supported"]]
            return _checkout(request)
        payment = OrderPayment.objects.get(pk=payment_pk, order__event=request.event)
        provider.put_on_payment(payment, row)
        order: Order = payment.order
        names = {"order": order.code, "secret": order.secret, "payment": payment.pk}
        return str(eventreverse(request.event, "presale:event.order.pay.confirm", kwargs=names))


def _checkout(request: Any) -> str:
    return str(eventreverse(request.event, "presale:event.checkout", kwargs={"step": "payment"}))
