"""Where requests are counted: `pg://`, a storage for the library `limits` in the service's own database.

All processes count in one row, so two of them do not double a limit. A statement for each request would be a fifth of
what the cheapest call takes. So while less than half of a limit is used, a process lets the next few requests of a busy
key through and tells of them with the one after: UNCOUNTED at most, a hundredth of the limit at most, within a second.
By so many, for each process, a limit may be passed; one below 100 is kept to the request.
"""

import hashlib
from dataclasses import dataclass
from threading import Lock
from time import monotonic
from typing import Any, NoReturn

from limits.storage import SlidingWindowCounterSupport, Storage
from sqlalchemy import Float, delete, func, select, tuple_
from sqlalchemy.engine import Row

from app.db.transaction import transaction
from app.errors import Busy
from app.guard.limit_models import RequestLimit
from app.guard.limit_window import Window

#: So many requests of a key a process may let through before it tells the database of them,
UNCOUNTED = 24
#: for so long after it last asked.
ASKED_EVERY_S = 1.0
#: Of so many keys a process remembers what it was told; then it begins anew, and what it has not told yet is lost.
REMEMBERED = 10_000
FORGET_BATCH = 1_000

#: `$3` requests were let through before and count in any case, `$4` more are let through where `$5` has room for them.
#: The time is read once, so that one row sees one time; it is older than the row's where the statement had to wait.
_COUNT = """
INSERT INTO request_limit AS kept (key, window_s, began_at, previous, current, passed)
VALUES ($1, $2, clock_timestamp(), 0, $3 + $4, true)
ON CONFLICT (key) DO UPDATE SET (window_s, began_at, previous, current, passed) = (
    SELECT $2, moved.began_at, moved.previous,
        moved.current + $3 + CASE WHEN judged.fits THEN $4 ELSE 0 END, judged.fits
    FROM (SELECT greatest(0, extract(epoch FROM excluded.began_at - kept.began_at))::float8 AS age_s) AS aged,
    LATERAL (
        SELECT
            CASE
                WHEN aged.age_s < $2 THEN kept.began_at
                WHEN aged.age_s < 2 * $2 THEN kept.began_at + make_interval(secs => $2)
                ELSE excluded.began_at
            END AS began_at,
            CASE
                WHEN aged.age_s < $2 THEN kept.previous
                WHEN aged.age_s < 2 * $2 THEN kept.current
                ELSE 0
            END AS previous,
            CASE WHEN aged.age_s < $2 THEN kept.current ELSE 0 END AS current,
            1 - CASE WHEN aged.age_s < 2 * $2 THEN aged.age_s / $2 - floor(aged.age_s / $2) ELSE 0 END AS share
    ) AS moved,
    LATERAL (SELECT floor(moved.previous * moved.share) + moved.current + $3 + $4 <= $5 AS fits) AS judged
)
RETURNING passed, previous, current, $2 - extract(epoch FROM clock_timestamp() - began_at)::float8 AS ends_in_s
"""


@dataclass(slots=True)
class _Known:
    """What a process was last told of a key, how many it lets through since, and how many of these it has not told."""

    window: Window
    asked_at_s: float
    may_pass: int = 0
    uncounted: int = 0


class PostgresStorage(Storage, SlidingWindowCounterSupport):
    """Sliding window counters in PostgreSQL, by the database's clock. Each method raises Busy."""

    STORAGE_SCHEME = ["pg"]  # noqa: RUF012  as the base class has it

    def __init__(self, uri: str | None = None, wrap_exceptions: bool = False, **options: float | str | bool) -> None:
        super().__init__(uri, wrap_exceptions, **options)
        self._known: dict[str, _Known] = {}
        self._lock = Lock()

    @property
    def base_exceptions(self) -> type[Exception]:
        """What it raises while the database is away."""
        return Busy

    def acquire_sliding_window_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        """Whether `amount` more requests are let through: counted, if so. `expiry` is the window in seconds."""
        owed = self._pass_uncounted(key, amount)
        if owed is None:
            return True
        with transaction() as db:
            row = db.exec_driver_sql(_COUNT, (_hashed(key), expiry, owed, amount, limit)).one()
        window = _window(row, expiry)
        free = min(UNCOUNTED, limit // 100) if window.weight * 2 < limit else 0
        with self._lock:
            if len(self._known) >= REMEMBERED:
                self._known.clear()
            known = self._known.setdefault(key, _Known(window, 0.0))
            known.window, known.asked_at_s, known.may_pass = window, monotonic(), max(0, free - known.uncounted)
        return bool(row.passed)

    def get_sliding_window(self, key: str, expiry: int) -> tuple[int, float, int, float]:
        """Counts and ends of the previous and the current window, as the database has them."""
        now = func.clock_timestamp()
        ends_in_s = func.extract("epoch", RequestLimit.began_at - now).cast(Float) + expiry
        row_of_key = select(RequestLimit.previous, RequestLimit.current, ends_in_s.label("ends_in_s")).where(
            RequestLimit.key == _hashed(key)
        )
        with transaction() as db:
            row = db.execute(row_of_key).first()
        window = _window(row, expiry) if row else Window(expiry, 0, 0, 0.0)
        return window.previous, window.ends_in_s, window.current, window.ends_in_s

    def window_told(self, key: str, expiry: int) -> Window | None:
        """The window as this process was last told it, with what it has let through since; None for an unknown key."""
        with self._lock:
            known = self._known.get(key)
            if known is None:
                return None
            told, ends_in_s = known.window, known.window.ends_in_s - (monotonic() - known.asked_at_s)
            return _moved(told.previous, told.current + known.uncounted, ends_in_s, expiry)

    def clear_sliding_window(self, key: str, expiry: int) -> None:
        """Counts a key from nothing again."""
        self.clear(key)

    def clear(self, key: str) -> None:
        """Counts a key from nothing again."""
        with self._lock:
            self._known.pop(key, None)
        with transaction() as db:
            db.execute(delete(RequestLimit).where(RequestLimit.key == _hashed(key)))

    def check(self) -> bool:
        """Whether the database is there."""
        try:
            with transaction() as db:
                db.exec_driver_sql("SELECT 1")
        except Busy:
            return False
        return True

    def incr(self, key: str, expiry: int, amount: int = 1) -> NoReturn:
        """Not for windows that begin at nothing: twice the limit gets through at their edges."""
        raise NotImplementedError

    def get(self, key: str) -> NoReturn:
        """As `incr`."""
        raise NotImplementedError

    def get_expiry(self, key: str) -> NoReturn:
        """As `incr`."""
        raise NotImplementedError

    def reset(self) -> NoReturn:
        """Nobody's counts are cleared but one's own."""
        raise NotImplementedError

    def _pass_uncounted(self, key: str, amount: int) -> int | None:
        """None when they are let through without asking; else how many the database is still to be told of."""
        with self._lock:
            known = self._known.get(key)
            if known is None:
                return 0
            if known.may_pass >= amount and monotonic() - known.asked_at_s < ASKED_EVERY_S:
                known.may_pass -= amount
                known.uncounted += amount
                return None
            owed, known.uncounted, known.may_pass = known.uncounted, 0, 0
            return owed


def forget_request_counts() -> int:
    """Drops a batch of counts that reach into no window any more; returns how many. Raises Busy."""
    age_s = func.extract("epoch", func.clock_timestamp() - RequestLimit.began_at)
    with transaction() as db:
        over = select(RequestLimit.key).where(age_s > 2 * RequestLimit.window_s).limit(FORGET_BATCH)
        over = over.with_for_update(skip_locked=True)
        return db.execute(delete(RequestLimit).where(tuple_(RequestLimit.key).in_(over))).rowcount


def _hashed(key: str) -> bytes:
    """A row is small whatever stands in a key; of an address that is a keyed hash already."""
    return hashlib.sha256(key.encode()).digest()


def _window(row: Row[Any], window_s: int) -> Window:
    return _moved(row.previous, row.current, row.ends_in_s, window_s)


def _moved(previous: int, current: int, ends_in_s: float, window_s: int) -> Window:
    """The counts as they are now, where the window has ended since they were written."""
    if ends_in_s > 0:
        return Window(window_s, previous, current, min(ends_in_s, float(window_s)))
    if ends_in_s > -window_s:
        return Window(window_s, current, 0, ends_in_s + window_s)
    return Window(window_s, 0, 0, float(window_s))
