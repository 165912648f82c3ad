"""What the verbs share: the request of a browser, its approval, and the end of an approval that came to nothing."""

from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Connection, select

from app import clock
from app.checkout import rules
from app.checkout.rules import Standing
from app.config import settings
from app.db.request import Reference
from app.db.together import Write, together
from app.errors import Busy, CheckoutNotFound, PaymentClosed
from app.events.event import event_of
from app.ids import CardId, CodeId
from app.issuance.models import CardKey
from app.money import Money
from app.oauth.authorization_request import (
    CODE_TTL,
    AuthorizationRequest,
    change_request,
    end_request,
    find_request,
    is_unfetched,
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

    What another request of this shopper holds, and no store has fetched yet, is given back first: this one takes its
    place. Raises Unaccepted, CurrencyMismatch, CardClosed, and CardHeld when the store holds the card for something
    else.
    """
    _take_over(db, request, code_id)
    found = look_at_code(db, code_id, asker=asker_of(request))
    if found.payment is not None:
        _check_repeat(found.payment, request)
    left = found.balance if found.payment is None else found.payment.held
    return Cover(found.card_id, rules.decide_amount(left, request.wanted.amount))


def approve_request(db: Connection, request: AuthorizationRequest, code_id: CodeId, cover: Cover) -> Approval:
    """Exchanges the proven code for a locked request, for what it covers, and draws the authorization code.

    Raises Unaccepted, CurrencyMismatch, CardHeld; Busy too when another request of this shopper has just done so:
    tried again, this one takes its place.
    """
    exchanged = _exchange(db, request, code_id, cover.amount)
    if not exchanged.opened and is_unfetched(db, exchanged.payment.id):
        raise Busy("Another page is just paying with this card.")
    card_id = cover.card_id
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
    that was open before this request is not its to void, nor is one that the store has asked for since.
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


def _take_over(db: Connection, request: AuthorizationRequest, code_id: CodeId) -> None:
    """Ends the approval of an earlier request by which the same store holds the card for the same shopper."""
    payment_id = db.scalar(select(CardKey.payment_id).where(CardKey.code_id == code_id))
    earlier = lock_owner_of(db, payment_id) if payment_id is not None else None
    if (
        earlier is not None
        and (earlier.store_id, earlier.mode) == (request.store_id, request.mode)
        and earlier.wanted.shopper_key == request.wanted.shopper_key
    ):
        now = clock.now(db)
        end_approval(db, earlier, "released", released_event(earlier, now, reason="taken over"), now)


def _exchange(db: Connection, request: AuthorizationRequest, code_id: CodeId, amount: Money) -> Exchanged:
    """Under a name that no store can give a request of its own, for it has a space."""
    hmacs = tuple(keyed_hashes(settings().keys.hashing, "request", request.id))
    reference = Reference(request.store_id, f"checkout {request.id}", "exchange_code", "", hmacs)
    exchanged = exchange_proven(
        db, code_id, asker=asker_of(request), reference=reference, amount=amount, provisional=True
    )
    if not exchanged.opened:
        _check_repeat(exchanged.payment, request)
    return exchanged


def _check_repeat(payment: Payment, request: AuthorizationRequest) -> None:
    held = rules.HeldAlready(payment.order_reference, payment.held, payment.expires_at)
    rules.check_repeat(held, order_reference=request.wanted.order_reference, wanted=request.wanted.amount)
