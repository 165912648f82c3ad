"""What no bill has taken up: settlements before a period's end, less refunds, by payment."""

# ruff: noqa: E501, S608  queries are read as tables, and made of constants only

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, text

from app.billing.rules import Period, period_named
from app.billing.taking_up import MOVEMENTS
from app.db.transaction import transaction
from app.ids import PaymentId, StoreId
from app.money import Money

#: So many rows are fetched at once.
FETCHED = 2_000
#: It reads all that a store, or every store, has ever settled.
WITHIN = "SET LOCAL statement_timeout = '10min'; SET LOCAL idle_in_transaction_session_timeout = 0; SET LOCAL jit = off; SET LOCAL work_mem = '64MB'"


@dataclass(frozen=True, slots=True)
class Unbilled:
    """What a store has not billed of a payment. Below zero: goods came back of what it has billed."""

    payment_id: PaymentId
    store_id: StoreId
    mode: str
    currency: str
    settled_minor: int
    refunded_minor: int
    first_at: datetime
    last_settled_at: datetime | None

    @property
    def id(self) -> str:
        """By which pages go on."""
        return self.payment_id

    @property
    def amount(self) -> Money:
        """What a line of it would come to."""
        return Money(self.settled_minor - self.refunded_minor, self.currency)


def list_unbilled(*, store_id: StoreId, period: str, after: str | None, limit: int) -> list[Unbilled]:
    """A page of a store's payments of which something happened before the period's end that no bill has taken up.

    By payment ID, from the one after `after`. Raises ValueError for what names no period, Busy.
    """
    values = {"store_id": store_id, "before": period_named(period).ends_at, "after": after or "", "limit": limit}
    with transaction() as db:
        return [Unbilled(*row) for row in db.execute(_PAGE, values)]


def unbilled(db: Connection, period: Period, *, store_id: StoreId | None = None) -> Iterator[Unbilled]:
    """The same whole, of one store, or of all in the order of their IDs; the transaction stays open meanwhile."""
    db.exec_driver_sql(WITHIN)
    db.execute(_DECLARE, {"before": period.ends_at, "store_id": store_id})
    while rows := db.execute(_FETCH).all():
        yield from (Unbilled(*row) for row in rows)
    db.execute(_CLOSE)


def months_unbilled(db: Connection, before: datetime) -> Sequence[tuple[StoreId, str]]:
    """Stores with the months before this moment in which something was settled that no bill has taken up, or of which
    something was billed refunded, the oldest first; without those that have such a bill of ours already, or a bill
    that is not matched yet."""
    db.exec_driver_sql(WITHIN)
    return [(row.store_id, row.month) for row in db.execute(_MONTHS, {"before": before})]


_FREE = f"""
    SELECT m.payment_id, m.store_id, p.mode, p.currency,
        coalesce(sum(m.amount_minor) FILTER (WHERE m.amount_minor > 0), 0)::bigint AS settled_minor,
        coalesce(-sum(m.amount_minor) FILTER (WHERE m.amount_minor < 0), 0)::bigint AS refunded_minor,
        min(m.at) AS first_at, max(m.at) FILTER (WHERE m.amount_minor > 0) AS last_settled_at
    FROM ({MOVEMENTS}) AS m JOIN payment AS p ON p.id = m.payment_id
    WHERE {{of_store}} AND m.at < :before AND NOT EXISTS (SELECT FROM billed WHERE movement_id = m.id)
    GROUP BY m.payment_id, m.store_id, p.mode, p.currency HAVING sum(m.amount_minor) <> 0
"""
_PAGE = text(
    f"{_FREE.format(of_store='m.store_id = :store_id AND m.payment_id > :after')} ORDER BY m.payment_id LIMIT :limit"
)
_DECLARE = text(
    "DECLARE unbilled NO SCROLL CURSOR FOR "
    f"{_FREE.format(of_store='(CAST(:store_id AS text) IS NULL OR m.store_id = :store_id)')} ORDER BY m.store_id, m.payment_id"
)
_FETCH = text(f"FETCH {FETCHED} FROM unbilled")
_CLOSE = text("CLOSE unbilled")
_MONTHS = text(
    """
    SELECT store_id, month FROM (
        SELECT DISTINCT s.store_id, to_char(s.at AT TIME ZONE 'UTC', 'YYYY-MM') AS month FROM settlement AS s
        WHERE s.at < :before AND NOT EXISTS (SELECT FROM billed WHERE movement_id = s.id)
        UNION
        SELECT r.store_id, to_char(r.at AT TIME ZONE 'UTC', 'YYYY-MM') FROM refund AS r
        WHERE r.at < :before AND NOT EXISTS (SELECT FROM billed WHERE movement_id = r.id)
            AND EXISTS (SELECT FROM settlement AS s JOIN billed AS b ON b.movement_id = s.id WHERE s.payment_id = r.payment_id)
    ) AS settled
    WHERE NOT EXISTS (SELECT FROM bill AS b WHERE b.store_id = settled.store_id AND (b.reference = 'self:' || month OR b.state IN ('received', 'read')))
    ORDER BY month, store_id
    """
)
