"""The books' two tables."""

from sqlalchemy import CheckConstraint, ForeignKeyConstraint, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from app.db.base import At, Base, Id, Minor, Words
from app.ids import CardId, PaymentId


class Account(Base):
    """A ledger account. Only a card's account keeps a running balance, and only the transfer's trigger writes it."""

    __tablename__ = "account"
    __table_args__ = (
        UniqueConstraint("kind", "owner_id", "currency"),
        UniqueConstraint("id", "currency", "mode"),
        CheckConstraint("kind IN ('funding', 'card', 'owed', 'breakage')", name="account_kind"),
        CheckConstraint("(kind = 'card') = (balance_minor IS NOT NULL)", name="account_card_has_balance"),
        CheckConstraint("balance_minor >= 0", name="account_balance_not_negative"),
        CheckConstraint("mode IN ('live', 'test')", name="account_mode"),
    )

    id: Mapped[Id] = mapped_column(primary_key=True)
    kind: Mapped[Words]
    owner_id: Mapped[Id]
    currency: Mapped[Words]
    mode: Mapped[Words]
    balance_minor: Mapped[Minor | None]


class Transfer(Base):
    """One movement of money: out of the debit account, into the credit account. Insert-only."""

    __tablename__ = "transfer"
    __table_args__ = (
        ForeignKeyConstraint(["debit_id", "currency", "mode"], ["account.id", "account.currency", "account.mode"]),
        ForeignKeyConstraint(["credit_id", "currency", "mode"], ["account.id", "account.currency", "account.mode"]),
        CheckConstraint("debit_id <> credit_id", name="transfer_two_accounts"),
        CheckConstraint("amount_minor > 0", name="transfer_amount_positive"),
        CheckConstraint("kind IN ('issue', 'settle', 'refund', 'lapse')", name="transfer_kind"),
        Index("transfer_by_card", "card_id"),
        Index("transfer_by_debit", "debit_id"),
        Index("transfer_by_credit", "credit_id"),
    )

    id: Mapped[Id] = mapped_column(primary_key=True)
    kind: Mapped[Words]
    debit_id: Mapped[Id]
    credit_id: Mapped[Id]
    amount_minor: Mapped[Minor]
    currency: Mapped[Words]
    mode: Mapped[Words]
    card_id: Mapped[CardId]
    payment_id: Mapped[PaymentId | None]
    at: Mapped[At]
    recorded_at: Mapped[At] = mapped_column(server_default=text("clock_timestamp()"))
