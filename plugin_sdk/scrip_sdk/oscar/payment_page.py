"""The payment page's part: a code becomes a card on the order, and a card is taken off again."""

from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar

from django import forms
from django.contrib import messages
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.translation import gettext as _
from oscar.core.loading import get_class, get_model

from scrip_sdk import Code, CodeMistyped, Money, PaymentClosed, ScripError
from scrip_sdk.django import payments
from scrip_sdk.django.forms import CodeField, CodeInput
from scrip_sdk.django.models import ScripPayment
from scrip_sdk.django.records import ORDERED, State, alias, locked
from scrip_sdk.django.reporting import hide_field
from scrip_sdk.django.shoppers import shopper_of_request
from scrip_sdk.django.times import now, stored
from scrip_sdk.keys import LONGEST_NONCE, exchange_key, new_nonce
from scrip_sdk.oscar import words
from scrip_sdk.oscar.cards import AppliedCards, Plan, money_of
from scrip_sdk.oscar.settings import is_hosted

if TYPE_CHECKING:
    from oscar.apps.checkout.session import CheckoutSessionMixin as _View  # what it is mixed into
else:
    _View = object

#: In the service an amount is the most that is held. This one is more than any card has, and names the currency:
#: a card of another is refused, and holds nothing.
MOST_MINOR = 10**12
#: No placing takes so long from its confirm to its order. A basket that is frozen for longer is that of a process that
#: was killed.
PLACING_S = 120

#: A payment in one of these is given back, or is about to be: its code is free to be typed again.
OVER = [str(each) for each in (State.VOIDING, State.VOIDED, State.EXPIRED)]

Basket = get_model("basket", "Basket")


class GiftCardViewMixin(_View):
    """What all of these views share: the order's number, its cards, and no transaction around them.

    The service is asked in between: what was written before must stand whatever it answers, and what is written after
    must stand before the next request comes. So ATOMIC_REQUESTS does not hold for them.
    """

    @classmethod
    def as_view(cls, **options: Any) -> Any:
        """Oscar's view, outside of any transaction."""
        return transaction.non_atomic_requests(super().as_view(**options))

    def order_number(self, basket: Any) -> str:
        """What the order of this basket will be called: drawn once by the store, and the same from then on.

        The cards are held for it, and the shopper is shown it, before there is an order.
        """
        number = self.cards.number_of(basket.pk)
        if number is None:
            number = str(self.generate_order_number(basket))
            self.cards.keep_number(basket.pk, number)
        return number

    def release(self, payment_id: str) -> bool:
        """Takes a card off the order and has it given back; returns False where an order is being placed on it now.

        Whoever is placing one has frozen its basket before he asked for the row: he is seen here, or finds it gone
        before anything is charged.
        """
        with transaction.atomic(using=alias()):
            row = locked(ScripPayment.objects.using(alias()).filter(payment_id=payment_id)).first()
            if row is not None and self._is_being_placed(row):
                return False
            payments.remove(payment_id)
        self.cards.forget(payment_id)
        return True

    def _is_being_placed(self, row: ScripPayment) -> bool:
        if row.state != State.CONFIRMED or row.confirmed_at < stored(now() - timedelta(seconds=PLACING_S)):
            return False
        basket_id = self.cards.basket_of(row.order_reference)
        return basket_id is None or is_frozen(basket_id)

    @property
    def cards(self) -> AppliedCards:
        """The cards of this checkout."""
        return AppliedCards(self.checkout_session)


def is_frozen(basket_id: int) -> bool:
    """Whether a request is placing the order of this basket, or was killed while it did."""
    return bool(Basket.objects.filter(pk=basket_id, status=Basket.FROZEN).exists())


# Error reports must not show it, also where a request fails before the form is read.
hide_field("gift_card_code")


class GiftCardForm(forms.Form):
    """The field for a code, and the nonce that makes one exchange of one form."""

    gift_card_code = CodeField(
        widget=CodeInput(
            {"class": "form-control", "placeholder": "XXXX-XXXX-XXXX-XXXX", "aria-describedby": "gift-card-fault"}
        )
    )
    nonce = forms.CharField(widget=forms.HiddenInput, max_length=LONGEST_NONCE - 5)


class PaymentPageMixin(GiftCardViewMixin):
    """For `PaymentDetailsView`: shows the cards, what each pays, and what is left to pay by other means."""

    template_name = "scrip/oscar/payment_details.html"
    template_name_preview = "scrip/oscar/preview.html"

    def get_context_data(self, **kwargs: Any) -> "dict[str, Any]":
        """Oscar's, and `gift_cards` (a Plan, or None), `gift_card_form`, `gift_card_hosted` and `…_hosted_wanted`."""
        context: dict[str, Any] = super().get_context_data(**kwargs)
        context["gift_cards"] = self.cards.plan(money_of(context["order_total"]))
        context["gift_card_form"] = GiftCardForm(initial={"nonce": new_nonce()})
        context["gift_card_hosted"] = is_hosted()
        context["gift_card_hosted_wanted"] = self.cards.is_hosted_wanted
        return context

    def gift_card_plan(self) -> "Plan | None":
        """How this order would be paid as it stands; None while its total is not known."""
        return self.cards.plan(money_of(self.build_submission()["order_total"]))

    def needs_other_payment(self) -> bool:
        """Whether something is left to pay that no gift card pays, nor is to pay at the service's page."""
        plan = self.gift_card_plan()
        return plan is None or bool(plan.rest and not self.cards.is_hosted_wanted)


#: A page may be asked for before there is anything to pay: the same conditions as for paying.
CONDITIONS = [
    "check_basket_is_not_empty",
    "check_basket_is_valid",
    "check_user_email_is_captured",
    "check_shipping_data_is_captured",
]


class ApplyMixin(GiftCardViewMixin):
    """POST `gift_card_code` and `nonce`: puts a card on the order, and goes back to the payment page."""

    http_method_names: ClassVar = ["post"]
    pre_conditions = CONDITIONS

    def post(self, request: HttpRequest) -> HttpResponse:
        """Says in a message what came of it: neither message nor address has anything of the code.

        Where the checkout is hosted no code is read: the shopper is sent away when he places the order.
        """
        if is_hosted():
            self.cards.want_hosted(True)
            return redirect("checkout:preview")
        form = GiftCardForm(request.POST)
        if form.is_valid():
            try:
                self.apply(form.cleaned_data["gift_card_code"], form.cleaned_data["nonce"])
            except ScripError as error:
                messages.error(request, words.of_exchange(error))
        else:
            messages.error(request, words.of_exchange(CodeMistyped()))
        return redirect("checkout:payment-details")

    def apply(self, code: Code, nonce: str) -> None:
        """Exchanges the code. Raises ScripError."""
        submission = self.build_submission()
        total = money_of(submission["order_total"])
        plan = self.cards.plan(total)
        if total is None or plan is None or not plan.can_take_more:
            messages.info(self.request, _("Your gift cards cover this order already."))
            return
        shopper, most = shopper_of_request(self.request), Money(MOST_MINOR, total.currency)
        number = self.order_number(self.request.basket)

        def exchanged(nonce: str) -> str:
            key = exchange_key(nonce, order_reference=number, shopper=shopper, amount=most)
            row = payments.apply_code(code, order_reference=number, key=key, shopper=shopper, amount=most)
            return str(row.payment_id)

        try:
            payment_id = exchanged(self._fresh(nonce))
        except PaymentClosed as error:
            if error.state not in OVER:
                raise
            # The form came by the browser's Back button after its card was taken off: the service answered its old key.
            payment_id = exchanged(new_nonce())
        if not self.cards.add(payment_id):
            messages.info(self.request, _("This gift card is on your order already."))

    def generate_order_number(self, basket: Any) -> Any:
        """Oscar's hook, as the store's own `PaymentDetailsView` has it."""
        view = get_class("checkout.views", "PaymentDetailsView")()
        view.setup(self.request)
        view.checkout_session = self.checkout_session
        return view.generate_order_number(basket)

    def _fresh(self, nonce: str) -> str:
        """A form that comes again from the browser's history, when its card is on the order, means another card."""
        return f"{nonce}+{len(self.cards.payment_ids)}"


class RemoveMixin(GiftCardViewMixin):
    """POST `payment_id`: takes a card off the order, and gives back what it holds, now or once the service is there."""

    http_method_names: ClassVar = ["post"]

    def post(self, request: HttpRequest) -> HttpResponse:
        """Only a card of this very session is touched."""
        payment_id = request.POST.get("payment_id", "")
        if payment_id in self.cards.payment_ids:
            if not self.release(payment_id):
                messages.warning(request, words.being_placed())
            elif ScripPayment.objects.filter(payment_id=payment_id, state__in=ORDERED).exists():
                messages.info(request, _("This gift card has paid for an order of yours."))
            else:
                messages.info(request, _("The gift card was taken off. Nothing was taken from it."))
        return redirect("checkout:payment-details")
