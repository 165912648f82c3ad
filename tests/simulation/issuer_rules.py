"""What issue, reissue and the correction of an address must do, read from the documents."""

from datetime import datetime, timedelta

from app.errors import (
    AmountOutsideProgramme,
    CardClosed,
    CardHeld,
    CurrencyMismatch,
    InvalidRequest,
    LinkOpened,
    NotFound,
)
from app.money import Money
from tests.simulation.model import DAY, Card, Terms


def issue(
    terms: Terms, amount: Money, *, issuer: str, asker: str, letter: bool, put_off: timedelta | None, now: datetime
) -> Card:
    """A fresh card. `put_off`: how far from now its letter is to go out."""
    if asker != issuer:
        raise NotFound
    if amount.currency != "GBP":
        raise CurrencyMismatch
    if not terms.least <= amount.amount_minor <= terms.most:
        raise AmountOutsideProgramme
    if put_off is not None and (not letter or put_off > 366 * DAY or put_off < -DAY):
        raise InvalidRequest("", pointer="/not_before")
    not_before = None if put_off is None else now + put_off
    begins = max(now, not_before or now)
    card = Card(issuer, terms, amount.amount_minor, amount.amount_minor, now, begins + terms.lives, not_before)
    card.make_link("issue", "claim" if letter else None, now, delivered=begins)
    return card


def reissue(card: Card, *, asker: str, letter: bool, now: datetime) -> None:
    """Kills the unused link or code, never a hold; what is due is ended before."""
    if asker != card.issuer:
        raise NotFound
    if card.is_held(now):
        raise CardHeld(now)
    if card.state == "spent" or card.has_lapsed(now):
        raise CardClosed
    card.write_down(now)
    delivered = max(now, card.not_before or now) if letter else now
    card.make_link("issuer", "new_link" if letter else None, now, delivered=delivered)


def correct_address(card: Card, *, asker: str, now: datetime) -> None:
    """Only while nobody has opened the link, waiting or lapsed."""
    if asker != card.issuer:
        raise NotFound
    if card.state == "spent" or card.has_lapsed(now):
        raise CardClosed
    if card.link is None:
        raise LinkOpened
    card.make_link("address", "claim", now, delivered=max(now, card.not_before or now))


def seen(card: Card, now: datetime) -> dict[str, object]:
    """The card as its issuer sees it at `now`."""
    lapsed = card.has_lapsed(now)
    newest = card.links[-1]
    return {
        "state": "lapsed" if lapsed else card.state,
        "balance": 0 if lapsed else card.balance,
        "issued": card.issued,
        "ends_at": card.ends_at,
        "reached_through": None if lapsed else _reached_through(card, now),
        "letter": "queued" if card.key and newest.letter else None,
    }


def _reached_through(card: Card, now: datetime) -> tuple[str, str] | None:
    if card.link:
        return "link", "lapsed" if card.link.ends_at <= now else card.link.state
    if card.is_held(now):
        return "payment", "held"
    if card.code and (card.code.until is None or now < card.code.until):
        return "code", card.code.state
    return None
