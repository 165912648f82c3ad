"""For tasks that take items one by one: a bug in one stops no other, a pause of the database loses none."""

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import structlog

from app.errors import Busy
from app.web.traces import trace_of

T = TypeVar("T")

log = structlog.get_logger(__name__)


class Broken(Exception):
    """A bug was met and logged while one item was in hand; the message is the name of the exception."""


@contextmanager
def one_item(*, passing: tuple[type[Exception], ...] = (), **labels: str) -> Iterator[None]:
    """Whatever is raised inside is logged under these labels and becomes Broken, for the caller to put the item off.

    Raises Busy (then the item is not to blame) and what is named in `passing` as it came.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, (Busy, *passing)):
            raise
        log.error("item_broken", error=trace_of(error), **labels)
        raise Broken(type(error).__name__) from None


def patiently(work: Callable[[], T], *, for_s: float) -> T:
    """Does a verb that must not be lost, again and again while the database is away. Raises Busy after `for_s`."""
    give_up_at = time.monotonic() + for_s
    wait_s = 0.1
    while True:
        try:
            return work()
        except Busy:
            if time.monotonic() + wait_s > give_up_at:
                raise
        time.sleep(wait_s * random.uniform(0.8, 1.2))  # noqa: S311 – jitter, no secret
        wait_s = min(wait_s * 2, 2)
