"""A store's side of an outage: what is wanted waits in line, and the first of it is tried again, patiently.

So does the store's plugin: one request at a time, the same Idempotency-Key, jittered exponential back-off, and never
earlier than `Retry-After` says.
"""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.client import HTTPException
from typing import Any

from app.secrecy import random_secret
from tests.faults.asking import Answer, ask

FIRST_WAIT_S, LONGEST_WAIT_S = 0.5, 8
TIMEOUT_S = 30

#: Seconds to wait, by the number of failures in a row, what Retry-After said (0: nothing), and a draw from [0, 1).
Policy = Callable[[int, int, float], float]


def careful(failures: int, retry_after_s: int, draw: float) -> float:
    """What our own plugin will do."""
    doubled_s: float = min(FIRST_WAIT_S * 2 ** min(failures, 10), LONGEST_WAIT_S)
    return max(doubled_s * (0.5 + 0.5 * draw), retry_after_s * (1 + 0.1 * draw))


def obedient(_failures: int, retry_after_s: int, _draw: float) -> float:
    """Comes back when it is told to, and knows nothing else."""
    return retry_after_s or 1


def impatient(_failures: int, _retry_after_s: int, _draw: float) -> float:
    """The fault to be noticed: it does not back off."""
    return 0.1


@dataclass
class Operation:
    """One thing that a store wants done, and how it went. Times by time.monotonic()."""

    wanted_at_s: float
    path: str
    body: dict[str, Any]
    key: str = field(default_factory=random_secret)
    tries: int = 0
    done_at_s: float = 0
    answer: Answer | None = None


@dataclass
class Store:
    """Does operations in the order in which they are wanted, each until it is answered."""

    port: int
    access_token: str
    policy: Policy
    draws: random.Random
    operations: list[Operation] = field(default_factory=list)
    pauses_s: list[float] = field(default_factory=list)

    def run(self, begun_at_s: float, times_s: list[float], wanted: Callable[[Answer | None], tuple[str, Any]]) -> None:
        """Wants something at each of these times; `wanted` makes a path and a body of the first answer."""
        first = None
        for time_s in times_s:
            operation = Operation(begun_at_s + time_s, *wanted(first))
            time.sleep(max(0.0, operation.wanted_at_s - time.monotonic()))
            self.operations.append(operation)
            self._do(operation)
            first = first or operation.answer

    def _do(self, operation: Operation) -> None:
        while True:
            operation.tries += 1
            answer = self._ask(operation)
            if answer is not None and answer.status not in (429, 503):
                operation.answer, operation.done_at_s = answer, time.monotonic()
                return
            told_s = int(answer.headers["Retry-After"]) if answer else 0
            self.pauses_s.append(self.policy(operation.tries - 1, told_s, self.draws.random()))
            time.sleep(self.pauses_s[-1])

    def _ask(self, operation: Operation) -> Answer | None:
        token, key = self.access_token, {"Idempotency_Key": operation.key}
        try:
            return ask(
                self.port, "POST", operation.path, operation.body, access_token=token, timeout_s=TIMEOUT_S, **key
            )
        except (OSError, HTTPException):
            return None
