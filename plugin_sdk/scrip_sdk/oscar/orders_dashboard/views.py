"""The page of an order in the back office: its gift cards, what the service was told of them, and refunds."""

from typing import TYPE_CHECKING, Any

from django.contrib import messages
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _
from oscar.apps.dashboard.orders.views import OrderDetailView

from scrip_sdk import AmountTooHigh, Money, PaymentClosed
from scrip_sdk.django import payments
from scrip_sdk.django.models import ScripInstruction, ScripPayment
from scrip_sdk.keys import new_nonce
from scrip_sdk.oscar.records import SOURCE_TYPE
from scrip_sdk.outbox import InstructionDiffers

if TYPE_CHECKING:
    from oscar.apps.dashboard.orders.views import OrderDetailView as _View  # what it is mixed into
else:
    _View = object

PERMISSION = "scrip.refund_scrippayment"


class GiftCardRefundsMixin(_View):
    """For `OrderDetailView`: the action `refund_gift_card`, with `payment_id`, `amount` and the form's `part`."""

    template_name = "scrip/oscar/order_detail.html"
    order_actions = (*OrderDetailView.order_actions, "refund_gift_card")

    def get_context_data(self, **kwargs: Any) -> "dict[str, Any]":
        """Oscar's, and `gift_cards` with what was and is still to be told to the service."""
        context: dict[str, Any] = super().get_context_data(**kwargs)
        ids = self._payment_ids(self.object)
        told = ScripInstruction.objects.filter(payment_id__in=ids).order_by("id")
        context["gift_cards"] = ScripPayment.objects.filter(payment_id__in=ids).order_by("id")
        context["gift_card_instructions"] = told
        context["gift_card_refund_part"] = new_nonce()
        context["may_refund_gift_card"] = self.request.user.has_perm(PERMISSION)
        return context

    def refund_gift_card(self, request: HttpRequest, order: Any) -> HttpResponse:
        """Gives settled money back to a card of this order: the service hears of it after the commit, or later."""
        if not request.user.has_perm(PERMISSION):
            return self._back(_("You may not refund gift cards."))
        payment_id, part = request.POST.get("payment_id", ""), request.POST.get("part", "")
        row = ScripPayment.objects.filter(payment_id__in=self._payment_ids(order), payment_id=payment_id).first()
        if row is None or not part:
            return self._back(_("Please choose a gift card of this order."))
        try:
            amount = Money.of(request.POST.get("amount", "").strip(), row.currency)
            with transaction.atomic():
                payments.refund(payment_id, amount, part=part, reason=f"Order {order.number}")
        except InstructionDiffers:
            return self._back(_("This page has refunded another amount already. Please look again."))
        except ValueError:
            return self._back(_("Please type an amount, such as 5.00."))
        except AmountTooHigh:
            return self._back(_("This is more than the gift card has paid and not got back."))
        except PaymentClosed:
            return self._back(_("Nothing was taken from this gift card."))
        messages.success(request, _("%s goes back to the gift card.") % amount)
        return self._back()

    def _back(self, error: "str | None" = None) -> HttpResponse:
        page: HttpResponse = self.reload_page(fragment="payment", error=error)
        return page

    def _payment_ids(self, order: Any) -> "list[str]":
        return list(order.sources.filter(source_type__name=SOURCE_TYPE).values_list("reference", flat=True))
