"""Walks from a seed: the same seed, the same steps. A walk that fails is cut shorter while it still fails."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from random import Random

from app.errors import Busy
from tests.simulation.machine import STEPS, Machine
from tests.simulation.steps import Step, draw_step
from tests.simulation.stored import audit_findings, reading
from tests.simulation.walk import Difference, Tally

#: Long enough for its cards to live through much; the whole audit comes at the end of each walk.
STEPS_A_WALK = 100
#: How often a walk that failed is walked again to find a shorter one.
TRIES_TO_SHORTEN = 200
TRIES_WHEN_BUSY = 5


def walk_on(seed: int, steps: int, tally: Tally) -> None:
    """Walks from this seed and those after it, until so many steps were taken. Raises Difference."""
    until = tally.steps + steps
    while tally.steps < until:
        walk_from(seed, tally)
        seed += 1


def walk_from(seed: int, tally: Tally) -> None:
    """One walk. Raises Difference, which then knows its seed and steps.

    On a machine so busy that the database gives up on a transaction, the walk begins again.
    """
    for _ in range(TRIES_WHEN_BUSY):
        taken: list[Step] = []
        walked = Tally(known=tally.known)
        try:
            _drawn_walk(Random(seed), walked, taken)
        except Busy:
            continue
        except Difference as difference:
            difference.steps = taken
            difference.add_note(f"After {len(taken)} steps; again: ./run simulate --steps {STEPS_A_WALK} --seed {seed}")
            raise
        return tally.include(walked)
    raise Busy


@contextmanager
def explaining() -> Iterator[None]:
    """Adds to a difference the shortest list of steps found that leads to one."""
    try:
        yield
    except Difference as difference:
        difference.steps = shortened(difference.steps)
        difference.add_note(f"Shortened to {len(difference.steps)} steps:")
        difference.add_note("\n".join(map(str, difference.steps)))
        raise


def _drawn_walk(random: Random, tally: Tally, taken: list[Step]) -> None:
    with reading() as db:
        machine = Machine(db, tally)
        while machine.walk.steps < STEPS_A_WALK:
            taken.append(draw_step(random, STEPS, machine.can))
            machine.take(taken[-1])
        machine.end()


def fails(steps: Sequence[Step]) -> bool:
    """Whether these steps lead to a difference; those that cannot be taken are left out."""
    with reading() as db:
        machine = Machine(db, Tally(known=audit_findings(db)))
        try:
            for step in steps:
                if machine.can(STEPS[step.name].needs):
                    machine.take(step)
            machine.end()
        except Difference:
            return True
        except Busy:
            return False
    return False


def shortened(steps: list[Step]) -> list[Step]:
    """The steps without those that do not matter, as far as was tried: ever smaller pieces are left out."""
    piece, tries = len(steps) // 2, 0
    while piece and tries < TRIES_TO_SHORTEN:
        for shorter in _without_a_piece(steps, piece):
            tries += 1
            if fails(shorter):
                steps = shorter
                break
        else:
            piece //= 2
    return steps


def _without_a_piece(steps: list[Step], piece: int) -> Iterator[list[Step]]:
    for end in range(len(steps), 0, -piece):
        yield steps[: max(0, end - piece)] + steps[end:]
