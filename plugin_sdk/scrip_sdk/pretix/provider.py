"""The payment provider: gift cards, of which a cart may have several, beside another method for the rest."""

from collections import OrderedDict
from functools import partial
from typing import Any

from django import forms
from django.contrib import messages
from django.db import transaction
from django.template.loader import get_template
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from i18nfield.strings import LazyI18nString
from pretix.base.models import OrderPayment, OrderRefund
from pretix.base.payment import BasePaymentProvider, PaymentException

from scrip_sdk import CodeRefused, Money, Payment, ScripError
from scrip_sdk.django import client, payments
from scrip_sdk.django.forms import CodeField
from scrip_sdk.django.models import ScripPayment
from scrip_sdk.django.shoppers import shopper_of_request
from scrip_sdk.keys import exchange_key, new_nonce
from scrip_sdk.pretix import carts, paying, settings_form, words
from scrip_sdk.pretix.clients import PROVIDER, NoClient, as_client_of, has_client
from scrip_sdk.pretix.hosted import send_away

#: Nothing of a card is charged to who pays with it, and what it pays is not known before.
WITHOUT = ("_fee_abs", "_fee_percent", "_fee_reverse_calc", "_total_min", "_total_max", "_invoice_text")


class CodeForm(forms.Form):
    """Where a code is typed; the nonce makes one exchange of a form that is sent twice."""

    code = CodeField()
    nonce = forms.CharField(widget=forms.HiddenInput, max_length=200)
    use_required_attribute = False  # beside it stand the forms of other methods


class HostedForm(forms.Form):
    """Nothing is typed here."""


class GiftCards(BasePaymentProvider):
    """See `BasePaymentProvider` for what each method is asked."""

    identifier = PROVIDER
    verbose_name = gettext_lazy("Scrip gift cards")
    multi_use_supported = True
    #: pretix pays with all cards of an order when it has made it, before the shopper is sent to another method.
    execute_payment_needs_user = False

    @property
    def public_name(self) -> str:
        """As the organizer calls it."""
        return str(self.settings.get("public_name", as_type=LazyI18nString) or _("Gift card"))

    @property
    def test_mode_message(self) -> str:
        """Told to who looks at a shop in test mode."""
        return str(_("In test mode only test gift cards are taken."))

    # ── settings ────────────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def settings_form_fields(self) -> Any:
        """Ours, then pretix's own."""
        base = OrderedDict(super().settings_form_fields)
        for name in WITHOUT:
            base.pop(name, None)
        found = OrderedDict([*settings_form.fields().items(), *base.items()])
        found.move_to_end("_enabled", last=False)
        return found

    def settings_form_clean(self, cleaned_data: "dict[str, Any]") -> "dict[str, Any]":
        """Raises ValidationError: the service was asked, and this is what it says."""
        return settings_form.clean(self.event, cleaned_data)

    @property
    def _is_hosted(self) -> bool:
        return bool(self.settings.get("checkout") == "hosted")

    # ── before there is an order ────────────────────────────────────────────────────────────────────────────────────

    def is_allowed(self, request: Any, total: Any = None) -> bool:
        """Only with a client for the mode that the event is in. The service's page leads back to no widget."""
        in_widget = bool(request.resolver_match and request.resolver_match.kwargs.get("cart_namespace"))
        ready = has_client(self.event, is_test=self.event.testmode) and not (self._is_hosted and in_widget)
        return ready and bool(super().is_allowed(request, total))

    def order_change_allowed(self, order: Any, request: Any = None) -> bool:
        """The same for an order that stands."""
        return has_client(self.event, is_test=order.testmode) and bool(super().order_change_allowed(order, request))

    def payment_form(self, request: Any) -> forms.Form:
        """Never filled with what was typed."""
        sent = request.POST if request.method == "POST" and request.POST.get("payment") == self.identifier else None
        if self._is_hosted:
            return HostedForm(sent)
        return CodeForm(sent, prefix=f"payment_{self.identifier}", initial={"nonce": new_nonce()})

    def payment_form_render(self, request: Any, total: Any = None, order: Any = None) -> str:
        """The field for a code. Cards that the shopper has taken off the cart are given back by now."""
        if order is None and "order" not in request.resolver_match.kwargs:
            carts.give_back_removed(request)
        form = getattr(request, "_scrip_form", None) or self.payment_form(request)
        context = {"form": form, "is_hosted": self._is_hosted}
        return str(get_template("scrip_sdk_pretix/form.html").render(context, request))

    def checkout_prepare(self, request: Any, cart: "dict[str, Any]") -> "bool | str":
        """Exchanges the code, and puts the card into the cart; or sends the shopper to the service's page."""
        if len(carts.cards_in(request)) >= carts.CARDS_MAX:
            messages.error(request, _("No more gift cards can be put on one order."))
            return False
        reference = carts.reference_of_cart(request)
        total = Money.of(cart["total"], self.event.currency)
        given = self._given(request, reference, total, payment=None)
        if isinstance(given, ScripPayment):
            if not carts.put_into_cart(request, self, given):
                messages.info(request, _("This gift card is on the order already."))
            return True
        return given

    def checkout_confirm_render(self, request: Any, order: Any = None, info_data: Any = None) -> str:
        """What the last page says of it."""
        return str(_("The gift card pays when the order is placed. Nothing was taken from it yet."))

    def payment_is_valid_session(self, request: Any) -> bool:
        """The card is on the payment of the order, not in the session."""
        return True

    # ── once there is one ───────────────────────────────────────────────────────────────────────────────────────────

    def payment_prepare(self, request: Any, payment: OrderPayment) -> "bool | str":
        """Late: the order waits for its payment."""
        reference = paying.reference_of(payment.order)
        given = self._given(request, reference, paying.amount_of(payment), payment=payment)
        if isinstance(given, ScripPayment):
            self.put_on_payment(payment, given)
            return True
        return given

    def put_on_payment(self, payment: OrderPayment, row: ScripPayment) -> None:
        """The card pays as much as it has; what is left the shopper pays in another way."""
        payment.info_data = {"payment_id": row.payment_id}
        payment.amount = min(payment.amount, row.held.decimal)
        payment.save(update_fields=["info", "amount"])

    def execute_payment(self, request: Any, payment: OrderPayment) -> None:
        """Pays, or leaves the payment pending where the service cannot be told now. Raises PaymentException."""
        paying.pay(payment)

    def cancel_payment(self, payment: OrderPayment) -> None:
        """Gives the card back. Raises PaymentException once the service may have taken the money."""
        if not paying.cancel(payment):
            raise PaymentException(
                _("The gift card is being charged. Give the money back by a refund once it has paid.")
            )

    def payment_refund_supported(self, payment: OrderPayment) -> bool:
        """Always: the card outlives its codes."""
        return True

    def payment_partial_refund_supported(self, payment: OrderPayment) -> bool:
        """Always."""
        return True

    def execute_refund(self, refund: OrderRefund) -> None:
        """To the card, never to an old code. In transit until the service has done it. Raises PaymentException."""
        payment_id = refund.payment.info_data.get("payment_id") if refund.payment else None
        try:
            with as_client_of(self.event, is_test=refund.order.testmode):
                paying.give_back(refund, str(payment_id))
        except NoClient:
            raise PaymentException(_("The payment settings of this event name no client.")) from None
        except ScripError as error:
            raise PaymentException(words.of_refund(error)) from None
        # The back office asks inside a transaction, at whose commit the service is told.
        transaction.on_commit(partial(paying.conclude_refund, refund), robust=True)

    # ── what people and machines read ───────────────────────────────────────────────────────────────────────────────

    def payment_pending_render(self, request: Any, payment: OrderPayment) -> str:
        """Told to the shopper whose payment is under way."""
        return str(
            _("Your gift card pays this order as soon as the gift card service answers. You need not do anything.")
        )

    def payment_control_render(self, request: Any, payment: OrderPayment) -> str:
        """Told to the back office: how far the payment is, and what the service is still to be told."""
        payment_id = str(payment.info_data.get("payment_id") or "")
        context = {
            "payment_id": payment_id,
            "row": ScripPayment.objects.filter(payment_id=payment_id).first(),
            "told": paying.told_of(payment_id),
            "error": payment.info_data.get("error"),
        }
        return str(get_template("scrip_sdk_pretix/control.html").render(context, request))

    def payment_control_render_short(self, payment: OrderPayment) -> str:
        """The payment's ID, by which the service and its bill know it."""
        return str(payment.info_data.get("payment_id") or self.public_name)

    def refund_control_render(self, request: Any, refund: OrderRefund) -> str:
        """As the payment's."""
        return self.payment_control_render(request, refund)

    def refund_control_render_short(self, refund: OrderRefund) -> str:
        """As the payment's."""
        return self.payment_control_render_short(refund)

    def api_payment_details(self, payment: OrderPayment) -> "dict[str, Any]":
        """No code is anywhere."""
        return {"payment_id": payment.info_data.get("payment_id")}

    def api_refund_details(self, refund: OrderRefund) -> "dict[str, Any]":
        """The payment to whose card it goes."""
        return {"payment_id": refund.info_data.get("payment_id")}

    def matching_id(self, payment: OrderPayment) -> "str | None":
        """The payment's ID."""
        found: str | None = payment.info_data.get("payment_id")
        return found

    def refund_matching_id(self, refund: OrderRefund) -> "str | None":
        """The payment's ID."""
        found: str | None = refund.info_data.get("payment_id")
        return found

    def shred_payment_info(self, obj: Any) -> None:
        """Keeps the payment's ID, which says nothing of a person and which the books are compared by."""
        kept = {name: obj.info_data[name] for name in ("payment_id",) if name in obj.info_data}
        obj.info_data = kept
        obj.save(update_fields=["info"])

    # ── taking a card ───────────────────────────────────────────────────────────────────────────────────────────────

    def _given(
        self, request: Any, reference: str, amount: Money, *, payment: "OrderPayment | None"
    ) -> "ScripPayment | bool | str":
        """The card that was given; else False, and the shopper was told why, or where to send him."""
        form = self.payment_form(request)
        if not form.is_valid():
            return False
        is_test = self.event.testmode if payment is None else payment.order.testmode
        try:
            with as_client_of(self.event, is_test=is_test):
                if self._is_hosted:
                    return send_away(request, self.event, reference=reference, amount=amount, payment=payment)
                held = self._exchanged(request, form.cleaned_data, reference)
                row = carts.take(self.event, held, is_test=is_test, reference=reference)
                if row.currency == self.event.currency:
                    return row
                payments.remove(row.payment_id)
                messages.error(request, _("This gift card is in another currency."))
        except NoClient:
            messages.error(request, words.of_exchange(ScripError()))
        except ScripError as error:
            messages.error(request, words.of_exchange(error))
            if isinstance(error, CodeRefused):  # the next code is another exchange
                request._scrip_form = CodeForm(prefix=form.prefix, initial={"nonce": new_nonce()})
        return False

    def _exchanged(self, request: Any, said: "dict[str, Any]", reference: str) -> Payment:
        shopper = shopper_of_request(request)
        key = exchange_key(said["nonce"], order_reference=reference, shopper=shopper)
        return client().exchange(said["code"], order_reference=reference, key=key, shopper=shopper)
