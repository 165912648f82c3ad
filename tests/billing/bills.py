"""Bills as they stand once they were read, and what matching made of them."""

import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import text

from app import clock
from app.billing import rules
from app.billing.match import match_bill
from app.db.transaction import transaction
from app.ids import StoreId, new_id
from tests.world import rows

#: A line: its payment, amount, and currency.
Line = tuple[str, int, str]

_BILL = text(
    "INSERT INTO bill (id, store_id, mode, reference, period, as_of, source, media_type, content_sha256,"
    " received_by, received_at)"
    " VALUES (:id, :store_id, :mode, :reference, :period, :as_of, 'api', 'text/csv', :sha256, 'test', :received_at)"
)  # fmt: skip
_LINE = text(
    "INSERT INTO bill_line (bill_id, line_no, payment_id, amount_minor, currency)"
    " VALUES (:bill_id, :line_no, :payment_id, :amount_minor, :currency)"
)
_READ = text("UPDATE bill SET state = 'read', read_at = now(), lines = :lines, wrong_lines = 0 WHERE id = :id")


def given_bill(
    store_id: StoreId,
    lines: Sequence[tuple[str, int] | Line],
    *,
    mode: str = "test",
    period: str | None = None,
    received_at: datetime | None = None,
    reference: str | None = None,
) -> str:
    """A bill of this store that was read; of the month in which it is received, unless said otherwise."""
    bill_id = new_id("bill")
    with transaction() as db:
        received_at = received_at or clock.now(db)
        month = rules.period_named(period) if period else rules.period_of(received_at)
        bill = {
            "id": bill_id,
            "store_id": store_id,
            "mode": mode,
            "reference": reference or bill_id,
            "period": month.name,
            "as_of": rules.as_of(month, received_at),
            "sha256": hashlib.sha256(bill_id.encode()).digest(),
            "received_at": received_at,
        }
        db.execute(_BILL, bill)
        for line_no, (payment_id, amount_minor, *currency) in enumerate(lines, 1):
            line = {"payment_id": payment_id, "amount_minor": amount_minor, "currency": (currency or ["GBP"])[0]}
            db.execute(_LINE, {"bill_id": bill_id, "line_no": line_no, **line})
        db.execute(_READ, {"id": bill_id, "lines": len(lines)})
    return bill_id


def matched(bill_id: str) -> Mapping[int, str]:
    """Matches the bill, and says what became of each line; credits stand under 0."""
    assert match_bill(bill_id)
    return outcomes(bill_id)


def outcomes(bill_id: str) -> Mapping[int, str]:
    """`matched`, or the kind of the break, by the line's number; 0 for credits."""
    found = rows(
        "SELECT coalesce(line_no, 0) AS line_no, CASE WHEN line_no IS NULL THEN 'credit' ELSE 'matched' END AS kind"
        " FROM billed WHERE bill_id = :id",
        id=bill_id,
    )
    broken = rows("SELECT line_no, kind FROM bill_break WHERE bill_id = :id", id=bill_id)
    return dict(sorted({row.line_no: row.kind for row in [*found, *broken]}.items()))  # a break says more


def taken(bill_id: str) -> Mapping[str, tuple[int | None, int]]:
    """What a bill has taken up: line and amount by movement."""
    query = "SELECT movement_id, line_no, amount_minor FROM billed WHERE bill_id = :id ORDER BY movement_id"
    return {row.movement_id: (row.line_no, row.amount_minor) for row in rows(query, id=bill_id)}


def breaks(bill_id: str) -> list[Any]:
    """The bill's breaks, by line."""
    return rows(
        "SELECT id, line_no, kind, other_bill_id, expected_minor, issuer_id, state, proposal, claimed_minor, paid_minor"
        " FROM bill_break WHERE bill_id = :id ORDER BY line_no",
        id=bill_id,
    )


def paid_minor(bill_id: str) -> int:
    """What is paid for a bill: what it took up, credits included, less what its closed breaks pay less."""
    query = """
        SELECT (SELECT coalesce(sum(amount_minor), 0) FROM billed WHERE bill_id = :id)
            + (SELECT coalesce(sum(paid_minor - claimed_minor), 0) FROM bill_break WHERE bill_id = :id) AS paid_minor
    """
    return int(rows(query, id=bill_id)[0].paid_minor)
