"""One shopper of an honest store who guesses as fast as he is answered; the others there notice nothing."""

import time
from collections.abc import Callable

from bench.abuse.ground import Ground
from bench.abuse.guess import compare
from bench.abuse.guessers import Attack
from bench.abuse.honest import Beside
from bench.abuse.verdict import Measured

MANY = 1_000_000
#: Five are free, then he waits 1, 2, 4 … seconds.
FREE = 5


def measure(
    ground: Ground, *, honest_per_s: float, seconds: float, per_s: float | None, say: Callable[[str], None]
) -> list[Measured]:
    """The store's other shoppers, `seconds` without him and `seconds` with him."""
    shops = ground.shops[:1]
    beside = Beside(ground, links=int(2.5 * honest_per_s * seconds) + 1, per_s=honest_per_s, shops=shops)
    say(f"honest people alone for {seconds:.0f} s")
    time.sleep(seconds)
    say(f"one of them guesses for {seconds:.0f} s")
    began_at = time.time()
    attack = Attack(ground, guesses=MANY, per_s=per_s, ways=["one shopper"], shops=shops, processes=1, lines=1)
    time.sleep(seconds)
    told, ended_at = attack.end(), time.time()
    steps = beside.end()
    looked_at, most = told.looked_at.total(), looked_at_most(FREE, ended_at - began_at)
    return [
        Measured("his guesses", f"{told.guesses:,}", "some", told.guesses > 0),
        Measured("  looked at", str(looked_at), f"≤ {most}", looked_at <= most),
        *compare(
            [step for step in steps if step.at < began_at],
            [step for step in steps if began_at <= step.at < ended_at],
        ),
    ]


def looked_at_most(free: int, within_s: float) -> int:
    """How many tries somebody has who never stops: the free ones, and one after each wait of 1, 2, 4 … seconds."""
    waits = 0
    while 2 ** (waits + 1) - 1 <= within_s:
        waits += 1
    return free + waits
