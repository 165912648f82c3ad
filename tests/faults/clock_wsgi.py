"""The service in a process whose clock is wrong, for gunicorn: `tests.faults.clock_wsgi:wrong(86400)`.

What Python reads of the clock is moved before anything of the service is imported. (libfaketime 0.9.10 would move it
for every library as well, but breaks `time.sleep` of CPython 3.11, and with it gunicorn.)
"""

import datetime as datetimes
import os
import time
from datetime import UTC, datetime

from flask import Flask

#: The name under which the tests' own process signs access tokens as well.
PUBLIC_URL = "http://127.0.0.1:8000"


def wrong(by_s: int) -> Flask:
    """The service, whose machine believes that it is `by_s` seconds later than it is."""
    _move(by_s)
    os.environ["PUBLIC_URL"] = PUBLIC_URL
    from wsgi import app

    return app


def trusted(by_s: int) -> Flask:
    """The same with the fault that the tests must notice: it trusts its machine's clock."""
    app = wrong(by_s)
    from app import clock

    clock.now = lambda db: _own()
    clock.read = lambda stamp: _own()
    clock.here = _own
    clock.here_s = time.time
    return app


def _own() -> datetime:
    return datetime.fromtimestamp(time.time(), UTC)


def _move(by_s: int) -> None:
    true_time, true_time_ns = time.time, time.time_ns
    time.time = lambda: true_time() + by_s
    time.time_ns = lambda: true_time_ns() + by_s * 10**9
    datetimes.datetime = _Moved  # type: ignore[misc]


class _Kind(type):
    """Other people's datetimes are datetimes too."""

    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, datetime)


class _Moved(datetime, metaclass=_Kind):
    @classmethod
    def now(cls, tz: datetimes.tzinfo | None = None) -> "_Moved":
        return cls.fromtimestamp(time.time(), tz)

    @classmethod
    def utcnow(cls) -> "_Moved":
        return cls.now(UTC).replace(tzinfo=None)
