"""What lies on the accounts that keep issuers' money."""

from datetime import date

from sqlalchemy import CheckConstraint, Date, ForeignKey, ForeignKeyConstraint, Index
from sqlalchemy.orm import Mapped, mapped_column

from app.db.base import At, Base, Id, Minor, Words
from app.ids import IssuerId


class BankBalance(Base):
    """A balance at the end of a day. Append-only: of one day's, what was recorded last counts."""

    __tablename__ = "bank_balance"
    __table_args__ = (
        ForeignKeyConstraint(["issuer_id", "mode"], ["issuer.id", "issuer.mode"]),
        CheckConstraint("source IN ('entered', 'imported')", name="bank_balance_source"),
        Index("bank_balance_by_day", "issuer_id", "currency", "day", "recorded_at"),
    )

    id: Mapped[Id] = mapped_column(primary_key=True)
    issuer_id: Mapped[IssuerId]
    mode: Mapped[Words]
    currency: Mapped[Words]
    day: Mapped[date] = mapped_column(Date)
    balance_minor: Mapped[Minor]
    source: Mapped[Words]
    recorded_by: Mapped[Words]
    recorded_at: Mapped[At]


class LowBalance(Base):
    """Below which balance people are told that an issuer should send money."""

    __tablename__ = "low_balance"
    __table_args__ = (CheckConstraint("least_minor >= 0", name="low_balance_not_negative"),)

    issuer_id: Mapped[IssuerId] = mapped_column(ForeignKey("issuer.id"), primary_key=True)
    currency: Mapped[Words] = mapped_column(primary_key=True)
    least_minor: Mapped[Minor]
