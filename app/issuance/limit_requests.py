"""Higher issuing limits: one operator asks, another approves. Lower ones hold at once."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from sqlalchemy import ColumnElement, Connection, select, update

from app import clock
from app.db.together import row_of, together
from app.db.transaction import transaction
from app.errors import InvalidRequest, NotFound
from app.events.event import event_of
from app.ids import new_id
from app.issuance.issuing_limit import Limit, list_limits, lock_limit, set_limit
from app.issuance.limit_models import IssuingLimitRequest as RequestRow
from app.issuance.models import Issuer
from app.money import MAX_MINOR, is_currency
from app.oauth.models import Client

#: Nobody approves what was wanted so long ago.
LAPSES_AFTER = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class LimitRequest:
    """A wish for a limit, in minor units and cards a day. `seen_…`: the limit when it was made."""

    id: str
    subject_id: str
    currency: str
    limit_minor: int
    limit_cards: int
    seen_minor: int
    seen_cards: int
    reason: str
    requested_by: str
    requested_at: datetime


def request_limit(
    subject_id: str, currency: str, *, limit_minor: int | None, limit_cards: int | None, reason: str, operator: str
) -> LimitRequest | None:
    """Asks for another limit of a client or an issuer; None leaves a number as it is.

    Returns the request that another operator must approve; or None when nothing was to be raised, and the limit holds.

    Raises NotFound, InvalidRequest, Busy.
    """
    for name, number in (("limit_minor", limit_minor), ("limit_cards", limit_cards)):
        if number is not None and not 0 <= number <= MAX_MINOR:
            raise InvalidRequest(f"A limit is a whole number from 0 to {MAX_MINOR}.", pointer=f"/{name}")
    if not is_currency(currency):
        raise InvalidRequest("There is no such currency.", pointer="/currency")
    if not reason.strip() or not reason.isprintable():
        raise InvalidRequest("Say why, on one line.", pointer="/reason")
    with transaction() as db:
        _check_subject(db, subject_id)
        now_holds = lock_limit(db, subject_id, currency)
        minor = now_holds.limit_minor if limit_minor is None else limit_minor
        cards = now_holds.limit_cards if limit_cards is None else limit_cards
        now, facts = clock.now(db), {**_limits(now_holds, minor, cards), "reason": reason}
        if minor <= now_holds.limit_minor and cards <= now_holds.limit_cards:
            set_limit(db, now_holds, limit_minor=minor, limit_cards=cards, now=now)
            together(db, event_of("issuing_limit_lowered", at=now, facts=facts))
            return None
        seen = (now_holds.limit_minor, now_holds.limit_cards)
        asked = LimitRequest(new_id("lim"), subject_id, currency, minor, cards, *seen, reason, operator, now)
        facts["request_id"] = asked.id
        columns = {name: getattr(asked, name) for name in LimitRequest.__dataclass_fields__}
        together(db, _request(**columns), event_of("issuing_limit_requested", at=now, facts=facts))
        return asked


def approve_limit(request_id: str, *, operator: str) -> LimitRequest:
    """Gives a subject the limit that another operator asked for.

    Raises NotFound when no such request waits; InvalidRequest when it is the operator's own, or the limit is no longer
    what it was; Busy.
    """
    with transaction() as db:
        asked = _decide(db, request_id, "approved", operator)
        now_holds = lock_limit(db, asked.subject_id, asked.currency)
        if (now_holds.limit_minor, now_holds.limit_cards) != (asked.seen_minor, asked.seen_cards):
            raise InvalidRequest("The limit has changed since: ask for it anew.", pointer="/request_id")
        now = clock.now(db)
        set_limit(db, now_holds, limit_minor=asked.limit_minor, limit_cards=asked.limit_cards, now=now)
        facts = {**_limits(now_holds, asked.limit_minor, asked.limit_cards), "request_id": asked.id}
        facts["requested_by"] = asked.requested_by
        together(db, event_of("issuing_limit_raised", at=now, facts=facts))
        return asked


def reject_limit(request_id: str, *, operator: str) -> LimitRequest:
    """Ends a request, somebody else's or the operator's own. Raises NotFound when no such request waits, Busy."""
    with transaction() as db:
        asked = _decide(db, request_id, "rejected", operator)
        facts = {"request_id": asked.id, "subject_id": asked.subject_id, "currency": asked.currency}
        together(db, event_of("issuing_limit_rejected", at=clock.now(db), facts=facts))
        return asked


def find_limits() -> tuple[list[Limit], list[LimitRequest]]:
    """The limits of all that issued or have one of their own; and the requests that wait, oldest first."""
    with transaction() as db:
        waiting = select(*_COLUMNS).where(RequestRow.state == "waiting", _is_young(clock.now(db)))
        found = db.execute(waiting.order_by(RequestRow.requested_at, RequestRow.id))
        return list_limits(db), [LimitRequest(**row._mapping) for row in found]


_request = row_of(RequestRow)
_COLUMNS = tuple(getattr(RequestRow, name) for name in LimitRequest.__dataclass_fields__)


def _decide(db: Connection, request_id: str, state: Literal["approved", "rejected"], operator: str) -> LimitRequest:
    """One update decides which of many operators it was; the requester cannot be the one who approves."""
    now = clock.now(db)
    waits = (RequestRow.id == request_id, RequestRow.state == "waiting", _is_young(now))
    if state == "approved" and db.scalar(select(RequestRow.requested_by).where(*waits)) == operator:
        raise InvalidRequest("You asked for it: another operator must approve.", pointer="/request_id")
    decided = update(RequestRow).where(*waits).values(state=state, decided_by=operator, decided_at=now)
    row = db.execute(decided.returning(*_COLUMNS)).first()
    if row is None:
        raise NotFound(f"No request {request_id!r} waits: it was decided, has lapsed, or never was.")
    return LimitRequest(**row._mapping)


def _is_young(now: datetime) -> ColumnElement[bool]:
    return RequestRow.requested_at > now - LAPSES_AFTER


def _limits(now_holds: Limit, minor: int, cards: int) -> dict[str, object]:
    return {
        "subject_id": now_holds.subject_id,
        "currency": now_holds.currency,
        "limit_minor": minor,
        "limit_cards": cards,
        "before_minor": now_holds.limit_minor,
        "before_cards": now_holds.limit_cards,
    }


def _check_subject(db: Connection, subject_id: str) -> None:
    """Raises NotFound for what is neither an issuer nor an issuer's client."""
    issuer = db.scalar(select(Issuer.id).where(Issuer.id == subject_id))
    client = db.scalar(select(Client.id).where(Client.id == subject_id, Client.issuer_id.is_not(None)))
    if issuer is None and client is None:
        raise NotFound(f"{subject_id!r} is neither an issuer nor a client of one.")
