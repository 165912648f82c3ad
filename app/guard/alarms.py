"""Alarms as operators and parties see them: listed, read, acknowledged."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Select, func, select, update

from app import clock
from app.db.base import AnyRow
from app.db.transaction import transaction
from app.errors import NotFound
from app.guard.alarm_models import Alarm as AlarmRow
from app.guard.alarm_models import AlarmMessage
from app.guard.alarm_rules import BY_NAME
from app.guard.alarm_words import advice_for
from app.web.context import acting


@dataclass(frozen=True, slots=True)
class Alarm:
    """An alarm. Figures are counts, or minor units where there is a `currency`; `advice` is for whoever reads it."""

    id: str
    mode: str
    rule: str
    group_kind: str | None
    group_id: str
    currency: str | None
    state: str
    first_at: datetime
    last_at: datetime
    ended_at: datetime | None
    figure: int
    peak: int
    threshold: int
    what: str
    why: str
    advice: str
    acknowledged_at: datetime | None
    acknowledged_by: str | None


def list_alarms(*, since: datetime | None = None, also_ended: bool = False, limit: int) -> list[Alarm]:
    """For operators: the newest that are open, or all, that began after `since`, newest first. Raises Busy."""
    query = _QUERY.order_by(AlarmRow.id.desc()).limit(limit)
    if not also_ended:
        query = query.where(AlarmRow.ended_at.is_(None))
    if since is not None:
        query = query.where(AlarmRow.first_at >= since)
    with transaction() as db:
        return [_seen(row, for_party=False) for row in db.execute(query)]


def list_alarms_of(party_id: str, *, state: str | None, after: str | None, limit: int) -> list[Alarm]:
    """A party's own, oldest first, from the one after `after`; `state` is `open`, `ended` or None for both."""
    query = _QUERY.where(AlarmRow.party_id == party_id).order_by(AlarmRow.id).limit(limit)
    if state is not None:
        is_open = AlarmRow.ended_at.is_(None)
        query = query.where(is_open if state == "open" else ~is_open)
    if after is not None:
        query = query.where(AlarmRow.id > after)
    with transaction() as db:
        return [_seen(row, for_party=True) for row in db.execute(query)]


def read_alarm(alarm_id: str, *, party_id: str) -> Alarm:
    """One of the party's own. Raises NotFound for anybody else's, and for those that concern operators alone."""
    with transaction() as db:
        row = db.execute(_QUERY.where(AlarmRow.id == alarm_id, AlarmRow.party_id == party_id)).first()
    if row is None:
        raise NotFound("There is no such alarm.")
    return _seen(row, for_party=True)


def acknowledge_alarms(alarm_ids: Sequence[str]) -> int:
    """Says that whoever acts looks after these alarms; returns how many nobody had said it of before.

    Raises NotFound when one of them is unknown, and then acknowledges none; Busy.
    """
    wanted = set(alarm_ids)
    with transaction() as db:
        now = clock.now(db)
        is_wanted = AlarmRow.id == func.any(sorted(wanted))
        if db.scalar(select(func.count()).where(is_wanted)) != len(wanted):
            raise NotFound("There is no such alarm.")
        said = {"acknowledged_at": now, "acknowledged_by": acting.get().actor}
        return db.execute(update(AlarmRow).where(is_wanted, AlarmRow.acknowledged_at.is_(None)).values(said)).rowcount


def count_unsent() -> int:
    """How many messages about alarms were given up, or have been tried more than once and not arrived. Raises Busy."""
    is_late = (AlarmMessage.state == "failed") | ((AlarmMessage.state == "sending") & (AlarmMessage.tries > 1))
    with transaction() as db:
        return db.scalar(select(func.count()).where(is_late)) or 0


def _seen(row: AnyRow, *, for_party: bool) -> Alarm:
    return Alarm(
        **row._mapping,
        group_kind=BY_NAME[row.rule].group if row.rule in BY_NAME else None,
        state="open" if row.ended_at is None else "ended",
        advice=advice_for(row.rule, row.group_id, row.currency, for_party=for_party),
    )


_DERIVED = ("group_kind", "state", "advice")
_QUERY: Select[*tuple[object, ...]] = select(
    *(getattr(AlarmRow, name) for name in Alarm.__dataclass_fields__ if name not in _DERIVED)
)
