"""The daily look at issuers' accounts: an event where too little was there, where it is low, and where nobody knows."""

from collections.abc import Mapping
from datetime import datetime, timedelta

from sqlalchemy import Connection

from app import clock
from app.db.together import together
from app.db.transaction import snapshot, transaction
from app.events.event import event_of
from app.reports.asked import Asked, Month
from app.reports.positions import Day, days_of

#: All movements are summed up, once a day.
WITHIN_S = 300
MODES = ("live", "test")
#: What the bank says of a day may come days later, and may be put right.
LOOK_BACK = timedelta(days=7)


def watch_funds() -> int:
    """Looks at the last seven days, of each issuer and currency; returns 0, so that it waits.

    That too little was there is told of each of them, that it is low or unknown of yesterday alone. A thing is told
    once for each day, however many workers look and however often.
    """
    for mode in MODES:
        with snapshot(within_s=WITHIN_S, memory="256MB") as db:
            now = clock.now(db)
            if mode == "test" and not _has_balances(db, mode):
                continue
            yesterday = now.date() - timedelta(days=1)
            days = days_of(db, Asked(mode, now, Month.of(now)), now.date() - LOOK_BACK, yesterday)
            least = _least(db)
        for day in days:
            found = _found(day, mode, least.get((day.position.issuer_id, day.position.currency)))
            if wanted := {kind: more for kind, more in found.items() if kind == "funds_short" or day.day == yesterday}:
                _tell(mode, day, wanted)
    return 0


def _found(day: Day, mode: str, least_minor: int | None) -> Mapping[str, Mapping[str, object]]:
    """The kinds of events that the day is worth, each with what it says beside the balance."""
    found: dict[str, Mapping[str, object]] = {}
    required_minor = day.position.required_minor
    if day.short_minor:
        found["funds_short"] = {"required_minor": required_minor, "short_minor": day.short_minor}
    if day.is_unknown(mode):
        found["funds_unknown"] = {"required_minor": required_minor}
    if day.kept is not None and least_minor is not None and day.kept.balance_minor < least_minor:
        found["funds_low"] = {"least_minor": least_minor}
    return found


def _tell(mode: str, day: Day, wanted: Mapping[str, Mapping[str, object]]) -> None:
    """Each issuer and currency in a transaction of its own: one that is busy loses no other."""
    facts = {
        "mode": mode,
        "issuer_id": day.position.issuer_id,
        "currency": day.position.currency,
        "day": day.day.isoformat(),
        "balance_minor": day.kept.balance_minor if day.kept else None,
        "balance_day": day.kept.day.isoformat() if day.kept else None,
    }
    with transaction() as db:
        db.exec_driver_sql("SELECT pg_advisory_xact_lock(hashtextextended('watch_funds', 0))")
        now = clock.now(db)
        told = _told(db, facts, since=now - LOOK_BACK - timedelta(days=2))
        new = {kind: {**facts, **more} for kind, more in wanted.items() if kind not in told}
        if "funds_short" in new:
            together(db, event_of("funds_short", at=now, facts=new["funds_short"]))
        if "funds_unknown" in new:
            together(db, event_of("funds_unknown", at=now, facts=new["funds_unknown"]))
        if "funds_low" in new:
            together(db, event_of("funds_low", at=now, facts=new["funds_low"]))


def _told(db: Connection, facts: Mapping[str, object], *, since: datetime) -> set[str]:
    """What was told of this day."""
    which = (since, facts["issuer_id"], facts["currency"], facts["day"])
    return set(db.exec_driver_sql(_TOLD, which).scalars())


def _has_balances(db: Connection, mode: str) -> bool:
    return db.exec_driver_sql("SELECT FROM bank_balance WHERE mode = $1 LIMIT 1", (mode,)).first() is not None


def _least(db: Connection) -> dict[tuple[str, str], int]:
    rows = db.exec_driver_sql("SELECT issuer_id, currency, least_minor FROM low_balance")
    return {(row.issuer_id, row.currency): row.least_minor for row in rows}


_TOLD = """
SELECT kind FROM event
WHERE kind IN ('funds_short', 'funds_low', 'funds_unknown') AND at >= $1
    AND facts ->> 'issuer_id' = $2 AND facts ->> 'currency' = $3 AND facts ->> 'day' = $4
"""
