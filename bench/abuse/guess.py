"""The attack that this was built for: guesses from a thousand networks, at every place where a code can be typed."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bench.abuse.ground import Ground
from bench.abuse.guessers import WAYS, Attack, Told
from bench.abuse.honest import Beside, Step
from bench.abuse.verdict import Measured, percentile

SUCCESS, SLOWER = 0.999, 2.0
ALARM_WITHIN_S = NORMAL_WITHIN_S = 60
#: Of what a guess would cost if each were looked at.
ARGON2_SHARE = 0.5
#: Where a hundredth of the steps are a handful, the slowest of them say little.
LEAST_MS = 20


@dataclass(frozen=True, slots=True)
class Times:
    """Seconds of each phase: honest people alone, the most that the attack may take, and afterwards."""

    idle_s: float
    attack_s: float
    after_s: float

    @property
    def all_s(self) -> float:
        return self.idle_s + self.attack_s + self.after_s


@dataclass(frozen=True, slots=True)
class Watched:
    """When the attack began and ended, the first alarm was seen, and the last one had ended: in seconds since 1970."""

    began_at: float
    ended_at: float
    alarm_at: float | None
    quiet_at: float | None
    told: Told


def measure(
    ground: Ground,
    *,
    guesses: int,
    networks: int,
    per_s: float | None,
    honest_per_s: float,
    times: Times,
    say: Callable[[str], None],
) -> list[Measured]:
    """The figures of one attack, beside what must hold."""
    say("issuing cards")
    beside = Beside(ground, links=int(honest_per_s * times.all_s) + 1, per_s=honest_per_s)
    say(f"honest people alone for {times.idle_s:.0f} s")
    time.sleep(times.idle_s)
    watched = _attack(ground, guesses, networks, per_s, times, say)
    steps = beside.end()
    return [*_of_attack(watched), *_of_honest(steps, watched), *_of_alarms(steps, watched)]


def _attack(
    ground: Ground, guesses: int, networks: int, per_s: float | None, times: Times, say: Callable[[str], None]
) -> Watched:
    began_at, alarm_at = time.time(), None
    attack = Attack(ground, guesses=guesses, per_s=per_s, networks=networks)
    said_s = 0.0
    while not attack.is_over() and time.time() < began_at + times.attack_s:
        time.sleep(0.5)
        alarm_at = alarm_at or (time.time() if alarms(ground) else None)
        if time.time() - began_at > said_s:
            say(f"attack for {time.time() - began_at:.0f} s")
            said_s += 30
    told, ended_at, quiet_at = attack.end(), time.time(), None
    say(f"{told.guesses:,} guesses in {ended_at - began_at:.0f} s; honest people alone for {times.after_s:.0f} s")
    while time.time() < ended_at + times.after_s:
        time.sleep(0.5)
        alarm_at = alarm_at or (time.time() if alarms(ground) else None)
        quiet_at = None if alarms(ground, still_open=True) else (quiet_at or time.time())
    return Watched(began_at, ended_at, alarm_at, quiet_at, told)


def alarms(ground: Ground, *, still_open: bool = False) -> int:
    """How many alarms over wrong codes there are, or are open."""
    with ground.database() as db:
        row = db.execute(_ALARMS, (still_open,)).fetchone()
    return int(str(row[0])) if row else 0


_ALARMS = """
SELECT count(*) FROM alarm WHERE rule IN ('wrong_codes_store', 'wrong_codes_overall') AND (ended_at IS NULL OR NOT %s)
"""


def _of_attack(watched: Watched) -> list[Measured]:
    told, took_s = watched.told, watched.ended_at - watched.began_at
    looked_at = told.looked_at.total()
    share = looked_at / max(1, told.guesses)
    found = [
        Measured("guesses", f"{told.guesses:,}"),
        Measured("a second", f"{told.guesses / took_s:.0f}"),
        Measured("hits", str(told.hits), "0", told.hits == 0),
        Measured("Argon2 for each guess", f"{share:.3f}", f"≤ {ARGON2_SHARE}", share <= ARGON2_SHARE),
    ]
    for way in WAYS:
        found.append(Measured(f"  {way}", f"{told.looked_at[way]:,} of {told.of(way):,}"))
    rest = told.outcomes
    for outcome in sorted({outcome for _, outcome in rest}):
        found.append(Measured(f"  {outcome}", f"{sum(many for (_, each), many in rest.items() if each == outcome):,}"))
    return [*found, Measured("guessers' processor", f"{told.cpu_s / took_s:.2f} cores")]


def _of_honest(steps: Sequence[Step], watched: Watched) -> list[Measured]:
    idle = [step for step in steps if step.at < watched.began_at]
    during = [step for step in steps if watched.began_at <= step.at < watched.ended_at]
    return compare(idle, during)


def compare(idle: Sequence[Step], during: Sequence[Step]) -> list[Measured]:
    """How honest people fared during the abuse, beside how they fare without it."""
    failed = [step for step in during if not step.succeeded]
    share = 1 - len(failed) / len(during) if during else 0.0
    was, now = (percentile([step.took_ms for step in some], 0.99) for some in (idle, during))
    most_ms = max(SLOWER * was, LEAST_MS)
    found = [
        Measured("honest steps", f"{len(during):,}", "some", bool(during)),
        Measured("honest success", f"{share:.3%}", f"≥ {SUCCESS:.1%}", share >= SUCCESS),
        Measured("  asked again", str(sum(step.again for step in during))),
        Measured(
            "  told to wait (429)", str(sum(step.waited for step in during)), "0", not any(s.waited for s in during)
        ),
        Measured("  solved a captcha", str(sum(step.captcha for step in during))),
        Measured("honest p50, idle", f"{percentile([step.took_ms for step in idle], 0.5):.0f} ms"),
        Measured("honest p50", f"{percentile([step.took_ms for step in during], 0.5):.0f} ms"),
        Measured("honest p99, idle", f"{was:.0f} ms"),
        Measured("honest p99", f"{now:.0f} ms", f"≤ {SLOWER:.0f} × idle", now <= most_ms),
    ]
    for kind in sorted({step.kind for step in during}):
        pair = (percentile([step.took_ms for step in some if step.kind == kind], 0.99) for some in (idle, during))
        found.append(Measured(f"  {kind}", " → ".join(f"{each:.0f}" for each in pair) + " ms"))
    for outcome in sorted({f"{step.kind}: {step.outcome}" for step in failed}):
        found.append(Measured(f"  failed, {outcome}", str(sum(f"{s.kind}: {s.outcome}" == outcome for s in failed))))
    return found


def _of_alarms(steps: Sequence[Step], watched: Watched) -> list[Measured]:
    since_s = watched.alarm_at and watched.alarm_at - watched.began_at
    until_s = watched.quiet_at and watched.quiet_at - watched.ended_at
    last = max((step.at for step in steps if step.captcha), default=0.0) - watched.ended_at
    late = sum(step.captcha or step.waited or not step.succeeded for step in steps if step.at > watched.ended_at + 60)
    return [
        Measured("alarm after", _seconds(since_s), f"≤ {ALARM_WITHIN_S} s", _within(since_s, ALARM_WITHIN_S)),
        Measured("alarms ended after", _seconds(until_s), f"≤ {NORMAL_WITHIN_S} s", _within(until_s, NORMAL_WITHIN_S)),
        Measured("last captcha after the end", _seconds(last), f"≤ {NORMAL_WITHIN_S} s", last <= NORMAL_WITHIN_S),
        Measured("troubles later than that", str(late), "0", late == 0),
    ]


def _within(seconds: float | None, limit_s: float) -> bool:
    return seconds is not None and seconds <= limit_s


def _seconds(seconds: float | None) -> str:
    return "never" if seconds is None else f"{seconds:.0f} s"
