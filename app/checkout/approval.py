"""What the verbs share: the request of a browser, its approval, and the end of an approval that came to nothing."""

from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Connection

from app import clock
from app.checkout import rules
from app.checkout.rules import Standing
from app.config import settings
from app.db.request import Reference
from app.db.together import Write, together
from app.errors import CheckoutNotFound, PaymentClosed
from app.events.event import event_of
from app.ids import CardId, CodeId
from app.money import Money
from app.oauth.authorization_request import (
    CODE_TTL,
    AuthorizationRequest,
    change_request,
    end_request,
    find_request,
    lock_owner_of,
)
from app.redemption.exchange import Exchanged, exchange_proven, look_at_code
from app.redemption.payment import Payment
from app.redemption.rules import Asker
from app.redemption.void import release_hold
from app.secrecy import fingerprint, keyed_hashes, random_secret, same


@dataclass(frozen=True, slots=True)
class Browser:
    """Who is at the page: what stands in its address, and the secret of the browser that opened it."""

    request_uri: str = field(repr=False)
    client_id: str
    secret: str | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class Cover:
    """What a proven code's card can give for a request."""

    card_id: CardId
    amount: Money


@dataclass(frozen=True, slots=True)
class Approval:
    """What goes back to the store with the shopper."""

    request: AuthorizationRequest
    code: str = field(repr=False)


def lock_request_of(db: Connection, browser: Browser) -> tuple[AuthorizationRequest, datetime]:
    """Locks the request that this browser opened; returns the time too, read after any wait.

    Raises CheckoutNotFound for an unknown one, another client's, one that nobody or another browser opened, and one
    whose client may no longer send its shoppers back there.
    """
    request = find_request(db, browser.request_uri)
    if request is None or request.client_id != browser.client_id or not request.is_trusted:
        raise CheckoutNotFound()
    presented = fingerprint(browser.secret or "")
    if request.browser_hash is None or not same(request.browser_hash, presented):
        raise CheckoutNotFound()
    return request, clock.now(db)


def standing_of(request: AuthorizationRequest, now: datetime) -> Standing:
    """Where the request is at `now`."""
    return rules.decide_standing(
        rules.RequestSeen(
            state=request.standing,
            expires_at=request.expires_at,
            has_proven_code=request.card_code_id is not None,
            code_expires_at=request.code_expires_at,
        ),
        now,
    )


def asker_of(request: AuthorizationRequest) -> Asker:
    """The store, as if it exchanged the code itself."""
    return Asker(request.store_id, request.mode, request.wanted.shopper_key, request.wanted.order_reference)


def cover_of(db: Connection, request: AuthorizationRequest, code_id: CodeId) -> Cover:
    """How much of what the store wants this proven code's card can give now.

    Raises Unaccepted, CurrencyMismatch, CardClosed, and CardHeld when the store holds the card for something else.
    """
    found = look_at_code(db, code_id, asker=asker_of(request))
    amount = rules.decide_amount(found.balance, request.wanted.amount)
    if found.payment is not None and lock_owner_of(db, found.payment.id) is None:
        _check_repeat(found.payment, request)
    return Cover(found.card_id, amount)


def approve_request(db: Connection, request: AuthorizationRequest, code_id: CodeId, amount: Money) -> Approval:
    """Exchanges the proven code for a locked request, for `amount` at most, and draws the authorization code.

    Where another request of this shopper led to an open payment that nobody fetched yet, this one takes its place.
    Raises Unaccepted, CurrencyMismatch, CardHeld, Busy.
    """
    card_id = _take_over(db, request, code_id)
    exchanged = _exchange(db, request, code_id, amount)
    payment, code, now = exchanged.payment, random_secret(), clock.now(db)
    facts = {"request_id": request.id, "store_id": request.store_id, "approved_minor": payment.held.amount_minor}
    together(
        db,
        change_request(
            request.id,
            state="approved",
            card_id=card_id,
            card_code_id=code_id,
            payment_id=payment.id,
            opened_payment=exchanged.opened,
            approved_minor=payment.held.amount_minor,
            approved_at=now,
            code_hash=fingerprint(code),
            code_expires_at=now + CODE_TTL,
        ),
        event_of("authorization_approved", at=now, card_id=card_id, payment_id=payment.id, facts=facts),
    )
    return Approval(request, code)


def approve_again(db: Connection, request: AuthorizationRequest) -> Approval:
    """Another authorization code in place of the one before, whose answer may be lost; for no longer than that one."""
    code = random_secret()
    together(db, change_request(request.id, code_hash=fingerprint(code)))
    return Approval(request, code)


def end_approval(db: Connection, request: AuthorizationRequest, state: str, event: Write, now: datetime) -> None:
    """Ends a locked request that is approved still, and voids what the approval holds.

    The code stays with the store for as long as a first hold would last, so that it can be typed there again. A payment
    that was open before this request is not its to void.
    """
    if request.opened_payment and request.payment_id is not None:
        with suppress(PaymentClosed):  # its hold ended by itself
            release_hold(db, request.payment_id, store_id=request.store_id)
    together(db, end_request(request.id, state, now), event)


def released_event(request: AuthorizationRequest, now: datetime, *, reason: str) -> Write:
    """The event of an approval that came to nothing."""
    facts = {"request_id": request.id, "store_id": request.store_id, "reason": reason}
    return event_of(
        "authorization_released", at=now, card_id=request.card_id, payment_id=request.payment_id, facts=facts
    )


def _take_over(db: Connection, request: AuthorizationRequest, code_id: CodeId) -> CardId:
    """Ends the approval of an earlier request that holds the card for the same store. Returns the card."""
    found = look_at_code(db, code_id, asker=asker_of(request))
    earlier = lock_owner_of(db, found.payment.id) if found.payment is not None else None
    if earlier is not None:
        now = clock.now(db)
        end_approval(db, earlier, "released", released_event(earlier, now, reason="taken over"), now)
    return found.card_id


def _exchange(db: Connection, request: AuthorizationRequest, code_id: CodeId, amount: Money) -> Exchanged:
    """Under a name that no store can give a request of its own, for it has a space."""
    hmacs = tuple(keyed_hashes(settings().keys.hashing, "request", request.id))
    reference = Reference(request.store_id, f"checkout {request.id}", "exchange_code", "", hmacs)
    exchanged = exchange_proven(db, code_id, asker=asker_of(request), reference=reference, amount=amount)
    if not exchanged.opened:
        _check_repeat(exchanged.payment, request)
    return exchanged


def _check_repeat(payment: Payment, request: AuthorizationRequest) -> None:
    held = rules.HeldAlready(payment.order_reference, payment.held, payment.expires_at)
    rules.check_repeat(held, order_reference=request.wanted.order_reference, wanted=request.wanted.amount)
