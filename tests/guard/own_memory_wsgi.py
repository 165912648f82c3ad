"""The service with a planted fault: each worker counts wrong tries in its own memory."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from sqlalchemy import Connection

from app import clock
from app.guard import counts
from app.guard.backoff import Count
from app.guard.counts import Counted, Found, Noted

_kept: dict[bytes, Counted] = {}


def lock(db: Connection, marks: Sequence[bytes]) -> tuple[Found, datetime]:
    now = clock.now(db)
    new = Counted(Count(0, now, now))
    return {mark: _kept.get(mark, new) for mark in marks}, now


def read(db: Connection, marks: Sequence[bytes]) -> tuple[Found, datetime]:
    return {mark: _kept[mark] for mark in marks if mark in _kept}, clock.now(db)


def write(_db: Connection, noted: Mapping[bytes, Noted]) -> None:
    _kept.update({mark: each.counted for mark, each in noted.items()})


vars(counts).update(lock=lock, read=read, write=write)

from tests.faults.cheap_wsgi import app  # noqa: E402 – counts are replaced first

__all__ = ["app"]
