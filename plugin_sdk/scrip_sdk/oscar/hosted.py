"""The hosted checkout: the shopper types the code at the service's page, and the store never sees one."""

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.translation import gettext as _
from oscar.core.loading import get_class

from scrip_sdk import ScripError, calls
from scrip_sdk.budget import Deadline
from scrip_sdk.checkout import Approved, CheckoutDeclined, finish_checkout, start_checkout
from scrip_sdk.django import client, payments
from scrip_sdk.django.settings import scrip_settings
from scrip_sdk.django.shoppers import shopper_of_request
from scrip_sdk.oscar import words
from scrip_sdk.oscar.cards import Plan
from scrip_sdk.oscar.payment_page import PaymentPageMixin

RedirectRequired = get_class("payment.exceptions", "RedirectRequired")
UnableToTakePayment = get_class("payment.exceptions", "UnableToTakePayment")


class HostedMixin(PaymentPageMixin):
    """For `PaymentDetailsView`: its `handle_payment` sends the shopper away where he wants to pay with a card there."""

    _is_sent_away = False
    #: By when the service must have answered all that this request asks of it; None: each of it within its own budget.
    _deadline: "Deadline | None" = None

    def go_to_hosted_checkout(self, order_number: str, plan: Plan) -> None:
        """Raises RedirectRequired, or UnableToTakePayment; does nothing where the shopper has not asked for it."""
        if not (plan.rest and self.cards.is_hosted_wanted):
            return
        request = self.request
        try:
            url = start_checkout(
                client(),
                order=order_number,
                amount=plan.rest,
                return_url=request.build_absolute_uri(reverse("checkout:gift-card-return")),
                session=request.session,
                shopper=shopper_of_request(request),
            )
        except ScripError as error:
            self.cards.want_hosted(False)
            raise UnableToTakePayment(words.of_exchange(error)) from None
        self._is_sent_away = True
        raise RedirectRequired(url)

    def submit(self, *args: Any, **kwargs: Any) -> HttpResponse:
        """Oscar's; a shopper who is sent away keeps his basket, for he may come back by his browser's Back button."""
        response: HttpResponse = super().submit(*args, **kwargs)
        if self._is_sent_away:
            self.restore_frozen_basket()
        return response


class ReturnMixin(HostedMixin):
    """For the view to which the shopper comes back: a `PaymentDetailsView`, which goes on placing his order."""

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """Takes the card, once. The order is placed if the card pays what its holder has just agreed to, all of it."""
        cards = self.cards
        cards.want_hosted(False)
        self._deadline = deadline = Deadline.after(scrip_settings().total_s)
        try:
            approved = finish_checkout(client(), request.GET.dict(), request.session, deadline=deadline)
            payment = client().ask(calls.get(approved.payment_id), deadline)
            payments.record(payment, order_reference=approved.order)
        except CheckoutDeclined:
            messages.info(request, _("Nothing was taken from a gift card."))
        except ScripError as error:
            messages.error(request, words.of_return(error))
        else:
            cards.add(approved.payment_id)
            return self._go_on(request, approved)
        return redirect("checkout:payment-details")

    def _go_on(self, request: HttpRequest, approved: Approved) -> HttpResponse:
        plan = self.gift_card_plan()
        if plan is None or plan.rest:
            messages.info(request, _("Your gift card is on the order. Please pay the rest in another way."))
            return redirect("checkout:payment-details")
        if plan.takes.get(approved.payment_id) != approved.amount:  # the basket has changed meanwhile
            return redirect("checkout:preview")
        return self.handle_place_order_submission(request)
