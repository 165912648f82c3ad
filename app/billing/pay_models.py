"""What approved bills come to, the runs and payouts that pay it, entries of issuers, and closed months."""

from sqlalchemy import CheckConstraint, ForeignKey, ForeignKeyConstraint, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from app.db.base import At, Base, Id, Minor, Words
from app.ids import IssuerId, StoreId


class Payable(Base):
    """What an approved bill comes to, for one issuer and currency; below zero it is netted with the store's next."""

    __tablename__ = "payable"
    __table_args__ = (
        ForeignKeyConstraint(["bill_id", "store_id", "mode"], ["bill.id", "bill.store_id", "bill.mode"]),
        ForeignKeyConstraint(["issuer_id", "mode"], ["issuer.id", "issuer.mode"]),
        UniqueConstraint("bill_id", "issuer_id", "currency"),
        Index("payable_by_store", "store_id", "issuer_id", "currency"),
    )

    id: Mapped[Id] = mapped_column(primary_key=True)
    bill_id: Mapped[Id]
    store_id: Mapped[StoreId]
    issuer_id: Mapped[IssuerId]
    mode: Mapped[Words]
    currency: Mapped[Words]
    amount_minor: Mapped[Minor]
    approved_at: Mapped[At]


class PaymentRun(Base):
    """Payouts that are made together. Who drafts a run does not release it."""

    __tablename__ = "payment_run"
    __table_args__ = (
        UniqueConstraint("id", "mode"),
        CheckConstraint("mode IN ('live', 'test')", name="payment_run_mode"),
        CheckConstraint("state IN ('drafted', 'released', 'dropped')", name="payment_run_state"),
        CheckConstraint(
            "(state = 'released') = (released_at IS NOT NULL) AND (released_by IS NULL) = (released_at IS NULL)",
            name="payment_run_released",
        ),
        CheckConstraint(
            "(state = 'dropped') = (dropped_at IS NOT NULL) AND (dropped_by IS NULL) = (dropped_at IS NULL)",
            name="payment_run_dropped",
        ),
        CheckConstraint("released_by <> drafted_by", name="payment_run_four_eyes"),
    )

    id: Mapped[Id] = mapped_column(primary_key=True)
    mode: Mapped[Words]
    drafted_by: Mapped[Words]
    drafted_at: Mapped[At]
    state: Mapped[Words] = mapped_column(server_default=text("'drafted'"))
    released_by: Mapped[Words | None]
    released_at: Mapped[At | None]
    dropped_by: Mapped[Words | None]
    dropped_at: Mapped[At | None]


class PayoutRow(Base):
    """One payment by the bank, to one store, from one issuer's money, in one currency."""

    __tablename__ = "payout"
    __table_args__ = (
        ForeignKeyConstraint(["run_id", "mode"], ["payment_run.id", "payment_run.mode"]),
        ForeignKeyConstraint(["store_id", "mode"], ["store.id", "store.mode"]),
        ForeignKeyConstraint(["issuer_id", "mode"], ["issuer.id", "issuer.mode"]),
        UniqueConstraint("end_to_end_id"),
        UniqueConstraint("run_id", "store_id", "issuer_id", "currency"),
        CheckConstraint("amount_minor > 0", name="payout_amount"),
        CheckConstraint("end_to_end_id ~ '^[A-Z0-9]{1,35}$'", name="payout_end_to_end_id"),
        CheckConstraint(
            "state IN ('drafted', 'in_transit', 'paid', 'returned', 'left_out', 'dropped')", name="payout_state"
        ),
        CheckConstraint("(state = 'left_out') = (left_out_because IS NOT NULL)", name="payout_left_out"),
        CheckConstraint(
            """
            (state IN ('in_transit', 'paid', 'returned')) = (sent_at IS NOT NULL)
            AND (state <> 'paid' OR paid_at IS NOT NULL) AND (paid_at IS NULL OR state IN ('paid', 'returned'))
            AND (state = 'returned') = (returned_at IS NOT NULL) AND (returned_at IS NULL) = (returned_because IS NULL)
            """,
            name="payout_times",
        ),
        Index("payout_by_store", "store_id", "id"),
    )

    id: Mapped[Id] = mapped_column(primary_key=True)
    run_id: Mapped[Id]
    store_id: Mapped[StoreId]
    issuer_id: Mapped[IssuerId]
    mode: Mapped[Words]
    currency: Mapped[Words]
    amount_minor: Mapped[Minor]
    end_to_end_id: Mapped[Words]
    state: Mapped[Words] = mapped_column(server_default=text("'drafted'"))
    left_out_because: Mapped[Words | None]
    sent_at: Mapped[At | None]
    paid_at: Mapped[At | None]
    returned_at: Mapped[At | None]
    returned_because: Mapped[Words | None]


class PayoutPayable(Base):
    """Which payout pays which payable; live until the payout is returned, left out or dropped."""

    __tablename__ = "payout_payable"
    __table_args__ = (Index("payout_payable_one_live", "payable_id", unique=True, postgresql_where=text("is_live")),)

    payout_id: Mapped[Id] = mapped_column(ForeignKey("payout.id"), primary_key=True)
    payable_id: Mapped[Id] = mapped_column(ForeignKey("payable.id"), primary_key=True)
    is_live: Mapped[bool] = mapped_column(server_default=text("true"))


class EntryRow(Base):
    """Money from an issuer, or moved between its funding and another account; above zero it enters the funding."""

    __tablename__ = "entry"
    __table_args__ = (
        ForeignKeyConstraint(["issuer_id", "mode"], ["issuer.id", "issuer.mode"]),
        UniqueConstraint("issuer_id", "reference"),
        CheckConstraint("kind IN ('fund', 'adjust')", name="entry_kind"),
        CheckConstraint("account IN ('bank', 'goodwill', 'fraud_loss', 'chargeback')", name="entry_account"),
        CheckConstraint("amount_minor <> 0", name="entry_amount"),
        CheckConstraint("kind <> 'fund' OR (account = 'bank' AND amount_minor > 0)", name="entry_fund"),
        CheckConstraint("(kind = 'fund') = (reference IS NOT NULL)", name="entry_reference"),
        CheckConstraint("(kind = 'adjust') = (reason IS NOT NULL)", name="entry_reason"),
        CheckConstraint("effective_at <= proposed_at", name="entry_effective"),
        CheckConstraint("state IN ('proposed', 'booked', 'rejected')", name="entry_state"),
        CheckConstraint(
            "(state = 'proposed') = (decided_by IS NULL) AND (decided_by IS NULL) = (decided_at IS NULL)",
            name="entry_decided",
        ),
        CheckConstraint("kind = 'fund' OR state <> 'booked' OR decided_by <> proposed_by", name="entry_four_eyes"),
        Index("entry_proposed", "proposed_at", postgresql_where=text("state = 'proposed'")),
    )

    id: Mapped[Id] = mapped_column(primary_key=True)
    mode: Mapped[Words]
    issuer_id: Mapped[IssuerId]
    kind: Mapped[Words]
    account: Mapped[Words]
    amount_minor: Mapped[Minor]
    currency: Mapped[Words]
    effective_at: Mapped[At]
    reference: Mapped[Words | None]
    reason: Mapped[Words | None]
    proposed_by: Mapped[Words]
    proposed_at: Mapped[At]
    state: Mapped[Words] = mapped_column(server_default=text("'proposed'"))
    decided_by: Mapped[Words | None]
    decided_at: Mapped[At | None]


class ClosedMonth(Base):
    """A month (UTC) whose books are closed: what is recorded later posts to the first month that is open by then."""

    __tablename__ = "closed_month"
    __table_args__ = (
        CheckConstraint("mode IN ('live', 'test')", name="closed_month_mode"),
        CheckConstraint("month ~ '^20[0-9]{2}-(0[1-9]|1[0-2])$'", name="closed_month_month"),
        CheckConstraint(
            """
            closed_at >= (make_date("left"(month, 4)::integer, "right"(month, 2)::integer, 1)
                + INTERVAL '1 month 1 day') AT TIME ZONE 'UTC'
            """,
            name="closed_month_is_over",
        ),
    )

    mode: Mapped[Words] = mapped_column(primary_key=True)
    month: Mapped[Words] = mapped_column(primary_key=True)
    closed_by: Mapped[Words]
    closed_at: Mapped[At] = mapped_column(server_default=text("clock_timestamp()"))
