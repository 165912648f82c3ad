"""Release: an approval whose authorization code was not redeemed in its minute holds nothing any longer."""

from contextlib import suppress

from app import clock
from app.checkout.approval import end_approval, released_event, standing_of
from app.checkout.rules import Standing
from app.db.transaction import transaction
from app.jobs.items import Broken, one_item
from app.oauth.authorization_request import due_for_release, lock_request

BATCH = 100


def release_abandoned() -> int:
    """Releases what is longest past its time, up to a batch, a transaction for each request; returns how many.

    A bug with one request is logged and stops no other. Raises Busy.
    """
    with transaction() as db:
        request_ids = due_for_release(db, clock.now(db), limit=BATCH)
    return sum(_release(request_id) for request_id in request_ids)


def _release(request_id: str) -> bool:
    """Skips a request that somebody else has locked: a store that redeems it in this moment has it, or the next round
    releases it. Never both, for either changes the state of the one locked row."""
    with suppress(Broken), one_item(request_id=request_id), transaction() as db:
        request = lock_request(db, request_id, skip_locked=True)
        if request is None or request.standing != "approved":
            return False
        now = clock.now(db)
        if standing_of(request, now) is not Standing.RELEASED:
            return False
        end_approval(db, request, "released", released_event(request, now, reason="not redeemed in time"), now)
        return True
    return False
