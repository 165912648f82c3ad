"""Cancel: the holder goes back without paying, and what was approved and not fetched yet is free again."""

from app.checkout.approval import Browser, end_approval, lock_request_of, standing_of
from app.checkout.rules import OPEN
from app.db.together import together
from app.db.transaction import transaction
from app.errors import CheckoutOver
from app.events.event import event_of
from app.oauth.authorization_request import AuthorizationRequest, end_request


def cancel_checkout(browser: Browser) -> AuthorizationRequest:
    """Ends the request, and returns it for the way back to its store; one that is over already stays as it is.

    Raises CheckoutOver when the store has the payment: only the store can give it back then. Raises CheckoutNotFound,
    Busy.
    """
    with transaction() as db:
        request, now = lock_request_of(db, browser)
        if request.standing == "redeemed":
            raise CheckoutOver("The store has this payment.")
        facts = {"request_id": request.id, "store_id": request.store_id}
        cancelled = event_of(
            "authorization_cancelled", at=now, card_id=request.card_id, payment_id=request.payment_id, facts=facts
        )
        if request.standing == "approved":
            end_approval(db, request, "cancelled", cancelled, now)
        elif standing_of(request, now) in OPEN:
            together(db, end_request(request.id, "cancelled", now), cancelled)
        return request
