"""How long one call may take in all, and when it is repeated; pure."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

#: With less than this left nothing more is sent: it could not be answered.
LEAST_S = 0.1
#: Waits between repeats when the service names none: the first, and the longest, each by half at random (docs/api.md).
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 8.0
#: Statuses that say nothing about the request: it may well succeed when it comes again.
REPEATED_STATUSES = frozenset({408, 425, 429})

Clock = Callable[[], float]


@dataclass(frozen=True)
class Budget:
    """One call's whole life in seconds, its repeats, the waits between them and the access token's renewal included.

    `connect_s`: until a connection stands. `read_s`: from then on until one answer has arrived in full. `total_s`: the
    end of all of it. A store's transaction is open meanwhile, and a shopper waits. Raises ValueError: not above zero.
    """

    connect_s: float = 2.0
    read_s: float = 3.0
    total_s: float = 8.0

    def __post_init__(self) -> None:
        if not all(0 < each < math.inf for each in (self.connect_s, self.read_s, self.total_s)):
            raise ValueError("a budget's times are above zero")


#: Of a call that sends a month's bill, which may have many megabytes; nobody waits for it at a counter.
BILL_BUDGET = Budget(connect_s=5, read_s=240, total_s=600)


@dataclass(frozen=True)
class Timeouts:
    """One attempt's share, in seconds: to connect, to be answered, and both together."""

    connect_s: float
    read_s: float
    total_s: float


@dataclass(frozen=True)
class Deadline:
    """When one call's time is over, by a clock that never goes back."""

    ends_at: float
    clock: Clock = time.monotonic

    @classmethod
    def after(cls, seconds: float, clock: Clock = time.monotonic) -> "Deadline":
        return cls(clock() + seconds, clock)

    def left_s(self) -> float:
        return max(0.0, self.ends_at - self.clock())

    def sooner(self, seconds: float) -> "Deadline":
        """This one, or `seconds` from now, whichever comes first."""
        return Deadline(min(self.ends_at, self.clock() + seconds), self.clock)


def timeouts(budget: Budget, left_s: float) -> Timeouts:
    """What one attempt may take when the whole call has `left_s` left."""
    total_s = min(budget.connect_s + budget.read_s, left_s)
    return Timeouts(min(budget.connect_s, total_s), min(budget.read_s, total_s), total_s)


def is_repeated(status: int) -> bool:
    """Whether an answer of this status says nothing about the request itself."""
    return status in REPEATED_STATUSES or status >= 500


def pause_s(attempt: int, *, left_s: float, retry_after_s: int | None, draw: Callable[[], float]) -> float | None:
    """How long to wait after the failed `attempt` (0 for the first); None when no time would be left for another.

    `retry_after_s` is the least; `draw` gives a number from 0 to 1, so that many stores do not come back at once.
    """
    pause = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2 ** min(attempt, 8)) * (0.5 + 0.5 * draw())
    if retry_after_s is not None:
        pause = max(pause, retry_after_s * (1 + 0.1 * draw()))
    return pause if pause + LEAST_S <= left_s else None
