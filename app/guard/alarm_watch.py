"""The watch: each rule looks at its time, in one worker only, and what it finds is kept and told in one transaction."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import structlog
from sqlalchemy import Connection, bindparam, delete, insert, or_, select, update
from sqlalchemy.dialects.postgresql import insert as upsert

from app import clock
from app.config import settings
from app.db.transaction import transaction
from app.guard.alarm_episodes import AGAIN_WITHIN, Episode, Key, Step, after_look, latest_look, next_look
from app.guard.alarm_messages import queue_messages
from app.guard.alarm_models import Alarm, AlarmLook, AlarmMessage
from app.guard.alarm_rules import RULES, Rule
from app.guard.alarm_sight import look
from app.ids import new_id
from app.jobs.items import Broken, one_item
from app.jobs.worker import stopping

#: Alarms that ended so long ago, and messages, whatever became of them, are forgotten.
ALARMS_KEPT, MESSAGES_KEPT = timedelta(days=400), timedelta(days=30)
FORGET_BATCH = 1_000

log = structlog.get_logger(__name__)


def watch() -> int:
    """Lets each rule look whose time has come, once or, after a pause, until it has caught up; returns the looks.

    A bug in one rule stops no other. Raises Busy.
    """
    return sum(_catch_up(rule) for rule in RULES)


def _catch_up(rule: Rule) -> int:
    looks = 0
    try:
        with one_item(rule=rule.name):
            while not stopping() and _look_once(rule):
                looks += 1
    except Broken:
        pass  # it is logged, and looked at again next time
    return looks


def _look_once(rule: Rule) -> bool:
    """One look, if it is due and no other worker has the rule in hand: findings, alarms and messages stand together."""
    with transaction() as db:
        at = _take(db, rule, clock.now(db))
        if at is None:
            return False
        episodes = _episodes(db, rule, at)
        steps = after_look(rule, episodes, look(db, rule, at, settings().alarms), at)
        kept = _keep(db, rule, [step for step in steps if episodes.get(step.episode.key) != step.episode])
        queue_messages(db, [step.episode for step in kept if step.turn in ("opened", "worse")], clock.now(db))
        db.execute(update(AlarmLook).where(AlarmLook.rule == rule.name).values(looked_at=at))
    for step in kept:
        if step.turn in ("opened", "worse", "ended"):
            log.warning(f"alarm_{step.turn}", alarm_id=step.episode.id, rule=rule.name, figure=step.episode.figure)
    return True


def _take(db: Connection, rule: Rule, now: datetime) -> datetime | None:
    """The time of the next look, with the rule in hand until the transaction's end; None where there is none to do."""
    mine = select(AlarmLook.looked_at).where(AlarmLook.rule == rule.name).with_for_update(skip_locked=True)
    looked_at = db.scalar(mine)
    if looked_at is not None:
        return next_look(looked_at, now, rule.every)
    first = upsert(AlarmLook).values(rule=rule.name, looked_at=latest_look(now, rule.every))
    db.execute(first.on_conflict_do_nothing())  # another worker has it in hand, or nobody has looked before
    return None


def _episodes(db: Connection, rule: Rule, at: datetime) -> dict[Key, Episode]:
    """Those that are open, or may be taken up again; of one group the newest."""
    columns = (getattr(Alarm, name) for name in Episode.__dataclass_fields__)
    recent = or_(Alarm.ended_at.is_(None), Alarm.ended_at > at - AGAIN_WITHIN)
    query = select(*columns).where(Alarm.rule == rule.name, recent).order_by(Alarm.first_at)
    found = (Episode(**row._mapping) for row in db.execute(query))
    return {episode.key: episode for episode in found}


def _keep(db: Connection, rule: Rule, steps: Sequence[Step]) -> list[Step]:
    """Writes the steps down; returns them with the ID of each alarm."""
    opened = [_named(step) for step in steps if step.turn == "opened"]
    if opened:
        db.execute(insert(Alarm), [{"rule": rule.name, **_columns(step, _WRITTEN_ONCE + _CHANGING)} for step in opened])
    changed = [step for step in steps if step.turn != "opened"]
    if changed:
        its = update(Alarm).where(Alarm.id == bindparam("its_id"))
        db.execute(its, [{"its_id": step.episode.id, **_columns(step, _CHANGING)} for step in changed])
    return opened + changed


def _named(step: Step) -> Step:
    return replace(step, episode=replace(step.episode, id=new_id("alarm")))


def _columns(step: Step, names: Sequence[str]) -> dict[str, object]:
    return {name: getattr(step.episode, name) for name in names}


_CHANGING = ("last_at", "ended_at", "figure", "peak", "threshold", "told", "what", "why")
_WRITTEN_ONCE = tuple(name for name in Episode.__dataclass_fields__ if name not in _CHANGING)


def forget_alarms() -> int:
    """Drops a batch of alarms and of messages that are old; returns how many. Raises Busy."""
    with transaction() as db:
        now = clock.now(db)
        alarms = select(Alarm.id).where(Alarm.ended_at < now - ALARMS_KEPT).limit(FORGET_BATCH)
        is_over = AlarmMessage.state.in_(["sent", "failed"])
        messages = select(AlarmMessage.id).where(AlarmMessage.created_at < now - MESSAGES_KEPT, is_over)
        gone: Sequence[int] = [
            db.execute(delete(Alarm).where(Alarm.id.in_(alarms))).rowcount,
            db.execute(delete(AlarmMessage).where(AlarmMessage.id.in_(messages.limit(FORGET_BATCH)))).rowcount,
        ]
        return sum(gone)
