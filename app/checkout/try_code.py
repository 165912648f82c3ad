"""Try a code: what the holder typed is looked at, five times at most, and where the card has enough, that is a yes."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection

from app import clock
from app.checkout import rules
from app.checkout.approval import (
    Approval,
    Browser,
    approve_again,
    approve_request,
    asker_of,
    cover_of,
    lock_request_of,
    standing_of,
)
from app.checkout.rules import OPEN, TRIES, Standing
from app.db.together import together
from app.db.transaction import transaction
from app.errors import (
    Busy,
    CardClosed,
    CardHeld,
    CheckoutOver,
    CodeMistyped,
    CodeNotAccepted,
    CurrencyMismatch,
    Refusal,
)
from app.events.event import event_of
from app.guard.tries import Visitor, one_try, watch_visitor
from app.ids import StoreId
from app.issuance.code import read_code
from app.issuance.code_hash import hashes_to_look_up
from app.oauth.authorization_request import (
    AuthorizationRequest,
    change_request,
    end_request,
    give_back_try,
    take_try,
)
from app.redemption.codes import find_code, refused_code
from app.redemption.rules import Unaccepted


def try_code(typed: str, *, browser: Browser, who: Visitor) -> Approval | None:
    """The approval, where the card has all that the store may take; None where the holder must choose first.

    A try is taken before the code is looked at, so that of many at once no sixth slips through, and given back when the
    code was right. Of a right code the request keeps the ID, never the code itself. `who` is at the page.

    Raises CodeMistyped (no try), TryLater and CaptchaNeeded before the code is looked at, CodeNotAccepted for every
    code that is not acceptable, CurrencyMismatch, CardClosed, CardHeld for one that is but of no use here,
    CheckoutOver, CheckoutNotFound, Busy.
    """
    code = read_code(typed)
    if code is None:
        raise CodeMistyped()
    try:
        with one_try(watch_visitor(who, store_id=_store_of(browser))):
            return _try_once(code, browser)
    except Unaccepted as refusal:  # outside, where guard has counted it, whatever becomes of the event
        _record_failure(browser, refusal)
        raise CodeNotAccepted() from None


def _try_once(code: str, browser: Browser) -> Approval | None:
    if approval := _take_try(browser):
        return approval
    try:
        outcome = _judge(hashes_to_look_up(code, for_anybody=True), browser)
    except (Busy, CardHeld):
        _give_back(browser)
        raise
    if isinstance(outcome, Refusal):
        raise outcome
    return outcome


def _store_of(browser: Browser) -> StoreId:
    with transaction() as db:
        request, _ = lock_request_of(db, browser)
        return request.store_id


def _take_try(browser: Browser) -> Approval | None:
    """Pressed twice, the second press finds the first one's approval."""
    with transaction() as db:
        request, now = lock_request_of(db, browser)
        standing = standing_of(request, now)
        if standing is Standing.APPROVED:
            return approve_again(db, request)
        if standing not in OPEN:
            raise CheckoutOver()
        if take_try(db, request.id, most=TRIES, at=now):
            return None
        is_lost = rules.is_lost(request.tried_at, now)
        if is_lost:
            _exhaust(db, request, now)
    if is_lost:
        raise CheckoutOver()
    raise Busy("The last try is being looked at.")


def _judge(hashes: Sequence[bytes], browser: Browser) -> Approval | Refusal | None:
    """A right code is no try, whatever comes of it: so a refusal is returned, and what was written stays."""
    with transaction() as db:
        request, now = lock_request_of(db, browser)
        standing = standing_of(request, now)
        give_back_try(db, request.id)
        if standing is Standing.APPROVED:
            return approve_again(db, request)
        if standing not in OPEN:
            return CheckoutOver()
        code_id = find_code(db, hashes, asker=asker_of(request), held_too=True).code_id
        try:
            cover = cover_of(db, request, code_id)
        except (CurrencyMismatch, CardClosed, CardHeld) as refusal:
            return refusal
        if cover.amount == request.wanted.amount:
            return approve_request(db, request, code_id, cover)
        together(db, change_request(request.id, card_id=cover.card_id, card_code_id=code_id))
        return None


def _give_back(browser: Browser) -> None:
    with transaction() as db:
        request, _ = lock_request_of(db, browser)
        give_back_try(db, request.id)


def _record_failure(browser: Browser, refusal: Unaccepted) -> None:
    """In a transaction of its own: the refused one is gone, and with it that the try was given back."""
    with transaction() as db:
        request, _ = lock_request_of(db, browser)
        now = clock.now(db)
        together(db, refused_code(asker_of(request), refusal, at=now))
        if request.standing == "opened" and request.tries >= TRIES:
            _exhaust(db, request, now)


def _exhaust(db: Connection, request: AuthorizationRequest, now: datetime) -> None:
    facts = {"request_id": request.id, "store_id": request.store_id}
    exhausted = event_of("authorization_exhausted", at=now, facts=facts)
    together(db, end_request(request.id, "exhausted", now), exhausted)
