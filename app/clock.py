"""The time: the database's clock, so that all workers agree, and the one place where tests set it."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # a rule is read without SQLAlchemy
    from sqlalchemy import Connection

#: By less than this this machine's clock may differ from the database's: correcting it would only add jitter.
TOLERANCE_S = 0.5

#: No two readings of a clock are alike: a clock that was set goes on by this with each.
TICK = timedelta(microseconds=1)

log = logging.getLogger(__name__)

_ahead = timedelta(0)
_set_to: datetime | None = None
#: What makes the time of a counter that nobody sets, and when that was last compared with the database's clock.
_offset_s = time.time() - time.monotonic()
_compared_at_s: float | None = None


def now(db: "Connection") -> datetime:
    """The database's wall clock at this statement, in UTC. Read it after locking: waiting for a lock takes time."""
    asked_at_s = time.monotonic()
    stamp: datetime = db.exec_driver_sql("SELECT clock_timestamp()").scalar_one()
    _compare(stamp.timestamp() - asked_at_s, took_s=time.monotonic() - asked_at_s)
    return read(stamp)


def read(stamp: datetime) -> datetime:
    """The time behind a `clock_timestamp()` that a statement returned along with its rows."""
    global _set_to
    if _set_to is None:
        return stamp + _ahead
    read_at, _set_to = _set_to, _set_to + TICK
    return read_at


def here() -> datetime:
    """The database's time without asking, for what is decided outside transactions; see db/time.py.

    As it was last compared, and carried on since: what somebody does to this machine's clock changes nothing.
    """
    return read(datetime.fromtimestamp(here_s(), UTC))


def here_s() -> float:
    """The same as Unix seconds, for identifiers; tests do not set it."""
    return _offset_s + time.monotonic()


def was_compared_within(seconds: float) -> bool:
    """Whether `here` is as fresh as that."""
    return _compared_at_s is not None and time.monotonic() - _compared_at_s < seconds


def _compare(seen_s: float, *, took_s: float) -> None:
    """Corrects `here` when it is off. A reading is late by as much as it took, so less than that proves nothing."""
    global _offset_s, _compared_at_s
    off_s = seen_s - _offset_s
    if abs(off_s) > TOLERANCE_S + took_s:
        log.warning("the clock of this machine is wrong: the database's is %+.1f s from it", off_s)
        _offset_s = seen_s
    _compared_at_s = time.monotonic()


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
