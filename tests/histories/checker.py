"""Finds a legal order of concurrent operations: Wing and Gong's search, with Lowe's memory of where it has been."""

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

#: So many places may be visited for one history before the search gives up.
LIMIT = 300_000


class Timed(Protocol):
    """An operation, from before it was asked until after it was answered, on one clock."""

    @property
    def invoked_ns(self) -> int: ...

    @property
    def returned_ns(self) -> int | None:
        """None where the outcome is unknown: it takes effect at any later time, or never."""


State = TypeVar("State", bound=Hashable)
Op = TypeVar("Op", bound=Timed)
#: The state after an operation; None where what was answered is not legal in this state.
Step = Callable[[State, Op], State | None]


class Undecided(Exception):
    """The search was given up: nothing is known of this history, and that is no pass."""


@dataclass(frozen=True)
class Verdict(Generic[State, Op]):
    """A legal order of all known outcomes; or the longest legal beginning, and what was `stuck`: none of it fits."""

    order: list[Op]
    state: State
    stuck: list[Op]
    visited: int

    @property
    def is_legal(self) -> bool:
        return not self.stuck


def find_order(
    operations: Sequence[Op], initial: State, step: Step[State, Op], *, limit: int = LIMIT
) -> Verdict[State, Op]:
    """Searches depth first for an order that real time allows and in which every answer is legal.

    An operation comes before another when it was answered before the other was asked. One of unknown outcome may be
    left out. Raises Undecided after `limit` places.
    """
    search = _Search(sorted(operations, key=lambda one: one.invoked_ns), step)
    stack = [(0, initial, search.candidates(0))]
    order: list[int] = []
    seen: set[tuple[int, State]] = {(0, initial)}
    best, best_order, best_state = -1, order, initial
    while stack:
        done, state, coming = stack[-1]
        if (known := (done & search.known).bit_count()) > best:
            best, best_order, best_state = known, order.copy(), state
        if done & search.known == search.known:
            break
        for index, after in search.steps(state, coming):
            place = (done | 1 << index, after)
            if place not in seen:
                seen.add(place)
                order.append(index)
                stack.append((*place, search.candidates(place[0])))
                break
        else:
            stack.pop()
            del order[-1:]
        if len(seen) > limit:
            raise Undecided(f"{len(operations)} operations, and no decision after {limit} places")
    stuck = [] if stack else list(search.candidates(sum(1 << index for index in best_order)))
    named = [search.operations[index] for index in best_order]
    return Verdict(named, best_state, [search.operations[index] for index in stuck], len(seen))


class _Search(Generic[State, Op]):
    """Sets of operations are bits of a number."""

    def __init__(self, operations: Sequence[Op], step: Step[State, Op]) -> None:
        self.operations, self._step = operations, step
        self.known = sum(1 << index for index, one in enumerate(operations) if one.returned_ns is not None)

    def candidates(self, done: int) -> Iterator[int]:
        """What may come next: not done, and asked before anything else that is not done was answered.

        Those that were answered first come first, and unknown outcomes last: that is most likely how it was.
        """
        left = [(one, index) for index, one in enumerate(self.operations) if not done >> index & 1]
        until = min((one.returned_ns for one, _ in left if one.returned_ns is not None), default=None)
        if until is None:
            return iter(())
        may = [(one.returned_ns is None, one.returned_ns or 0, index) for one, index in left if one.invoked_ns <= until]
        return iter([index for *_, index in sorted(may)])

    def steps(self, state: State, coming: Iterator[int]) -> Iterator[tuple[int, State]]:
        """The legal ones of these. An unknown outcome that would change nothing is as good as never."""
        for index in coming:
            one = self.operations[index]
            after = self._step(state, one)
            if after is not None and not (one.returned_ns is None and after == state):
                yield index, after
