"""Bills as matching leaves them: each line matched, or with a break, by the rules that single lines are decided by."""

from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import Connection, text

from app import clock
from app.billing.breaks import Break, find_break, list_breaks
from app.billing.rules import MATCHED, decide_line
from app.billing.taking_up import facts_of, lock_bill, take_up
from app.db.transaction import transaction
from app.ids import PaymentId, new_id
from tests.world import World, rows

#: A line: the payment that it names, and how much it asks for.
Line = tuple[str, int]


def planted_bill(world: World, *lines: Line, mode: str = "test", currency: str = "GBP", days_ago: int = 0) -> str:
    """A bill of Bookshop with these lines, matched; its breaks were opened so many days ago. Returns its ID."""
    bill_id = new_id("bill")
    with transaction() as db:
        now = clock.now(db)
        values = {"id": bill_id, "store": world.bookshop, "mode": mode, "reference": bill_id, "now": now}
        db.execute(_BILL, {**values, "period": f"{now:%Y-%m}"})
        for number, (payment_id, amount_minor) in enumerate(lines, 1):
            line = {"bill_id": bill_id, "line_no": number, "payment_id": payment_id, "amount": amount_minor}
            db.execute(_LINE, {**line, "currency": currency})
        db.execute(_READ, {"id": bill_id, "lines": len(lines), "now": now})
        bill, broken = lock_bill(db, bill_id), 0
        for number in range(1, len(lines) + 1):
            facts = facts_of(db, bill, number)
            kind = decide_line(facts)
            if kind == MATCHED and facts.payment is not None:
                take_up(db, bill, number, facts.payment.id)
                continue
            broken += 1
            is_ours = facts.payment is not None and facts.payment.store_id == bill.store_id
            issuer_id = world.issuer_id if is_ours else None
            values = {"id": new_id("brk"), "bill_id": bill_id, "line_no": number, "kind": kind, "issuer_id": issuer_id}
            opened = {"opened_at": now - timedelta(days=days_ago), "other": facts.other_bill_id}
            db.execute(_BREAK, {**values, **opened, "expected": facts.expected_minor if is_ours else None})
        db.execute(_MATCHED, {"id": bill_id, "broken": broken, "now": now})
    return bill_id


def breaks_of(bill_id: str) -> list[Break]:
    """In the order of the lines."""
    return sorted(list_breaks(bill_id=bill_id, limit=1_000), key=lambda each: each.line_no)


def break_of(bill_id: str) -> Break:
    """The only one."""
    [found] = breaks_of(bill_id)
    return found


def now_is(found: Break) -> Break:
    """The same break as it stands now."""
    with transaction() as db:
        return find_break(db, found.id, mode=None)


def settled(world: World, amount_minor: int = 3_000, *, of: int = 5_000) -> PaymentId:
    """A payment of Bookshop's that was settled for good."""
    payment_id = world.payment(of).payment.id
    world.settle(payment_id, amount_minor)
    return payment_id


def close_bill(bill_id: str, state: str) -> None:
    """As whoever approves or rejects it leaves the bill's row."""
    with transaction() as db:
        lock_bill(db, bill_id)
        db.execute(_CLOSE, {"id": bill_id, "state": state, "now": clock.now(db)})


def billed_minor(bill_id: str) -> int:
    """What the bill has taken up."""
    return int(rows("SELECT coalesce(sum(amount_minor), 0) AS of FROM billed WHERE bill_id = :id", id=bill_id)[0].of)


def comes_to_minor(bill_id: str) -> int:
    """What is paid for a bill: what it took up, and what its closed breaks pay more or less than that."""
    query = "SELECT coalesce(sum(paid_minor - claimed_minor), 0) AS of FROM bill_break WHERE bill_id = :id"
    return billed_minor(bill_id) + int(rows(query, id=bill_id)[0].of)


def execute(db: Connection, statements: Sequence[str]) -> None:
    for statement in statements:
        db.execute(text(statement))


_BILL = text(
    "INSERT INTO bill (id, store_id, mode, reference, period, as_of, source, media_type, content_sha256, received_by,"
    " received_at) VALUES (:id, :store, :mode, :reference, :period, :now, 'api', 'text/csv', sha256('x'), 'test', :now)"
)
_LINE = text(
    "INSERT INTO bill_line (bill_id, line_no, payment_id, amount_minor, currency)"
    " VALUES (:bill_id, :line_no, :payment_id, :amount, :currency)"
)
_READ = text("UPDATE bill SET state = 'read', lines = :lines, wrong_lines = 0, read_at = :now WHERE id = :id")
_BREAK = text(
    "INSERT INTO bill_break (id, bill_id, line_no, kind, issuer_id, opened_at, other_bill_id, expected_minor)"
    " VALUES (:id, :bill_id, :line_no, :kind, :issuer_id, :opened_at, :other, :expected)"
)
_MATCHED = text(
    "UPDATE bill SET state = 'matched', matched_lines = lines - :broken, broken_lines = :broken, matched_at = :now"
    " WHERE id = :id"
)
_CLOSE = text("UPDATE bill SET state = :state, closed_by = 'test', closed_at = :now WHERE id = :id")
