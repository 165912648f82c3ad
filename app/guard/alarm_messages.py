"""Messages about alarms as rows: queued with the alarms, leased for a try, and how the try went."""

import random
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from sqlalchemy import ColumnElement, Connection, and_, exists, func, or_, select, text, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.sql.dml import Update

from app import clock
from app.config import settings
from app.config_guard import Alarms
from app.db.transaction import transaction
from app.guard.alarm_episodes import Episode
from app.guard.alarm_models import AlarmMessage
from app.ids import new_id
from app.mail.rules import LEASE, Outcome, wait_before_next

#: A recipient hears of one mode at most so often. The first message goes at once; what comes meanwhile waits together.
APART = timedelta(minutes=5)
#: So long after its first try a message is given up.
GIVEN_UP_AFTER = timedelta(days=1)
UNTRIED_WAIT = timedelta(seconds=5)
WEBHOOK, MAIL = "webhook", "mail:"

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Lease:
    """A message in this worker's hand; `tries` counts the one in hand."""

    id: str
    channel: str
    mode: str
    alarm_ids: list[str]
    tries: int
    begun_at: datetime


def channels_of(alarms: Alarms) -> list[str]:
    """Whom messages go to, by these settings."""
    return [f"{MAIL}{place}" for place in range(len(alarms.emails))] + ([WEBHOOK] if alarms.webhook_url else [])


def recipient_of(channel: str, alarms: Alarms) -> str | None:
    """The address that a channel of mail stands for; None when the settings no longer have one in its place."""
    place = int(channel.removeprefix(MAIL))
    return alarms.emails[place] if place < len(alarms.emails) else None


def queue_messages(db: Connection, episodes: Iterable[Episode], now: datetime) -> None:
    """Puts the alarms into each recipient's waiting message of their mode, or into a new one.

    In the transaction that keeps the alarms: either both are there or neither is.
    """
    by_mode: defaultdict[str, list[str]] = defaultdict(list)
    for episode in episodes:
        by_mode[episode.mode].append(episode.id)
    for channel in channels_of(settings().alarms):  # in one order in every transaction, for they lock
        for mode, ids in sorted(by_mode.items()):
            row = upsert(AlarmMessage).values(
                id=new_id("msg"),
                channel=channel,
                mode=mode,
                alarm_ids=ids,
                state="waiting",
                tries=0,
                due_at=now,
                created_at=now,
            )
            gathered = {"alarm_ids": AlarmMessage.alarm_ids + row.excluded.alarm_ids}
            is_waiting = text("state = 'waiting'")  # in a prepared statement a parameter would name no index
            db.execute(
                row.on_conflict_do_update(index_elements=["channel", "mode"], index_where=is_waiting, set_=gathered)
            )


def is_any_due(kind: str) -> bool:
    """Whether there is anything to send by `WEBHOOK` or by `MAIL`."""
    with transaction() as db:
        return bool(db.scalar(select(exists().where(_is_due(kind, clock.now(db))))))


def lease_next(kind: str) -> Lease | None:
    """Takes the message that has been due for longest, or None when there is none that no other worker has.

    From now on it gathers no more.
    """
    with transaction() as db:
        now = clock.now(db)
        due = select(AlarmMessage.id).where(_is_due(kind, now)).order_by(AlarmMessage.due_at).limit(1)
        lease = (
            update(AlarmMessage)
            .where(AlarmMessage.id == due.with_for_update(skip_locked=True).scalar_subquery())
            .values(
                state="sending",
                tries=AlarmMessage.tries + 1,
                due_at=now + LEASE,
                begun_at=func.coalesce(AlarmMessage.begun_at, now),
            )
        )
        columns = (getattr(AlarmMessage, name) for name in Lease.__dataclass_fields__)
        row = db.execute(lease.returning(*columns)).first()
    return Lease(**row._mapping) if row else None


def _is_due(kind: str, now: datetime) -> ColumnElement[bool]:
    """One that was begun is due at its time. One that waits is held back by another to the same recipient and mode that
    was begun a short while ago; not by one that does not arrive, which a receiver may refuse for good.
    """
    other = AlarmMessage.__table__.alias("other")
    is_held_back = exists().where(
        other.c.channel == AlarmMessage.channel,
        other.c.mode == AlarmMessage.mode,
        other.c.begun_at > now - APART,
    )
    return and_(
        AlarmMessage.channel.startswith(kind),
        AlarmMessage.state.in_(["waiting", "sending"]),
        AlarmMessage.due_at <= now,
        or_(AlarmMessage.state == "sending", ~is_held_back),
    )


def is_still_ours(lease: Lease) -> bool:
    """Whether this try still owns the message; it then does for another while."""
    with transaction() as db:
        renewal = _change(lease).values(due_at=clock.now(db) + LEASE)
        return db.execute(renewal.returning(AlarmMessage.id)).first() is not None


def put_back(lease: Lease, reason: str) -> None:
    """The message was not tried, through no fault of its own: this try does not count."""
    with transaction() as db:
        due_at = clock.now(db) + UNTRIED_WAIT
        db.execute(_change(lease).values(tries=AlarmMessage.tries - 1, due_at=due_at, last_error=reason))


def write_down(lease: Lease, outcome: Outcome) -> None:
    """How a try ended. Nobody is told of a message that is given up but the log and `scrip alarms`."""
    with transaction() as db:
        now = clock.now(db)
        if outcome.state == "later" and now - lease.begun_at >= GIVEN_UP_AFTER:
            outcome = Outcome("failed", f"given up after {outcome.reason}")
        change = _change(lease).values(last_error=outcome.reason or None)
        if outcome.state == "later":
            wait = wait_before_next(lease.tries, random.random())  # noqa: S311 – jitter, no secret
            change = change.values(due_at=now + wait)
        elif outcome.state == "sent":
            change = change.values(state="sent", sent_at=now)
        elif outcome.state == "failed":
            change = change.values(state="failed")
        is_written = outcome.state != "lost" and db.execute(change.returning(AlarmMessage.id)).first() is not None
    if is_written:
        labels = {"message_id": lease.id, "channel": lease.channel, "tries": lease.tries, "reason": outcome.reason}
        tell = {"sent": log.info, "failed": log.error}.get(outcome.state, log.warning)
        tell(f"alarm_message_{outcome.state}", **labels)


def _change(lease: Lease) -> Update:
    mine = (AlarmMessage.id == lease.id, AlarmMessage.tries == lease.tries, AlarmMessage.state == "sending")
    return update(AlarmMessage).where(*mine)
