"""What the store's back office sees: payments and instructions to read, refunds to make, given-up ones to try again."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils.translation import gettext_lazy as _

from scrip_sdk import Money, ScripError
from scrip_sdk.django import payments
from scrip_sdk.django.delivery import deliver_after_commit
from scrip_sdk.django.models import ScripInstruction, ScripPayment
from scrip_sdk.django.outbox import DjangoOutbox
from scrip_sdk.django.records import ORDERED, alias
from scrip_sdk.django.times import now
from scrip_sdk.keys import new_nonce
from scrip_sdk.outbox import LONGEST_REASON, InstructionDiffers


class ReadOnlyAdmin(admin.ModelAdmin):
    """A list to look at: rows are written by the verbs alone."""

    list_per_page = 50
    show_full_result_count = False

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Nobody."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nobody."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nobody."""
        return False


class RefundForm(forms.Form):
    """How much goes back to the card. `nonce` makes of a form that is sent twice one refund."""

    amount = forms.DecimalField(min_value=0, max_digits=15)
    reason = forms.CharField(max_length=LONGEST_REASON, required=False)
    nonce = forms.CharField(max_length=64, widget=forms.HiddenInput)

    def __init__(self, left: Money, *args: Any, **options: Any) -> None:
        super().__init__(*args, initial={"amount": left.decimal, "nonce": new_nonce()}, **options)
        self._left = left

    def clean_amount(self) -> Money:
        """As money of the payment's currency; whether it is too much is for `payments.refund` to say."""
        try:
            amount = Money.of(self.cleaned_data["amount"], self._left.currency)
        except ValueError as error:
            raise ValidationError(str(error)) from None
        if not amount:
            raise ValidationError(_("The amount must be above zero."))
        return amount


@admin.register(ScripPayment)
class ScripPaymentAdmin(ReadOnlyAdmin):
    """What the store holds of each card; those with permission refund from here, and cancel what was not settled."""

    list_display = ("payment_id", "order_reference", "state", "amount", "settled", "refunded", "applied_at")
    list_filter = ("state", "currency", "applied_at")
    search_fields = ("payment_id", "order_reference")
    ordering = ("-id",)
    actions = ("cancel",)
    change_form_template = "admin/scrip/scrippayment/change_form.html"

    def get_urls(self) -> "list[Any]":
        """The refund's page."""
        refund = self.admin_site.admin_view(self.refund_view)
        return [path("<int:pk>/refund/", refund, name="scrip_scrippayment_refund"), *super().get_urls()]

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: "dict[str, Any] | None" = None
    ) -> HttpResponse:
        """The row, with its instructions beside it."""
        row = self.get_object(request, object_id)
        more: dict[str, Any] = {}
        if row is not None:
            told = ScripInstruction.objects.using(alias()).filter(payment_id=row.payment_id)
            more = {"may_refund": self.may_refund(request, row), "scrip_instructions": told.order_by("id")}
        return super().change_view(request, object_id, form_url, {**(extra_context or {}), **more})

    def has_refund_permission(self, request: HttpRequest) -> bool:
        """Who may give money back, taken or only held."""
        allowed: bool = request.user.has_perm("scrip.refund_scrippayment")
        return allowed

    @admin.action(description=_("Give back what is held for orders that fell through"), permissions=["refund"])
    def cancel(self, request: HttpRequest, chosen: Any) -> None:
        """Those on which an order stands, and nothing was told to settle; the others stay as they are."""
        given = [row for row in chosen if payments.cancel(row.payment_id)]
        for row in given:
            self.log_change(request, row, "Cancelled")
        messages.success(request, _("%(count)d are given back.") % {"count": len(given)})

    def may_refund(self, request: HttpRequest, row: ScripPayment) -> bool:
        """With the permission, while something is there to give back."""
        return self.has_refund_permission(request) and row.state in ORDERED and bool(payments.refundable(row))

    def refund_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Asks how much, and has it given back; the service hears of it at once, or when it is there again."""
        row = get_object_or_404(ScripPayment.objects.using(alias()), pk=pk)
        if not self.has_refund_permission(request):
            raise PermissionDenied
        form = RefundForm(payments.refundable(row), request.POST if request.method == "POST" else None)
        if request.method == "POST" and form.is_valid() and self._refunded(request, row, form):
            return HttpResponseRedirect(reverse("admin:scrip_scrippayment_change", args=[row.pk]))
        words = {
            **self.admin_site.each_context(request),
            "title": _("Refund to the gift card"),
            "opts": self.model._meta,
            "original": row,
            "form": form,
            "left": payments.refundable(row),
        }
        return TemplateResponse(request, "admin/scrip/scrippayment/refund.html", words)

    def _refunded(self, request: HttpRequest, row: ScripPayment, form: RefundForm) -> bool:
        said = form.cleaned_data
        try:
            told = payments.refund(row.payment_id, said["amount"], part=said["nonce"], reason=said["reason"])
        except (ScripError, InstructionDiffers, ValueError) as error:
            form.add_error("amount", getattr(error, "detail", None) or str(error))
            return False
        self.log_change(request, row, f"Refund of {said['amount']}: {told.id}")
        messages.success(request, _("%(amount)s go back to the card.") % {"amount": said["amount"]})
        return True


@admin.register(ScripInstruction)
class ScripInstructionAdmin(ReadOnlyAdmin):
    """What was told to the service, what waits, and what was given up."""

    list_display = ("verb", "payment_id", "order_reference", "amount", "state", "tries", "last_error", "due_at")
    list_filter = ("state", "verb", "created_at")
    search_fields = ("payment_id", "order_reference", "instruction_id", "answer_id")
    ordering = ("-id",)
    actions = ("try_again",)

    def has_retry_permission(self, request: HttpRequest) -> bool:
        """Who may use the action."""
        allowed: bool = request.user.has_perm("scrip.retry_scripinstruction")
        return allowed

    @admin.action(description=_("Try again now"), permissions=["retry"])
    def try_again(self, request: HttpRequest, chosen: Any) -> None:
        """Sets those that are not done going again, at once: given-up ones, and those that wait for their time."""
        undone = list(chosen.exclude(state=ScripInstruction.State.DONE))
        for row in undone:
            DjangoOutbox().revive(row.instruction_id, at=now())
            self.log_change(request, row, "Tried again")
        deliver_after_commit(row.payment_id for row in undone)
        messages.success(request, _("%(count)d are tried again.") % {"count": len(undone)})
