"""A letter as the rooms see it: queued in their transaction, and asked for its state."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, cast

from sqlalchemy import Connection, literal_column, select

from app.db.together import Write, row_of
from app.ids import CardId, LinkId, new_id
from app.mail.models import Letter

State = Literal["queued", "sent", "failed"]


@dataclass(frozen=True, slots=True)
class DueLetter:
    """A letter whose time has come; `tries` counts the one in hand."""

    id: str
    kind: str
    card_id: CardId
    link_id: LinkId | None
    facts: Mapping[str, Any]
    tries: int


def letter_of(
    kind: str, *, card_id: CardId, link_id: LinkId | None = None, facts: Mapping[str, object], due_at: datetime
) -> Write:
    """The insert of one letter, for `together`; it is sent from `due_at` on.

    `facts` are kept in clear: identifiers, amounts in minor units and a store's name; never an address or a secret.
    """
    return _letter(
        id=new_id("let"),
        kind=kind,
        card_id=card_id,
        link_id=link_id,
        facts=dict(facts),
        state="queued",
        tries=0,
        due_at=due_at,
    )


_letter = row_of(Letter, created_at=literal_column("clock_timestamp()"))


def letter_state(db: Connection, link_id: LinkId) -> State | None:
    """How the newest letter with this link fares; None when there is none, or it was no longer wanted."""
    newest = (
        select(Letter.state)
        .where(Letter.link_id == link_id, Letter.state != "dropped")
        .order_by(Letter.id.desc())
        .limit(1)
    )
    return cast(State | None, db.execute(newest).scalar())
