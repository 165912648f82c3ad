"""The worker: tasks at their own intervals, troubles survived, a clean end."""

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from app.errors import Busy
from app.jobs import worker
from app.jobs.worker import Task
from app.web.context import acting

ROOT = Path(__file__).parents[2]


@contextmanager
def working(*tasks: Task) -> Iterator[None]:
    """A worker in a thread, stopped at the end."""
    thread = threading.Thread(target=worker.run, args=(tasks,))
    thread.start()
    try:
        yield
    finally:
        worker.stop()
        thread.join(10)
        assert not thread.is_alive()


def eventually(holds: Callable[[], bool]) -> None:
    give_up_at = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < give_up_at, "it never came to hold"
        time.sleep(0.01)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "LOOK_S", 0.01)
    monkeypatch.setattr(worker, "FIRST_PAUSE_S", 0.01)


def test_a_task_is_called_again_at_once_while_it_did_something_and_at_its_interval_when_not() -> None:
    called_at: list[float] = []

    def three_pieces() -> int:
        called_at.append(time.monotonic())
        return int(len(called_at) <= 3)

    with working(Task("pieces", 0.3, three_pieces)):
        eventually(lambda: len(called_at) >= 5)
    gaps = [later - earlier for earlier, later in pairwise(called_at)]
    assert max(gaps[:3]) < 0.2
    assert gaps[3] >= 0.3


def test_a_slow_task_keeps_no_other_waiting() -> None:
    release, quick_calls = threading.Event(), []

    def slow() -> int:
        release.wait(10)
        return 0

    def note() -> int:
        quick_calls.append(1)
        return 0

    with working(Task("slow", 1, slow), Task("quick", 0.01, note)):
        eventually(lambda: len(quick_calls) > 5)
        release.set()


def test_a_bug_is_logged_without_its_words_and_the_task_goes_on() -> None:
    calls: list[int] = []

    def broken() -> int:
        calls.append(1)
        if len(calls) < 3:
            raise ValueError("sam@holder.example")
        return 0

    with capture_logs() as logs, working(Task("broken", 0.01, broken)):
        eventually(lambda: len(calls) > 4)
    bugs = [entry for entry in logs if entry["event"] == "task_broken"]
    assert len(bugs) == 2
    assert bugs[0]["log_level"] == "error"
    assert bugs[0]["error"][0].startswith("ValueError: ")
    assert "test_worker.py" in bugs[0]["error"][0]
    assert "holder.example" not in str(logs)


def test_a_database_that_is_away_is_waited_for() -> None:
    calls: list[int] = []

    def busy() -> int:
        calls.append(1)
        if len(calls) < 4:
            raise Busy
        return 0

    with capture_logs() as logs, working(Task("busy", 0.01, busy)):
        eventually(lambda: len(calls) > 5)
    assert [entry["log_level"] for entry in logs if entry["event"] == "task_waits"] == ["warning"] * 3


def test_pauses_double_up_to_their_longest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "FIRST_PAUSE_S", 1)
    monkeypatch.setattr("random.uniform", lambda low, high: 1.0)
    assert [worker._pause(troubles, 15) for troubles in (1, 2, 3, 4, 5, 6, 10_000)] == [1, 2, 4, 8, 15, 15, 15]


def test_the_worker_acts_in_its_own_name() -> None:
    actors: list[str] = []

    def note() -> int:
        actors.append(acting.get().actor)
        return 0

    with working(Task("note", 0.01, note)):
        eventually(lambda: bool(actors))
    assert set(actors) == {"worker"}


def test_a_task_sees_that_the_worker_is_stopping_and_finishes_the_work_in_hand() -> None:
    begun, finished = threading.Event(), []

    def long_work() -> int:
        begun.set()
        while not worker.stopping():
            time.sleep(0.01)
        finished.append(1)
        return 1

    with working(Task("long", 0.01, long_work)):
        assert begun.wait(5)
    assert finished == [1]
    assert not worker.stopping()


def test_a_heartbeat_tells_what_was_done_since_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "HEARTBEAT_S", 0.1)
    left = [1, 1, 1]
    with capture_logs() as logs, working(Task("pieces", 0.01, lambda: left.pop() if left else 0)):
        eventually(lambda: sum(entry["event"] == "worker_alive" for entry in logs) >= 2)
    beats = [entry["done"]["pieces"] for entry in logs if entry["event"] == "worker_alive"]
    assert beats[:2] == [3, 0]


def test_a_heartbeat_is_told_at_most_once_a_minute() -> None:
    assert worker.HEARTBEAT_S >= 60


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_dead_thread_ends_the_worker() -> None:
    def gone() -> int:
        raise SystemExit

    with pytest.raises(worker.TaskThreadDied, match="gone"):
        worker.run([Task("gone", 0.01, gone), Task("fine", 0.01, lambda: 0)])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_process_cleanly_after_the_work_in_hand(number: signal.Signals) -> None:
    program = """
import time
from app.jobs.worker import Task, run
def work():
    print("begun", flush=True)
    time.sleep(0.5)
    print("finished", flush=True)
    return 1
run([Task("work", 1, work)])
print("ended", flush=True)
"""
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        while "begun" not in process.stdout.readline():
            assert process.poll() is None
        process.send_signal(number)
        said = process.stdout.read()
        assert process.wait(10) == 0
    lines = [line for line in said.splitlines() if " " not in line]
    assert lines == ["finished", "ended"]
