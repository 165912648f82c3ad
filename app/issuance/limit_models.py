"""Tables: what clients and issuers may issue in a day, what they have issued of it, and who asked for more."""

from decimal import Decimal

from sqlalchemy import CheckConstraint, Index, Numeric, text
from sqlalchemy.orm import Mapped, mapped_column

from app.db.base import At, Base, Id, Minor, Words


class IssuingLimit(Base):
    """One client, or one issuer over all of its clients, in one currency.

    `used_…` is what was issued and has not been forgotten by `as_of`: the day's limit is forgotten evenly in a day.
    Without limits of its own a subject has those of the settings.
    """

    __tablename__ = "issuing_limit"
    __table_args__ = (
        CheckConstraint("(limit_minor IS NULL) = (limit_cards IS NULL)", name="issuing_limit_both"),
        CheckConstraint("limit_minor >= 0 AND limit_cards >= 0", name="issuing_limit_not_negative"),
        CheckConstraint("used_minor >= 0 AND used_cards >= 0", name="issuing_limit_used"),
    )

    subject_id: Mapped[Id] = mapped_column(primary_key=True)
    currency: Mapped[Words] = mapped_column(primary_key=True)
    limit_minor: Mapped[Minor | None]
    limit_cards: Mapped[Minor | None]
    used_minor: Mapped[Decimal] = mapped_column(Numeric)
    used_cards: Mapped[Decimal] = mapped_column(Numeric)
    as_of: Mapped[At]
    told_at: Mapped[At | None]


class IssuingLimitRequest(Base):
    """Somebody wants a higher limit, which a second operator approves. `seen_…`: what the limit was at the time."""

    __tablename__ = "issuing_limit_request"
    __table_args__ = (
        CheckConstraint("limit_minor >= 0 AND limit_cards >= 0", name="issuing_limit_request_not_negative"),
        CheckConstraint("limit_minor > seen_minor OR limit_cards > seen_cards", name="issuing_limit_request_raises"),
        CheckConstraint("reason <> ''", name="issuing_limit_request_reason"),
        CheckConstraint("state IN ('waiting', 'approved', 'rejected')", name="issuing_limit_request_state"),
        CheckConstraint(
            "(state = 'waiting') = (decided_by IS NULL) AND (decided_by IS NULL) = (decided_at IS NULL)",
            name="issuing_limit_request_decided",
        ),
        CheckConstraint("state <> 'approved' OR decided_by <> requested_by", name="issuing_limit_request_four_eyes"),
        Index("issuing_limit_request_waiting", "requested_at", postgresql_where=text("state = 'waiting'")),
    )

    id: Mapped[Id] = mapped_column(primary_key=True)
    subject_id: Mapped[Id]
    currency: Mapped[Words]
    limit_minor: Mapped[Minor]
    limit_cards: Mapped[Minor]
    seen_minor: Mapped[Minor]
    seen_cards: Mapped[Minor]
    reason: Mapped[Words]
    requested_by: Mapped[Words]
    requested_at: Mapped[At]
    state: Mapped[Words] = mapped_column(server_default=text("'waiting'"))
    decided_by: Mapped[Words | None]
    decided_at: Mapped[At | None]
