"""Where a payment request stands, and how much of it a card can give: pure decisions."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum

from app.errors import CardClosed, CardHeld, CurrencyMismatch
from app.money import Money

#: So long a shopper has from the moment when the page was opened.
PAGE_FOR = timedelta(minutes=30)
#: So many codes may be wrong; then the request is dead.
TRIES = 5


class Standing(Enum):
    """Where a request is now, as its shopper would say it."""

    ASKING = "asking"  # the page asks for the card's code
    CHOOSING = "choosing"  # the card has less than the store may take: all of it, or none
    APPROVED = "approved"  # the store has up to a minute to fetch the payment
    REDEEMED = "redeemed"  # the store has it
    RELEASED = "released"  # the store did not fetch it in time
    CANCELLED = "cancelled"
    EXHAUSTED = "exhausted"  # five codes were wrong
    EXPIRED = "expired"  # nobody approved it in time


#: A code that is looked at for longer is not looked at any more: whoever did so is gone, and the try with it.
LOOKED_AT_FOR = timedelta(seconds=30)

#: In these a shopper can still decide.
OPEN = frozenset({Standing.ASKING, Standing.CHOOSING})


@dataclass(frozen=True, slots=True)
class RequestSeen:
    """A request as stored; `expires_at` is its page's end, `code_expires_at` its authorization code's."""

    state: str
    expires_at: datetime
    has_proven_code: bool
    code_expires_at: datetime | None


def decide_standing(request: RequestSeen, now: datetime) -> Standing:
    """Where the request is at `now`: what is past its time is over, even if no job has run."""
    if request.state in ("pushed", "opened"):
        if request.expires_at <= now:
            return Standing.EXPIRED
        return Standing.CHOOSING if request.has_proven_code else Standing.ASKING
    if request.state == "approved" and (request.code_expires_at is None or request.code_expires_at <= now):
        return Standing.RELEASED
    return Standing(request.state)


def is_lost(tried_at: datetime | None, now: datetime) -> bool:
    """Whether the last try, of which nothing was heard, will not be heard of any more."""
    return tried_at is None or tried_at + LOOKED_AT_FOR <= now


def decide_amount(balance: Money, wanted: Money) -> Money:
    """How much of what the store wants the card can give. Raises CurrencyMismatch, CardClosed when it has nothing."""
    if balance.currency != wanted.currency:
        raise CurrencyMismatch(f"The card is in {balance.currency}, not {wanted.currency}.")
    if balance.amount_minor <= 0:
        raise CardClosed()
    return Money(min(balance.amount_minor, wanted.amount_minor), wanted.currency)


@dataclass(frozen=True, slots=True)
class HeldAlready:
    """The open payment by which the store holds the card at this moment."""

    order_reference: str
    held: Money
    until: datetime


def check_repeat(payment: HeldAlready, *, order_reference: str, wanted: Money) -> None:
    """Whether a request may lead to a payment that is open already: for the same order, and for no more than the holder
    reads here; that is the way back when the store lost our answer. Raises CardHeld."""
    if payment.order_reference != order_reference or payment.held.amount_minor > wanted.amount_minor:
        raise CardHeld(payment.until)
