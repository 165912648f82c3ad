"""Bills as matching leaves them, made by hand: what a test of paying begins with."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, text

from app.db.transaction import transaction
from app.ids import PaymentId, StoreId, new_id
from app.redemption.settle import settle_payment
from tests.world import World, gbp, reference

BILL = """
INSERT INTO bill (
    id, store_id, mode, reference, period, as_of, source, media_type, content_sha256, received_by, received_at
)
SELECT :id, id, mode, :id, to_char(now(), 'YYYY-MM'), now(), 'file', 'text/csv', :digest, 'operator:ann', now()
FROM store WHERE id = :store_id
"""
LINE = """
INSERT INTO bill_line (bill_id, line_no, payment_id, amount_minor, currency)
VALUES (:bill_id, :no, :payment, :minor, :currency)
"""
BILLED = """
INSERT INTO billed (
    movement_id, bill_id, line_no, payment_id, card_id, store_id, issuer_id, programme_id, currency, amount_minor
)
SELECT m.id, :bill_id, :no, p.id, p.card_id, p.store_id, c.issuer_id, c.programme_id, p.currency, m.amount_minor
FROM (
    SELECT id, payment_id, amount_minor FROM settlement WHERE :has_line
    UNION ALL SELECT id, payment_id, -amount_minor FROM refund
) AS m JOIN payment p ON p.id = m.payment_id JOIN card c ON c.id = p.card_id
WHERE p.id = :payment AND NOT EXISTS (SELECT FROM billed WHERE movement_id = m.id)
RETURNING amount_minor
"""
MATCHED = """
UPDATE bill SET state = 'matched', lines = :lines, wrong_lines = 0, matched_lines = :lines - :broken,
    broken_lines = :broken, read_at = now(), matched_at = now()
WHERE id = :id
"""
BREAK = """
INSERT INTO bill_break (id, bill_id, line_no, kind, issuer_id, opened_at)
VALUES (:id, :bill_id, :no, 'unknown_payment', :issuer_id, now())
"""
CLOSED = """
UPDATE bill_break SET state = :state, proposal = :proposal, reason = 'so decided', proposed_by = 'operator:ann',
    proposed_at = now(), approved_by = 'operator:bob', approved_at = now(),
    closed_at = now(), claimed_minor = :claimed, paid_minor = :paid
WHERE id = :id
"""


def bill_of(
    world: World,
    payments: Sequence[PaymentId],
    *,
    store: StoreId | None = None,
    credits: Sequence[PaymentId] = (),
    written_off: Mapping[str, int] | None = None,
    open_breaks: int = 0,
) -> str:
    """A matched bill that takes up all of these payments that no bill has, and refunds of `credits`.

    `written_off`: lines of unknown payments, each with what is paid for it although nothing is owed.
    """
    bill_id, store_id = new_id("bill"), store or world.bookshop
    written = dict(written_off or {})
    lines = len(payments) + len(written) + open_breaks
    with transaction() as db:
        _run(db, BILL, id=bill_id, store_id=store_id, digest=hashlib.sha256(bill_id.encode()).digest())
        for no, payment in enumerate(payments, 1):
            _run(db, LINE, bill_id=bill_id, no=no, payment=payment, minor=1, currency="GBP")
            _run(db, BILLED, bill_id=bill_id, no=no, payment=payment, has_line=True)
        for payment in credits:
            _run(db, BILLED, bill_id=bill_id, no=None, payment=payment, has_line=False)
        for no, (unknown, minor) in enumerate(written.items(), len(payments) + 1):
            _run(db, LINE, bill_id=bill_id, no=no, payment=unknown, minor=minor, currency="GBP")
            break_id = new_id("brk")
            _run(db, BREAK, id=break_id, bill_id=bill_id, no=no, issuer_id=world.issuer_id)
            _run(db, CLOSED, id=break_id, state="written_off", proposal="write_off", claimed=0, paid=minor)
        for no in range(lines - open_breaks + 1, lines + 1):
            _run(db, LINE, bill_id=bill_id, no=no, payment="pay_x", minor=1, currency="GBP")
            _run(db, BREAK, id=new_id("brk"), bill_id=bill_id, no=no, issuer_id=None)
        _run(db, MATCHED, id=bill_id, lines=lines, broken=len(written) + open_breaks)
    return bill_id


def _run(db: Connection, statement: str, **values: Any) -> None:
    db.execute(text(statement), values)


def settled(world: World, amount_minor: int = 2_000, *, store: StoreId | None = None) -> PaymentId:
    """A payment that is settled whole."""
    store_id = store or world.bookshop
    payment_id = world.payment(amount_minor, store=store_id).payment.id
    settle_payment(payment_id, gbp(amount_minor), store_id=store_id, reference=reference(store_id))
    return payment_id
