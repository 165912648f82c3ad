"""What must lie on an issuer's account: what its cards are worth, what it owes stores, and what is on its way to them."""

# ruff: noqa: E501, S608  queries are read as tables, and nothing of a caller's is put into one

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta

from sqlalchemy import Connection

from app.reports.asked import Asked
from app.reports.bank_balance import end_of
from app.reports.posting import POSTED

#: What each kind of movement adds to: money on cards, owed to stores, and on its way to them.
EFFECTS: Mapping[str, tuple[int, int, int]] = {
    "issue": (1, 0, 0),
    "refund": (1, -1, 0),
    "settle": (-1, 1, 0),
    "lapse": (-1, 0, 0),
    "goodwill": (0, 1, 0),
    "send": (0, -1, 1),
    "arrive": (0, 0, -1),
    "return": (0, 1, -1),
    "return_of_paid": (0, 1, 0),
}


@dataclass(frozen=True, slots=True)
class Position:
    """Of one issuer and currency at one moment, in minor units."""

    issuer_id: str
    currency: str
    liability_minor: int = 0
    in_transit_minor: int = 0
    #: What came into the issuer's funding, what was moved between it and its other accounts, and what was issued of it.
    funded_minor: int = 0
    adjusted_minor: int = 0
    issued_minor: int = 0
    #: What is owed to each store; below zero it owes us, for refunds beyond what it had yet to be paid.
    owed_by_store: Mapping[str, int] = field(default_factory=dict)

    @property
    def owed_minor(self) -> int:
        """What is owed to stores. What others owe us lessens none of it: it is not on the account."""
        return sum(max(0, minor) for minor in self.owed_by_store.values())

    @property
    def receivable_minor(self) -> int:
        """What stores owe us."""
        return sum(max(0, -minor) for minor in self.owed_by_store.values())

    @property
    def required_minor(self) -> int:
        """What must be on the account."""
        return self.liability_minor + self.owed_minor + self.in_transit_minor

    @property
    def available_minor(self) -> int:
        """What may still be issued without more money."""
        return self.funded_minor + self.adjusted_minor - self.issued_minor

    def after(self, kind: str, minor: int, store_id: str | None = None) -> "Position":
        """The position once so much moved, to or from what is owed to a store where there is one."""
        if kind in ("fund", "adjust"):
            name = "funded_minor" if kind == "fund" else "adjusted_minor"
            return replace(self, **{name: getattr(self, name) + minor})
        liability, owed, in_transit = EFFECTS[kind]
        by_store = self.owed_by_store
        if store_id is not None:
            by_store = {**by_store, store_id: by_store.get(store_id, 0) + owed * minor}
        return replace(
            self,
            liability_minor=self.liability_minor + liability * minor,
            in_transit_minor=self.in_transit_minor + in_transit * minor,
            issued_minor=self.issued_minor + (minor if kind == "issue" else 0),
            owed_by_store=by_store,
        )


@dataclass(frozen=True, slots=True)
class Kept:
    """What the bank says lay on the account at the end of a day, and who said so."""

    day: date
    balance_minor: int
    source: str


#: So old a balance still says something: what the bank says of a Friday stands until Monday.
MOST_AGE_DAYS = 3


@dataclass(frozen=True, slots=True)
class Day:
    """The end of a day: the position, and the newest balance that the bank gave by then."""

    day: date
    position: Position
    kept: Kept | None

    @property
    def short_minor(self) -> int:
        """By how much too little was there; 0 where it was enough, or nobody knows."""
        return 0 if self.kept is None else max(0, self.position.required_minor - self.kept.balance_minor)

    @property
    def age_days(self) -> int | None:
        return None if self.kept is None else (self.day - self.kept.day).days

    def is_unknown(self, mode: str) -> bool:
        """Whether something must be there and no balance, or an old one, says that it is.

        Test money lies on no account, so none is missing as long as nobody enters one.
        """
        if not self.position.required_minor:
            return False
        return mode == "live" if self.age_days is None else self.age_days > MOST_AGE_DAYS


def positions_at(db: Connection, asked: Asked, moment: datetime) -> list[Position]:
    """The positions before a moment, by issuer and currency."""
    return list(_summed(db, asked, moment, moment)[0].values())


def days_of(db: Connection, asked: Asked, first: date, last: date) -> list[Day]:
    """Each day from the first to the last, both included, of each issuer and currency that has money on it."""
    start = end_of(first - timedelta(days=1))
    position_of, moved = _summed(db, asked, start, end_of(last))
    kept = _kept(db, asked, last)
    days = []
    for number in range((last - first).days + 1):
        day = first + timedelta(days=number)
        for key, kind, minor, store_id in moved.get(day, ()):
            position_of[key] = position_of.get(key, Position(*key)).after(kind, minor, store_id)
        for key in sorted(position_of.keys() | kept.keys()):
            known = [each for each in kept.get(key, ()) if each.day <= day]
            position = position_of.get(key, Position(*key))
            if known or position.required_minor:
                days.append(Day(day, position, known[-1] if known else None))
    return days


Key = tuple[str, str]


def _summed(
    db: Connection, asked: Asked, start: datetime, end: datetime
) -> tuple[dict[Key, Position], Mapping[date, list[tuple[Key, str, int, str | None]]]]:
    """The positions at the start, and what moved on each day from then on."""
    positions: dict[Key, Position] = {}
    moved: dict[date, list[tuple[Key, str, int, str | None]]] = defaultdict(list)
    for row in db.exec_driver_sql(_MOVED, (asked.mode, asked.issuer_id, start, end)):
        key = (row.issuer_id, row.currency)
        if row.day is None:
            positions[key] = positions.get(key, Position(*key)).after(row.kind, row.minor, row.store_id)
        else:
            moved[row.day.date()].append((key, row.kind, row.minor, row.store_id))
    return positions, moved


def _kept(db: Connection, asked: Asked, last: date) -> Mapping[Key, list[Kept]]:
    """The balances by day, of each day the one that was recorded last."""
    kept: dict[Key, list[Kept]] = defaultdict(list)
    for row in db.exec_driver_sql(_BALANCES, (asked.mode, asked.issuer_id, last)):
        kept[row.issuer_id, row.currency].append(Kept(row.day, row.balance_minor, row.source))
    return kept


def newest_kept(db: Connection, asked: Asked, last: date) -> Mapping[Key, Kept]:
    """The newest balance by the end of a day."""
    return {key: each[-1] for key, each in _kept(db, asked, last).items()}


def names_of(db: Connection, asked: Asked, issuer_ids: Iterable[str]) -> Mapping[str, str]:
    """The issuers' names."""
    rows = db.exec_driver_sql(
        "SELECT id, name FROM issuer WHERE mode = $1 AND id = ANY($2)", (asked.mode, list(issuer_ids))
    )
    return {row.id: row.name for row in rows}


# `day` is null for what lies before the first. A payout's issuer is the payout's; every other account is the issuer's own.
_MOVED = f"""
SELECT issuer_id, currency, kind, store_id, day, sum(minor)::bigint AS minor FROM (
    SELECT coalesce(c.issuer_id, p.issuer_id, split_part(t.debit_id, ':', 1)) AS issuer_id, t.currency,
        CASE WHEN t.kind = 'return' AND split_part(t.debit_id, ':', 2) = 'paid' THEN 'return_of_paid' ELSE t.kind END AS kind,
        CASE 'owed' WHEN split_part(t.credit_id, ':', 2) THEN split_part(t.credit_id, ':', 1) WHEN split_part(t.debit_id, ':', 2) THEN split_part(t.debit_id, ':', 1) END AS store_id,
        CASE WHEN t.posted >= $3 THEN date_trunc('day', t.posted) END AS day,
        CASE WHEN t.kind = 'adjust' AND split_part(t.debit_id, ':', 2) = 'funding' THEN -t.amount_minor ELSE t.amount_minor END AS minor
    FROM (SELECT t.kind, t.card_id, t.document_id, t.debit_id, t.credit_id, t.currency, t.amount_minor, {POSTED} AS posted FROM transfer t WHERE t.mode = $1) AS t
    LEFT JOIN card c ON c.id = t.card_id
    LEFT JOIN payout p ON p.id = t.document_id
    WHERE t.posted < $4
) AS moved
WHERE $2::text IS NULL OR issuer_id = $2
GROUP BY issuer_id, currency, kind, store_id, day
"""

_BALANCES = """
SELECT DISTINCT ON (issuer_id, currency, day) issuer_id, currency, day, balance_minor, source
FROM bank_balance WHERE mode = $1 AND ($2::text IS NULL OR issuer_id = $2) AND day <= $3
ORDER BY issuer_id, currency, day, recorded_at DESC, id DESC
"""
