"""The only stored form of a code: Argon2id(HMAC-SHA-256(pepper, code), salt); pepper, salt and cost by epoch."""

import hashlib
import hmac
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import lru_cache
from pathlib import Path

from argon2.low_level import Type, hash_secret_raw

from app import metrics
from app.config import PEPPER_EPOCH, read_key_lines, settings
from app.errors import Busy

HASH_BYTES = 32
#: So many of those who need no access token wait for an Argon2 of theirs.
ANYBODYS_QUEUE = 1


def newest_epoch() -> int:
    """The pepper epoch of codes that are drawn now."""
    return max(_epochs())


def hash_code(code: str, epoch: int | None = None) -> bytes:
    """The hash to store for a fresh code. One Argon2id; call it outside transactions and inside `hashing`."""
    epochs = _epochs()
    pepper, salt, memory_kib, time_cost, parallelism = PEPPER_EPOCH.unpack(
        epochs[max(epochs) if epoch is None else epoch]
    )
    return hash_secret_raw(
        hmac.digest(pepper, code.encode(), hashlib.sha256),
        salt,
        time_cost=time_cost,
        memory_cost=memory_kib,
        parallelism=parallelism,
        hash_len=HASH_BYTES,
        type=Type.ID,
    )


def hashes_to_look_up(code: str, *, for_anybody: bool = False) -> list[bytes]:
    """The hash under every live epoch, always all of them, so that time tells nothing. Raises Busy.

    One Argon2id for each epoch, one after the other inside the process's bound; `for_anybody` who needs no access
    token to ask, inside a narrower one.
    """
    with _let_anybody_in() if for_anybody else nullcontext(), hashing():
        return [hash_code(code, epoch) for epoch in sorted(_epochs())]


@contextmanager
def hashing() -> Iterator[None]:
    """Bounds how many Argon2 run at once in this process; a short queue waits, the rest get Busy."""
    cost = settings().argon2
    with _gate("all", cost.concurrency, cost.queue).passed():
        yield


@contextmanager
def _let_anybody_in() -> Iterator[None]:
    """Half of the places, and next to no queue: a flood of codes from nobody must not keep stores waiting, who would
    not even find a free thread."""
    with _gate("anybody", max(1, settings().argon2.concurrency // 2), ANYBODYS_QUEUE).passed():
        yield


class _Gate:
    def __init__(self, name: str, concurrency: int, queue: int) -> None:
        self.name = name
        self.running = threading.BoundedSemaphore(concurrency)
        self.queue = threading.BoundedSemaphore(concurrency + queue)

    @contextmanager
    def passed(self) -> Iterator[None]:
        if not self.queue.acquire(blocking=False):
            metrics.count_turned_away(self.name)
            raise Busy("Too many codes are being checked at once.")
        came_s = time.monotonic()
        try:
            with self.running:
                began_s = time.monotonic()
                try:
                    yield
                finally:
                    held_s = time.monotonic() - began_s
                    metrics.observe_argon2(self.name, waited_s=began_s - came_s, held_s=held_s)
        finally:
            self.queue.release()


@lru_cache(maxsize=2)
def _gate(name: str, concurrency: int, queue: int) -> _Gate:
    return _Gate(name, concurrency, queue)


def _epochs() -> dict[int, bytes]:
    """The live epochs. The file is looked at each time: a code drawn by one worker is exchanged at another."""
    path = settings().keys.pepper_file
    seen = path.stat()
    return _read_epochs(path, seen.st_mtime_ns, seen.st_ino)


@lru_cache(maxsize=2)
def _read_epochs(path: Path, _changed_ns: int, _inode: int) -> dict[int, bytes]:
    return read_key_lines(path)
