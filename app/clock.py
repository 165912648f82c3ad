"""The time: the database's clock, so that all workers agree, and the one place where tests set it."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # a rule is read without SQLAlchemy
    from sqlalchemy import Connection

_ahead = timedelta(0)


def now(db: "Connection") -> datetime:
    """The database's wall clock at this statement, in UTC. Read it after locking: waiting for a lock takes time."""
    stamp: datetime = db.exec_driver_sql("SELECT clock_timestamp()").scalar_one()
    return read(stamp)


def read(stamp: datetime) -> datetime:
    """The time behind a `clock_timestamp()` that a statement returned along with its rows."""
    return stamp + _ahead


@contextmanager
def ahead(by: timedelta) -> Iterator[None]:
    """For tests only: this process believes that the database's clock is `by` ahead."""
    global _ahead
    before, _ahead = _ahead, _ahead + by
    try:
        yield
    finally:
        _ahead = before
