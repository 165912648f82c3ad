"""What a card's holder is told about it and offered: pure decisions."""

import re
from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from app.issuance.rules import has_lapsed

#: 256 bits in URL-safe base64: a claim key, and the nonce that a browser makes.
_SECRET = re.compile(r"[A-Za-z0-9_-]{43}")
_NONCE = re.compile(r"[A-Za-z0-9_-]{43,128}")


class Standing(Enum):
    """Where a card's value is now, as its holder would say it."""

    HELD = "held"  # a store holds it for an order
    AT_STORE = "at_store"  # its code is bound to a store that holds nothing at the moment
    CODE_OUT = "code_out"  # its code was shown and is with the holder
    LINK_OUT = "link_out"  # its claim link waits, or waited too long
    LINK_DUE = "link_due"  # a hold or a binding ran out: a new link goes out by itself
    SPENT = "spent"
    LAPSED = "lapsed"
    CLOSED = "closed"  # nothing reaches it, for a reason that its issuer knows


@dataclass(frozen=True, slots=True)
class CardSeen:
    """A card and its one key, as stored; `has_hold` also when the hold's time is over."""

    state: str
    expires_at: datetime
    has_hold: bool
    held_until: datetime | None
    has_link: bool
    code_state: str | None
    bound_until: datetime | None


def decide_standing(card: CardSeen, now: datetime) -> Standing:
    """Where the value is at `now`: what is past its time is over, even if no job has run."""
    if card.state == "spent":
        return Standing.SPENT
    if has_lapsed(state=card.state, expires_at=card.expires_at, held=card.has_hold, now=now):
        return Standing.LAPSED
    if card.state != "active":
        return Standing.CLOSED
    if card.has_hold:
        return Standing.HELD if _is_ahead(card.held_until, now) else Standing.LINK_DUE
    if card.code_state == "live":
        return Standing.CODE_OUT
    if card.code_state == "bound":
        return Standing.AT_STORE if _is_ahead(card.bound_until, now) else Standing.LINK_DUE
    return Standing.LINK_OUT if card.has_link else Standing.CLOSED


def offers_fresh_code(standing: Standing) -> bool:
    """Whether the page that showed a code may show another: never while a store holds the card."""
    return standing in (Standing.CODE_OUT, Standing.AT_STORE)


def offers_new_link(standing: Standing) -> bool:
    """Whether the holder may ask for a new link: never while a store holds the card, nor when nothing is left."""
    return standing in (Standing.CODE_OUT, Standing.AT_STORE, Standing.LINK_OUT, Standing.LINK_DUE)


def wait_in_words(wait_s: int) -> str:
    """How long to wait, rounded up as people would say it."""
    if wait_s < 60:
        return "a second" if wait_s == 1 else f"{wait_s} seconds"
    minutes = -(-wait_s // 60)
    if minutes == 1:
        return "a minute"
    return f"{minutes} minutes" if minutes < 90 else f"{-(-minutes // 60)} hours"


def is_secret(text: str) -> bool:
    """Whether `text` has the shape of a claim key."""
    return _SECRET.fullmatch(text) is not None


def is_nonce(text: str) -> bool:
    """Whether `text` can be a nonce: base64, or hexadecimal, or longer."""
    return _NONCE.fullmatch(text) is not None


def _is_ahead(until: datetime | None, now: datetime) -> bool:
    return until is not None and now < until
