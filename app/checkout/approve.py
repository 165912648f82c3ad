"""Approve: the holder lets the store take what the card has, or, pressed once more, is sent back to the store again."""

from app.checkout.approval import (
    Approval,
    Browser,
    approve_again,
    approve_request,
    cover_of,
    lock_request_of,
    standing_of,
)
from app.checkout.rules import OPEN, Standing
from app.db.transaction import transaction
from app.errors import CheckoutOver, CodeNotAccepted
from app.redemption.rules import Unaccepted


def approve_checkout(browser: Browser, *, agreed: str) -> Approval | None:
    """Holds `agreed`, the decimal text that the holder read; None where that is not what the card can give any more.

    Approved already, within its minute, the request gets another authorization code for the same payment. Raises
    CodeNotAccepted when the code has died since it was typed, CurrencyMismatch, CardClosed, CardHeld, CheckoutOver,
    CheckoutNotFound, Busy.
    """
    try:
        with transaction() as db:
            request, now = lock_request_of(db, browser)
            standing = standing_of(request, now)
            if standing is Standing.APPROVED:
                return approve_again(db, request)
            if standing not in OPEN:
                raise CheckoutOver()
            if request.card_code_id is None:
                return None
            cover = cover_of(db, request, request.card_code_id)
            if cover.amount.decimal != agreed:
                return None
            return approve_request(db, request, request.card_code_id, cover)
    except Unaccepted:
        raise CodeNotAccepted() from None
