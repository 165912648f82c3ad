"""The daily look at issuers' accounts: an event where too little was there, or so little that more should come."""

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


def watch_funds() -> int:
    """Looks at yesterday, of each issuer and currency with a balance of the bank's; returns 0, so that it waits.

    A thing is told once a day, however many workers look and however often.
    """
    for mode in MODES:
        with snapshot(within_s=WITHIN_S, memory="256MB") as db:
            now = clock.now(db)
            if not _has_balances(db, mode):
                continue
            yesterday = now.date() - timedelta(days=1)
            days = days_of(db, Asked(mode, now, Month.of(now)), yesterday, yesterday)
            least = _least(db)
        for day in days:
            _tell(mode, day, least.get((day.position.issuer_id, day.position.currency)))
    return 0


def _tell(mode: str, day: Day, least_minor: int | None) -> None:
    """Each issuer and currency in a transaction of its own: one that is busy loses no other."""
    if day.kept is None:
        return
    facts = {
        "mode": mode,
        "issuer_id": day.position.issuer_id,
        "currency": day.position.currency,
        "day": day.day.isoformat(),
        "balance_minor": day.kept.balance_minor,
        "balance_day": day.kept.day.isoformat(),
    }
    is_low = least_minor is not None and day.kept.balance_minor < least_minor
    if not (day.short_minor or is_low):
        return
    with transaction() as db:
        db.exec_driver_sql("SELECT pg_advisory_xact_lock(hashtextextended('watch_funds', 0))")
        now = clock.now(db)
        told = _told(db, facts, since=now - timedelta(days=2))
        if day.short_minor and "funds_short" not in told:
            required = {"required_minor": day.position.required_minor, "short_minor": day.short_minor}
            together(db, event_of("funds_short", at=now, facts={**facts, **required}))
        if is_low and "funds_low" not in told:
            together(db, event_of("funds_low", at=now, facts={**facts, "least_minor": least_minor}))


def _told(db: Connection, facts: Mapping[str, object], *, since: datetime) -> set[str]:
    """Which of the two was told of this day."""
    which = (since, facts["issuer_id"], facts["currency"], facts["day"])
    return set(db.exec_driver_sql(_TOLD, which).scalars())


def _has_balances(db: Connection, mode: str) -> bool:
    return db.exec_driver_sql("SELECT FROM bank_balance WHERE mode = $1 LIMIT 1", (mode,)).first() is not None


def _least(db: Connection) -> dict[tuple[str, str], int]:
    rows = db.exec_driver_sql("SELECT issuer_id, currency, least_minor FROM low_balance")
    return {(row.issuer_id, row.currency): row.least_minor for row in rows}


_TOLD = """
SELECT kind FROM event
WHERE kind IN ('funds_short', 'funds_low') AND at >= $1
    AND facts ->> 'issuer_id' = $2 AND facts ->> 'currency' = $3 AND facts ->> 'day' = $4
"""
