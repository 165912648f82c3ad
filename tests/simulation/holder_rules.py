"""What a holder can do with a link, read from the documents: claim, ask for a new link, ask for a fresh code."""

from datetime import datetime

from app.errors import CardClosed, CardHeld, LinkLapsed, LinkNotAccepted, LinkOpened, LinkSuperseded, TryLater
from tests.simulation.model import CODES_A_DAY, DAY, LINKS_A_DAY, LINKS_APART, PAGE, SAME_BROWSER, Card, Link


def claim(card: Card, link: Link, *, key: str, nonce: str, now: datetime) -> dict[str, object]:
    """Whoever opens the link first is shown a code; who may open it again is shown another one."""
    if key not in link.keys:
        raise LinkNotAccepted
    _check_newest(card, link)
    if link.state == "superseded":  # by a late settle that left nothing
        raise LinkSuperseded
    if link.state == "opened":
        _check_again(card, link, nonce, now)
    elif link.state == "lapsed" or link.ends_at <= now:
        raise LinkLapsed
    else:
        link.state, link.opened_at, link.nonce, link.keys = "opened", now, nonce, (key,)
    card.make_code(now)
    return {"balance": card.balance, "ends_at": card.ends_at}


def fresh_code(card: Card, link: Link, *, now: datetime) -> dict[str, object]:
    """From the page that showed the code before: for fifteen minutes, never while a store holds the card."""
    _check_newest(card, link)
    if _comes_back(card, now):
        raise LinkOpened  # a newer link is on its way
    if card.is_held(now):
        raise CardHeld(now)
    if card.state == "spent" or card.has_lapsed(now):
        raise CardClosed
    if link.opened_at is None or now >= link.opened_at + PAGE:
        raise LinkOpened
    _check_codes_today(card, now)
    card.make_code(now)
    return {"balance": card.balance, "ends_at": card.ends_at}


def resend(card: Card, link: Link, *, key: str, now: datetime) -> None:
    """A new link by the newest one, or by the one before when the letter that was asked for never arrived."""
    if key not in link.keys:
        raise LinkNotAccepted
    is_newest = link is card.links[-1]
    later = card.links[_place(card, link) + 1 :]
    if any(one.reason != "asked" or one.state == "opened" for one in later):
        _check_newest(card, link)
    if is_newest and _comes_back(card, now):
        card.write_down(now)  # the new link that was asked for
        return
    if card.is_held(now):
        raise CardHeld(now)
    if card.state == "spent" or card.has_lapsed(now):
        raise CardClosed
    asked = [one.made_at for one in card.links if one.reason == "asked" and now < one.made_at + DAY]
    is_too_soon = bool(asked) and now < max(asked) + LINKS_APART
    if is_too_soon and not is_newest:
        return  # the same request again, perhaps after a lost answer
    if is_too_soon or len(asked) >= LINKS_A_DAY:
        raise TryLater("", retry_after_s=1)
    card.write_down(now)
    card.make_link("asked", "new_link", now, delivered=max(now, card.not_before or now))


def _check_again(card: Card, link: Link, nonce: str, now: datetime) -> None:
    if card.ends_at <= now and not card.is_with_store():
        raise LinkLapsed
    code, opened_at = card.code, link.opened_at or now
    if code and code.state == "live" and nonce == link.nonce and now < opened_at + SAME_BROWSER:
        return
    if not card.terms.can_open_again or code is None or _comes_back(card, now):
        raise LinkOpened
    if card.is_held(now):
        raise CardHeld(now)
    _check_codes_today(card, now)


def _check_newest(card: Card, link: Link) -> None:
    if link is not card.links[-1]:
        raise LinkOpened if link.state == "opened" else LinkSuperseded


def _check_codes_today(card: Card, now: datetime) -> None:
    if len([code for code in card.codes if now < code.made_at + DAY]) >= CODES_A_DAY:
        raise TryLater("", retry_after_s=1)


def _comes_back(card: Card, now: datetime) -> bool:
    """The code's time at its store is over: its value comes back by a new link."""
    return card.is_with_store() and card.code is not None and card.code.until is not None and card.code.until <= now


def _place(card: Card, wanted: Link) -> int:
    return next(place for place, link in enumerate(card.links) if link is wanted)
