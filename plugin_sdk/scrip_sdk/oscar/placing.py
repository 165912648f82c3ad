"""Placing an order that cards pay, wholly or in part: confirmed before it stands, and settled only once it does.

The order of things, for one order number:

1. the basket is claimed: of several requests that place the same order one goes on, the others wait for its outcome;
2. every card is confirmed at the service, after the record of that is committed;
3. the rest is taken from the bank card or whatever else the store has (`take_rest`);
4. in one transaction: the order, its sources, the submitted basket, and the instruction to settle;
5. after the commit the service is told, now or by `manage.py scrip_deliver`.

When 3 or 4 fails the cards stay confirmed and on the order: the shopper tries again and types nothing. When he never
does, `scrip_deliver` gives them back.
"""

import logging
import time
from decimal import Decimal
from typing import Any

from django.contrib import messages
from django.core import signing
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.translation import gettext as _
from oscar.core.loading import get_class, get_model

from scrip_sdk import PaymentClosed, ScripError
from scrip_sdk.django import payments
from scrip_sdk.django.shoppers import shopper_of_request
from scrip_sdk.oscar import records, words
from scrip_sdk.oscar.cards import Plan, money_of
from scrip_sdk.oscar.hosted import HostedMixin
from scrip_sdk.oscar.payment_page import Basket, is_frozen

UnableToTakePayment = get_class("payment.exceptions", "UnableToTakePayment")
UnableToPlaceOrder = get_class("order.exceptions", "UnableToPlaceOrder")
Order = get_model("order", "Order")

logger = logging.getLogger("scrip_sdk.oscar")

#: As long as the slowest placing may take: each card and its confirm, then the bank.
OTHERS_PATIENCE_S, LOOK_EVERY_S = 20.0, 0.15
#: A preview is good for as long as anybody would leave it open.
SEEN_FOR_S = 86_400


class AlreadyPlacing(Exception):
    """Another request is placing this order."""


class PlacingMixin(HostedMixin):
    """For `PaymentDetailsView`. Override `take_rest`; the rest of Oscar's hooks stay yours."""

    _plan: "Plan | None" = None

    def take_rest(self, order_number: str, amount: Decimal, **payment_kwargs: Any) -> None:
        """Takes what the cards do not pay by the store's other means, and adds its payment source.

        It comes last, after every card was confirmed. It must bear being called twice for one order number, as a bank's
        own idempotency key does: when the order cannot be created, the shopper presses the button again. Raises Oscar's
        payment errors; the cards stay on the order then.
        """
        raise UnableToTakePayment(_("Your gift cards do not cover this order, and there is no other way to pay here."))

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """A second press of the button waits for what the first one comes to, or is shown its order.

        Oscar would find no basket that is open, and have the browser forget that it ever had one.
        """
        seen = read_seen(request) if request.POST.get("action") == "place_order" else None
        if seen is not None and (is_frozen(seen["basket"]) or request.basket.pk != seen["basket"]):
            request.cookies_to_delete.clear()
            return self._await_other(seen["basket"])
        return super().dispatch(request, *args, **kwargs)

    def get_context_data(self, **kwargs: Any) -> "dict[str, Any]":
        """Adds `gift_card_seen`: a signed note of what this page shows, which comes back with the order."""
        context: dict[str, Any] = super().get_context_data(**kwargs)
        if context["gift_cards"] is not None:
            context["gift_card_seen"] = signing.dumps(self._facts(context["gift_cards"]), salt=_salt(self.request))
        return context

    def submit(self, user: Any, basket: Any, *args: Any, **kwargs: Any) -> HttpResponse:
        """Oscar's, unless the order is not what the shopper was shown, or another request is placing it."""
        number = self.order_number(basket)
        self.generate_order_number = lambda _: number  # Oscar's would draw another than the one that the cards know
        seen = read_seen(self.request)
        now = self.cards.plan(money_of(kwargs["order_total"]))
        is_other = now is not None and seen != self._facts(now)
        if is_other and self.request.POST.get("gift_card_seen"):  # a note that cannot be read is of another session
            return self.render_payment_details(
                self.request, error=_("Your order has changed since you looked at it. Please check it again.")
            )
        try:
            response: HttpResponse = super().submit(user, basket, *args, **kwargs)
        except AlreadyPlacing:
            return self._await_other(basket.pk)
        return response

    def freeze_basket(self, basket: Any) -> None:
        """Oscar's would let everybody through. Raises AlreadyPlacing."""
        if not Basket.objects.filter(pk=basket.pk, status=Basket.OPEN).update(status=Basket.FROZEN):
            raise AlreadyPlacing
        basket.status = Basket.FROZEN

    def restore_frozen_basket(self) -> None:
        """Oscar's, but never for a basket whose order stands."""
        basket_id = self.checkout_session.get_submitted_basket_id()
        if Basket.objects.filter(pk=basket_id, status=Basket.FROZEN).exists():
            super().restore_frozen_basket()

    def handle_payment(self, order_number: Any, total: Any, **kwargs: Any) -> None:
        """Confirms the cards, then takes the rest. Raises Oscar's payment errors with words for the shopper."""
        price = money_of(total)
        if price is None:
            raise UnableToTakePayment(_("The order has no total."))
        plan = self.cards.plan(price) or Plan(price, [], price)
        self.go_to_hosted_checkout(str(order_number), plan)
        self._confirm(str(order_number), plan)
        for card in plan.cards:
            if card.pays:
                self.add_payment_source(records.source_of(card))
                self.add_payment_event(records.AUTHORISE, card.pays.decimal, card.payment_id)
        if plan.rest:
            self.take_rest(str(order_number), plan.rest.decimal, **kwargs)
        self._plan = plan

    def place_order(self, *args: Any, **kwargs: Any) -> Any:
        """Oscar's; what the order takes of the cards stands with it, or neither. Raises UnableToPlaceOrder."""
        plan = self._plan
        try:
            with transaction.atomic():
                order = super().place_order(*args, **kwargs)
                kwargs["basket"].submit()  # in here, so that no basket is open whose order stands
                if plan is not None:
                    payments.place(str(order.number), plan.takes)
                    for payment_id in plan.spare:
                        payments.remove(payment_id)
        except PaymentClosed as error:
            logger.warning("Order #%s: its gift cards are not held any more (%s)", kwargs.get("order_number"), error)
            raise UnableToPlaceOrder(words.not_held()) from None
        return order

    def send_order_placed_email(self, order: Any) -> None:
        """Oscar's, but a mail server that is away does not tell a shopper that his paid order failed."""
        try:
            super().send_order_placed_email(order)
        except Exception:  # whatever a mail backend raises: the order stands, and must be shown
            logger.exception("Order #%s stands; its letter could not be sent", order.number)

    def _confirm(self, order_number: str, plan: Plan) -> None:
        try:
            if plan.takes:
                payments.confirm(order_number, plan.takes, deadline=self._deadline)
        except ScripError as error:
            logger.warning("Order #%s: its gift cards are not confirmed (%s)", order_number, error)
            raise UnableToTakePayment(self._not_confirmed(order_number, plan, error)) from None

    def _not_confirmed(self, order_number: str, plan: Plan, error: ScripError) -> str:
        """Takes off the order what cannot pay for it any more; returns what the shopper is told."""
        if error.slug == "order-superseded":
            # Confirmed for another order of his that never came to be: the bank said no, and then his basket was merged
            # into another as he logged in, or a process was killed. A payment stands for one order: it is given back.
            others = [row for row in self.cards.rows() if row.order_reference != order_number]
            released = [self.release(row.payment_id) for row in others if row.state == row.State.CONFIRMED]
            if not all(released):
                return words.being_placed()
        left = {row.payment_id for row in self.cards.rows()}
        gone = {n: card.payment_id for n, card in enumerate(plan.cards, 1) if card.payment_id not in left}
        for payment_id in gone.values():
            self.cards.forget(payment_id)
        return words.of_confirm(error, list(gone))

    def _await_other(self, basket_id: int) -> HttpResponse:
        """Waits for the request that is placing the order of this basket, and shows what came of it."""
        until = time.monotonic() + OTHERS_PATIENCE_S
        while is_frozen(basket_id) and time.monotonic() < until:
            time.sleep(LOOK_EVERY_S)
        if (order := Order.objects.filter(basket_id=basket_id).first()) is not None:
            return self._show(order)
        if is_frozen(basket_id):
            still = _("Your order is still being placed. You will get a letter once it is; if none comes, order again.")
            messages.warning(self.request, still)
        else:
            messages.warning(self.request, _("Your order was not placed. Please check it, and try again."))
        return redirect("checkout:payment-details")

    def _show(self, order: Any) -> HttpResponse:
        """As for a shopper who has just placed it: he has."""
        get_class("checkout.utils", "CheckoutSessionData")(self.request).flush()
        self.request.session["checkout_order_id"] = order.id
        return redirect("checkout:thank-you")

    def _facts(self, plan: Plan) -> "dict[str, Any]":
        """What a shopper agrees to: the total, and what is taken of which card."""
        takes = {payment_id: str(amount) for payment_id, amount in plan.takes.items()}
        basket_id = self.request.basket.pk
        number = self.order_number(self.request.basket)
        return {"order": number, "basket": basket_id, "total": str(plan.total), "takes": takes}


def read_seen(request: HttpRequest) -> "dict[str, Any] | None":
    """What the page showed from which the order was placed; None where it does not say, or not to this session."""
    try:
        facts: dict[str, Any] = signing.loads(
            request.POST.get("gift_card_seen", ""), salt=_salt(request), max_age=SEEN_FOR_S
        )
    except signing.BadSignature:
        return None
    return facts


def _salt(request: HttpRequest) -> str:
    """Of this shopper: the key of his session would be another after each request where sessions are in cookies."""
    return f"scrip_sdk.oscar.seen:{shopper_of_request(request).key_hash}"
