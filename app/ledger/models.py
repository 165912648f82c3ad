"""The books' tables."""

from sqlalchemy import CheckConstraint, ForeignKey, ForeignKeyConstraint, Index, UniqueConstraint, text
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
        CheckConstraint(
            """
            kind IN ('funding', 'card', 'owed', 'breakage', 'bank', 'goodwill', 'fraud_loss', 'chargeback',
                'in_transit', 'paid')
            """,
            name="account_kind",
        ),
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
    """One movement of money: out of the debit account, into the credit account. Insert-only.

    It is a card's, or borne out by a document: a payout, a break that was written off, an entry.
    """

    __tablename__ = "transfer"
    __table_args__ = (
        ForeignKeyConstraint(["debit_id", "currency", "mode"], ["account.id", "account.currency", "account.mode"]),
        ForeignKeyConstraint(["credit_id", "currency", "mode"], ["account.id", "account.currency", "account.mode"]),
        CheckConstraint("debit_id <> credit_id", name="transfer_two_accounts"),
        CheckConstraint("amount_minor > 0", name="transfer_amount_positive"),
        CheckConstraint(
            """
            kind IN ('issue', 'settle', 'refund', 'lapse', 'send', 'arrive', 'return', 'goodwill', 'fund', 'adjust')
            """,
            name="transfer_kind",
        ),
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
                WHEN 'goodwill' THEN split_part(debit_id, ':', 2) = 'goodwill'
                    AND split_part(credit_id, ':', 2) = 'owed'
                ELSE split_part(debit_id, ':', 1) = split_part(credit_id, ':', 1) AND CASE kind
                    WHEN 'send' THEN split_part(debit_id, ':', 2) = 'owed'
                        AND split_part(credit_id, ':', 2) = 'in_transit'
                    WHEN 'arrive' THEN split_part(debit_id, ':', 2) = 'in_transit'
                        AND split_part(credit_id, ':', 2) = 'paid'
                    WHEN 'return' THEN split_part(debit_id, ':', 2) IN ('in_transit', 'paid')
                        AND split_part(credit_id, ':', 2) = 'owed'
                    WHEN 'fund' THEN split_part(debit_id, ':', 2) = 'bank'
                        AND split_part(credit_id, ':', 2) = 'funding'
                    WHEN 'adjust' THEN
                        split_part(debit_id, ':', 2) = 'funding'
                            AND split_part(credit_id, ':', 2) IN ('bank', 'goodwill', 'fraud_loss', 'chargeback')
                        OR split_part(credit_id, ':', 2) = 'funding'
                            AND split_part(debit_id, ':', 2) IN ('bank', 'goodwill', 'fraud_loss', 'chargeback')
                END
            END
            """,
            name="transfer_between",
        ),
        CheckConstraint("(kind IN ('settle', 'refund')) = (payment_id IS NOT NULL)", name="transfer_of_payment"),
        CheckConstraint(
            """
            (kind IN ('issue', 'settle', 'refund', 'lapse')) = (card_id IS NOT NULL)
            AND (card_id IS NULL) = (document_id IS NOT NULL)
            """,
            name="transfer_of_card_or_document",
        ),
        Index("transfer_one_issue", "card_id", unique=True, postgresql_where=text("kind = 'issue'")),
        Index(
            "transfer_one_of_document",
            "document_id",
            "kind",
            unique=True,
            postgresql_where=text("document_id IS NOT NULL"),
        ),
        Index("transfer_by_card", "card_id"),
        Index("transfer_by_debit", "debit_id", "recorded_at"),
        Index("transfer_by_credit", "credit_id", "recorded_at"),
    )

    id: Mapped[Id] = mapped_column(primary_key=True)
    kind: Mapped[Words]
    debit_id: Mapped[Id]
    credit_id: Mapped[Id]
    amount_minor: Mapped[Minor]
    currency: Mapped[Words]
    mode: Mapped[Words]
    card_id: Mapped[CardId | None]
    payment_id: Mapped[PaymentId | None]
    at: Mapped[At]
    recorded_at: Mapped[At] = mapped_column(server_default=text("clock_timestamp()"))
    document_id: Mapped[Id | None]


class AccountSnapshot(Base):
    """What an account of a store's came to by all that was recorded before `up_to`."""

    __tablename__ = "account_snapshot"

    account_id: Mapped[Id] = mapped_column(ForeignKey("account.id"), primary_key=True)
    up_to: Mapped[At]
    balance_minor: Mapped[Minor]
