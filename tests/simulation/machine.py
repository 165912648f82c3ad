"""All that can happen in a walk."""

from typing import Any

from app.money import Money
from tests.simulation.issuer_steps import IssuerSteps
from tests.simulation.steps import steps_of
from tests.simulation.time_steps import TimeSteps


class Machine(IssuerSteps, TimeSteps):
    """A world with a first card, and every step."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self._issue("plain", Money(5_000, "GBP"), "own", letter=False, put_off=None)


STEPS = steps_of(Machine)
