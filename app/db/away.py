"""When callers should come back while the database is away: the longer it is, the later, and not all at once."""

import random
import time

SHORTEST_WAIT_S, LONGEST_WAIT_S = 1, 7

#: Since when this process has not reached the database, by a counter that nobody sets.
_since_s: float | None = None


def note_reached() -> None:
    """The database is there."""
    global _since_s
    _since_s = None


def note_away() -> int:
    """The database is not to be had; returns the seconds that the caller should wait."""
    global _since_s
    now_s = time.monotonic()
    since_s = _since_s if _since_s is not None else now_s
    _since_s = since_s
    return wait_s(now_s - since_s, random.random())  # noqa: S311 – jitter, no secret


def wait_s(away_for_s: float, draw: float) -> int:
    """About as long again as it has been away, so that of many callers each asks a few times, whenever it began.

    Never so long that callers still wait ten seconds after its end. `draw` from [0, 1) spreads them.
    """
    about_s = min(max(away_for_s, SHORTEST_WAIT_S), LONGEST_WAIT_S)
    return round(about_s * (0.75 + 0.25 * draw) + draw)
