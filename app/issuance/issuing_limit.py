"""Issuing limits: what a stolen client can issue before somebody looks, for each client and for each issuer.

What is issued counts, and is forgotten evenly, a whole limit in a day (a leaky bucket). So there is no night at which a
limit begins anew, one row says all of it, and in any time T at most limit × (1 + T / 24 h) is issued.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from sqlalchemy import Connection, func, literal_column, or_, select, update
from sqlalchemy.dialects.postgresql import insert

from app import clock
from app.config import settings
from app.db.base import AnyRow
from app.db.together import together
from app.db.transaction import transaction
from app.errors import IssuingLimitReached
from app.events.event import event_of
from app.ids import IssuerId, is_id
from app.issuance import rules
from app.issuance.limit_models import IssuingLimit
from app.issuance.models import Issuer
from app.money import Money

#: Whoever meets a limit again and again is one event for so long.
TOLD_EVERY = timedelta(hours=1)
_KEY = ("subject_id", "currency")


@dataclass(frozen=True, slots=True)
class Limit:
    """What a subject, a client or an issuer, may issue in a day in a currency, and what still counts of what it did.

    Amounts in minor units. `is_own`: an operator has set it; otherwise it is the settings'.
    """

    subject_id: str
    currency: str
    limit_minor: int
    limit_cards: int
    is_own: bool
    used_minor: Decimal
    used_cards: Decimal


def count_card(db: Connection, amount: Money, *, client_id: str, issuer_id: IssuerId, now: datetime) -> None:
    """Counts a card for its client and for its issuer. Who has counted too much must roll back, which uncounts it.

    Both rows are locked until the transaction ends, and all issuing of an issuer in one currency meets at its row: so
    this is what a verb does last. The client's row comes first everywhere, lest two wait for each other.

    Raises IssuingLimitReached.
    """
    by_client, by_issuer = (settings().issuing.of(is_issuer=is_issuer) for is_issuer in (False, True))
    given = (client_id, issuer_id, amount.currency, amount.amount_minor, now, *by_client, *by_issuer)
    for row in db.exec_driver_sql(_COUNT, given):
        is_client = row.subject_id == client_id
        minor, cards = by_client if is_client else by_issuer
        if row.limit_minor is not None:
            minor, cards = row.limit_minor, row.limit_cards
        level = rules.Level(minor, cards, row.used_minor, row.used_cards)
        rules.check_issuing(level, amount, whose="client" if is_client else "issuer", now=now)


#: `$1` client, `$2` issuer, `$3` currency, `$4` amount, `$5` now, then the defaults of clients, and those of issuers.
#: The arithmetic is that of `rules.still_used`. Who waited for a row may come with an earlier time than it has.
_COUNT = """
    INSERT INTO issuing_limit AS kept (subject_id, currency, used_minor, used_cards, as_of)
    VALUES ($1::text, $3::text, $4::bigint, 1, $5::timestamptz), ($2, $3, $4, 1, $5)
    ON CONFLICT (subject_id, currency) DO UPDATE SET (used_minor, used_cards, as_of) = (
        SELECT greatest(0, least(kept.used_minor, day.minor) - day.minor * day.passed_s / 86400) + $4,
            greatest(0, least(kept.used_cards, day.cards) - day.cards * day.passed_s / 86400) + 1,
            greatest(kept.as_of, $5)
        FROM (
            SELECT coalesce(kept.limit_minor, CASE kept.subject_id WHEN $1 THEN $6 ELSE $8 END) AS minor,
                coalesce(kept.limit_cards, CASE kept.subject_id WHEN $1 THEN $7 ELSE $9 END) AS cards,
                greatest(0, extract(epoch FROM $5 - kept.as_of)) AS passed_s
        ) AS day
    )
    RETURNING kept.subject_id, kept.limit_minor, kept.limit_cards, kept.used_minor, kept.used_cards
"""


def record_limited(refused: IssuingLimitReached, amount: Money, *, client_id: str, issuer_id: IssuerId) -> None:
    """Writes down that a limit was met, in a transaction of its own, once in TOLD_EVERY for each limit."""
    subject_id = client_id if refused.facts["limit"] == "client" else issuer_id
    with transaction() as db:
        now, told = clock.now(db), IssuingLimit.told_at
        row = insert(IssuingLimit).values(**_unused(subject_id, amount.currency, now), told_at=now)
        due = or_(told.is_(None), told < now - TOLD_EVERY)
        tell = row.on_conflict_do_update(index_elements=_KEY, set_={"told_at": now}, where=due)
        if db.execute(tell.returning(literal_column("1"))).first() is not None:
            mode = db.scalar(select(Issuer.mode).where(Issuer.id == issuer_id))
            who = {"subject_id": subject_id, "client_id": client_id, "issuer_id": issuer_id, "mode": mode}
            wanted = {"amount_minor": amount.amount_minor, "currency": amount.currency}
            left = {name: refused.facts[name] for name in ("limit", "left_minor", "left_cards")}
            together(db, event_of("issuing_limited", at=now, facts={**who, **wanted, **left}))


def list_limits(db: Connection) -> list[Limit]:
    """The limits of all that ever issued, or have one of their own, as they are used now."""
    now = clock.now(db)
    query = select(*_COLUMNS).order_by(IssuingLimit.subject_id, IssuingLimit.currency)
    return [_limit_of(row, now) for row in db.execute(query)]


def lock_limit(db: Connection, subject_id: str, currency: str) -> Limit:
    """A subject's limit, whether it is its own or not, locked against issuing and against other operators."""
    row = insert(IssuingLimit).values(**_unused(subject_id, currency, clock.now(db)))
    db.execute(row.on_conflict_do_nothing())
    is_it = (IssuingLimit.subject_id == subject_id, IssuingLimit.currency == currency)
    locked = db.execute(select(*_COLUMNS).where(*is_it).with_for_update()).one()
    return _limit_of(locked, clock.now(db))


def set_limit(db: Connection, locked: Limit, *, limit_minor: int, limit_cards: int, now: datetime) -> None:
    """Gives a subject that is locked a limit of its own. What it has issued still counts, up to the new limit."""
    own = {"limit_minor": limit_minor, "limit_cards": limit_cards}
    used = {"used_minor": locked.used_minor, "used_cards": locked.used_cards, "as_of": func.greatest(_AS_OF, now)}
    is_it = (IssuingLimit.subject_id == locked.subject_id, IssuingLimit.currency == locked.currency)
    db.execute(update(IssuingLimit).where(*is_it).values(**own, **used))


_AS_OF = IssuingLimit.as_of
_COLUMNS = (
    IssuingLimit.subject_id,
    IssuingLimit.currency,
    IssuingLimit.limit_minor,
    IssuingLimit.limit_cards,
    IssuingLimit.used_minor,
    IssuingLimit.used_cards,
    IssuingLimit.as_of,
)


def _unused(subject_id: str, currency: str, now: datetime) -> dict[str, object]:
    return {"subject_id": subject_id, "currency": currency, "used_minor": 0, "used_cards": 0, "as_of": now}


def _limit_of(row: AnyRow, now: datetime) -> Limit:
    limit_minor, limit_cards = settings().issuing.of(is_issuer=is_id(row.subject_id, "iss"))
    if is_own := row.limit_minor is not None:
        limit_minor, limit_cards = row.limit_minor, row.limit_cards
    used_minor = rules.still_used(row.used_minor, limit_minor, now - row.as_of)
    used_cards = rules.still_used(row.used_cards, limit_cards, now - row.as_of)
    return Limit(row.subject_id, row.currency, limit_minor, limit_cards, is_own, used_minor, used_cards)
