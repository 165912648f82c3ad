"""The table of request limits: how many requests came lately from each client and each address."""

from sqlalchemy import CheckConstraint
from sqlalchemy.dialects.postgresql import BYTEA
from sqlalchemy.orm import Mapped, mapped_column

from app.db.base import At, Base


class RequestLimit(Base):
    """A count of requests in this window of time and in the one before, by the SHA-256 of what is counted.

    `passed` says whether the last request was let through. The table is not logged: a crash of the server empties it.
    """

    __tablename__ = "request_limit"
    __table_args__ = (
        CheckConstraint("octet_length(key) = 32", name="request_limit_key_sha256"),
        CheckConstraint("window_s > 0 AND previous >= 0 AND current >= 0", name="request_limit_counts"),
        {"prefixes": ["UNLOGGED"]},
    )

    key: Mapped[bytes] = mapped_column(BYTEA, primary_key=True)
    window_s: Mapped[int]
    began_at: Mapped[At]
    previous: Mapped[int]
    current: Mapped[int]
    passed: Mapped[bool]
