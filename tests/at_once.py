"""Many threads, one moment: what each call returned or raised."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from app.errors import Refusal


def at_once(calls: Sequence[Callable[[], Any]]) -> list[Any]:
    """Calls all of them as close together as threads can; in place of a result stands what was raised."""
    barrier = threading.Barrier(len(calls))

    def call(one: Callable[[], Any]) -> Any:
        barrier.wait()
        try:
            return one()
        except Exception as error:
            return error

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(call, calls))


def split(outcomes: Sequence[Any]) -> tuple[list[Any], list[Refusal]]:
    """Results and refusals. Anything else that was raised fails the test: a race may refuse, never break."""
    bugs = [outcome for outcome in outcomes if isinstance(outcome, Exception) and not isinstance(outcome, Refusal)]
    assert not bugs, bugs[0]
    refusals = [outcome for outcome in outcomes if isinstance(outcome, Refusal)]
    return [outcome for outcome in outcomes if not isinstance(outcome, Exception)], refusals
