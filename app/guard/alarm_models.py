"""Tables: alarms, the messages that tell of them, and how far each rule has looked."""

from datetime import datetime

from sqlalchemy import BigInteger, CheckConstraint, DateTime, Index, Text, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from app.db.base import At, Base, Id, Words


class Alarm(Base):
    """One episode of one rule and group. It holds identifiers, marks and figures; nothing of people, nothing secret."""

    __tablename__ = "alarm"
    __table_args__ = (
        CheckConstraint("mode IN ('live', 'test')", name="alarm_mode_known"),
        CheckConstraint("first_at <= last_at", name="alarm_times_in_order"),
        CheckConstraint("figure <= peak AND told <= peak", name="alarm_peak_highest"),
        CheckConstraint("(acknowledged_at IS NULL) = (acknowledged_by IS NULL)", name="alarm_acknowledged_by_whom"),
        Index(
            "alarm_one_open",
            "rule",
            "mode",
            "group_id",
            "currency",
            unique=True,
            postgresql_nulls_not_distinct=True,
            postgresql_where=text("ended_at IS NULL"),
        ),
        Index("alarm_by_rule", "rule", "ended_at"),
        Index("alarm_by_party", "party_id", "id", postgresql_where=text("party_id IS NOT NULL")),
    )

    id: Mapped[Id] = mapped_column(primary_key=True)
    rule: Mapped[Words]
    mode: Mapped[Words]
    group_id: Mapped[Id]
    party_id: Mapped[Id | None]
    currency: Mapped[Words | None]
    first_at: Mapped[At]
    last_at: Mapped[At]
    ended_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    figure: Mapped[int] = mapped_column(BigInteger)
    peak: Mapped[int] = mapped_column(BigInteger)
    threshold: Mapped[int] = mapped_column(BigInteger)
    told: Mapped[int] = mapped_column(BigInteger)
    what: Mapped[Words]
    why: Mapped[Words]
    acknowledged_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    acknowledged_by: Mapped[Words | None]


class AlarmMessage(Base):
    """A message to one recipient: while it `waits` it gathers alarms, from its first try on (`sending`) it does not.

    `channel` is `webhook`, or `mail:` and the recipient's place in ALARM_EMAIL: addresses are kept nowhere.
    """

    __tablename__ = "alarm_message"
    __table_args__ = (
        CheckConstraint("channel ~ '^(webhook|mail:[0-9]+)$'", name="alarm_message_channel_known"),
        CheckConstraint("mode IN ('live', 'test')", name="alarm_message_mode_known"),
        CheckConstraint("state IN ('waiting', 'sending', 'sent', 'failed')", name="alarm_message_state_known"),
        CheckConstraint("(state = 'waiting') = (begun_at IS NULL)", name="alarm_message_begun_at_told"),
        CheckConstraint("(state = 'sent') = (sent_at IS NOT NULL)", name="alarm_message_sent_at_told"),
        CheckConstraint("length(last_error) <= 200", name="alarm_message_error_short"),
        Index(
            "alarm_message_one_waiting",
            "channel",
            "mode",
            unique=True,
            postgresql_where=text("state = 'waiting'"),
        ),
        Index("alarm_message_by_channel", "channel", "mode", "begun_at"),
        Index("alarm_message_due", "due_at", postgresql_where=text("state IN ('waiting', 'sending')")),
    )

    id: Mapped[Id] = mapped_column(primary_key=True)
    channel: Mapped[Words]
    mode: Mapped[Words]
    alarm_ids: Mapped[list[str]] = mapped_column(ARRAY(Text))
    state: Mapped[Words]
    tries: Mapped[int]
    due_at: Mapped[At]
    created_at: Mapped[At]
    begun_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    sent_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    last_error: Mapped[str | None] = mapped_column(Text)


class AlarmLook(Base):
    """Up to when each rule has looked. Whoever holds its row is the one worker that looks."""

    __tablename__ = "alarm_look"

    rule: Mapped[Words] = mapped_column(primary_key=True)
    looked_at: Mapped[At]
