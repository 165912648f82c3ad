"""What a message about alarms says, in words for people and in JSON for machines; pure functions of the alarms."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from app.guard.alarm_rules import BY_NAME, advice_of

#: A message tells so many alarms in full, and counts the others.
MOST_TOLD = 20


@dataclass(frozen=True, slots=True)
class Told:
    """An alarm as it is told."""

    id: str
    rule: str
    group_id: str
    currency: str | None
    first_at: datetime
    last_at: datetime
    ended_at: datetime | None
    figure: int
    peak: int
    threshold: int
    what: str
    why: str


def subject_of(alarms: Sequence[Told], counts: Mapping[str, int], mode: str) -> str:
    """One line: what it is, where it is one alarm, or how many there are."""
    [first, *_] = alarms
    total = sum(counts.values())
    told = f"{title_of(first.rule)} ({first.group_id})" if total == 1 else f"{total} alarms"
    return f"[Scrip {mode}] {told}"


def text_of(alarms: Sequence[Told], counts: Mapping[str, int], mode: str) -> str:
    """The letter to operators: three sentences for each alarm, and how many more there are of each rule."""
    parts = [f"Alarms of the mode {mode}." if mode == "live" else f"Alarms of the mode {mode}: no real money."]
    parts += [_paragraph(each) for each in alarms]
    if sum(counts.values()) > len(alarms):
        lines = [f"  {title_of(rule)}: {count:,}" for rule, count in sorted(counts.items())]
        parts.append("\n".join([f"{sum(counts.values()):,} alarms in all:", *lines]))
    parts.append(
        "`scrip alarms` lists those that are open; `scrip alarms acknowledge ID` says that somebody looks after one.\n"
        "An alarm that goes on is told again only when it is ten times worse."
    )
    return "\n\n".join(parts) + "\n"


def payload_of(alarms: Sequence[Told], counts: Mapping[str, int], mode: str, at: datetime) -> dict[str, object]:
    """The body of a webhook: `type`, `timestamp` and `data`, as Standard Webhooks has it."""
    return {
        "type": "alarms.told",
        "timestamp": at.isoformat(),
        "data": {
            "mode": mode,
            "count": sum(counts.values()),
            "by_rule": dict(sorted(counts.items())),
            "alarms": [_shown(each) for each in alarms],
        },
    }


def title_of(rule: str) -> str:
    """A rule's title; its name, where an earlier release had it and this one has not."""
    return BY_NAME[rule].title if rule in BY_NAME else rule


def advice_for(alarm_rule: str, group_id: str, currency: str | None, *, for_party: bool = False) -> str:
    """What to do about an alarm; nothing where this release no longer has its rule."""
    rule = BY_NAME.get(alarm_rule)
    return advice_of(rule, group_id, currency, for_party=for_party) if rule else ""


def _paragraph(alarm: Told) -> str:
    until = f" until {alarm.ended_at:%Y-%m-%d %H:%M:%S}" if alarm.ended_at else ""
    return "\n".join(
        [
            f"{title_of(alarm.rule)} – since {alarm.first_at:%Y-%m-%d %H:%M:%S}{until} UTC – {alarm.id}",
            alarm.what,
            alarm.why,
            advice_for(alarm.rule, alarm.group_id, alarm.currency),
        ]
    )


def _shown(alarm: Told) -> dict[str, object]:
    return {
        "id": alarm.id,
        "rule": alarm.rule,
        "group": {"kind": BY_NAME[alarm.rule].group if alarm.rule in BY_NAME else None, "id": alarm.group_id},
        "currency": alarm.currency,
        "state": "ended" if alarm.ended_at else "open",
        "first_at": alarm.first_at.isoformat(),
        "last_at": alarm.last_at.isoformat(),
        "figure": alarm.figure,
        "peak": alarm.peak,
        "threshold": alarm.threshold,
        "what": alarm.what,
        "why": alarm.why,
        "advice": advice_for(alarm.rule, alarm.group_id, alarm.currency),
    }
