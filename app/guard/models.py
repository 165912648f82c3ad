"""The table of counts: one small row for each key that was wrong lately."""

from datetime import datetime

from sqlalchemy import CheckConstraint, DateTime
from sqlalchemy.dialects.postgresql import BYTEA
from sqlalchemy.orm import Mapped, mapped_column

from app.db.base import At, Base


class GuardCount(Base):
    """A backoff.Count. Of what its key names only a keyed hash is kept: whose shopper it is, or which network.

    `budget` is what a store may have in a minute, as it was reckoned at `budgeted_at`.
    """

    __tablename__ = "guard_count"
    __table_args__ = (
        CheckConstraint("octet_length(key) = 16", name="guard_count_key_short"),
        CheckConstraint("level >= 0", name="guard_count_level"),
        CheckConstraint("(budget IS NULL) = (budgeted_at IS NULL)", name="guard_count_budgeted"),
    )

    key: Mapped[bytes] = mapped_column(BYTEA, primary_key=True)
    level: Mapped[float]
    as_of: Mapped[At]
    free_at: Mapped[At]
    halved_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    budget: Mapped[int | None]
    budgeted_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    over_at: Mapped[At]
