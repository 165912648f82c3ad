"""The table of letters."""

from datetime import datetime
from typing import Any

from sqlalchemy import (
    CheckConstraint,
    DateTime,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    PrimaryKeyConstraint,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from app.db.base import At, Base, Id, Words
from app.ids import CardId, LinkId


class Letter(Base):
    """A letter to a holder. It holds neither address nor claim key: both are found when it is sent."""

    __tablename__ = "letter"

    id: Mapped[Id]
    kind: Mapped[Words]
    card_id: Mapped[CardId] = mapped_column(ForeignKey("card.id", name="letter_card_id_fkey"))
    link_id: Mapped[LinkId | None]
    facts: Mapped[dict[str, Any]] = mapped_column(JSONB)
    state: Mapped[Words]
    tries: Mapped[int]
    due_at: Mapped[At]
    created_at: Mapped[At]
    sent_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    last_error: Mapped[str | None] = mapped_column(Text)

    __table_args__ = (
        PrimaryKeyConstraint("id", name="letter_pkey"),
        ForeignKeyConstraint(
            ["card_id", "link_id"], ["claim_link.card_id", "claim_link.id"], name="letter_card_id_link_id_fkey"
        ),
        CheckConstraint(
            "kind IN ('claim', 'reissue', 'new_link', 'hold_expired', 'receipt', 'refund')", name="letter_kind_known"
        ),
        CheckConstraint("state IN ('queued', 'sent', 'failed', 'dropped')", name="letter_state_known"),
        CheckConstraint("jsonb_typeof(facts) = 'object'", name="letter_facts_object"),
        CheckConstraint("tries >= 0", name="letter_tries_counted"),
        CheckConstraint("(state = 'sent') = (sent_at IS NOT NULL)", name="letter_sent_at_told"),
        CheckConstraint("length(last_error) <= 200", name="letter_error_short"),
        Index("letter_due", "due_at", postgresql_where=text("state = 'queued'")),
        Index("letter_link", "link_id", postgresql_where=text("link_id IS NOT NULL")),
    )
