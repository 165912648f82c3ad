"""What becomes of alarms from one look to the next: they open, go on, become far worse, and end; pure decisions."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Literal

from app.guard.alarm_rules import Finding, Rule

#: An episode is told of again when its figure is so many times the one that was told.
FAR_WORSE = 10
#: What begins again so soon after its end is the same episode: who attacks in bursts is told of once.
AGAIN_WITHIN = timedelta(minutes=15)
#: Looks stand on a grid, and look at nothing younger: what was being committed meanwhile is there by then.
LAG = timedelta(seconds=2)
#: So far back is looked at what happened while no worker ran.
CATCH_UP = timedelta(hours=1)

Key = tuple[str, str, str | None]
Turn = Literal["opened", "goes_on", "worse", "again", "ended"]
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Episode:
    """One alarm: a group that a rule found, from the first look that found it to the first that no longer did.

    `figure` is the last one, `peak` the highest, `told` the one that was told; what and why are those of the peak.
    """

    id: str
    mode: str
    group_id: str
    party_id: str | None
    currency: str | None
    first_at: datetime
    last_at: datetime
    ended_at: datetime | None
    figure: int
    peak: int
    threshold: int
    told: int
    what: str
    why: str

    @property
    def key(self) -> Key:
        return self.mode, self.group_id, self.currency


@dataclass(frozen=True, slots=True)
class Step:
    """An episode as it stands after a look, and what the look changed."""

    turn: Turn
    episode: Episode


def latest_look(now: datetime, every: timedelta) -> datetime:
    """The last point of the grid that may be looked at."""
    return EPOCH + (now - LAG - EPOCH) // every * every


def next_look(looked_at: datetime, now: datetime, every: timedelta) -> datetime | None:
    """The point to look at after the one at `looked_at`; None where its time has not come."""
    latest = latest_look(now, every)
    return max(looked_at + every, latest - CATCH_UP // every * every) if looked_at < latest else None


def after_look(rule: Rule, episodes: Mapping[Key, Episode], findings: Iterable[Finding], at: datetime) -> list[Step]:
    """The steps from the episodes that are open, or ended a short while ago, to those after a look at `at`.

    The ID of an episode that opens is empty: whoever keeps it gives it one.
    """
    found = {finding.seen.key: finding for finding in findings}
    over = [each for each in episodes.values() if each.ended_at is None and each.key not in found]
    steps = [_step(episodes.get(key), finding, at) for key, finding in found.items()]
    return [*steps, *(Step("ended", replace(each, ended_at=at)) for each in over)]


def _step(before: Episode | None, finding: Finding, at: datetime) -> Step:
    seen = finding.seen
    if before is None or (before.ended_at is not None and before.ended_at <= at - AGAIN_WITHIN):
        return Step("opened", _opened(finding))
    now = replace(before, ended_at=None, figure=seen.figure, last_at=seen.last_at, threshold=finding.threshold)
    if seen.figure > before.peak:
        now = replace(now, peak=seen.figure, what=finding.what, why=finding.why)
    if seen.figure >= before.told * FAR_WORSE:
        return Step("worse", replace(now, told=seen.figure))
    return Step("goes_on" if before.ended_at is None else "again", now)


def _opened(finding: Finding) -> Episode:
    seen = finding.seen
    return Episode(
        id="",
        mode=seen.mode,
        group_id=seen.group_id,
        party_id=seen.party_id,
        currency=seen.currency,
        first_at=seen.first_at,
        last_at=seen.last_at,
        ended_at=None,
        figure=seen.figure,
        peak=seen.figure,
        threshold=finding.threshold,
        told=seen.figure,
        what=finding.what,
        why=finding.why,
    )
