"""Issuers, programmes, cards, claim links, codes, and the one key of each card."""

from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, ForeignKeyConstraint, Index, Integer, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import BYTEA, JSONB
from sqlalchemy.orm import Mapped, mapped_column

from app.db.base import At, Base, Id, Minor, Words
from app.ids import CardId, CodeId, IssuerId, LinkId, PaymentId, ProgrammeId, StoreId


class Issuer(Base):
    """The organisation that funds cards and owes what they spend."""

    __tablename__ = "issuer"
    __table_args__ = (UniqueConstraint("id", "mode"), CheckConstraint("mode IN ('live', 'test')", name="issuer_mode"))

    id: Mapped[IssuerId] = mapped_column(primary_key=True)
    name: Mapped[Words]
    mode: Mapped[Words]
    created_at: Mapped[At]


class Programme(Base):
    """An issuer's set of terms."""

    __tablename__ = "programme"
    __table_args__ = (
        ForeignKeyConstraint(["issuer_id", "mode"], ["issuer.id", "issuer.mode"]),
        UniqueConstraint("id", "mode"),
        UniqueConstraint("id", "issuer_id", "mode", "currency"),
        CheckConstraint("0 < card_min_minor AND card_min_minor <= card_max_minor", name="programme_card_limits"),
        CheckConstraint("valid_days > 0", name="programme_valid_days"),
        CheckConstraint("link_policy IN ('single_use', 'fresh_code_each_open')", name="programme_link_policy"),
        CheckConstraint(
            "0 < hold_ttl_s AND hold_ttl_s <= hold_max_s AND 0 < confirmed_ttl_s AND confirmed_ttl_s <= hold_max_s",
            name="programme_hold_times",
        ),
        Index("programme_by_issuer", "issuer_id", "id"),
    )

    id: Mapped[ProgrammeId] = mapped_column(primary_key=True)
    issuer_id: Mapped[IssuerId]
    mode: Mapped[Words]
    name: Mapped[Words]
    currency: Mapped[Words]
    card_min_minor: Mapped[Minor]
    card_max_minor: Mapped[Minor]
    valid_days: Mapped[int] = mapped_column(Integer)
    link_policy: Mapped[Words]
    hold_ttl_s: Mapped[int] = mapped_column(Integer)
    confirmed_ttl_s: Mapped[int] = mapped_column(Integer)
    hold_max_s: Mapped[int] = mapped_column(Integer)
    all_stores: Mapped[bool]
    created_at: Mapped[At]


class ProgrammeStore(Base):
    """A store that may take a programme's cards, where not all may."""

    __tablename__ = "programme_store"
    __table_args__ = (
        ForeignKeyConstraint(["programme_id", "mode"], ["programme.id", "programme.mode"]),
        ForeignKeyConstraint(["store_id", "mode"], ["store.id", "store.mode"]),
    )

    programme_id: Mapped[ProgrammeId] = mapped_column(primary_key=True)
    store_id: Mapped[StoreId] = mapped_column(primary_key=True)
    mode: Mapped[Words]


class Card(Base):
    """Stored value that survives reissue. Its balance is its ledger account's."""

    __tablename__ = "card"
    __table_args__ = (
        ForeignKeyConstraint(
            ["programme_id", "issuer_id", "mode", "currency"],
            ["programme.id", "programme.issuer_id", "programme.mode", "programme.currency"],
        ),
        ForeignKeyConstraint(["account_id", "currency", "mode"], ["account.id", "account.currency", "account.mode"]),
        UniqueConstraint("id", "mode", "currency"),
        CheckConstraint("account_id = id || ':card:' || currency", name="card_account_is_its_own"),
        CheckConstraint("state IN ('active', 'spent', 'lapsed')", name="card_state"),
        Index("card_by_issuer", "issuer_id", "id"),
        Index("card_by_order_reference", "issuer_id", "order_reference"),
        Index("card_to_lapse", "expires_at", postgresql_where=text("state = 'active'")),
    )

    id: Mapped[CardId] = mapped_column(primary_key=True)
    programme_id: Mapped[ProgrammeId]
    issuer_id: Mapped[IssuerId]
    account_id: Mapped[Id]
    mode: Mapped[Words]
    currency: Mapped[Words]
    issued_minor: Mapped[Minor]
    state: Mapped[Words]
    expires_at: Mapped[At]
    holder_sealed: Mapped[bytes] = mapped_column(BYTEA)
    email_hash: Mapped[bytes] = mapped_column(BYTEA)
    order_reference: Mapped[Words | None]
    issuer_metadata: Mapped[dict[str, Any]] = mapped_column(JSONB)
    not_before: Mapped[At | None]
    created_at: Mapped[At]


class ClaimLink(Base):
    """One offer to claim a card. Its keys stand in `claim_key`, hashed; a retried letter adds another."""

    __tablename__ = "claim_link"
    __table_args__ = (
        UniqueConstraint("card_id", "id"),
        CheckConstraint("state IN ('waiting', 'opened', 'superseded', 'lapsed')", name="claim_link_state"),
        CheckConstraint("(state = 'opened') = (opened_at IS NOT NULL)", name="claim_link_opened_at"),
        Index("claim_link_one_waiting", "card_id", unique=True, postgresql_where=text("state = 'waiting'")),
        Index("claim_link_to_lapse", "expires_at", postgresql_where=text("state = 'waiting'")),
    )

    id: Mapped[LinkId] = mapped_column(primary_key=True)
    card_id: Mapped[CardId] = mapped_column(ForeignKey("card.id"))
    state: Mapped[Words]
    reason: Mapped[Words]
    created_at: Mapped[At]
    expires_at: Mapped[At]
    opened_at: Mapped[At | None]
    opened_by: Mapped[Words | None]
    nonce_hash: Mapped[bytes | None] = mapped_column(BYTEA)


class ClaimKey(Base):
    """The keyed hash of a claim key: of every letter sent for a waiting link, of the one that opened an opened link."""

    __tablename__ = "claim_key"
    __table_args__ = (Index("claim_key_by_link", "link_id"),)

    key_hash: Mapped[bytes] = mapped_column(BYTEA, primary_key=True)
    link_id: Mapped[LinkId] = mapped_column(ForeignKey("claim_link.id"))
    created_at: Mapped[At]


class Code(Base):
    """A code, of which only its Argon2id hash is kept, and only until it dies."""

    __tablename__ = "code"
    __table_args__ = (
        ForeignKeyConstraint(["card_id", "link_id"], ["claim_link.card_id", "claim_link.id"]),
        UniqueConstraint("card_id", "id"),
        UniqueConstraint("hash"),
        CheckConstraint("state IN ('live', 'bound', 'dead')", name="code_state"),
        CheckConstraint("(state = 'dead') = (hash IS NULL)", name="code_hash_erased_at_death"),
        CheckConstraint("(state = 'dead') = (died_at IS NOT NULL)", name="code_died_at"),
        CheckConstraint("state <> 'bound' OR (store_id IS NOT NULL AND bound_until IS NOT NULL)", name="code_bound_to"),
        CheckConstraint("state <> 'live' OR store_id IS NULL", name="code_live_is_nobodys"),
        Index("code_one_not_dead", "card_id", unique=True, postgresql_where=text("state <> 'dead'")),
        Index("code_to_die", "bound_until", postgresql_where=text("state = 'bound'")),
    )

    id: Mapped[CodeId] = mapped_column(primary_key=True)
    card_id: Mapped[CardId]
    link_id: Mapped[LinkId]
    state: Mapped[Words]
    hash: Mapped[bytes | None] = mapped_column(BYTEA)
    pepper_epoch: Mapped[int] = mapped_column(Integer)
    store_id: Mapped[StoreId | None] = mapped_column(ForeignKey("store.id"))
    shopper_key: Mapped[Words | None]
    order_reference: Mapped[Words | None]
    bound_until: Mapped[At | None]
    created_at: Mapped[At]
    died_at: Mapped[At | None]


class CardKey(Base):
    """One card, one key: the single secret through which the card's value can be reached now."""

    __tablename__ = "card_key"
    __table_args__ = (
        ForeignKeyConstraint(["card_id", "link_id"], ["claim_link.card_id", "claim_link.id"]),
        ForeignKeyConstraint(["card_id", "code_id"], ["code.card_id", "code.id"]),
        ForeignKeyConstraint(["card_id", "payment_id"], ["payment.card_id", "payment.id"]),
        CheckConstraint("num_nonnulls(link_id, code_id) <= 1", name="card_key_only_one"),
        CheckConstraint("payment_id IS NULL OR code_id IS NOT NULL", name="card_key_payment_has_code"),
    )

    card_id: Mapped[CardId] = mapped_column(ForeignKey("card.id"), primary_key=True)
    link_id: Mapped[LinkId | None]
    code_id: Mapped[CodeId | None]
    payment_id: Mapped[PaymentId | None]
