"""Bills with breaks to work off, and what they come to."""

from datetime import timedelta

from sqlalchemy import text

from app import clock
from app.billing.breaks import Break, find_break, list_breaks
from app.billing.taking_up import lock_bill
from app.db.transaction import transaction
from app.ids import PaymentId
from tests.billing.bills import given_bill, matched
from tests.world import World, rows


def broken_bill(world: World, *lines: tuple[str, int], mode: str = "test", days_ago: int = 0) -> str:
    """A bill of Bookshop with these lines, each a payment and what is asked for it; its breaks are so old."""
    bill_id = given_bill(world.bookshop, lines, mode=mode)
    with clock.ahead(timedelta(days=-days_ago)):
        matched(bill_id)
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
    close = text("UPDATE bill SET state = :state, closed_by = 'test', closed_at = :now WHERE id = :id")
    with transaction() as db:
        lock_bill(db, bill_id)
        db.execute(close, {"id": bill_id, "state": state, "now": clock.now(db)})


def billed_minor(bill_id: str) -> int:
    """What the bill has taken up."""
    return int(rows("SELECT coalesce(sum(amount_minor), 0) AS of FROM billed WHERE bill_id = :id", id=bill_id)[0].of)
