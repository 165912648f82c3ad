"""Random walks over all verbs, service and model side by side, on a real database with a set clock.

Hypothesis could draw the steps and shorten what fails. Measured on the same steps, its choice of rules came to one good
exchange in 500 steps (walks rarely got far along the money's path), and a million steps could be replayed from the
seed's beginning only. Here each walk has its seed, steps are drawn by weight, and, being plain values, are left out
one by one until what fails is short.
"""

import os

import pytest

from tests.simulation.faults import FOUND_LATE, PLANTED, Plant
from tests.simulation.rounds import explaining, fails, walk_from, walk_on
from tests.simulation.walk import Difference, Tally

SEED, STEPS = 2027, 5_000
ALL_FAULTS = os.environ.get("SIMULATION_FAULTS") == "all"
#: Steps after which a planted fault must have been found.
PATIENCE = 1_500

#: What so many steps come across by far.
MUST_MEET = {
    "issue": "ok NotFound CurrencyMismatch AmountOutsideProgramme InvalidRequest",
    "reissue": "ok CardHeld CardClosed",
    "address": "ok CardClosed LinkOpened",
    "claim": "ok LinkNotAccepted LinkOpened LinkSuperseded LinkLapsed",
    "resend": "ok CardHeld CardClosed",
    "fresh code": "ok LinkOpened CardClosed",
    "exchange": "ok CodeNotAccepted CurrencyMismatch",
    "guess": "CodeNotAccepted CodeMistyped",
    "confirm": "ok NotFound PaymentClosed OrderSuperseded CurrencyMismatch",
    "extend": "ok NotFound PaymentClosed",
    "settle": "ok NotFound PaymentClosed CurrencyMismatch AmountOverHold",
    "void": "ok NotFound PaymentClosed",
    "refund": "ok NotFound CurrencyMismatch AmountOverSettled",
    "repeat": "ok ReferenceReused",
    "letter": "ok",
    "sweep": "ok",
    "look": "ok",
}


@pytest.mark.slow
def test_service_and_model_agree_at_every_step(own_database: object) -> None:
    tally = Tally()
    with explaining():
        walk_on(SEED, STEPS, tally)
    assert tally.steps >= STEPS
    assert tally.audits >= STEPS // 100
    wanted = {(verb, outcome) for verb, outcomes in MUST_MEET.items() for outcome in outcomes.split()}
    assert wanted - set(tally.outcomes) == set(), "walks that do not get there show nothing"


def test_the_same_seed_takes_the_same_steps(own_database: object) -> None:
    one, other = Tally(), Tally()
    walk_from(SEED, one)
    walk_from(SEED, other)
    assert one.outcomes == other.outcomes


@pytest.mark.slow
@pytest.mark.parametrize(
    ("plant", "seed"),
    [(plant, seed) for plant, seed in PLANTED.items() if ALL_FAULTS or plant not in FOUND_LATE],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_planted_fault_is_found(
    own_database: object, monkeypatch: pytest.MonkeyPatch, plant: Plant, seed: int
) -> None:
    plant(monkeypatch)
    with pytest.raises(Difference):
        walk_on(seed, PATIENCE, Tally())


def test_a_walk_that_fails_is_shortened_and_can_be_walked_again(
    own_database: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant, seed = next(iter(PLANTED.items()))
    plant(monkeypatch)
    with pytest.raises(Difference) as found, explaining():
        walk_on(seed, PATIENCE, Tally())
    assert len(found.value.steps) < 8
    assert fails(found.value.steps)
    monkeypatch.undo()
    assert not fails(found.value.steps)
