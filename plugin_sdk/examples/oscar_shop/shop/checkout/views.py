"""The payment page with a bank card beside the gift cards: all that a store adds by itself."""

from decimal import Decimal
from secrets import token_hex
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from oscar.apps.payment.exceptions import UnableToTakePayment
from oscar.apps.payment.models import Source, SourceType

from scrip_sdk.oscar.checkout import views as with_gift_cards
from scrip_sdk.oscar.checkout.views import *  # noqa: F403 – a forked app offers all of Oscar's views
from scrip_sdk.oscar.hosted import ReturnMixin
from shop.bank_card import BankCardForm, charge


class PaymentDetailsView(with_gift_cards.PaymentDetailsView):
    """Asks for a bank card where gift cards leave something to pay."""

    template_name = "shop/payment_details.html"
    template_name_preview = "shop/preview.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """With the bank card's form, filled in where there is one."""
        context = super().get_context_data(**kwargs)
        context.setdefault("bank_card", BankCardForm())
        return context

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """The preview needs the bank card's number, which is kept nowhere: without it, back to the payment page."""
        if self.preview and self.needs_other_payment():
            return redirect("checkout:payment-details")
        return super().get(request, *args, **kwargs)

    def generate_order_number(self, basket: Any) -> Any:
        """Oscar's, or a random one: another each time that it is asked for."""
        return f"B-{token_hex(4)}" if settings.SHOP_RANDOM_NUMBERS else super().generate_order_number(basket)

    def handle_payment_details_submission(self, request: HttpRequest) -> HttpResponse:
        """The bank card was typed: on to the preview, or what is wrong with it."""
        form = BankCardForm(request.POST)
        if self.needs_other_payment() and not form.is_valid():
            return self.render_payment_details(request, bank_card=form)
        return self.render_preview(request, bank_card=form)

    def handle_place_order_submission(self, request: HttpRequest) -> HttpResponse:
        """With the bank card from the preview's hidden form."""
        form = BankCardForm(request.POST)
        if self.needs_other_payment() and not form.is_valid():
            return self.render_payment_details(request, bank_card=form)
        return self.submit(**self.build_submission(payment_kwargs={"bank_card": form}))

    def take_rest(self, order_number: str, amount: Decimal, **payment_kwargs: Any) -> None:
        """Charges the bank card with what the gift cards do not pay."""
        form = payment_kwargs.get("bank_card")
        if form is None or not form.is_valid():
            raise UnableToTakePayment("Please type the number of your bank card.")
        made = charge(order_number, amount, form.cleaned_data["number"])
        source_type, _ = SourceType.objects.get_or_create(name="Bank card")
        source = Source(
            source_type=source_type,
            currency="GBP",
            amount_allocated=amount,
            amount_debited=amount,
            reference=str(made.pk),
            label=f"•••• {made.last_digits}",
        )
        source.create_deferred_transaction("Debit", amount, reference=str(made.pk), status="Charged")
        self.add_payment_source(source)
        self.add_payment_event("Settle", amount, reference=str(made.pk))


class ReturnWithGiftCardView(ReturnMixin, PaymentDetailsView):
    """The shopper comes back from the hosted checkout."""
