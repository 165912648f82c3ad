"""Remittance advices: what a store is told of a payout, so that it can match it with its bills."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, select, text

from app.billing.csv_text import Amount, csv_of
from app.billing.pay_models import PayoutRow
from app.db.transaction import transaction
from app.errors import NotFound
from app.ids import PaymentId, StoreId
from app.issuance.models import Issuer
from app.money import Money
from app.redemption.models import Store

#: What a store is told of: payouts that were sent, whatever the bank said of them later.
STATES = ("in_transit", "paid", "returned")


@dataclass(frozen=True, slots=True)
class RemittedBill:
    """A bill's part of a payout: amount = billed (by `lines` lines) + credits + differences, in minor units."""

    bill_id: str
    reference: str
    period: str
    lines: int
    billed_minor: int
    credits_minor: int
    differences_minor: int
    amount_minor: int


@dataclass(frozen=True, slots=True)
class RemittedCredit:
    """A refund that no line names, of a payment that was billed before; below zero."""

    bill_id: str
    refund_id: str
    payment_id: PaymentId
    amount_minor: int


@dataclass(frozen=True, slots=True)
class RemittedBreak:
    """A line that did not match: what it asked for, and what is paid for it (paid = line + difference)."""

    bill_id: str
    line_no: int
    payment_id: PaymentId
    kind: str
    state: str
    line_minor: int
    paid_minor: int
    difference_minor: int


@dataclass(frozen=True, slots=True)
class Remittance:
    """One payout's head; `amount_minor`, in minor units of `currency`, is the sum of its bills."""

    id: str
    end_to_end_id: str
    mode: str
    store_id: StoreId
    store: str
    issuer: str
    currency: str
    amount_minor: int
    state: str
    sent_at: datetime
    paid_at: datetime | None
    returned_at: datetime | None
    returned_because: str | None

    @property
    def amount(self) -> Money:
        return Money(self.amount_minor, self.currency)


@dataclass(frozen=True, slots=True)
class Advice:
    """The whole of it: head, bills, credits, and breaks that were closed."""

    remittance: Remittance
    bills: tuple[RemittedBill, ...]
    credits: tuple[RemittedCredit, ...]
    breaks: tuple[RemittedBreak, ...]


def list_remittances(*, store_id: StoreId, after: str | None, limit: int) -> list[Remittance]:
    """What was sent to this store, the oldest first, at most `limit`, from the one after `after`. Raises Busy."""
    query = _HEAD.where(PayoutRow.store_id == store_id).order_by(PayoutRow.id).limit(limit)
    if after is not None:
        query = query.where(PayoutRow.id > after)
    with transaction() as db:
        return [Remittance(**row._mapping) for row in db.execute(query)]


def read_advice(payout_id: str, *, store_id: StoreId | None = None) -> Advice:
    """The advice of one payout that was sent (to this store). Raises NotFound, Busy."""
    query = _HEAD.where(PayoutRow.id == payout_id)
    if store_id is not None:
        query = query.where(PayoutRow.store_id == store_id)
    with transaction() as db:
        row = db.execute(query).first()
        if row is None:
            raise NotFound("There is no such remittance.")
        return _advice(db, Remittance(**row._mapping))


def advice_csv(advice: Advice) -> bytes:
    """The advice as CSV: a row for each bill, credit and break, and one for the sum, which is that of the bills."""
    currency = advice.remittance.currency

    def decimal(amount_minor: int) -> Amount:
        return Amount(Money(amount_minor, currency).decimal)

    references = {bill.bill_id: (bill.reference, bill.period) for bill in advice.bills}
    rows: list[tuple[str | int | None, ...]] = []
    for bill in advice.bills:
        rows.append(("bill", bill.bill_id, bill.reference, bill.period, None, None, None, decimal(bill.amount_minor)))
    for one in advice.credits:
        whose = (one.bill_id, *references[one.bill_id])
        rows.append(("credit", *whose, None, one.payment_id, one.refund_id, decimal(one.amount_minor)))
    for each in advice.breaks:
        whose, what = (each.bill_id, *references[each.bill_id]), f"{each.kind}: {each.state}"
        rows.append(("difference", *whose, each.line_no, each.payment_id, what, decimal(each.difference_minor)))
    end = advice.remittance.end_to_end_id
    rows.append(("sum", None, None, None, None, None, end, decimal(advice.remittance.amount_minor)))
    return csv_of(CSV_HEAD, ((*row, currency) for row in rows))


CSV_HEAD = ("kind", "bill_id", "reference", "period", "line_no", "payment_id", "what", "amount", "currency")


def _advice(db: Connection, head: Remittance) -> Advice:
    of = {"payout_id": head.id}
    return Advice(
        head,
        tuple(RemittedBill(**row._mapping) for row in db.execute(_BILLS, of)),
        tuple(RemittedCredit(**row._mapping) for row in db.execute(_CREDITS, of)),
        tuple(RemittedBreak(**row._mapping) for row in db.execute(_BREAKS, of)),
    )


_HEAD = (
    select(
        PayoutRow.id,
        PayoutRow.end_to_end_id,
        PayoutRow.mode,
        PayoutRow.store_id,
        Store.name.label("store"),
        Issuer.name.label("issuer"),
        PayoutRow.currency,
        PayoutRow.amount_minor,
        PayoutRow.state,
        PayoutRow.sent_at,
        PayoutRow.paid_at,
        PayoutRow.returned_at,
        PayoutRow.returned_because,
    )
    .join(Store, Store.id == PayoutRow.store_id)
    .join(Issuer, Issuer.id == PayoutRow.issuer_id)
    .where(PayoutRow.state.in_(STATES))
)
#: Differences are against what the bill took up; a break's is against what its line asked for.
_BILLS = text("""
    SELECT b.id AS bill_id, b.reference, b.period, coalesce(t.lines, 0) AS lines,
           coalesce(t.billed_minor, 0)::bigint AS billed_minor, coalesce(t.credits_minor, 0)::bigint AS credits_minor,
           (p.amount_minor - coalesce(t.billed_minor, 0) - coalesce(t.credits_minor, 0))::bigint AS differences_minor,
           p.amount_minor
    FROM payout_payable l JOIN payable p ON p.id = l.payable_id JOIN bill b ON b.id = p.bill_id
    LEFT JOIN LATERAL (
        SELECT count(DISTINCT line_no) AS lines, sum(amount_minor) FILTER (WHERE line_no IS NOT NULL) AS billed_minor,
               sum(amount_minor) FILTER (WHERE line_no IS NULL) AS credits_minor
        FROM billed WHERE (bill_id, issuer_id, currency) = (p.bill_id, p.issuer_id, p.currency)
    ) AS t ON true
    WHERE l.payout_id = :payout_id ORDER BY p.id
""")
_CREDITS = text("""
    SELECT t.bill_id, t.movement_id AS refund_id, t.payment_id, t.amount_minor
    FROM payout_payable l JOIN payable p ON p.id = l.payable_id
    JOIN billed t ON (t.bill_id, t.issuer_id, t.currency) = (p.bill_id, p.issuer_id, p.currency)
    WHERE l.payout_id = :payout_id AND t.line_no IS NULL ORDER BY t.bill_id, t.movement_id
""")
_BREAKS = text("""
    SELECT k.bill_id, k.line_no, n.payment_id, k.kind, k.state, n.amount_minor AS line_minor,
           coalesce(k.paid_minor, 0) AS paid_minor, coalesce(k.paid_minor, 0) - n.amount_minor AS difference_minor
    FROM payout_payable l JOIN payable p ON p.id = l.payable_id
    JOIN bill_break k ON k.bill_id = p.bill_id AND k.issuer_id = p.issuer_id
    JOIN bill_line n ON (n.bill_id, n.line_no, n.currency) = (k.bill_id, k.line_no, p.currency)
    WHERE l.payout_id = :payout_id ORDER BY k.bill_id, k.line_no
""")
