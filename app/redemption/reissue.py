"""Reissue by wish: the issuer or the holder asks for a new link, or the holder for a fresh code; never while held."""

from dataclasses import replace
from datetime import datetime

from sqlalchemy import Connection, select

from app import clock
from app.db.base import AnyRow
from app.db.request import Reference, done_before, keep_answer
from app.db.together import Write, together
from app.db.transaction import transaction
from app.errors import LinkNotAccepted, LinkOpened, LinkSuperseded, NotFound
from app.events.event import event_of
from app.ids import CardId, IssuerId, LinkId
from app.issuance import links, one_key
from app.issuance import rules as issuance_rules
from app.issuance.card import Card, describe_card
from app.issuance.claim import Claimed, codes_today, draw_fresh_code, show_fresh_code
from app.issuance.code_hash import hashing
from app.issuance.issue import Deliver
from app.issuance.models import Card as CardRow
from app.issuance.models import CardKey, ClaimLink, Code
from app.issuance.reissue import queue_reissue
from app.redemption import rules
from app.redemption.holds import close_due, lock_card
from app.redemption.models import PaymentRow


def reissue_card(card_id: CardId, *, issuer_id: IssuerId, deliver: Deliver, reference: Reference) -> Card:
    """Kills the unused link or code and makes a new link, mailed or, with `deliver` "link", shown in this one answer.

    Raises NotFound, CardHeld, CardClosed, ReferenceReused, Busy.
    """
    with transaction() as db:
        if again := done_before(db, reference, Card):
            return again
        now = lock_card(db, card_id, issuer_id=issuer_id)
        if now is None:
            raise NotFound("There is no such card.")
        while close_due(db, card_id, now):
            now = clock.now(db)  # links are told apart by their times; by a later one something else may be due
        letter_kind = "new_link" if deliver == "email" else None
        link = _replace(db, _decided_key(db, card_id, now), now, reason="issuer", letter_kind=letter_kind)
        claim_link = None if letter_kind else links.draw_claim_key(db, link.id, now)
        card = describe_card(db, card_id, issuer_id=issuer_id)
        together(db, keep_answer(reference, card))
        return replace(card, claim_link=claim_link)


def resend_link(link_id: LinkId, *, key: str) -> None:
    """Mails a new link to the card's address and kills the waiting link or unused code. The key is the authority.

    Asked again by the same link within ten minutes, it does nothing more.

    Raises LinkNotAccepted, LinkOpened or LinkSuperseded when a newer link exists, CardHeld, CardClosed, TryLater, Busy.
    """
    with transaction() as db:
        if not db.scalar(select(links.IS_KEY_OF_LINK), links.key_given(link_id, key)):
            raise LinkNotAccepted()
        _resend(db, link_id)


def resend_link_in_session(link_id: LinkId) -> None:
    """The same from the page that has just shown the code; its session is the authority. Raises as `resend_link`."""
    with transaction() as db:
        _resend(db, link_id)


def fresh_code(link_id: LinkId) -> Claimed:
    """A fresh code from the page that showed the one before, which dies. The page's session is the authority.

    Raises LinkOpened or LinkSuperseded when a newer link exists, CardHeld, CardClosed, TryLater, Busy.
    """
    with transaction() as db:  # what is due is ended for good, whatever is decided after it
        close_due(db, *_lock_newest(db, link_id))
    with hashing():
        with transaction() as db:
            _key_of_newest(db, link_id, clock.now(db))
        fresh = draw_fresh_code()
    with transaction() as db:
        card_id, now = _lock_newest(db, link_id)
        close_due(db, card_id, now)  # a hold may have ended while the code was drawn
        key = _key_of_newest(db, link_id, now)
        opened_at = db.scalar(select(ClaimLink.opened_at).where(ClaimLink.id == link_id))
        issuance_rules.decide_page_code(opened_at, codes_today(db, card_id, now), now)
        together(db, _kill(key, now))
        return show_fresh_code(db, fresh, card_id, link_id, now, how="fresh")


def retire_code(card_id: CardId, newest_epoch: int) -> bool:
    """Kills a card's code of an older pepper epoch and mails a new link, unless a store holds it. True when it did."""
    with transaction() as db:
        now = lock_card(db, card_id)
        key = db.execute(_KEY.where(CardRow.id == card_id)).one()
        epoch = db.scalar(select(Code.pepper_epoch).where(Code.id == key.code_id))
        if now is None or key.payment_until is not None or epoch in (None, newest_epoch):
            return False
        _replace(db, key, now, reason="pepper", letter_kind="new_link")
        return True


def _resend(db: Connection, link_id: LinkId) -> None:
    """By the newest link, or by one whose follower, asked for by it, nobody has opened: its letter may be lost.

    Asked again by the same link within ten minutes it is the same request, perhaps after a lost answer: no new letter.
    """
    card_id, now = _lock_card_of(db, link_id)
    is_newest = _is_newest(db, link_id, card_id)
    if not is_newest and not _was_only_asked_for_since(db, link_id, card_id):
        _check_newest(db, link_id, card_id)
    if close_due(db, card_id, now) and is_newest and not _is_newest(db, link_id, card_id):
        return  # what was due has just queued a new link
    key = _decided_key(db, card_id, now)
    asked_at = list(
        db.scalars(
            select(ClaimLink.created_at).where(
                ClaimLink.card_id == card_id,
                ClaimLink.reason == "asked",
                ClaimLink.created_at > now - issuance_rules.DAY,
            )
        )
    )
    if not is_newest and asked_at and now < max(asked_at) + issuance_rules.NEW_LINKS_APART:
        return
    issuance_rules.decide_new_link(asked_at, now)
    _replace(db, key, now, reason="asked", letter_kind="new_link")


def _was_only_asked_for_since(db: Connection, link_id: LinkId, card_id: CardId) -> bool:
    """Whether every later link of the card was asked for by its holder, and none of them was opened."""
    made_at = select(ClaimLink.created_at).where(ClaimLink.id == link_id).scalar_subquery()
    another = select(ClaimLink.id).where(
        ClaimLink.card_id == card_id,
        ClaimLink.created_at > made_at,
        (ClaimLink.reason != "asked") | (ClaimLink.state == "opened"),
    )
    return db.execute(another).first() is None


def _lock_card_of(db: Connection, link_id: LinkId) -> tuple[CardId, datetime]:
    card_id = db.scalar(select(ClaimLink.card_id).where(ClaimLink.id == link_id))
    now = lock_card(db, card_id) if card_id else None
    if card_id is None or now is None:
        raise LinkNotAccepted()
    return card_id, now


def _lock_newest(db: Connection, link_id: LinkId) -> tuple[CardId, datetime]:
    """Locks the link's card. Raises LinkOpened or LinkSuperseded unless the link is the card's newest."""
    card_id, now = _lock_card_of(db, link_id)
    _check_newest(db, link_id, card_id)
    return card_id, now


def _key_of_newest(db: Connection, link_id: LinkId, now: datetime) -> AnyRow:
    card_id = db.scalar(select(ClaimLink.card_id).where(ClaimLink.id == link_id))
    if card_id is None:
        raise LinkNotAccepted()
    _check_newest(db, link_id, card_id)
    return _decided_key(db, card_id, now)


def _check_newest(db: Connection, link_id: LinkId, card_id: CardId) -> None:
    if not _is_newest(db, link_id, card_id):
        state = db.scalar(select(ClaimLink.state).where(ClaimLink.id == link_id))
        raise LinkOpened() if state == "opened" else LinkSuperseded()


def _is_newest(db: Connection, link_id: LinkId, card_id: CardId) -> bool:
    return db.scalar(select(links.newest_link(card_id))) == link_id


def _decided_key(db: Connection, card_id: CardId, now: datetime) -> AnyRow:
    """The card's one key at `now`, the time by which what was due has been ended: a later reading could find a hold
    over that nobody has ended, and leave its payment without its card. Raises CardHeld, CardClosed.
    """
    key = db.execute(_KEY.where(CardRow.id == card_id)).one()
    is_held = key.payment_until is not None and key.payment_until > now
    rules.decide_reissue(card_state=key.state, held_until=key.payment_until if is_held else None)
    return key


def _replace(db: Connection, key: AnyRow, now: datetime, *, reason: str, letter_kind: str | None) -> links.NewLink:
    """Two statements: a card has one waiting link at most, so the old one is dead before the new one is made."""
    facts = {"reason": reason, "link_id": key.link_id, "code_id": key.code_id}
    together(db, _kill(key, now), event_of("link_reissued", at=now, card_id=key.card_id, facts=facts))
    due_at = max(now, key.not_before or now) if letter_kind else now
    link, writes = queue_reissue(
        key.card_id, letter_kind, reason=reason, card_expires_at=key.expires_at, at=now, due_at=due_at
    )
    together(db, writes)
    return link


def _kill(key: AnyRow, now: datetime) -> list[Write | None]:
    return [
        links.supersede_link(key.link_id) if key.link_id else None,
        one_key.kill_code(key.code_id, now) if key.code_id else None,
        one_key.point_at(key.card_id),
    ]


_KEY = (
    select(
        CardRow.id.label("card_id"),
        CardRow.state,
        CardRow.expires_at,
        CardRow.not_before,
        CardKey.link_id,
        CardKey.code_id,
        PaymentRow.expires_at.label("payment_until"),
    )
    .join(CardKey, CardKey.card_id == CardRow.id)
    .outerjoin(PaymentRow, PaymentRow.id == CardKey.payment_id)
)
