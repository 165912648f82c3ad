"""One step: do something at a set time, predict it by the model, and compare outcome, rows and books."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection

from app import clock
from app.errors import Busy, Refusal
from app.ledger.audit import Finding
from tests.simulation.model import Card
from tests.simulation.steps import Step
from tests.simulation.stored import adopt, audit_findings, differences, is_same, read_stored

#: When every walk begins; the clock only moves forward from here.
BEGIN = datetime(2027, 1, 4, 9, tzinfo=UTC)

Facts = Mapping[str, object] | None
Predict = Callable[[Card, datetime], Facts]


class Difference(AssertionError):
    """The service and the model disagree, after these steps."""

    steps: list[Step]


@dataclass
class Tally:
    """What a run has done: steps, and outcomes by verb; `known`: what walks that failed have left in the database."""

    steps: int = 0
    audits: int = 0
    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter)
    known: frozenset[Finding] = frozenset()

    def add(self, verb: str, outcome: str) -> None:
        self.steps += 1
        self.outcomes[verb, outcome] += 1

    def include(self, walked: "Tally") -> None:
        """Adds what a walk has done."""
        self.steps += walked.steps
        self.audits += walked.audits
        self.outcomes += walked.outcomes


@dataclass
class Done:
    """What a verb answered, or the class of its refusal."""

    answer: Any
    refused: type[Refusal] | None

    @property
    def name(self) -> str:
        return self.refused.__name__ if self.refused else "ok"


class Walk:
    """The cards of one world in the model, the time, and how service and model take a step together."""

    def __init__(self, db: Connection, tally: Tally, issuers: list[str], stores: dict[str, str]) -> None:
        self.db, self.tally, self.issuers, self.stores = db, tally, issuers, stores
        self.now, self.steps = BEGIN, 0
        #: The card that was touched last is the first.
        self.cards: list[Card] = []

    def take(
        self, verb: str, card: Card, call: Callable[[], Any], predict: Predict, facts_of: Callable[[Any], Facts]
    ) -> Done:
        """Calls the verb and holds it against the model, which takes the step too. Raises Difference."""
        at, done = self._call(verb, call)
        found = facts_of(done.answer) if done.refused is None else None
        self.compare(verb, card, at, done, found, predict)
        return done

    def issue(
        self, call: Callable[[], Any], predict: Callable[[datetime], Card], facts_of: Callable[[Any], Facts]
    ) -> Done:
        """The same for the verb that makes a card."""
        at, done = self._call("issue", call)
        try:
            card, refused = predict(at), None
        except Refusal as refusal:
            card, refused = None, type(refusal)
        if refused is not done.refused:
            raise self.difference("issue", [f"{done.name}, expected {refused or 'a card'}"])
        if card is not None:
            card.id = done.answer.id
            self.cards.insert(0, card)
            self.compare("issue", card, at, done, facts_of(done.answer), lambda *_: None)
        return done

    def everywhere(self, verb: str, call: Callable[[], None]) -> None:
        """A verb that ends what is due on every card."""
        at, done = self._call(verb, call)
        for card in [*self.cards]:
            self.compare(verb, card, at, done, None, lambda card, now: card.write_down(now))

    def _call(self, verb: str, call: Callable[[], Any]) -> tuple[datetime, Done]:
        """The first reading of the clock is the walk's time; the time after the last one is the walk's next."""
        at = self.now
        self.steps += 1
        with clock.set_to(at):
            try:
                done = Done(call(), None)
            except Busy:  # the machine is: nothing about the verb
                raise
            except Refusal as refusal:
                done = Done(None, type(refusal))
            except Exception as bug:  # a bug is a difference too, to be shortened and printed with its steps
                raise self.difference(verb, [f"a bug: {bug!r}"]) from bug
            self.now = clock.read(at)
        self.tally.add(verb, done.name)
        return at, done

    def compare(self, verb: str, card: Card, at: datetime, done: Done, found: Facts, predict: Predict) -> None:
        """A verb may decide at any of its readings: where a time ends between them, before and after are both right."""
        stored = read_stored(self.db, card.id, self.issuers)
        least: list[str] | None = None
        for after, expected, refused in self._predicted(card, predict, at):
            wrong = self._outcome_differs(done, found, expected, refused, at)
            wrong += differences(after, stored, self.stores, within=self.now - at)
            if not wrong:
                adopt(after, stored)
                self._put(card, after)
                return
            least = wrong if least is None or len(wrong) < len(least) else least
        raise self.difference(verb, least or [])

    def _predicted(
        self, card: Card, predict: Predict, at: datetime
    ) -> Iterator[tuple[Card, Facts, type[Refusal] | None]]:
        """What may have come of it. A refusal changes nothing, but for what was due, which may be written down."""
        for moment in (at, self.now):
            after = card.clone()
            try:
                yield after, predict(after, moment), None
            except Refusal as refusal:
                for written_at in (None, at, self.now):
                    after = card.clone()
                    if written_at is not None:
                        after.write_down(written_at)
                    yield after, None, type(refusal)

    def _outcome_differs(
        self, done: Done, found: Facts, expected: Facts, refused: type[Refusal] | None, at: datetime
    ) -> list[str]:
        if refused is not done.refused:
            return [f"outcome {done.name}, expected {refused.__name__ if refused else 'ok'}"]
        if expected is None or found is None:
            return []
        return [
            f"answer's {name}: {found[name]!r}, expected {value!r}"
            for name, value in expected.items()
            if not is_same(value, found[name], within=self.now - at)
        ]

    def _put(self, before: Card, after: Card) -> None:
        for name, value in vars(after).items():
            setattr(before, name, value)
        self.cards.remove(before)
        self.cards.insert(0, before)

    def audit(self) -> None:
        """`scrip audit` finds nothing. Raises Difference."""
        self.tally.audits += 1
        if findings := audit_findings(self.db) - self.tally.known:
            raise self.difference("audit", sorted(map(str, findings)))

    def difference(self, verb: str, wrong: list[str]) -> Difference:
        return Difference(f"step {self.steps}, {verb} at {self.now.isoformat()}:\n  " + "\n  ".join(wrong))
