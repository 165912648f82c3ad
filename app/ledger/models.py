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
        CheckConstraint(
            "id = owner_id || ':' || kind || ':' || currency AND owner_id NOT LIKE '%:%'",
            name="account_id_says_what_it_is",
        ),
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
        CheckConstraint(
            """
            CASE kind
                WHEN 'issue' THEN split_part(debit_id, ':', 2) = 'funding'
                    AND credit_id = card_id || ':card:' || currency
                WHEN 'settle' THEN debit_id = card_id || ':card:' || currency
                    AND split_part(credit_id, ':', 2) = 'owed'
                WHEN 'refund' THEN split_part(debit_id, ':', 2) = 'owed'
                    AND credit_id = card_id || ':card:' || currency
                WHEN 'lapse' THEN debit_id = card_id || ':card:' || currency
                    AND split_part(credit_id, ':', 2) = 'breakage'
            END
            """,
            name="transfer_between",
        ),
        CheckConstraint("(kind IN ('settle', 'refund')) = (payment_id IS NOT NULL)", name="transfer_of_payment"),
        Index("transfer_one_issue", "card_id", unique=True, postgresql_where=text("kind = 'issue'")),
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
