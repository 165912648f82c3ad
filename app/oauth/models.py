"""Tables: OAuth clients, the hashes of their secrets, what they asked for, and the keys that sign what we say."""

from typing import Any

from sqlalchemy import CheckConstraint, ForeignKeyConstraint, Index, SmallInteger, Text, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import ARRAY, BYTEA, JSONB
from sqlalchemy.orm import Mapped, mapped_column

from app.db.base import At, Base, Id, Minor, Words
from app.ids import CardId, CodeId, PaymentId, StoreId


class Client(Base):
    """A machine that may ask for access tokens on behalf of one issuer, one store, or the finance of its mode."""

    __tablename__ = "client"
    __table_args__ = (
        CheckConstraint("name <> ''", name="client_name_filled"),
        CheckConstraint("mode IN ('live', 'test')", name="client_mode_known"),
        CheckConstraint("num_nonnulls(issuer_id, store_id) + finance::int = 1", name="client_of_one_party"),
        CheckConstraint(
            """
            cardinality(scopes) > 0 AND scopes <@ (ARRAY['introspect', 'client.manage'] || CASE
                WHEN finance THEN ARRAY['finance.read', 'finance.work']
                WHEN issuer_id IS NULL THEN ARRAY['exchange', 'settle', 'refund', 'bill', 'guard.read']
                ELSE ARRAY['issue', 'statement', 'guard.read'] END)
            """,
            name="client_scopes_of_party",
        ),
        CheckConstraint("(auth_method = 'private_key_jwt') = (jwks IS NOT NULL)", name="client_keys_of_method"),
        CheckConstraint(
            "(auth_method = 'tls_client_auth') = (tls_subject IS NOT NULL) AND tls_subject <> '{}'",
            name="client_subject_of_method",
        ),
        CheckConstraint(
            "auth_method IN ('client_secret_basic', 'private_key_jwt', 'tls_client_auth')",
            name="client_auth_method_known",
        ),
        CheckConstraint(
            "cardinality(redirect_uris) <= CASE WHEN store_id IS NULL THEN 0 ELSE 10 END",
            name="client_redirect_uris_of_store",
        ),
        ForeignKeyConstraint(["issuer_id", "mode"], ["issuer.id", "issuer.mode"]),
        ForeignKeyConstraint(["store_id", "mode"], ["store.id", "store.mode"]),
        Index("client_by_issuer", "issuer_id", "id", postgresql_where=text("issuer_id IS NOT NULL")),
        Index("client_by_store", "store_id", "id", postgresql_where=text("store_id IS NOT NULL")),
    )

    id: Mapped[Id] = mapped_column(primary_key=True)
    name: Mapped[Words]
    mode: Mapped[Words]
    issuer_id: Mapped[Id | None]
    store_id: Mapped[Id | None]
    scopes: Mapped[list[str]] = mapped_column(ARRAY(Text))
    disabled_at: Mapped[At | None]
    created_at: Mapped[At]
    auth_method: Mapped[Words] = mapped_column(server_default="client_secret_basic")
    jwks: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    tls_subject: Mapped[dict[str, str] | None] = mapped_column(JSONB(none_as_null=True))
    redirect_uris: Mapped[list[str]] = mapped_column(ARRAY(Text), server_default="{}")
    finance: Mapped[bool] = mapped_column(server_default=text("false"))


class ClientSecret(Base):
    """The SHA-256 of a client's secret. `slot` lets the database itself see to it that at most two are live."""

    __tablename__ = "client_secret"
    __table_args__ = (
        UniqueConstraint("secret_hash"),
        CheckConstraint("octet_length(secret_hash) = 32", name="client_secret_hash_sha256"),
        CheckConstraint("slot IN (1, 2)", name="client_secret_slot_known"),
        ForeignKeyConstraint(["client_id"], ["client.id"]),
        Index("client_secret_two_live", "client_id", "slot", unique=True, postgresql_where=text("retired_at IS NULL")),
    )

    id: Mapped[Id] = mapped_column(primary_key=True)
    client_id: Mapped[Id]
    slot: Mapped[int] = mapped_column(SmallInteger)
    secret_hash: Mapped[bytes] = mapped_column(BYTEA)
    created_at: Mapped[At]
    last_used_at: Mapped[At | None]
    retired_at: Mapped[At | None]


class SpentAssertion(Base):
    """A client assertion or DPoP proof that was used, by the SHA-256 of its signer and `jti`: nobody uses it again."""

    __tablename__ = "spent_assertion"
    __table_args__ = (
        CheckConstraint("octet_length(hash) = 32", name="spent_assertion_hash_sha256"),
        Index("spent_assertion_by_end", "expires_at"),
    )

    hash: Mapped[bytes] = mapped_column(BYTEA, primary_key=True)
    expires_at: Mapped[At]


class RevokedToken(Base):
    """An access token that its client gave up before its time, by its `jti`."""

    __tablename__ = "revoked_token"
    __table_args__ = (Index("revoked_token_by_end", "expires_at"),)

    jti: Mapped[Id] = mapped_column(primary_key=True)
    expires_at: Mapped[At]


class AuthorizationRequest(Base):
    """A store's wish to take a payment from whoever types a card's code at our page, and what became of it.

    Of its `request_uri`, of the browser that opened it and of its authorization code only the SHA-256 is kept.
    """

    __tablename__ = "authorization_request"
    __table_args__ = (
        UniqueConstraint("uri_hash"),
        UniqueConstraint("code_hash"),
        ForeignKeyConstraint(["client_id"], ["client.id"]),
        ForeignKeyConstraint(["store_id", "mode"], ["store.id", "store.mode"]),
        ForeignKeyConstraint(["card_id", "card_code_id"], ["code.card_id", "code.id"]),
        ForeignKeyConstraint(
            ["payment_id", "card_id", "store_id"], ["payment.id", "payment.card_id", "payment.store_id"]
        ),
        CheckConstraint("octet_length(uri_hash) = 32", name="authorization_request_uri_sha256"),
        CheckConstraint("octet_length(browser_hash) = 32", name="authorization_request_browser_sha256"),
        CheckConstraint("octet_length(code_hash) = 32", name="authorization_request_code_sha256"),
        CheckConstraint("amount_minor > 0", name="authorization_request_amount"),
        CheckConstraint("0 <= tries AND tries <= 5", name="authorization_request_tries"),
        CheckConstraint(
            "state IN ('pushed', 'opened', 'approved', 'redeemed', 'released', 'cancelled', 'exhausted')",
            name="authorization_request_state",
        ),
        CheckConstraint(
            "(state = 'pushed') = (opened_at IS NULL) AND (opened_at IS NULL) = (browser_hash IS NULL)",
            name="authorization_request_opened",
        ),
        CheckConstraint("(card_id IS NULL) = (card_code_id IS NULL)", name="authorization_request_card_by_code"),
        CheckConstraint(
            "(payment_id IS NOT NULL) = (approved_at IS NOT NULL) AND (approved_at IS NULL OR card_id IS NOT NULL)",
            name="authorization_request_approved",
        ),
        CheckConstraint(
            "CASE WHEN state IN ('approved', 'redeemed', 'released') THEN approved_at IS NOT NULL "
            "ELSE state = 'cancelled' OR approved_at IS NULL END",
            name="authorization_request_payment_of_state",
        ),
        CheckConstraint(
            "(code_hash IS NOT NULL) = (state IN ('approved', 'redeemed'))", name="authorization_request_code_of_state"
        ),
        CheckConstraint("(approved_at IS NULL) = (code_expires_at IS NULL)", name="authorization_request_code_expires"),
        CheckConstraint(
            "(state = 'redeemed') = (token_jti IS NOT NULL) AND (token_jti IS NULL) = (token_expires_at IS NULL)",
            name="authorization_request_redeemed",
        ),
        CheckConstraint(
            "(ended_at IS NULL) = (state IN ('pushed', 'opened', 'approved'))", name="authorization_request_ended"
        ),
        Index("authorization_request_to_release", "code_expires_at", postgresql_where=text("state = 'approved'")),
        Index(
            "authorization_request_one_to_release",
            "payment_id",
            unique=True,
            postgresql_where=text("state = 'approved' AND opened_payment"),
        ),
        Index("authorization_request_by_age", "created_at"),
    )

    id: Mapped[Id] = mapped_column(primary_key=True)
    uri_hash: Mapped[bytes] = mapped_column(BYTEA)
    client_id: Mapped[Id]
    store_id: Mapped[StoreId]
    mode: Mapped[Words]
    redirect_uri: Mapped[Words]
    state_given: Mapped[Words | None]
    scope: Mapped[Words | None]
    code_challenge: Mapped[Words]
    dpop_jkt: Mapped[Words | None]
    amount_minor: Mapped[Minor]
    currency: Mapped[Words]
    order_reference: Mapped[Words]
    shopper_key: Mapped[Words | None]
    created_at: Mapped[At]
    expires_at: Mapped[At]
    state: Mapped[Words]
    opened_at: Mapped[At | None]
    browser_hash: Mapped[bytes | None] = mapped_column(BYTEA)
    tries: Mapped[int] = mapped_column(SmallInteger)
    tried_at: Mapped[At | None]
    card_id: Mapped[CardId | None]
    card_code_id: Mapped[CodeId | None]
    payment_id: Mapped[PaymentId | None]
    opened_payment: Mapped[bool]
    approved_minor: Mapped[Minor | None]
    approved_at: Mapped[At | None]
    code_hash: Mapped[bytes | None] = mapped_column(BYTEA)
    code_expires_at: Mapped[At | None]
    token_jti: Mapped[Id | None]
    token_expires_at: Mapped[At | None]
    ended_at: Mapped[At | None]


class SigningKey(Base):
    """A key of ours: `next` is published, `active` signs, `retiring` only verifies, `retired` does nothing."""

    __tablename__ = "signing_key"
    __table_args__ = (
        CheckConstraint("purpose IN ('access', 'balance')", name="signing_key_purpose_known"),
        CheckConstraint("state IN ('next', 'active', 'retiring', 'retired')", name="signing_key_state_known"),
        CheckConstraint(
            "CASE state WHEN 'next' THEN activated_at IS NULL WHEN 'retired' THEN true "
            "ELSE activated_at IS NOT NULL END",
            name="signing_key_activated",
        ),
        CheckConstraint("(retires_at IS NOT NULL) = (state IN ('retiring', 'retired'))", name="signing_key_retires"),
        CheckConstraint("(retired_at IS NOT NULL) = (state = 'retired')", name="signing_key_retired"),
        CheckConstraint("(private_sealed IS NULL) = (state = 'retired')", name="signing_key_private_erased"),
        Index("signing_key_one_next", "purpose", unique=True, postgresql_where=text("state = 'next'")),
        Index("signing_key_one_active", "purpose", unique=True, postgresql_where=text("state = 'active'")),
    )

    kid: Mapped[Id] = mapped_column(primary_key=True)
    purpose: Mapped[Words]
    state: Mapped[Words]
    public_jwk: Mapped[dict[str, Any]] = mapped_column(JSONB)
    private_sealed: Mapped[bytes | None] = mapped_column(BYTEA)
    created_at: Mapped[At]
    activated_at: Mapped[At | None]
    retires_at: Mapped[At | None]
    retired_at: Mapped[At | None]
