"""A step and how it is drawn: plain values, so that a walk is a list that can be cut shorter."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, TypeVar

Method = TypeVar("Method", bound=Callable[..., None])


@dataclass(frozen=True)
class Step:
    """One thing that happens. Which card, link or payment is meant is counted from the one touched last."""

    name: str
    arguments: Mapping[str, Any]

    def __str__(self) -> str:
        return f"{self.name}({', '.join(f'{name}={value!r}' for name, value in self.arguments.items())})"


@dataclass(frozen=True)
class Drawn:
    """How often a step is drawn, what must be there for it, and from what its arguments are drawn."""

    weight: int
    needs: str | None
    choices: Mapping[str, Sequence[Any]]


def step(weight: int, *, needs: str | None = None, **choices: Sequence[Any]) -> Callable[[Method], Method]:
    """Marks a method as a step."""

    def mark(method: Method) -> Method:
        method.drawn = Drawn(weight, needs, choices)  # type: ignore[attr-defined]
        return method

    return mark


def steps_of(machine: type) -> dict[str, Drawn]:
    """The steps of a machine by name."""
    found = ((name, getattr(getattr(machine, name), "drawn", None)) for name in sorted(dir(machine)))
    return {name: drawn for name, drawn in found if drawn is not None}


def draw_step(random: Random, steps: Mapping[str, Drawn], can: Callable[[str | None], bool]) -> Step:
    """The next step of a walk, of those that can be taken now."""
    possible = {name: drawn.weight for name, drawn in steps.items() if can(drawn.needs)}
    name = random.choices(list(possible), list(possible.values()))[0]
    return Step(name, {argument: random.choice(options) for argument, options in steps[name].choices.items()})
