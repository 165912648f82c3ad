"""Bills as they arrived, line by line; what each takes up; and the breaks."""

from sqlalchemy import CheckConstraint, ForeignKey, ForeignKeyConstraint, Index, Integer, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import BYTEA
from sqlalchemy.orm import Mapped, mapped_column

from app.db.base import At, Base, Id, Minor, Words
from app.ids import CardId, IssuerId, PaymentId, ProgrammeId, StoreId


class BillRow(Base):
    """A store's bill. What is `received` the worker reads and matches: the row is the job as well."""

    __tablename__ = "bill"
    __table_args__ = (
        ForeignKeyConstraint(["store_id", "mode"], ["store.id", "store.mode"]),
        UniqueConstraint("store_id", "reference"),
        UniqueConstraint("id", "store_id", "mode"),
        CheckConstraint("period ~ '^20[0-9]{2}-(0[1-9]|1[0-2])$'", name="bill_period"),
        CheckConstraint("as_of <= received_at", name="bill_as_of"),
        CheckConstraint("source IN ('api', 'file', 'self')", name="bill_source"),
        CheckConstraint("octet_length(content_sha256) = 32", name="bill_content_sha256"),
        CheckConstraint(
            "state IN ('received', 'read', 'matched', 'unreadable', 'approved', 'rejected')", name="bill_state"
        ),
        CheckConstraint("(state = 'unreadable') = (unreadable_because IS NOT NULL)", name="bill_unreadable"),
        CheckConstraint(
            "(state IN ('approved', 'rejected')) = (closed_at IS NOT NULL)"
            " AND (closed_by IS NULL) = (closed_at IS NULL)",
            name="bill_closed",
        ),
        CheckConstraint(
            """
            (state IN ('received', 'unreadable', 'rejected')
                OR (lines IS NOT NULL AND wrong_lines IS NOT NULL AND read_at IS NOT NULL))
            AND (state IN ('received', 'unreadable', 'read', 'rejected')
                OR (matched_lines + broken_lines = lines AND matched_at IS NOT NULL)) IS TRUE
            """,
            name="bill_counts",
        ),
        Index("bill_by_store", "store_id", "id"),
        Index("bill_to_do", "id", postgresql_where=text("state IN ('received', 'read')")),
    )

    id: Mapped[Id] = mapped_column(primary_key=True)
    store_id: Mapped[StoreId]
    mode: Mapped[Words]
    reference: Mapped[Words]
    period: Mapped[Words]
    as_of: Mapped[At]
    source: Mapped[Words]
    media_type: Mapped[Words]
    content_sha256: Mapped[bytes] = mapped_column(BYTEA)
    received_by: Mapped[Words]
    received_at: Mapped[At]
    state: Mapped[Words] = mapped_column(server_default=text("'received'"))
    unreadable_because: Mapped[Words | None]
    lines: Mapped[int | None] = mapped_column(Integer)
    wrong_lines: Mapped[int | None] = mapped_column(Integer)
    matched_lines: Mapped[int | None] = mapped_column(Integer)
    broken_lines: Mapped[int | None] = mapped_column(Integer)
    read_at: Mapped[At | None]
    matched_at: Mapped[At | None]
    closed_by: Mapped[Words | None]
    closed_at: Mapped[At | None]


class BillPart(Base):
    """A part of the file, as it arrived."""

    __tablename__ = "bill_part"
    __table_args__ = (CheckConstraint("place >= 0", name="bill_part_place"),)

    bill_id: Mapped[Id] = mapped_column(ForeignKey("bill.id"), primary_key=True)
    place: Mapped[int] = mapped_column(Integer, primary_key=True)
    content: Mapped[bytes] = mapped_column(BYTEA)


class BillLine(Base):
    """A line that could be read. An amount below zero gives back what an earlier bill took."""

    __tablename__ = "bill_line"
    __table_args__ = (CheckConstraint("amount_minor <> 0", name="bill_line_amount"),)

    bill_id: Mapped[Id] = mapped_column(primary_key=True)
    line_no: Mapped[int] = mapped_column(Integer, primary_key=True)
    payment_id: Mapped[PaymentId]
    amount_minor: Mapped[Minor]
    currency: Mapped[Words]
    order_reference: Mapped[Words | None]


class BillWrongLine(Base):
    """A line that could not be read: why, and how it begins."""

    __tablename__ = "bill_wrong_line"

    bill_id: Mapped[Id] = mapped_column(primary_key=True)
    line_no: Mapped[int] = mapped_column(Integer, primary_key=True)
    reason: Mapped[Words]
    begins: Mapped[Words]


class Billed(Base):
    """A settlement, or a refund below zero, that a bill takes up: each once, ever. Without a line it is a credit."""

    __tablename__ = "billed"
    __table_args__ = (
        CheckConstraint(
            r"(amount_minor > 0) = (movement_id LIKE 'set\_%') AND (amount_minor < 0) = (movement_id LIKE 'ref\_%')",
            name="billed_amount",
        ),
        CheckConstraint("line_no IS NOT NULL OR amount_minor < 0", name="billed_credit"),
        Index("billed_by_bill", "bill_id", "line_no"),
    )

    movement_id: Mapped[Id] = mapped_column(primary_key=True)
    bill_id: Mapped[Id]
    line_no: Mapped[int | None] = mapped_column(Integer)
    payment_id: Mapped[PaymentId]
    card_id: Mapped[CardId]
    store_id: Mapped[StoreId]
    issuer_id: Mapped[IssuerId]
    programme_id: Mapped[ProgrammeId]
    currency: Mapped[Words]
    amount_minor: Mapped[Minor]


class BillBreak(Base):
    """Why a line did not match, and what becomes of it."""

    __tablename__ = "bill_break"
    __table_args__ = (
        ForeignKeyConstraint(["bill_id", "line_no"], ["bill_line.bill_id", "bill_line.line_no"]),
        UniqueConstraint("bill_id", "line_no"),
        CheckConstraint(
            """
            kind IN ('unknown_payment', 'other_mode', 'not_this_store', 'currency_mismatch', 'duplicate_line', 'voided',
                'already_billed', 'not_settled', 'refunded_after', 'amount_over', 'amount_under')
            """,
            name="bill_break_kind",
        ),
        CheckConstraint(
            """
            CASE state
                WHEN 'proposed' THEN proposal IN ('pay_smaller', 'match_payment', 'write_off', 'reject')
                WHEN 'resolved' THEN proposal IN ('pay_smaller', 'match_payment', 'tolerance')
                WHEN 'written_off' THEN proposal = 'write_off'
                WHEN 'rejected' THEN proposal = 'reject'
                WHEN 'assigned' THEN proposal IS NULL AND assignee IS NOT NULL
                ELSE state IN ('open', 'reopened') AND proposal IS NULL
            END IS TRUE
            """,
            name="bill_break_state",
        ),
        CheckConstraint(
            """
            num_nulls(proposal, proposed_by, proposed_at) IN (0, 3)
            AND num_nulls(proposal_id, would_claim_minor, would_pay_minor)
                = CASE WHEN proposal <> 'tolerance' THEN 0 ELSE 3 END
            AND (proposed_payment_id IS NOT NULL) = (proposal IS NOT DISTINCT FROM 'match_payment')
            AND (proposed_issuer_id IS NULL OR proposal IS NOT DISTINCT FROM 'write_off')
            """,
            name="bill_break_proposed",
        ),
        CheckConstraint(
            """
            (state IN ('resolved', 'written_off', 'rejected')) = (closed_at IS NOT NULL)
            AND num_nulls(approved_by, approved_at, closed_at) IN (0, 3)
            """,
            name="bill_break_closed",
        ),
        CheckConstraint(
            """
            (state IN ('resolved', 'written_off')) = (paid_minor IS NOT NULL)
            AND num_nulls(paid_minor, claimed_minor) IN (0, 2)
            AND (paid_minor IS NULL
                OR issuer_id IS NOT NULL AND (paid_minor > claimed_minor) = (state = 'written_off'))
            """,
            name="bill_break_paid",
        ),
        CheckConstraint(
            "proposal NOT IN ('write_off', 'match_payment') OR approved_by <> proposed_by",
            name="bill_break_four_eyes",
        ),
        Index("bill_break_open", "id", postgresql_where=text("closed_at IS NULL")),
        Index("bill_break_other_bill", "other_bill_id", postgresql_where=text("other_bill_id IS NOT NULL")),
    )

    id: Mapped[Id] = mapped_column(primary_key=True)
    bill_id: Mapped[Id]
    line_no: Mapped[int] = mapped_column(Integer)
    kind: Mapped[Words]
    other_bill_id: Mapped[Id | None] = mapped_column(ForeignKey("bill.id"))
    expected_minor: Mapped[Minor | None]
    issuer_id: Mapped[IssuerId | None]
    opened_at: Mapped[At]
    state: Mapped[Words] = mapped_column(server_default=text("'open'"))
    assignee: Mapped[Words | None]
    proposal_id: Mapped[Id | None]
    proposal: Mapped[Words | None]
    proposed_payment_id: Mapped[PaymentId | None]
    proposed_issuer_id: Mapped[IssuerId | None] = mapped_column(ForeignKey("issuer.id"))
    would_claim_minor: Mapped[Minor | None]
    would_pay_minor: Mapped[Minor | None]
    reason: Mapped[Words | None]
    proposed_by: Mapped[Words | None]
    proposed_at: Mapped[At | None]
    approved_by: Mapped[Words | None]
    approved_at: Mapped[At | None]
    closed_at: Mapped[At | None]
    claimed_minor: Mapped[Minor | None]
    paid_minor: Mapped[Minor | None]


class Tolerance(Base):
    """How far an issuer lets a line differ from what is owed before a person looks at it."""

    __tablename__ = "tolerance"
    __table_args__ = (CheckConstraint("tolerance_minor >= 0", name="tolerance_not_negative"),)

    issuer_id: Mapped[IssuerId] = mapped_column(ForeignKey("issuer.id"), primary_key=True)
    currency: Mapped[Words] = mapped_column(primary_key=True)
    tolerance_minor: Mapped[Minor]
