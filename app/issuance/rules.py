"""What may be issued, when a claim link may be opened, and when a card lapses: pure decisions."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from enum import Enum
from math import ceil, floor
from typing import Literal

from app.errors import (
    AmountOutsideProgramme,
    CardHeld,
    CurrencyMismatch,
    InvalidRequest,
    IssuingLimitReached,
    LinkLapsed,
    LinkOpened,
    LinkSuperseded,
    TryLater,
)
from app.money import Money

SINGLE_USE, FRESH_CODE_EACH_OPEN = "single_use", "fresh_code_each_open"

#: A letter can be put off by at most this long; a date that is further past than clocks differ is a mistake.
LATEST_DELIVERY, LATE_ASKED = timedelta(days=366), timedelta(days=1)
#: The browser that opened a link may ask again this long, for its answer may have been lost.
SAME_BROWSER_AGAIN = timedelta(minutes=10)
#: The page that has shown a code can do more than its link for this long.
PAGE_SESSION = timedelta(minutes=15)
#: How many codes one card draws in a day by opening again or asking for a fresh one.
CODES_A_DAY = 5
DAY = timedelta(days=1)
#: New links asked for by the holder: this many a day, this far apart.
NEW_LINKS_A_DAY, NEW_LINKS_APART = 3, timedelta(minutes=10)
#: Value that comes back from a hold, and from a refund to a lapsed card, lives at least this long.
RELEASED_LIVES, REVIVED_LIVES = timedelta(days=14), timedelta(days=90)


def check_name(name: str) -> None:
    """An issuer's or a store's name, as holders will read it. Raises InvalidRequest."""
    if not name.strip() or not name.isprintable():
        raise InvalidRequest("A name has at least one letter, and stands on one line.", pointer="/name")


@dataclass(frozen=True, slots=True)
class Terms:
    """What a programme says about issuing. Amounts in minor units."""

    currency: str
    card_min_minor: int
    card_max_minor: int
    valid_days: int


def decide_issue(
    terms: Terms, amount: Money, *, by_email: bool, not_before: datetime | None, now: datetime
) -> datetime:
    """When a card issued now expires.

    Raises CurrencyMismatch, AmountOutsideProgramme, and InvalidRequest for a delivery date that makes no sense.
    """
    if amount.currency != terms.currency:
        raise CurrencyMismatch(f"The programme issues {terms.currency}, not {amount.currency}.")
    if not terms.card_min_minor <= amount.amount_minor <= terms.card_max_minor:
        least, most = Money(terms.card_min_minor, terms.currency), Money(terms.card_max_minor, terms.currency)
        raise AmountOutsideProgramme(f"The programme issues cards from {least} to {most}.")
    if not_before is not None and not by_email:
        raise InvalidRequest("Only a letter can wait: not_before needs deliver 'email'.", pointer="/not_before")
    if not_before is not None and not_before > now + LATEST_DELIVERY:
        raise InvalidRequest("A letter can wait for 366 days at most.", pointer="/not_before")
    if not_before is not None and not_before < now - LATE_ASKED:
        raise InvalidRequest("This time is past; leave not_before out to send at once.", pointer="/not_before")
    return max(now, not_before or now) + timedelta(days=terms.valid_days)


@dataclass(frozen=True, slots=True)
class Level:
    """A day's limit, in minor units and in cards, and how much of it is used."""

    limit_minor: int
    limit_cards: int
    used_minor: Decimal
    used_cards: Decimal


def still_used(used: Decimal, limit: int, passed: timedelta) -> Decimal:
    """What still counts when so much time has passed: a whole limit is forgotten in a day, evenly.

    A limit that was lowered under what is used forgets the rest at once.
    """
    passed_us = max(0, passed // timedelta(microseconds=1))
    return max(Decimal(0), min(used, Decimal(limit)) - Decimal(limit * passed_us) / (DAY // timedelta(microseconds=1)))


def check_issuing(level: Level, amount: Money, *, whose: Literal["client", "issuer"], now: datetime) -> None:
    """`level`: with this card, of `amount`, counted in. Raises IssuingLimitReached."""
    over_minor, over_cards = level.used_minor - level.limit_minor, level.used_cards - level.limit_cards
    if over_minor <= 0 and over_cards <= 0:
        return
    left_minor = max(0, floor(amount.amount_minor - over_minor))
    left_cards = max(0, floor(1 - over_cards))
    free_at = None
    if amount.amount_minor <= level.limit_minor and level.limit_cards >= 1:
        days = max(over_minor / level.limit_minor, over_cards / level.limit_cards)
        free_at = now + timedelta(seconds=ceil(days * int(DAY.total_seconds())))
    left = Money(left_minor, amount.currency)
    raise IssuingLimitReached(whose, left=str(left), left_minor=left_minor, left_cards=left_cards, free_at=free_at)


@dataclass(frozen=True, slots=True)
class LinkSeen:
    """A claim link whose key has been proven, and its card, as they stand."""

    state: str
    policy: str
    expires_at: datetime
    card_expires_at: datetime
    opened_at: datetime | None
    opened_by: str | None
    is_newest: bool
    same_browser: bool
    code_state: str | None
    held: bool
    bound_until: datetime | None
    codes_today: int


class Opening(Enum):
    """What an accepted opening does."""

    FIRST = "spends the waiting link"
    AGAIN = "draws a fresh code in place of the one before"


def decide_opening(link: LinkSeen, now: datetime) -> Opening:
    """Whether opening the link now shows a code.

    Raises, in this order: LinkSuperseded, also for one that had lapsed before; LinkOpened when a newer link exists;
    LinkLapsed; CardHeld (a link that may be opened again, while a store holds the card); TryLater (five openings a
    day); LinkOpened.
    """
    if link.state == "superseded" or (link.state == "lapsed" and not link.is_newest):
        raise LinkSuperseded()
    opened = LinkOpened(opened_at=link.opened_at, opened_by=link.opened_by)
    if not link.is_newest:
        raise opened
    if link.state == "lapsed" or _is_past(link, now):
        raise LinkLapsed(lapsed_at=min(link.expires_at, link.card_expires_at))
    if link.state == "waiting":
        return Opening.FIRST
    if _is_repeat_of_lost_answer(link, now):
        return Opening.AGAIN
    if link.policy != FRESH_CODE_EACH_OPEN or link.code_state is None or _binding_is_over(link, now):
        raise opened
    if link.held and link.bound_until is not None:
        raise CardHeld(link.bound_until)
    decide_fresh_code(link.codes_today)
    return Opening.AGAIN


def decide_page_code(opened_at: datetime | None, codes_today: int, now: datetime) -> None:
    """Whether the page that has shown a code may show a fresh one: for as long as its session can live, no longer.

    A session that somebody forged for a link that nobody has opened just now is worth nothing. Raises LinkOpened,
    TryLater.
    """
    if opened_at is None or now >= opened_at + PAGE_SESSION:
        raise LinkOpened(opened_at=opened_at)
    decide_fresh_code(codes_today)


def decide_fresh_code(codes_today: int) -> None:
    """Raises TryLater when a card has drawn its day's worth of codes."""
    if codes_today >= CODES_A_DAY:
        raise TryLater(f"A card shows {CODES_A_DAY} codes a day at most.", retry_after_s=3600)


def decide_new_link(asked_at: list[datetime], now: datetime) -> None:
    """Raises TryLater when the holder asked for a link ten minutes ago or three times today.

    `asked_at`: when links were asked for in the last day.
    """
    if asked_at and now < max(asked_at) + NEW_LINKS_APART:
        wait = max(asked_at) + NEW_LINKS_APART - now
        raise TryLater("A new link was asked for a moment ago; its letter is on the way.", retry_after_s=_seconds(wait))
    if len(asked_at) >= NEW_LINKS_A_DAY:
        wait = min(asked_at) + DAY - now
        raise TryLater(f"A card gets {NEW_LINKS_A_DAY} new links a day at most.", retry_after_s=_seconds(wait))


def has_lapsed(*, state: str, expires_at: datetime, held: bool, now: datetime) -> bool:
    """Whether a card's date has passed with nothing in the way. An open hold keeps it: a promise to the store."""
    return state == "lapsed" or (state == "active" and expires_at <= now and not held)


def after_release(expires_at: datetime, now: datetime) -> datetime:
    """When a card expires after value came back from a hold."""
    return max(expires_at, now + RELEASED_LIVES)


def after_refund(expires_at: datetime, now: datetime) -> datetime:
    """When a spent or lapsed card expires after money came back to it: a card past its date gets a new life."""
    return now + REVIVED_LIVES if expires_at <= now else after_release(expires_at, now)


def link_expiry(card_expires_at: datetime, *, valid_days: int, now: datetime) -> datetime:
    """A link ends with its card at the latest."""
    return min(card_expires_at, now + timedelta(days=valid_days))


def _is_past(link: LinkSeen, now: datetime) -> bool:
    """A waiting link ends at its own time; an opened one with its card, unless the card's code is with a store."""
    if link.state == "waiting":
        return link.expires_at <= now
    return link.card_expires_at <= now and link.code_state != "bound"


def _is_repeat_of_lost_answer(link: LinkSeen, now: datetime) -> bool:
    return (
        link.same_browser
        and link.code_state == "live"
        and link.opened_at is not None
        and now < link.opened_at + SAME_BROWSER_AGAIN
    )


def _binding_is_over(link: LinkSeen, now: datetime) -> bool:
    """The code's time at its store has run out: it is dead, and a new link is due."""
    return link.code_state == "bound" and link.bound_until is not None and link.bound_until <= now


def _seconds(wait: timedelta) -> int:
    return int(wait.total_seconds()) + 1
