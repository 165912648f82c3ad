"""The worker: does each task at its own interval, until it is told to stop."""

import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

import structlog

from app import metrics
from app.errors import Busy
from app.web.context import Acting, acting
from app.web.traces import trace_of

HEARTBEAT_S = 60
LOOK_S = 0.2
FIRST_PAUSE_S = 1
LONGEST_PAUSE_BUSY_S = 15
LONGEST_PAUSE_BUG_S = 60

log = structlog.get_logger(__name__)

_stop = threading.Event()


class TaskThreadDied(RuntimeError):
    """A task's thread ended by itself; the process ends too, so that its supervisor starts a whole one."""


@dataclass(frozen=True, slots=True)
class Task:
    """Work that comes back. `run` does a piece of it and returns how much: while that is not 0 it is called at once."""

    name: str
    every_s: float
    run: Callable[[], int]


def run(tasks: Sequence[Task]) -> None:
    """Does the tasks until SIGTERM, SIGINT or `stop`, then returns after the work in hand.

    Each task has a thread, so that a slow mail server keeps nobody else waiting. Several workers may run at once: what
    a task takes in hand it must lock or lease. Raises TaskThreadDied.
    """
    _stop.clear()
    done: Counter[str] = Counter()
    threads = [threading.Thread(target=_keep_doing, args=(task, done), name=task.name) for task in tasks]
    with _stopped_by_signals() as asked:
        log.info("worker_started", tasks=[task.name for task in tasks])
        for thread in threads:
            thread.start()
        try:
            _watch(threads, done, asked)
        finally:
            _stop.set()
            for thread in threads:
                thread.join()
            _stop.clear()
    log.info("worker_stopped", done=dict(done))


def stop() -> None:
    """Tells the worker of this process to stop after the work in hand."""
    _stop.set()


def stopping() -> bool:
    """Whether the worker was told to stop: a task with many items looks here between two of them."""
    return _stop.is_set()


def _watch(threads: Sequence[threading.Thread], done: "Counter[str]", asked: list[int]) -> None:
    """Waits for the end, and says once a minute that the worker is alive and what it did since."""
    told, told_at = Counter[str](), time.monotonic()
    while not asked and not _stop.is_set():
        time.sleep(LOOK_S)
        if not all(thread.is_alive() for thread in threads) and not _stop.is_set():
            raise TaskThreadDied(", ".join(thread.name for thread in threads if not thread.is_alive()))
        if time.monotonic() - told_at >= HEARTBEAT_S:
            so_far = Counter(done)
            log.info("worker_alive", done={thread.name: so_far[thread.name] - told[thread.name] for thread in threads})
            told, told_at = so_far, time.monotonic()


@contextmanager
def _stopped_by_signals() -> Iterator[list[int]]:
    """The signals that asked for the end. A handler only appends: an Event's lock could be its own thread's."""
    asked: list[int] = []

    def note(number: int, _frame: FrameType | None) -> None:
        asked.append(number)

    if threading.current_thread() is not threading.main_thread():  # a test's worker is stopped by stop()
        yield asked
        return
    before = {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _keep_doing(task: Task, done: "Counter[str]") -> None:
    acting.set(Acting("worker"))
    troubles = 0
    while not _stop.is_set():
        try:
            amount = task.run()
        except Busy as busy:
            troubles += 1
            pause_s = _pause(troubles, LONGEST_PAUSE_BUSY_S)
            log.warning("task_waits", task=task.name, reason=busy.detail, pause_s=pause_s)
        except Exception as error:  # noqa: BLE001 – the outermost handler: a bug in a task is logged and ends nothing
            troubles += 1
            pause_s = _pause(troubles, LONGEST_PAUSE_BUG_S)
            log.error("task_broken", task=task.name, error=trace_of(error), pause_s=pause_s)
        else:
            troubles = 0
            done[task.name] += amount
            metrics.note_run(task.name)
            pause_s = 0.0 if amount else task.every_s
        _stop.wait(pause_s)


def _pause(troubles: int, longest_s: float) -> float:
    """Seconds before the next try: doubled with each trouble in a row, give or take a fifth."""
    doubled_s: float = FIRST_PAUSE_S * 2 ** min(troubles - 1, 10)
    return round(min(doubled_s, longest_s) * random.uniform(0.8, 1.2), 1)  # noqa: S311 – jitter, no secret
