"""How long whoever was wrong has to wait: pure decisions, which a set clock can tell as a story.

A try is counted as wrong before anybody looks at the code, and given back when it was right: so of many at once no more
pass than one after the other. Counts leak away (a leaky bucket, as in GCRA: ITU-T I.371, annex A).
"""

import math
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

#: The longest that anybody waits for wrong codes of his own, and each time in which one of them is forgiven.
LONGEST_S = 900
#: More doublings make no longer wait, and would only be remembered for longer.
DOUBLINGS = math.ceil(math.log2(LONGEST_S))
#: A success halves a person's wrong tries at most so often.
HALVED_EACH = timedelta(hours=1)
#: How much a store's callers without a shopper are slowed down at most.
LONGEST_WITHOUT_SHOPPER_S = 60
#: Wrong codes that any store may have in a minute before they are.
LEAST_BUDGET = 20
#: And the part of its good exchanges in the last hour, where that is more.
BUDGET_SHARE = 0.05
#: Unusual is remembered for so long after it was last seen, at most.
UNUSUAL_FOR_S = 30


class Wait(Exception):
    """The next try may come in `seconds`, rounded up."""

    def __init__(self, until: datetime, now: datetime) -> None:
        super().__init__()
        self.seconds = max(1, math.ceil((until - now).total_seconds()))


@dataclass(frozen=True, slots=True)
class Count:
    """Wrong tries of one key: how many were unforgiven at `as_of`, and when the next is free.

    Of a person nothing is forgiven while he waits. `halved_at` is when a success last halved what there was.
    """

    level: float
    as_of: datetime
    free_at: datetime
    halved_at: datetime | None = None


# ── one person: a store's shopper, or the network that a browser is in ──────────────────────────────────────────────


def take_try(seen: Count, now: datetime, *, free: int) -> Count:
    """What is counted when a try begins: as if it were wrong. The first `free` unforgiven ones cost no time.

    Raises Wait.
    """
    _check_free(seen, now)
    level = min(unforgiven(seen, now) + 1, float(free + DOUBLINGS))
    return replace(seen, level=level, as_of=now, free_at=now + delay(level, free=free))


def give_back_try(seen: Count, now: datetime, *, free: int) -> Count:
    """What is counted when a try came to nothing that says whether the code was right."""
    level = max(0.0, unforgiven(seen, now) - 1)
    return replace(seen, level=level, as_of=now, free_at=min(seen.free_at, now + delay(level, free=free)))


def note_success(left: Count, now: datetime, *, free: int) -> Count:
    """What is counted when the code was right and its try given back: half, but only by one success in HALVED_EACH.

    Otherwise a thief would use a card of his own again and again, and each time be rid of half of his wrong codes.
    """
    if left.halved_at is not None and now < left.halved_at + HALVED_EACH:
        return left
    level = unforgiven(left, now) / 2
    return Count(level, now, min(left.free_at, now + delay(level, free=free)), now)


def unforgiven(seen: Count, now: datetime) -> float:
    """How many of the wrong tries still count: in each LONGEST_S one is forgiven."""
    return _leaked(replace(seen, as_of=max(seen.as_of, seen.free_at)), now, per_s=1 / LONGEST_S)


def delay(level: float, *, free: int) -> timedelta:
    """How long the next try has to wait after so many unforgiven ones: nothing for the free ones, then 1, 2, 4 … 900 s.

    One that is forgiven in part counts as a whole one.
    """
    beyond = math.ceil(level - 1e-6) - free
    return timedelta(seconds=min(2.0**beyond, LONGEST_S) if beyond >= 0 else 0)


# ── a store ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def budget_of(good_last_hour: int) -> int:
    """How many wrong codes a minute are usual for a store with so many good exchanges in the last hour."""
    return max(LEAST_BUDGET, int(good_last_hour * BUDGET_SHARE))


def note_wrong(seen: Count, now: datetime, *, budget: int) -> Count:
    """What is counted for a store when a shopper of its, who has a count of his own, was wrong."""
    level = min(_leaked(seen, now, per_s=budget / 60) + 1, 2.0 * budget)
    return replace(seen, level=level, as_of=now)


def take_unnamed_try(seen: Count, now: datetime, *, budget: int) -> Count:
    """What is counted when a try begins that names no shopper, as if it were wrong.

    While the budget is spent, one after the other may come, the slower the more it is overdrawn: nobody is refused for
    good because of others. Raises Wait.
    """
    _check_free(seen, now)
    taken = note_wrong(seen, now, budget=budget)
    return replace(taken, free_at=now + _pace(taken.level, budget))


def give_back_unnamed_try(seen: Count, now: datetime, *, budget: int) -> Count:
    """What is counted when such a try was not wrong: the next need not wait for it."""
    level = max(0.0, _leaked(seen, now, per_s=budget / 60) - 1)
    return replace(seen, level=level, as_of=now, free_at=min(seen.free_at, now))


def is_spent(seen: Count, now: datetime, *, budget: int) -> bool:
    """Whether the store's budget of wrong codes is used up."""
    return _leaked(seen, now, per_s=budget / 60) >= budget


def _pace(level: float, budget: int) -> timedelta:
    """So long it takes until the budget would be whole again, LONGEST_WITHOUT_SHOPPER_S at most."""
    overdrawn_s = (level + 1 - budget) * 60 / budget
    return timedelta(seconds=min(max(overdrawn_s, 0), LONGEST_WITHOUT_SHOPPER_S))


# ── everybody ───────────────────────────────────────────────────────────────────────────────────────────────────────


def note_wrong_anywhere(seen: Count, now: datetime, *, usual_per_s: int) -> Count:
    """What is counted over all stores and pages: whatever is above the usual rate adds up."""
    level = min(_leaked(seen, now, per_s=usual_per_s) + 1, float(usual_per_s * UNUSUAL_FOR_S))
    return replace(seen, level=level, as_of=now)


def is_unusual(seen: Count, now: datetime, *, usual_per_s: int) -> bool:
    """Whether so many codes are wrong everywhere that every page asks for a captcha."""
    return _leaked(seen, now, per_s=usual_per_s) > usual_per_s


def is_free(seen: Count, now: datetime) -> bool:
    """Whether the next try may come. A wait that is longer than any is of a clock that was set back since."""
    return not now < seen.free_at <= now + timedelta(seconds=LONGEST_S)


def over_at(seen: Count, *, leaks_per_s: float) -> datetime:
    """When nothing of a count is left to remember."""
    return max(seen.free_at, seen.as_of) + timedelta(seconds=seen.level / leaks_per_s)


def _check_free(seen: Count, now: datetime) -> None:
    if not is_free(seen, now):
        raise Wait(seen.free_at, now)


def _leaked(seen: Count, now: datetime, *, per_s: float) -> float:
    """A clock that was set back forgives nothing."""
    return max(0.0, seen.level - max(0.0, (now - seen.as_of).total_seconds()) * per_s)
