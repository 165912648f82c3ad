"""Replay: what the rules would have found in the past, look by look as they would have looked; it writes nothing."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from app.config import settings
from app.db.transaction import transaction
from app.guard.alarm_episodes import EPOCH, Episode, Key, Step, after_look, latest_look
from app.guard.alarm_rules import Finding, Rule
from app.guard.alarm_sight import STATEMENT_TIMEOUT, kinds_of, look

#: Looks in one transaction, and between two words of how far it is.
LOOKS_AT_ONCE = 200


@dataclass(frozen=True, slots=True)
class Replayed:
    """A step that the watch would have taken, of which rule, and when."""

    at: datetime
    rule: Rule
    step: Step


def replay(
    rules: Sequence[Rule], *, since: datetime, until: datetime, say: Callable[[str], None] = lambda _: None
) -> Iterator[Replayed]:
    """Each rule over the looks after `since` up to `until`, with today's thresholds; `say` is told how far it is.

    Raises Busy.
    """
    for rule in rules:
        yield from _replay(rule, since, until, say)


def _replay(rule: Rule, since: datetime, until: datetime, say: Callable[[str], None]) -> Iterator[Replayed]:
    past = _Past(rule)
    first, last = latest_look(since, rule.every) + rule.every, latest_look(until, rule.every)
    total = max(0, (last - first) // rule.every + 1)
    for done in range(0, total, LOOKS_AT_ONCE):
        looks = [first + rule.every * place for place in range(done, min(done + LOOKS_AT_ONCE, total))]
        yield from past.go_through(looks)
        say(f"{rule.name}: {done + len(looks)} of {total} looks, up to {looks[-1]:%Y-%m-%d %H:%M}")


class _Past:
    """What one rule has found so far."""

    def __init__(self, rule: Rule) -> None:
        self._rule = rule
        self._episodes: dict[Key, Episode] = {}
        self._findings: list[Finding] = []
        self._looked_at: datetime | None = None

    def go_through(self, looks: Sequence[datetime]) -> list[Replayed]:
        found = []
        with transaction() as db:
            db.exec_driver_sql(STATEMENT_TIMEOUT)
            changing = self._changing(db, looks)
            for at in looks:
                # A look into whose window no event came, and out of which none went, finds what the one before found.
                if at in changing or self._looked_at is None or self._looked_at.date() != at.date():
                    self._findings = look(db, self._rule, at, settings().alarms)
                self._looked_at = at
                for step in after_look(self._rule, self._episodes, self._findings, at):
                    self._episodes[step.episode.key] = step.episode
                    if step.turn != "goes_on":
                        found.append(Replayed(at, self._rule, step))
        return found

    def _changing(self, db: Connection, looks: Sequence[datetime]) -> set[datetime]:
        rule = self._rule
        since, until = looks[0] - rule.every - rule.window, looks[-1]
        asked = (list(kinds_of(rule)), since, until, rule.every_s)
        entered = [EPOCH + int(step) * rule.every for step in db.exec_driver_sql(STEPS, asked).scalars()]
        return {*entered, *(at + rule.window for at in entered)}


#: The looks, as numbers on the grid, into whose windows events came.
STEPS = """
    SELECT DISTINCT ceil(extract(epoch FROM at) / $4) FROM event
    WHERE kind = ANY($1::text[]) AND at > $2 AND at <= $3
"""
