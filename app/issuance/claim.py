"""Claim: whoever opens the link is shown a fresh code, once."""

from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Connection, bindparam, delete, func, select, update

from app import clock
from app.db.base import AnyRow
from app.db.together import row_of, together
from app.db.transaction import transaction
from app.errors import Busy, LinkNotAccepted, LinkOpened
from app.events.event import event_of
from app.ids import CardId, CodeId, LinkId, new_id
from app.issuance import links, one_key, rules
from app.issuance.code import draw_code, show_code
from app.issuance.code_hash import hash_code, hashing, newest_epoch
from app.issuance.models import Card, CardKey, ClaimKey, ClaimLink, Code, Programme
from app.ledger.models import Account
from app.money import Money


@dataclass(frozen=True, slots=True)
class Claimed:
    """A code as it is shown, this once; what the card is worth, and until when."""

    code: str = field(repr=False)
    card_id: CardId
    balance: Money
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class FreshCode:
    """A drawn code with its hash, made outside of any transaction because Argon2 is slow."""

    shown: str = field(repr=False)
    hash: bytes = field(repr=False)
    epoch: int
    id: CodeId


def claim_link(link_id: LinkId, *, key: str, nonce: str, opened_by: str) -> Claimed:
    """Opens a claim link and draws a code. `opened_by` names the browser, such as "Firefox".

    The same nonce within ten minutes and with the code unused draws another code, for the answer may have been lost.

    Raises LinkNotAccepted (unknown link and wrong key alike), LinkSuperseded, LinkOpened, LinkLapsed, CardHeld,
    TryLater, Busy.
    """
    with hashing():  # whoever lost the race while waiting here is refused before any Argon2 work
        with transaction() as db:
            _decide(db, link_id, key, nonce)
        fresh = draw_fresh_code()
    with transaction() as db:
        if _lock(db, link_id) is None:
            raise LinkNotAccepted()
        seen, opening, now = _decide(db, link_id, key, nonce)
        if opening is rules.Opening.FIRST:
            _spend(db, link_id, key, nonce, opened_by, now)
        else:
            together(db, one_key.kill_code(seen.code_id, now))
        return show_fresh_code(db, fresh, seen.card_id, link_id, now, how=opening.name.lower())


def draw_fresh_code() -> FreshCode:
    """A code, its hash and the epoch of its pepper. One Argon2id: call it inside `hashing`, outside transactions."""
    code, epoch = draw_code(), newest_epoch()
    return FreshCode(show_code(code), hash_code(code, epoch), epoch, CodeId(new_id("code")))


def show_fresh_code(
    db: Connection, fresh: FreshCode, card_id: CardId, link_id: LinkId, now: datetime, *, how: str
) -> Claimed:
    """Makes the fresh code the card's one key and returns what the holder is shown. The key before is dead already.

    Raises Busy when the code's pepper epoch ended while it was drawn: nobody could ever exchange it.
    """
    if fresh.epoch != newest_epoch():
        raise Busy
    together(
        db,
        _code(
            id=fresh.id,
            card_id=card_id,
            link_id=link_id,
            hash=fresh.hash,
            pepper_epoch=fresh.epoch,
            created_at=now,
        ),
        one_key.point_at(card_id, code_id=fresh.id),
        event_of("code_shown", at=now, card_id=card_id, facts={"link_id": link_id, "code_id": fresh.id, "how": how}),
    )
    columns = (Card.currency, Card.expires_at, Account.balance_minor)
    card = db.execute(select(*columns).join(Account, Account.id == Card.account_id).where(Card.id == card_id)).one()
    return Claimed(fresh.shown, card_id, Money(card.balance_minor or 0, card.currency), card.expires_at)


_code = row_of(Code, state="live")


def codes_today(db: Connection, card_id: CardId, now: datetime) -> int:
    """How many codes the card has drawn in the last day."""
    query = select(func.count(Code.id)).where(Code.card_id == card_id, Code.created_at > now - rules.DAY)
    return db.scalar(query) or 0


def _lock(db: Connection, link_id: LinkId) -> str | None:
    """Locks the link's card, then its key, in the order of the whole house."""
    query = select(Card.id).join(ClaimLink, ClaimLink.card_id == Card.id).join(CardKey, CardKey.card_id == Card.id)
    return db.scalar(query.where(ClaimLink.id == link_id).with_for_update(of=[Card, CardKey]))


def _decide(db: Connection, link_id: LinkId, key: str, nonce: str) -> tuple[AnyRow, rules.Opening, datetime]:
    """Proves the key before anything is told, then asks the rules."""
    row = db.execute(_SEEN, links.key_given(link_id, key)).first()
    if row is None:
        raise LinkNotAccepted()
    now = clock.read(row.stamp)
    seen = rules.LinkSeen(
        state=row.state,
        policy=row.link_policy,
        expires_at=row.expires_at,
        card_expires_at=row.card_expires_at,
        opened_at=row.opened_at,
        opened_by=row.opened_by,
        is_newest=row.newest_id == link_id,
        same_browser=row.nonce_hash in links.hashes_of_nonce(link_id, nonce),
        code_state=row.code_state,
        held=row.payment_id is not None,
        bound_until=row.bound_until,
        codes_today=codes_today(db, row.card_id, now),
    )
    return row, rules.decide_opening(seen, now), now


def _spend(db: Connection, link_id: LinkId, key: str, nonce: str, opened_by: str, now: datetime) -> None:
    """One statement decides the race, whatever was read before: only one opening finds the link waiting."""
    spent = db.execute(
        update(ClaimLink)
        .where(ClaimLink.id == link_id, ClaimLink.state == "waiting", ClaimLink.expires_at > now)
        .values(state="opened", opened_at=now, opened_by=opened_by, nonce_hash=links.hashes_of_nonce(link_id, nonce)[0])
        .returning(ClaimLink.id)
    ).first()
    if spent is None:
        raise LinkOpened()
    used = links.hashes_of_key(link_id, key)
    db.execute(delete(ClaimKey).where(ClaimKey.link_id == link_id, ClaimKey.key_hash.not_in(used)))


_SEEN = (
    select(
        ClaimLink.card_id,
        ClaimLink.state,
        ClaimLink.expires_at,
        ClaimLink.opened_at,
        ClaimLink.opened_by,
        ClaimLink.nonce_hash,
        Card.expires_at.label("card_expires_at"),
        Programme.link_policy,
        CardKey.payment_id,
        CardKey.code_id,
        Code.state.label("code_state"),
        Code.bound_until,
        links.newest_link(ClaimLink.card_id).label("newest_id"),
        func.clock_timestamp().label("stamp"),
    )
    .join(Card, Card.id == ClaimLink.card_id)
    .join(Programme, Programme.id == Card.programme_id)
    .join(CardKey, CardKey.card_id == Card.id)
    .outerjoin(Code, Code.id == CardKey.code_id)
    .where(ClaimLink.id == bindparam("wanted_link"), links.IS_KEY_OF_LINK)
)
