"""Events: who did what to a card or a payment, and when, written in the transaction that did it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Index, select, text, tuple_
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from app.db.base import AnyRow, At, Base, Id, Words
from app.db.together import Write, row_of
from app.ids import CardId, PaymentId, new_id
from app.web.context import acting

#: Which marks of where a request came from (`Acting.origin`) an event of these kinds keeps: only the rules of alarms
#: read them, and whoever reads a card's history does not.
ORIGIN_KEPT: Mapping[str, tuple[str, ...]] = {
    "code_shown": ("address", "country"),
    "code_token_made": ("country",),
    "code_exchanged": ("country",),
    "code_refused": ("country",),
}
ORIGIN_MARKS = frozenset(mark for kept in ORIGIN_KEPT.values() for mark in kept)
#: The movements of money, and whose they are: what is usual is a party's own.
OF_MONEY = "kind IN ('card_issued', 'payment_settled', 'payment_refunded')"
PARTY = "COALESCE(facts ->> 'issuer_id'::text, facts ->> 'store_id'::text)"


class EventRow(Base):
    """Append-only: the service may insert and read, nobody may change."""

    __tablename__ = "event"
    __table_args__ = (
        Index("event_by_card", "card_id", "at", "id"),
        Index("event_by_kind", "kind", "at"),
        Index("event_of_money", text(PARTY), "kind", "at", postgresql_where=text(OF_MONEY)),
    )

    id: Mapped[Id] = mapped_column(primary_key=True)
    at: Mapped[At]
    kind: Mapped[Words]
    actor: Mapped[Words]
    request_id: Mapped[Words | None]
    card_id: Mapped[CardId | None]
    payment_id: Mapped[PaymentId | None]
    facts: Mapped[dict[str, Any]] = mapped_column(JSONB)


@dataclass(frozen=True, slots=True)
class Event:
    """One event as its readers see it; `facts` are identifiers, amounts in minor units and words, never a secret."""

    id: str
    at: datetime
    kind: str
    actor: str
    request_id: str | None
    card_id: CardId | None
    payment_id: PaymentId | None
    facts: Mapping[str, Any]


def event_of(
    kind: str,
    *,
    at: datetime,
    card_id: CardId | None = None,
    payment_id: PaymentId | None = None,
    facts: Mapping[str, object] | None = None,
) -> Write:
    """The insert of one event, for `together`. Actor, request and origin come from the context of request or job."""
    who = acting.get()
    origin = {mark: who.origin[mark] for mark in ORIGIN_KEPT.get(kind, ()) if mark in who.origin}
    return _event(
        id=new_id("evt"),
        at=at,
        kind=kind,
        actor=who.actor,
        request_id=who.request_id,
        card_id=card_id,
        payment_id=payment_id,
        facts={**(facts or {}), **origin},
    )


_event = row_of(EventRow)


def events_of_card(db: Connection, card_id: CardId, *, after: str | None, limit: int) -> list[Event]:
    """A card's events in order, at most `limit` of them, from the one after `after`.

    Without the marks of where requests came from, which are no business of the card's issuer. The order is that of the
    database's clock: identifiers are drawn by whichever machine, whose clocks differ.
    """
    columns = (getattr(EventRow, name) for name in Event.__dataclass_fields__)
    query = select(*columns).where(EventRow.card_id == card_id).order_by(EventRow.at, EventRow.id).limit(limit)
    if after is not None:
        last = select(EventRow.at, EventRow.id).where(EventRow.id == after).scalar_subquery()
        query = query.where(tuple_(EventRow.at, EventRow.id) > last)
    return [_shown(row) for row in db.execute(query)]


def _shown(row: AnyRow) -> Event:
    facts = {name: fact for name, fact in row.facts.items() if name not in ORIGIN_MARKS}
    return Event(**{**row._mapping, "facts": facts})
