"""Bills that were matched, of payments that were settled: what a test of paying begins with."""

from collections.abc import Mapping, Sequence

from sqlalchemy import text

from app.billing.match import match_bill
from app.db.transaction import transaction
from app.ids import PaymentId, StoreId, new_id
from app.redemption.settle import settle_payment
from tests.billing.bills import given_bill
from tests.world import World, gbp, reference, rows

UNBILLED = """
SELECT settled_minor - refunded_minor - (
    SELECT coalesce(sum(amount_minor), 0) FROM billed WHERE payment_id = p.id
) AS left_minor FROM payment p WHERE id = :id
"""
WRITTEN_OFF = """
UPDATE bill_break SET state = 'written_off', issuer_id = :issuer_id, proposal = 'write_off', proposal_id = :id,
    reason = 'a kindness', would_claim_minor = 0, would_pay_minor = l.amount_minor,
    proposed_by = 'operator:ann', proposed_at = now(), approved_by = 'operator:bob', approved_at = now(),
    closed_at = now(), claimed_minor = 0, paid_minor = l.amount_minor
FROM bill_line l
WHERE (l.bill_id, l.line_no) = (bill_break.bill_id, bill_break.line_no)
    AND l.bill_id = :bill_id AND l.payment_id = :payment
"""


def settled(world: World, amount_minor: int = 2_000, *, store: StoreId | None = None) -> PaymentId:
    """A payment that is settled whole."""
    store_id = store or world.bookshop
    payment_id = world.payment(amount_minor, store=store_id).payment.id
    settle_payment(payment_id, gbp(amount_minor), store_id=store_id, reference=reference(store_id))
    return payment_id


def bill_of(
    world: World,
    payments: Sequence[PaymentId],
    *,
    store: StoreId | None = None,
    written_off: Mapping[str, int] | None = None,
    unknown: Mapping[str, int] | None = None,
) -> str:
    """A matched bill that takes up all of these payments that no bill has, and credits as matching finds them.

    `written_off`: lines of payments that nobody knows, and what is paid for them; `unknown`: such that stay open.
    """
    lines = [(str(one), int(rows(UNBILLED, id=one)[0].left_minor)) for one in payments]
    written = dict(written_off or {})
    bill_id = given_bill(store or world.bookshop, [*lines, *written.items(), *(unknown or {}).items()])
    assert match_bill(bill_id)
    with transaction() as db:
        for payment in written:
            values = {"id": new_id("prp"), "bill_id": bill_id, "payment": payment, "issuer_id": world.issuer_id}
            assert db.execute(text(WRITTEN_OFF), values).rowcount == 1
    return bill_id
