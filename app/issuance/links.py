"""Claim links and their claim keys: made, hashed, superseded."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    Connection,
    ScalarSelect,
    bindparam,
    case,
    exists,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import BYTEA
from sqlalchemy.orm import InstrumentedAttribute
from sqlalchemy.sql.dml import Update

from app import secrecy
from app.config import settings
from app.db.together import Write, row_of, write
from app.ids import CardId, LinkId, new_id
from app.issuance import rules
from app.issuance.models import ClaimKey, ClaimLink


@dataclass(frozen=True, slots=True)
class NewLink:
    """A waiting link about to be written. `card_expires_at` and `at` bound its life."""

    id: LinkId
    card_id: CardId
    reason: str
    at: datetime
    expires_at: datetime


def new_link(
    card_id: CardId, reason: str, *, card_expires_at: datetime, at: datetime, delivered_at: datetime | None = None
) -> NewLink:
    """A fresh link for a card; it still has no key. Its life begins when its letter may go out."""
    expires_at = rules.link_expiry(card_expires_at, valid_days=settings().link_valid_days, now=delivered_at or at)
    return NewLink(LinkId(new_id("link")), card_id, reason, at, expires_at)


def link_insert(link: NewLink) -> Write:
    """The insert of a waiting link."""
    return _insert(id=link.id, card_id=link.card_id, reason=link.reason, created_at=link.at, expires_at=link.expires_at)


_insert = row_of(ClaimLink, state="waiting")


@write
def supersede_link(link_id: LinkId) -> Update:
    """Kills a link that is still waiting."""
    return update(ClaimLink).where(ClaimLink.id == link_id, ClaimLink.state == "waiting").values(state="superseded")


def draw_claim_key(db: Connection, link_id: LinkId, at: datetime) -> str:
    """Draws another key for a waiting link, keeps its hash, and returns the whole claim link, which is kept nowhere.

    The key stands in the fragment, which no browser sends to any server.
    """
    key = secrecy.random_secret()
    db.execute(insert(ClaimKey).values(key_hash=hashes_of_key(link_id, key)[0], link_id=link_id, created_at=at))
    return f"{settings().public_url}/claim/{link_id}#{key}"


def hashes_of_nonce(link_id: LinkId, nonce: str) -> list[bytes]:
    """The stored forms that a browser's nonce may have, by the versions of the hashing key, the newest first."""
    return secrecy.keyed_hashes(settings().keys.hashing, "claim-nonce", f"{link_id}:{nonce}")


def hashes_of_key(link_id: LinkId, key: str) -> list[bytes]:
    """The stored forms that a claim key may have, good for this link only; the newest first."""
    return secrecy.keyed_hashes(settings().keys.hashing, "claim-key", f"{link_id}:{key}")


def key_given(link_id: LinkId, key: str) -> dict[str, object]:
    """The parameters of IS_KEY_OF_LINK. Only hashes reach the database, whose time tells nothing."""
    return {"wanted_link": link_id, "key_hashes": hashes_of_key(link_id, key)}


#: The condition that a key belongs to a link, for queries that are made once; they are executed with `key_given`.
IS_KEY_OF_LINK = exists().where(
    ClaimKey.key_hash == func.any(bindparam("key_hashes", type_=ARRAY(BYTEA))),
    ClaimKey.link_id == bindparam("wanted_link"),
)


def newest_link(card_id: ColumnElement[str] | InstrumentedAttribute[str] | str) -> ScalarSelect[str]:
    """The link that was made last for the card, for use in a query: the waiting one, of which there is one at most."""
    link = ClaimLink.__table__.alias().c  # of tables, not of classes, which SQLAlchemy completes at their first use
    order = (case((link.state == "waiting", 0), else_=1), link.created_at.desc(), link.id.desc())
    newest = select(link.id).where(link.card_id == card_id).order_by(*order)
    return newest.limit(1).scalar_subquery()
