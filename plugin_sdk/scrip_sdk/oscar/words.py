"""What a shopper is told. A code that is not accepted has one sentence, whatever the reason."""

from collections.abc import Sequence

from django.utils.translation import gettext, ngettext

from scrip_sdk import (
    CodeMistyped,
    CodeRefused,
    PaymentClosed,
    ScripError,
    TryLater,
)
from scrip_sdk.checkout import CheckoutUnknown


def of_exchange(error: ScripError) -> str:
    """Why a card could not be put on the order."""
    if isinstance(error, CodeMistyped):
        return _("This code has a typing mistake. Please look again: it did not count as a try.")
    if isinstance(error, CodeRefused):
        return _("This gift card code is not accepted. Please check it, or pay in another way.")
    if isinstance(error, TryLater):
        return _("Too many tries. Please wait %(time)s before the next one.") % {"time": _time(error.retry_after_s)}
    if isinstance(error, PaymentClosed):
        return _("This gift card pays for another order already.")
    return _("Gift cards cannot be taken at the moment. You can try again later, or pay in another way.")


def of_return(error: ScripError) -> str:
    """Why a shopper who comes back from the hosted checkout brings no card."""
    if isinstance(error, CheckoutUnknown):
        return _("This gift card page was left before. Nothing was taken.")
    return _("Your gift card could not be taken, and nothing was taken from it. Please try again.")


def being_placed() -> str:
    """Why a card stays on an order: what it pays may be charged at this moment."""
    return _("This gift card is on an order of yours that is being placed at this moment. Please wait two minutes.")


def of_confirm(error: ScripError, gone: "Sequence[int]" = ()) -> str:
    """Why an order could not be placed with its cards, of which those of these numbers are off it now.

    Nothing was taken in any case.
    """
    if gone:
        sentence = ngettext(
            "Gift card %(cards)s is no longer reserved for this order. Nothing was taken. Please type its code again.",
            "Gift cards %(cards)s are no longer reserved for this order. Nothing was taken. "
            "Please type their codes again.",
            len(gone),
        )
        return str(sentence % {"cards": ", ".join(map(str, gone))})
    if isinstance(error, TryLater):
        return _("Nothing was taken. Please wait %(time)s, then place the order again.") % {
            "time": _time(error.retry_after_s)
        }
    return _(
        "Gift cards cannot be reached at the moment, and nothing was taken. "
        "Place the order again in a moment, or take the gift card off and pay in another way."
    )


def not_held() -> str:
    """Why an order could not be made at last: what else pays for it may have been taken, and is not taken twice."""
    return _("A gift card is no longer reserved for this order, which was not placed. Please type its code again.")


def _(sentence: str) -> str:
    return str(gettext(sentence))


def _time(seconds: int) -> str:
    if seconds <= 90:
        return str(ngettext("%(n)d second", "%(n)d seconds", seconds) % {"n": seconds})
    minutes = -(-seconds // 60)
    return str(ngettext("%(n)d minute", "%(n)d minutes", minutes) % {"n": minutes})
