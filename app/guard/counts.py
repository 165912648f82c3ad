"""Counts as rows: locked in one order, so that two tries never wait for each other, and written as decided.

These transactions commit without waiting for the disk: what a crash of the database may lose is some wrong tries of its
last second, and no money.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from app import clock
from app.db.base import AnyRow
from app.db.transaction import transaction
from app.guard.backoff import Count

FORGET_BATCH = 1_000


@dataclass(frozen=True, slots=True)
class Counted:
    """A count as it stands, and what a store may have in a minute, as last reckoned."""

    count: Count
    budget: int | None = None
    budgeted_at: datetime | None = None


#: By the key's hash.
Found = Mapping[bytes, Counted]


@dataclass(frozen=True, slots=True)
class Noted:
    """A count as it shall be, and when nothing of it is left to remember."""

    counted: Counted
    over_at: datetime


def lock(db: Connection, hashes: Sequence[bytes]) -> tuple[Found, datetime]:
    """The counts of these keys, locked; and the time, read after any wait."""
    rows = db.exec_driver_sql(_LOCK, (sorted(hashes),)).all()
    return {row.key: _counted(row) for row in rows}, clock.read(max(row.stamp for row in rows))


def read(db: Connection, hashes: Sequence[bytes]) -> tuple[Found, datetime]:
    """The counts of those of these keys that have one, as they were a moment ago; and the time."""
    rows = db.exec_driver_sql(_READ, (list(hashes),)).all()
    return {row.key: _counted(row) for row in rows if row.key is not None}, clock.read(rows[0].stamp)


def write(db: Connection, noted: Mapping[bytes, Noted]) -> None:
    """Keeps locked counts as decided; those of which nothing is left are dropped."""
    kept = {key: each for key, each in noted.items() if each.counted.count.level > 0}
    if gone := [key for key in noted if key not in kept]:
        db.exec_driver_sql("DELETE FROM guard_count WHERE key = ANY($1)", (gone,))
    if kept:
        columns = zip(*(_values(key, each) for key, each in kept.items()), strict=True)
        db.exec_driver_sql(_WRITE, tuple(list(column) for column in columns))


def note_budget(db: Connection, key_hash: bytes, budget: int, at: datetime) -> None:
    """What a store may have in a minute, as reckoned at this time."""
    db.exec_driver_sql("UPDATE guard_count SET budget = $2, budgeted_at = $3 WHERE key = $1", (key_hash, budget, at))


def forget_counts() -> int:
    """Drops a batch of counts of which nothing is left; returns how many. Raises Busy."""
    with transaction(durable=False) as db:
        return db.exec_driver_sql(_FORGET, (clock.now(db), FORGET_BATCH)).rowcount


def _counted(row: AnyRow) -> Counted:
    return Counted(Count(row.level, row.as_of, row.free_at, row.halved_at), row.budget, row.budgeted_at)


def _values(key_hash: bytes, noted: Noted) -> tuple[object, ...]:
    counted = noted.counted
    count = counted.count
    reckoned = (counted.budget, counted.budgeted_at)
    # A list that has a whole number among floats is refused by the driver.
    return key_hash, float(count.level), count.as_of, count.free_at, count.halved_at, *reckoned, noted.over_at


_COLUMNS = "key, level, as_of, free_at, halved_at, budget, budgeted_at"

#: A key that is not there yet is made, so that there is something to lock: nothing is counted, and it was always free.
_LOCK = f"""
INSERT INTO guard_count (key, level, as_of, free_at, over_at)
SELECT key, 0, to_timestamp(0), to_timestamp(0), to_timestamp(0) FROM unnest($1::bytea[]) AS key ORDER BY key
ON CONFLICT (key) DO UPDATE SET key = excluded.key
RETURNING {_COLUMNS}, clock_timestamp() AS stamp
"""  # noqa: S608 – nothing but names of columns

_READ = f"""
SELECT {_COLUMNS}, clock_timestamp() AS stamp
FROM (SELECT 1) AS one LEFT JOIN guard_count ON key = ANY($1::bytea[])
"""  # noqa: S608

_WRITE = """
UPDATE guard_count AS kept
SET level = new.level, as_of = new.as_of, free_at = new.free_at, halved_at = new.halved_at,
    budget = new.budget, budgeted_at = new.budgeted_at, over_at = new.over_at
FROM unnest($1::bytea[], $2::float8[], $3::timestamptz[], $4::timestamptz[], $5::timestamptz[], $6::int[],
    $7::timestamptz[], $8::timestamptz[]) AS new (key, level, as_of, free_at, halved_at, budget, budgeted_at, over_at)
WHERE kept.key = new.key
"""

_FORGET = """
DELETE FROM guard_count
WHERE key IN (SELECT key FROM guard_count WHERE over_at < $1 LIMIT $2 FOR UPDATE SKIP LOCKED)
"""
