"""What a shopper is told. A code that is not accepted has one sentence, whatever the reason."""

from collections.abc import Sequence

from django.utils.translation import ngettext

from scrip_sdk import ScripError, TryLater
from scrip_sdk.django.words import of_exchange, of_return, waiting
from scrip_sdk.django.words import say as _

__all__ = ["being_placed", "not_held", "of_confirm", "of_exchange", "of_return"]


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
            "time": waiting(error.retry_after_s)
        }
    return _(
        "Gift cards cannot be reached at the moment, and nothing was taken. "
        "Place the order again in a moment, or take the gift card off and pay in another way."
    )


def not_held() -> str:
    """Why an order could not be made at last: what else pays for it may have been taken, and is not taken twice."""
    return _("A gift card is no longer reserved for this order, which was not placed. Please type its code again.")
