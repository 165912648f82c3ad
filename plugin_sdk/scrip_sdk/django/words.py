"""What a shopper is told who gives a code: sentences that all adapters on Django share."""

from django.utils.translation import gettext, ngettext

from scrip_sdk import CodeMistyped, CodeRefused, PaymentClosed, ScripError, TryLater
from scrip_sdk.checkout import CheckoutUnknown


def of_exchange(error: ScripError) -> str:
    """Why a card could not be put on the order."""
    if isinstance(error, CodeMistyped):
        return say("This code has a typing mistake. Please look again: it did not count as a try.")
    if isinstance(error, CodeRefused):
        return say("This gift card code is not accepted. Please check it, or pay in another way.")
    if isinstance(error, TryLater):
        return say("Too many tries. Please wait %(time)s before the next one.") % {"time": waiting(error.retry_after_s)}
    if isinstance(error, PaymentClosed):
        return say("This gift card pays for another order already.")
    return say("Gift cards cannot be taken at the moment. You can try again later, or pay in another way.")


def of_return(error: Exception) -> str:
    """Why a shopper who comes back from the hosted checkout brings no card."""
    if isinstance(error, CheckoutUnknown):
        return say("This gift card page was left before. Nothing was taken.")
    return say("Your gift card could not be taken, and nothing was taken from it. Please try again.")


def say(sentence: str) -> str:
    """In the shopper's language."""
    return str(gettext(sentence))


def waiting(seconds: int) -> str:
    """A time to wait, in seconds or minutes."""
    if seconds <= 90:
        return str(ngettext("%(n)d second", "%(n)d seconds", seconds) % {"n": seconds})
    minutes = -(-seconds // 60)
    return str(ngettext("%(n)d minute", "%(n)d minutes", minutes) % {"n": minutes})
