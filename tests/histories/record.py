"""A history as it is recorded, kept in a file and read again. It has names instead of secrets: c1, p1, k1 …"""

import json
import threading
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

Value = str | int | bool | None


@dataclass(frozen=True)
class Operation:
    """What a client asked of one card, when, and what it was answered; None where it cannot know the outcome."""

    card: str
    client: str
    verb: str
    asked: Mapping[str, Value]
    key: str | None
    invoked_ns: int
    returned_ns: int | None = None
    answer: Mapping[str, Value] | None = None
    #: Under which the service's log knows it.
    request_id: str | None = None

    def __str__(self) -> str:
        asked = " ".join(f"{name}={value}" for name, value in self.asked.items() if value is not None)
        told = "?" if self.answer is None else " ".join(f"{name}={value}" for name, value in self.answer.items())
        until = "" if self.returned_ns is None else f"{self.returned_ns / 1e6:.3f}"
        asked_for = f"{self.client} {self.verb} {asked} key={self.key}"
        return f"[{self.invoked_ns / 1e6:.3f} … {until}] {asked_for} → {told} ({self.request_id})"


@dataclass(frozen=True)
class Issued:
    """A card as it began: its balance and its claim link."""

    balance: int
    link: str


@dataclass
class History:
    """Cards, and all that was asked of them. Cards share nothing, so each is checked alone."""

    seed: int
    cards: dict[str, Issued]
    operations: list[Operation]

    def by_card(self) -> dict[str, list[Operation]]:
        """The operations of each card. A key that comes only once is left out: nobody will ask what was done by it."""
        keys = Counter((one.card, one.key) for one in self.operations)
        found: dict[str, list[Operation]] = defaultdict(list)
        for one in self.operations:
            found[one.card].append(one if keys[one.card, one.key] > 1 else replace(one, key=None))
        return found

    def write(self, path: Path) -> None:
        """JSON Lines: the cards, then an operation a line."""
        head = {"seed": self.seed, "cards": {name: asdict(card) for name, card in self.cards.items()}}
        lines = [head, *(asdict(one) for one in self.operations)]
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))

    @classmethod
    def read(cls, path: Path) -> "History":
        """The same history again."""
        head, *lines = (json.loads(line) for line in path.read_text().splitlines())
        cards = {name: Issued(**card) for name, card in head["cards"].items()}
        return cls(head["seed"], cards, [Operation(**line) for line in lines])


class Names:
    """Short names for what the service and the clients draw, many of which are secrets."""

    def __init__(self) -> None:
        self.known: dict[str, str] = {}
        self._count: Counter[str] = Counter()
        self._lock = threading.Lock()

    def of(self, kind: str, real: str) -> str:
        """`c7`, say, for the seventh code that was seen."""
        with self._lock:
            if real not in self.known:
                self._count[kind] += 1
                self.known[real] = f"{kind}{self._count[kind]}"
            return self.known[real]
