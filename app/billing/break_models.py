"""Tables: what people say about breaks, and what they attach."""

from sqlalchemy import CheckConstraint, ForeignKey, Index, Integer
from sqlalchemy.dialects.postgresql import BYTEA
from sqlalchemy.orm import Mapped, mapped_column

from app.db.base import At, Base, Id, Words


class BreakNote(Base):
    """What somebody said about a break; only ever added."""

    __tablename__ = "bill_break_note"
    __table_args__ = (
        CheckConstraint("length(note) BETWEEN 1 AND 2000", name="bill_break_note_length"),
        Index("bill_break_note_by_break", "break_id", "id"),
    )

    id: Mapped[Id] = mapped_column(primary_key=True)
    break_id: Mapped[Id] = mapped_column(ForeignKey("bill_break.id"))
    note: Mapped[Words]
    noted_by: Mapped[Words]
    at: Mapped[At]


class BreakAttachment(Base):
    """A file that somebody added to a break, as it was; only ever added."""

    __tablename__ = "bill_break_attachment"
    __table_args__ = (
        CheckConstraint("length(name) BETWEEN 1 AND 200", name="bill_break_attachment_name"),
        CheckConstraint("length(media_type) BETWEEN 3 AND 100", name="bill_break_attachment_media_type"),
        CheckConstraint(
            "size = octet_length(content) AND size BETWEEN 1 AND 5242880", name="bill_break_attachment_size"
        ),
        CheckConstraint("content_sha256 = sha256(content)", name="bill_break_attachment_sha256"),
        Index("bill_break_attachment_by_break", "break_id", "id"),
    )

    id: Mapped[Id] = mapped_column(primary_key=True)
    break_id: Mapped[Id] = mapped_column(ForeignKey("bill_break.id"))
    name: Mapped[Words]
    media_type: Mapped[Words]
    size: Mapped[int] = mapped_column(Integer)
    content_sha256: Mapped[bytes] = mapped_column(BYTEA)
    content: Mapped[bytes] = mapped_column(BYTEA)
    attached_by: Mapped[Words]
    at: Mapped[At]
