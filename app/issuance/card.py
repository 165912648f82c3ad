"""Cards as their issuer sees them: balance, state, and what the value can be reached through now."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, case, func, literal, select

from app import clock
from app.db.base import AnyRow, AnySelect
from app.db.transaction import transaction
from app.errors import NotFound
from app.events.event import Event, events_of_card
from app.ids import CardId, IssuerId, ProgrammeId, StoreId
from app.issuance.holder_data import unseal_holder
from app.issuance.models import Card as CardRow
from app.issuance.models import CardKey, ClaimLink, Code
from app.ledger.models import Account
from app.mail.letter import letter_state
from app.money import Money


@dataclass(frozen=True, slots=True)
class ReachedThrough:
    """The one key of the card now: `link`, `code` or `payment`, its state, and until when."""

    kind: str
    id: str
    state: str
    until: datetime
    store_id: StoreId | None = None


@dataclass(frozen=True, slots=True)
class Card:
    """A card as its issuer sees it: never a code, a key or an address in clear."""

    id: CardId
    programme_id: ProgrammeId
    mode: str
    state: str
    balance: Money
    issued: Money
    expires_at: datetime
    created_at: datetime
    not_before: datetime | None
    order_reference: str | None
    metadata: Mapping[str, Any]
    holder_email: str
    reached_through: ReachedThrough | None
    letter: str | None
    claim_link: str | None = field(default=None, metadata={"secret": True}, repr=False)
    replayed: bool = False


def read_card(card_id: CardId, *, issuer_id: IssuerId) -> Card:
    """One card of this issuer. Raises NotFound for anybody else's."""
    with transaction() as db:
        return describe_card(db, card_id, issuer_id=issuer_id)


def list_cards(
    *, issuer_id: IssuerId, order_reference: str | None, state: str | None, after: str | None, limit: int
) -> list[Card]:
    """At most `limit` cards of this issuer, oldest first, from the one after `after`."""
    with transaction() as db:
        now = clock.now(db)
        query = _query(now).where(CardRow.issuer_id == issuer_id).order_by(CardRow.id).limit(limit)
        if order_reference is not None:
            query = query.where(CardRow.order_reference == order_reference)
        if state is not None:
            query = query.where(_state_at(now) == state)
        if after is not None:
            query = query.where(CardRow.id > after)
        return [_described(db, row, now) for row in db.execute(query).all()]


def describe_card(db: Connection, card_id: CardId, *, issuer_id: IssuerId) -> Card:
    """The card as it stands inside a transaction. Raises NotFound."""
    now = clock.now(db)
    row = db.execute(_query(now).where(CardRow.id == card_id, CardRow.issuer_id == issuer_id)).first()
    if row is None:
        raise NotFound("There is no such card.")
    return _described(db, row, now)


def read_card_events(card_id: CardId, *, issuer_id: IssuerId, after: str | None, limit: int) -> list[Event]:
    """The history of one card of this issuer, in order. Raises NotFound for anybody else's."""
    with transaction() as db:
        describe_card(db, card_id, issuer_id=issuer_id)
        return events_of_card(db, card_id, after=after, limit=limit)


def _state_at(now: datetime) -> Any:
    """A card's state when read: `rules.has_lapsed` in SQL.

    A store that has the code, even past its time, keeps the card alive: what comes back from there gets more time.
    """
    due = (CardRow.state == "active") & (CardRow.expires_at <= now) & func.coalesce(Code.state != "bound", True)
    return case((due, literal("lapsed")), else_=CardRow.state)


def _query(now: datetime) -> AnySelect:
    return (
        select(
            CardRow.id,
            CardRow.programme_id,
            CardRow.mode,
            _state_at(now).label("state"),
            CardRow.currency,
            CardRow.issued_minor,
            CardRow.expires_at,
            CardRow.created_at,
            CardRow.not_before,
            CardRow.order_reference,
            CardRow.issuer_metadata,
            CardRow.holder_sealed,
            Account.balance_minor,
            CardKey.payment_id,
            ClaimLink.id.label("link_id"),
            ClaimLink.state.label("link_state"),
            ClaimLink.expires_at.label("link_expires_at"),
            Code.id.label("code_id"),
            Code.link_id.label("code_link_id"),
            Code.state.label("code_state"),
            Code.store_id,
            Code.bound_until,
        )
        .join(Account, Account.id == CardRow.account_id)
        .join(CardKey, CardKey.card_id == CardRow.id)
        .outerjoin(ClaimLink, ClaimLink.id == CardKey.link_id)
        .outerjoin(Code, Code.id == CardKey.code_id)
    )


def _described(db: Connection, row: AnyRow, now: datetime) -> Card:
    lapsed = row.state == "lapsed"
    link_id = row.link_id or row.code_link_id
    return Card(
        id=row.id,
        programme_id=row.programme_id,
        mode=row.mode,
        state=row.state,
        balance=Money(0 if lapsed else row.balance_minor, row.currency),
        issued=Money(row.issued_minor, row.currency),
        expires_at=row.expires_at,
        created_at=row.created_at,
        not_before=row.not_before,
        order_reference=row.order_reference,
        metadata=row.issuer_metadata,
        holder_email=unseal_holder(row.holder_sealed, row.id).masked,
        reached_through=None if lapsed else _reached_through(row, now),
        letter=letter_state(db, link_id) if link_id else None,
    )


def _reached_through(row: AnyRow, now: datetime) -> ReachedThrough | None:
    if row.link_id is not None:
        is_past = row.link_state == "waiting" and row.link_expires_at <= now
        return ReachedThrough("link", row.link_id, "lapsed" if is_past else row.link_state, row.link_expires_at)
    if row.payment_id is not None and row.bound_until > now:
        return ReachedThrough("payment", row.payment_id, "held", row.bound_until, row.store_id)
    if row.code_id is not None and (row.bound_until is None or row.bound_until > now):
        until = row.bound_until or row.expires_at
        return ReachedThrough("code", row.code_id, row.code_state, until, row.store_id)
    return None
