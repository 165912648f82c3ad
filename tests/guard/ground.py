"""What the tests of alarms share: events as they would have been written, at any time, and looks at set times."""

import json
from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import text

from app import clock
from app.db.transaction import transaction
from app.guard import alarm_sight
from app.guard.alarm_episodes import latest_look
from app.guard.alarm_rules import BY_NAME, RULES
from app.guard.alarm_watch import watch
from app.ids import new_id
from tests.world import rows

NOON = datetime(2026, 6, 10, 12, tzinfo=UTC)

INSERT = text(
    "INSERT INTO event (id, at, kind, actor, card_id, facts)"
    " VALUES (:id, :at, :kind, 'test', :card_id, CAST(:facts AS jsonb))"
)


def seconds(count: float) -> timedelta:
    return timedelta(seconds=count)


def happened(kind: str, times: Iterable[datetime], *, of_card: str | None = None, **facts: Any) -> None:
    """Events of one kind, at these times."""
    told = json.dumps(facts)
    made = [{"id": new_id("evt"), "at": at, "kind": kind, "card_id": of_card, "facts": told} for at in times]
    with transaction() as db:
        db.execute(INSERT, made)
    alarm_sight.forget_usual()


def issued(at: datetime, *, issuer_id: str, amount_minor: int = 5_000, mode: str = "test") -> str:
    """A card as its first event tells of it."""
    card_id = new_id("card")
    facts = {"issuer_id": issuer_id, "mode": mode, "currency": "GBP", "amount_minor": amount_minor}
    happened("card_issued", [at], of_card=card_id, **facts)
    return card_id


def wrong_codes(count: int, start: datetime, *, store_id: str, every_s: float = 0.1, mode: str = "test") -> None:
    """Wrong codes in a row at one store."""
    times = [start + seconds(every_s * place) for place in range(count)]
    happened("code_refused", times, store_id=store_id, mode=mode, reason="unknown")


def every(step: timedelta, start: datetime, count: int) -> list[datetime]:
    return [start + step * place for place in range(count)]


def watched_since(at: datetime, *, only: Collection[str] = tuple(BY_NAME)) -> None:
    """As if the watch had looked up to this time, and no alarm was there; `only` these rules look soon again, for each
    look costs something.
    """
    with transaction() as db:
        for table in ("alarm", "alarm_message"):
            db.exec_driver_sql(f"DELETE FROM {table}")
        for rule in RULES:
            db.exec_driver_sql(
                "INSERT INTO alarm_look (rule, looked_at) VALUES ($1, $2)"
                " ON CONFLICT (rule) DO UPDATE SET looked_at = $2",
                (rule.name, latest_look(at + timedelta(days=9 * (rule.name not in only)), rule.every)),
            )


def watch_until(at: datetime) -> int:
    """All looks up to this time; returns how many."""
    looks = 0
    with clock.set_to(at):
        while done := watch():
            looks += done
    return looks


def make_alarm(rule: str, group_id: str, party_id: str | None, **changes: Any) -> str:
    """An alarm as the watch would have kept it."""
    row = {
        "id": new_id("alarm"),
        "rule": rule,
        "mode": "test",
        "group_id": group_id,
        "party_id": party_id,
        "first_at": NOON,
        "last_at": NOON + timedelta(minutes=1),
        "figure": 20,
        "peak": 30,
        "threshold": 10,
        "told": 20,
        "what": "It happened.",
        "why": "It is unusual.",
        **changes,
    }
    names, places = ", ".join(row), ", ".join(f"${place + 1}" for place in range(len(row)))
    with transaction() as db:
        db.exec_driver_sql(f"INSERT INTO alarm ({names}) VALUES ({places})", tuple(row.values()))
    return str(row["id"])


def alarms(**where: str) -> list[Any]:
    """The alarms that there are, oldest first."""
    narrowed = "".join(f" AND {name} = :{name}" for name in where)
    return rows(f"SELECT * FROM alarm WHERE true{narrowed} ORDER BY id", **where)


def messages(channel: str | None = None) -> list[Any]:
    """The messages that there are, oldest first."""
    query = "SELECT * FROM alarm_message WHERE CAST(:channel AS text) IS NULL OR channel = :channel ORDER BY id"
    return rows(query, channel=channel)


def as_found(alarm: Any) -> Mapping[str, Any]:
    """What an alarm says of itself, whoever found it."""
    names = ("mode", "group_id", "party_id", "currency", "first_at", "last_at", "ended_at", "figure", "peak", "told")
    return {name: getattr(alarm, name) for name in (*names, "threshold", "what", "why")}
