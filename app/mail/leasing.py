"""The database's side of sending: who has which letter in hand, and how its try ended."""

import random
import time
from dataclasses import dataclass
from datetime import timedelta

import structlog
from sqlalchemy import ColumnElement, Connection, exists, func, select, update
from sqlalchemy.sql.dml import Update

from app import clock
from app.db.together import together
from app.db.transaction import transaction
from app.events.event import event_of
from app.mail.letter import DueLetter
from app.mail.models import Letter
from app.mail.rules import LEASE, SLOW_S, Outcome, is_last, wait_before_next

#: A letter that could not be tried comes back after this.
UNTRIED_WAIT = timedelta(seconds=5)

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Lease:
    """A letter in this worker's hand, since when by the process's own clock."""

    letter: DueLetter
    taken_at_s: float


def is_any_due() -> bool:
    """Whether there is anything to send."""
    with transaction() as db:
        due = exists().where(Letter.state == "queued", Letter.due_at <= clock.now(db))
        return bool(db.execute(select(due)).scalar())


def letters_due(db: Connection) -> tuple[int, float]:
    """How many letters wait to be sent now, and for how many seconds the one that is due for longest does."""
    now = clock.now(db)
    due = select(func.count().label("due"), func.min(Letter.due_at).label("since"))
    found = db.execute(due.where(Letter.state == "queued", Letter.due_at <= now)).one()
    return found.due, (now - found.since).total_seconds() if found.due else 0.0


def lease_next() -> Lease | None:
    """Takes the letter that has been due for longest, or None when there is none that no other worker has."""
    taken_at_s = time.monotonic()
    with transaction() as db:
        now = clock.now(db)
        longest_due = (
            select(Letter.id)
            .where(Letter.state == "queued", Letter.due_at <= now)
            .order_by(Letter.due_at)
            .limit(1)
            .with_for_update(skip_locked=True)
            .scalar_subquery()
        )
        lease = update(Letter).where(Letter.id == longest_due).values(tries=Letter.tries + 1, due_at=now + LEASE)
        columns = (getattr(Letter, name) for name in DueLetter.__dataclass_fields__)
        row = db.execute(lease.returning(*columns)).first()
    return Lease(DueLetter(**row._mapping), taken_at_s) if row else None


def has_lease(db: Connection, letter: DueLetter) -> bool:
    """Whether this try still owns the letter; locks it, so that it does until the transaction's end."""
    mine = select(Letter.id).where(*_in_this_try(letter)).with_for_update()
    return db.execute(mine).first() is not None


def is_still_ours(lease: Lease) -> bool:
    """Whether the letter may be handed over: after a slow start only with a new lease, lest another worker has it."""
    if time.monotonic() - lease.taken_at_s < SLOW_S:
        return True
    with transaction() as db:
        renewal = _change(lease.letter).values(due_at=clock.now(db) + LEASE)
        return db.execute(renewal.returning(Letter.id)).first() is not None


def put_back(letter: DueLetter, reason: str) -> None:
    """The letter was not tried, through no fault of its own: this try does not count."""
    with transaction() as db:
        due_at = clock.now(db) + UNTRIED_WAIT
        db.execute(_change(letter).values(tries=Letter.tries - 1, due_at=due_at, last_error=reason))


def write_down(letter: DueLetter, outcome: Outcome) -> None:
    """How a try ended, with its event when that was the letter's end too."""
    if outcome.state == "later" and is_last(letter.tries):
        outcome = Outcome("failed", f"given up after {outcome.reason}")
    if outcome.state != "lost" and _is_written(letter, outcome):
        _tell(letter, outcome)


def _is_written(letter: DueLetter, outcome: Outcome) -> bool:
    """False when another worker has the letter by now; what was sent is sent, whoever has it."""
    with transaction() as db:
        now = clock.now(db)
        change = _change(letter).values(state=outcome.state, last_error=outcome.reason or None)
        if outcome.state == "sent":
            change = update(Letter).where(Letter.id == letter.id, Letter.state == "queued")
            change = change.values(state="sent", sent_at=now, last_error=None)
        if outcome.state == "later":
            due_at = now + wait_before_next(letter.tries, random.random())  # noqa: S311 – jitter, no secret
            change = _change(letter).values(due_at=due_at, last_error=outcome.reason)
        if db.execute(change.returning(Letter.id)).first() is None:
            return False
        if outcome.state != "later":
            facts = _facts(letter, outcome)
            together(db, event_of(f"letter_{outcome.state}", at=now, card_id=letter.card_id, facts=facts))
        return True


def _tell(letter: DueLetter, outcome: Outcome) -> None:
    labels = {"letter_id": letter.id, "card_id": letter.card_id, "kind": letter.kind, "tries": letter.tries}
    if outcome.state == "failed":
        log.error("letter_failed", reason=outcome.reason, **labels)
    elif outcome.state == "later":
        log.warning("letter_put_off", reason=outcome.reason, **labels)
    else:
        log.info(f"letter_{outcome.state}", **labels)


def _facts(letter: DueLetter, outcome: Outcome) -> dict[str, object]:
    facts: dict[str, object] = {"letter_id": letter.id, "kind": letter.kind, "link_id": letter.link_id}
    return facts | ({"reason": outcome.reason} if outcome.reason else {})


def _change(letter: DueLetter) -> Update:
    return update(Letter).where(*_in_this_try(letter))


def _in_this_try(letter: DueLetter) -> tuple[ColumnElement[bool], ...]:
    return (Letter.id == letter.id, Letter.tries == letter.tries, Letter.state == "queued")
