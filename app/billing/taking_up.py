"""What a bill takes up, line by line, inside the transactions of those who work its breaks off."""

# ruff: noqa: E501, S608  queries are read as tables, and made of constants only

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, text

from app.billing.rules import Facts, PaymentSeen
from app.errors import NotFound
from app.ids import PaymentId, StoreId
from app.money import Money


@dataclass(frozen=True, slots=True)
class LockedBill:
    """A bill that nobody else changes, approves or matches meanwhile, nor any other bill of its store."""

    id: str
    store_id: StoreId
    mode: str
    as_of: datetime
    state: str


def lock_bill(db: Connection, bill_id: str) -> LockedBill:
    """Locks a bill, then its store's bills: comes first in whatever changes what a bill takes up, or ends it.

    Raises NotFound.
    """
    found = db.execute(_LOCK, {"bill_id": bill_id}).one_or_none()
    if found is None:
        raise NotFound(f"There is no bill {bill_id!r}.")
    lock_bills_of(db, found.store_id)
    return LockedBill(**found._mapping)


def lock_bills_of(db: Connection, store_id: StoreId) -> None:
    """The bills of one store take up one after the other; those of two stores never meet, for a payment has one store."""
    db.execute(_LOCK_STORE, {"key": f"bills of {store_id}"})


def facts_of(db: Connection, bill: LockedBill, line_no: int, payment_id: PaymentId | None = None) -> Facts:
    """A line's facts as they stand now, of its own payment, or of another one that it is said to mean.

    The caller holds the bill's lock. Raises NotFound where the bill has no such line.
    """
    values = {"bill_id": bill.id, "line_no": line_no, "payment_id": payment_id, "as_of": bill.as_of}
    found = db.execute(_FACTS, values).one_or_none()
    if found is None:
        raise NotFound(f"There is no line {line_no} in bill {bill.id}.")
    payment = PaymentSeen(
        found.payment_id, found.store_id, found.mode, found.payment_currency, is_voided=found.is_voided
    )
    return Facts(
        line=Money(found.amount_minor, found.currency),
        store_id=bill.store_id,
        mode=bill.mode,
        payment=None if found.store_id is None else payment,
        is_duplicate=payment_id is None and found.is_duplicate,
        free_settled_minor=found.free_settled_minor,
        free_refunded_minor=found.free_refunded_minor,
        has_settled=found.has_settled,
        other_bill_id=found.other_bill_id,
    )


def take_up(db: Connection, bill: LockedBill, line_no: int, payment_id: PaymentId) -> int:
    """Takes up, for this line, all of the payment that counts and that no bill has; returns the sum, in minor units.

    The caller holds the bill's lock. Of a payment of another store it takes up nothing.
    """
    values = {"bill_id": bill.id, "line_no": line_no, "payment_id": payment_id}
    taken = db.execute(_TAKE_UP, {**values, "as_of": bill.as_of, "store_id": bill.store_id})
    return sum(row.amount_minor for row in taken)


def give_back(db: Connection, bill_id: str, line_no: int | None = None) -> int:
    """Gives back what a line has taken up, or else all that the bill has; returns how many movements.

    The caller holds the bill's lock. The database refuses it once the bill is closed.
    """
    if line_no is None:
        return db.execute(_GIVE_ALL_BACK, {"bill_id": bill_id}).rowcount
    return db.execute(_GIVE_BACK, {"bill_id": bill_id, "line_no": line_no}).rowcount


_LOCK = text("SELECT id, store_id, mode, as_of, state FROM bill WHERE id = :bill_id FOR UPDATE")
_LOCK_STORE = text("SELECT pg_advisory_xact_lock(hashtextextended(:key, 0))")

#: All that moved for a payment, whenever.
MOVEMENTS = """
    SELECT id, payment_id, card_id, store_id, amount_minor, at FROM settlement
    UNION ALL SELECT id, payment_id, card_id, store_id, -amount_minor, at FROM refund
"""

#: The bill that has taken a movement `m` up, if any. Asked for each, by the key, and never joined: of a table that was cleared while
#: it was all but empty, as after a matching that was cut off, statistics say that it has one row, and a million that came
#: since, in this very transaction, would be read again for each line. (`OFFSET 0` below has it asked once.)
BILLED_BY = "(SELECT bill_id FROM billed WHERE movement_id = m.id)"

#: What a line `l` (bill_id, line_no, amount_minor, currency) is decided by, where its payment is `payment_id`. What a
#: payment's movements are billed by is found from the movements.
FACTS = f"""
    p.store_id, p.mode, p.currency AS payment_currency, p.card_id,
    coalesce(p.state = 'voided' AND p.ended_at < :as_of, false) AS is_voided,
    m.free_settled_minor, m.free_refunded_minor, m.has_settled, m.other_bill_id
FROM {{lines}}
LEFT JOIN payment AS p ON p.id = l.payment_id
CROSS JOIN LATERAL (
    SELECT coalesce(sum(amount_minor) FILTER (WHERE is_free AND amount_minor > 0), 0)::bigint AS free_settled_minor,
        coalesce(-sum(amount_minor) FILTER (WHERE is_free AND amount_minor < 0), 0)::bigint AS free_refunded_minor,
        coalesce(bool_or(amount_minor > 0 AND at < :as_of), false) AS has_settled,
        max(bill_id) FILTER (WHERE bill_id <> :bill_id) AS other_bill_id
    FROM (
        SELECT m.amount_minor, m.at, m.bill_id, m.bill_id IS NULL AND m.at < :as_of AS is_free
        FROM (SELECT m.*, {BILLED_BY} AS bill_id FROM ({MOVEMENTS}) AS m WHERE m.payment_id = p.id OFFSET 0) AS m
    ) AS movements
) AS m
"""

_LINE = """
(
    SELECT bill_id, line_no, coalesce(CAST(:payment_id AS text) COLLATE "C", payment_id) AS payment_id, amount_minor, currency,
        EXISTS (
            SELECT FROM bill_line AS e
            WHERE e.bill_id = o.bill_id AND e.line_no < o.line_no AND (e.payment_id, e.currency) = (o.payment_id, o.currency)
        ) AS is_duplicate
    FROM bill_line AS o WHERE bill_id = :bill_id AND line_no = :line_no
) AS l
"""

_FACTS = text(f"SELECT l.amount_minor, l.currency, l.payment_id, l.is_duplicate, {FACTS.format(lines=_LINE)}")

#: What is put into `billed`, of movements `m` and their card `c`.
TAKE_UP = """
INSERT INTO billed (
    movement_id, bill_id, line_no, payment_id, card_id, store_id, issuer_id, programme_id, currency, amount_minor
)
"""

_TAKE_UP = text(
    f"""
    {TAKE_UP}
    SELECT m.id, :bill_id, :line_no, m.payment_id, m.card_id, m.store_id, c.issuer_id, c.programme_id, c.currency,
        m.amount_minor
    FROM ({MOVEMENTS}) AS m JOIN card AS c ON c.id = m.card_id
    WHERE m.payment_id = :payment_id AND m.store_id = :store_id AND m.at < :as_of AND {BILLED_BY} IS NULL
    RETURNING amount_minor
    """
)

_GIVE_ALL_BACK = text("DELETE FROM billed WHERE bill_id = :bill_id")
_GIVE_BACK = text("DELETE FROM billed WHERE bill_id = :bill_id AND line_no = :line_no")
