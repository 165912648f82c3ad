"""What a person is told at pretix's pages. A code that is not accepted has one sentence, whatever the reason."""

from django.utils.translation import gettext as _

from scrip_sdk import AmountTooHigh, PaymentClosed, ScripError, TryLater
from scrip_sdk.django.words import of_exchange, of_return

__all__ = ["of_exchange", "of_payment", "of_refund", "of_return"]


def of_payment(error: ScripError) -> str:
    """Why an order could not be paid with a card."""
    if isinstance(error, AmountTooHigh):
        return str(_("This gift card has less than it was to pay. Nothing was taken. Please pay in another way."))
    if isinstance(error, PaymentClosed):
        return str(
            _("This gift card is no longer reserved for this order. Nothing was taken. Please type its code again.")
        )
    return str(_("This gift card cannot be used for this order. Nothing was taken. Please pay in another way."))


def of_refund(error: ScripError) -> str:
    """Why nothing can be given back."""
    if isinstance(error, AmountTooHigh):
        return str(_("This is more than the gift card has paid and was not given back yet."))
    if isinstance(error, TryLater):
        return str(_("Please try again in a moment."))
    return str(_("The gift card has not paid this order, so that nothing can be given back."))
