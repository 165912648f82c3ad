"""The time: the database's clock, so that all workers agree, and the one place where tests set it."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # a rule is read without SQLAlchemy
    from sqlalchemy import Connection

#: No two readings of a clock are alike: a clock that was set goes on by this with each.
TICK = timedelta(microseconds=1)

_ahead = timedelta(0)
_set_to: datetime | None = None


def now(db: "Connection") -> datetime:
    """The database's wall clock at this statement, in UTC. Read it after locking: waiting for a lock takes time."""
    stamp: datetime = db.exec_driver_sql("SELECT clock_timestamp()").scalar_one()
    return read(stamp)


def read(stamp: datetime) -> datetime:
    """The time behind a `clock_timestamp()` that a statement returned along with its rows."""
    global _set_to
    if _set_to is None:
        return stamp + _ahead
    read_at, _set_to = _set_to, _set_to + TICK
    return read_at


@contextmanager
def ahead(by: timedelta) -> Iterator[None]:
    """For tests only: this process believes that the database's clock is `by` ahead."""
    global _ahead
    before, _ahead = _ahead, _ahead + by
    try:
        yield
    finally:
        _ahead = before


@contextmanager
def set_to(moment: datetime) -> Iterator[None]:
    """For tests only: the first reading in this process is exactly `moment`, each further one a tick later."""
    global _set_to
    before, _set_to = _set_to, moment
    try:
        yield
    finally:
        _set_to = before
