"""What a process remembers of the database for a while: one thread reads it, and the others wait for that, not long."""

from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock
from time import monotonic
from typing import Generic, TypeVar

from app.config import settings
from app.errors import Busy

#: For so long a thread waits for another that reads: a silent database must not hold all threads, one by one.
READING_WAIT_S = 3

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Memory(Generic[T]):
    value: T
    database_url: str
    read_at_s: float


class Remembered(Generic[T]):
    """The latest of what `read` returned, as old as its reader allows. It belongs to one database."""

    def __init__(self, read: Callable[[], T]) -> None:
        self._read = read
        self._memory: _Memory[T] | None = None
        self._reading = Lock()

    def get(self, *, max_age_s: float) -> T:
        """What was read at most `max_age_s` ago. Raises Busy, and whatever `read` does."""
        if (known := self._known(max_age_s)) is not None:
            return known.value
        if not self._reading.acquire(timeout=READING_WAIT_S):
            raise Busy
        try:
            if (known := self._known(max_age_s)) is not None:  # another thread has just read it
                return known.value
            asked_at_s, database_url = monotonic(), settings().database_url
            value = self._read()
            self._memory = _Memory(value, database_url, asked_at_s)
            return value
        finally:
            self._reading.release()

    def forget(self) -> None:
        """Makes the next `get` read again."""
        self._memory = None

    def _known(self, max_age_s: float) -> _Memory[T] | None:
        memory = self._memory
        if memory is None or memory.database_url != settings().database_url:
            return None
        return memory if monotonic() - memory.read_at_s < max_age_s else None
