"""Replay: what the rules would have found in the past, look by look as they would have looked; it writes nothing."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from app.config import settings
from app.db.transaction import transaction
from app.guard.alarm_episodes import Episode, Key, Step, after_look, latest_look
from app.guard.alarm_rules import Rule
from app.guard.alarm_sight import STATEMENT_TIMEOUT, look

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

    Looks whose window holds none of any event find nothing, and are passed over. Raises Busy.
    """
    for rule in rules:
        yield from _replay(rule, since, until, say)


def _replay(rule: Rule, since: datetime, until: datetime, say: Callable[[str], None]) -> Iterator[Replayed]:
    episodes: dict[Key, Episode] = {}
    at, last = latest_look(since, rule.every) + rule.every, latest_look(until, rule.every)
    total = max(0, (last - at) // rule.every + 1)
    for done in range(0, total, LOOKS_AT_ONCE):
        looks = [at + rule.every * place for place in range(done, min(done + LOOKS_AT_ONCE, total))]
        yield from _looks(rule, looks, episodes)
        say(f"{rule.name}: {min(done + LOOKS_AT_ONCE, total)} of {total} looks, up to {looks[-1]:%Y-%m-%d %H:%M}")


def _looks(rule: Rule, looks: Sequence[datetime], episodes: dict[Key, Episode]) -> list[Replayed]:
    found = []
    with transaction() as db:
        db.exec_driver_sql(STATEMENT_TIMEOUT)
        window = (looks[0] - rule.window, looks[-1])
        is_quiet = db.exec_driver_sql(ANY_EVENT, window).first() is None
        for at in looks if not is_quiet or episodes else ():
            findings = look(db, rule, at, settings().alarms)
            for step in after_look(rule, episodes, findings, at):
                episodes[step.episode.key] = step.episode
                if step.turn != "goes_on":
                    found.append(Replayed(at, rule, step))
    return found


ANY_EVENT = """
    SELECT 1 FROM event WHERE kind IN ('code_refused', 'code_exchanged', 'code_token_made', 'code_shown',
        'link_reissued', 'address_corrected', 'payment_settled', 'payment_refunded', 'card_issued')
        AND at > $1 AND at <= $2 LIMIT 1
"""
