"""Stores, code tokens, payments, settlements, refunds."""

from sqlalchemy import CheckConstraint, ForeignKey, ForeignKeyConstraint, Index, Text, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import ARRAY, BYTEA, JSONB
from sqlalchemy.orm import Mapped, mapped_column

from app.db.base import At, Base, Id, Minor, Words
from app.ids import CardId, CodeId, PaymentId, StoreId


class Store(Base):
    """The third-party shop that takes cards. `origins` are those of its pages, which may show our field for codes."""

    __tablename__ = "store"
    __table_args__ = (
        UniqueConstraint("id", "mode"),
        CheckConstraint("mode IN ('live', 'test')", name="store_mode"),
        CheckConstraint("jsonb_typeof(refund_limits) = 'object'", name="store_refund_limits_object"),
        CheckConstraint("cardinality(origins) <= 10", name="store_origins_few"),
        CheckConstraint("jsonb_typeof(refund_allowances) = 'object'", name="store_refund_allowances_object"),
    )

    id: Mapped[StoreId] = mapped_column(primary_key=True)
    name: Mapped[Words]
    mode: Mapped[Words]
    created_at: Mapped[At]
    refund_limits: Mapped[dict[str, int]] = mapped_column(JSONB, server_default=text("'{}'"))
    origins: Mapped[list[str]] = mapped_column(ARRAY(Text), server_default=text("'{}'"))
    refund_allowances: Mapped[dict[str, int]] = mapped_column(JSONB, server_default=text("'{}'"))


class CodeToken(Base):
    """A code that a shopper typed into our field on a store's page, for one payment of that store, by SHA-256."""

    __tablename__ = "code_token"
    __table_args__ = (
        ForeignKeyConstraint(["card_id", "code_id"], ["code.card_id", "code.id"]),
        CheckConstraint("octet_length(hash) = 32", name="code_token_hash_sha256"),
        CheckConstraint("amount_minor > 0", name="code_token_amount"),
        Index("code_token_by_end", "expires_at"),
    )

    hash: Mapped[bytes] = mapped_column(BYTEA, primary_key=True)
    code_id: Mapped[CodeId]
    card_id: Mapped[CardId]
    store_id: Mapped[StoreId] = mapped_column(ForeignKey("store.id"))
    shopper_key: Mapped[Words | None]
    order_reference: Mapped[Words]
    amount_minor: Mapped[Minor]
    currency: Mapped[Words]
    created_at: Mapped[At]
    expires_at: Mapped[At]
    spent_at: Mapped[At | None]


class PaymentRow(Base):
    """What a store settles. Its hold is always split into held, settled and released."""

    __tablename__ = "payment"
    __table_args__ = (
        ForeignKeyConstraint(["card_id", "mode", "currency"], ["card.id", "card.mode", "card.currency"]),
        ForeignKeyConstraint(["store_id", "mode"], ["store.id", "store.mode"]),
        ForeignKeyConstraint(["card_id", "code_id"], ["code.card_id", "code.id"]),
        UniqueConstraint("card_id", "id"),
        UniqueConstraint("id", "card_id", "store_id"),
        CheckConstraint("state IN ('held', 'settled', 'voided', 'expired')", name="payment_state"),
        CheckConstraint("hold_minor > 0", name="payment_hold_positive"),
        CheckConstraint("hold_minor = held_minor + settled_minor + released_minor", name="payment_hold_is_split"),
        CheckConstraint("held_minor >= 0 AND settled_minor >= 0 AND released_minor >= 0", name="payment_parts"),
        CheckConstraint("(state = 'held') = (held_minor > 0)", name="payment_held"),
        CheckConstraint("(state = 'held') = (ended_at IS NULL)", name="payment_ended"),
        CheckConstraint("state NOT IN ('voided', 'expired') OR settled_minor = 0", name="payment_settled_stays"),
        CheckConstraint("state <> 'settled' OR settled_minor > 0", name="payment_settled_something"),
        CheckConstraint("0 <= expired_minor AND expired_minor <= released_minor", name="payment_expired_part"),
        CheckConstraint("expired_minor = 0 OR expired_at IS NOT NULL", name="payment_expired_at"),
        CheckConstraint("0 <= refunded_minor AND refunded_minor <= settled_minor", name="payment_refunded"),
        Index("payment_one_held", "card_id", unique=True, postgresql_where=text("state = 'held'")),
        Index("payment_to_expire", "expires_at", postgresql_where=text("state = 'held'")),
    )

    id: Mapped[PaymentId] = mapped_column(primary_key=True)
    card_id: Mapped[CardId]
    code_id: Mapped[CodeId]
    store_id: Mapped[StoreId]
    mode: Mapped[Words]
    currency: Mapped[Words]
    state: Mapped[Words]
    order_reference: Mapped[Words]
    balance_minor: Mapped[Minor]
    hold_minor: Mapped[Minor]
    held_minor: Mapped[Minor]
    settled_minor: Mapped[Minor]
    released_minor: Mapped[Minor]
    refunded_minor: Mapped[Minor]
    expired_minor: Mapped[Minor]
    created_at: Mapped[At]
    confirmed_at: Mapped[At | None]
    expires_at: Mapped[At]
    ended_at: Mapped[At | None]
    expired_at: Mapped[At | None]
    provisional: Mapped[bool] = mapped_column(server_default=text("false"))


class SettlementRow(Base):
    """Money taken from a hold for good."""

    __tablename__ = "settlement"
    __table_args__ = (
        ForeignKeyConstraint(
            ["payment_id", "card_id", "store_id"], ["payment.id", "payment.card_id", "payment.store_id"]
        ),
        CheckConstraint("amount_minor > 0", name="settlement_amount"),
        Index("settlement_by_payment", "payment_id"),
        Index("settlement_by_store", "store_id", "at"),
    )

    id: Mapped[Id] = mapped_column(primary_key=True)
    payment_id: Mapped[PaymentId]
    card_id: Mapped[CardId]
    store_id: Mapped[StoreId]
    amount_minor: Mapped[Minor]
    order_reference: Mapped[Words]
    late: Mapped[bool]
    at: Mapped[At]


class RefundRow(Base):
    """Settled money that went back to the card."""

    __tablename__ = "refund"
    __table_args__ = (
        ForeignKeyConstraint(
            ["payment_id", "card_id", "store_id"], ["payment.id", "payment.card_id", "payment.store_id"]
        ),
        CheckConstraint("amount_minor > 0", name="refund_amount"),
        Index("refund_by_payment", "payment_id"),
        Index("refund_by_store", "store_id", "at"),
    )

    id: Mapped[Id] = mapped_column(primary_key=True)
    payment_id: Mapped[PaymentId]
    card_id: Mapped[CardId]
    store_id: Mapped[StoreId]
    amount_minor: Mapped[Minor]
    reason: Mapped[Words | None]
    at: Mapped[At]
