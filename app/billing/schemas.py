"""Wire shapes of bills."""

from dataclasses import asdict
from typing import Any

from marshmallow import fields, validate

from app.billing.lines import LONGEST_ORDER_REFERENCE, LONGEST_PAYMENT_ID, MOST_LINES
from app.billing.receive import LONGEST_REFERENCE
from app.billing.remittance import STATES as SENT_STATES
from app.billing.remittance import Advice
from app.billing.rules import KINDS
from app.web.arguments import MoneyShown, PageSchema, Pattern, QueryWhole, Shown, Strict, Text, currency_field

STATES = ("received", "read", "matched", "unreadable", "approved", "rejected")
PERIOD = Pattern("20[0-9]{2}-(0[1-9]|1[0-2])")
_MONTH = {"description": "A month, in UTC", "example": "2026-11"}


class BillTerms(Strict):
    """What a CSV file does not say; JSON says it inside."""

    period = fields.String(validate=PERIOD, load_default=None, metadata=_MONTH)
    reference = Text(
        longest=LONGEST_REFERENCE, load_default=None, metadata={"description": "The store's own name for the bill"}
    )
    currency = fields.String(
        validate=Pattern("[A-Z]{3}"),
        load_default=None,
        metadata={"description": "Of lines of a CSV that name none", "example": "GBP"},
    )


class LineMoneyIn(Strict):
    """Minor units of a currency; below zero where goods came back."""

    amount_minor = fields.Integer(strict=True, required=True, metadata={"example": 3000})
    currency = currency_field()


class BillLineIn(Strict):
    """A payment, and what is billed for it: what was settled, less what was refunded."""

    payment_id = fields.String(required=True, validate=validate.Length(1, LONGEST_PAYMENT_ID))
    amount = fields.Nested(LineMoneyIn, required=True)
    order_reference = fields.String(validate=validate.Length(max=LONGEST_ORDER_REFERENCE), allow_none=True)


class BillIn(Strict):
    """A store's bill for a month. Best in this order, which is read fastest."""

    period = fields.String(required=True, validate=PERIOD, metadata=_MONTH)
    reference = Text(longest=LONGEST_REFERENCE, required=True, metadata={"example": "2026-11"})
    lines = fields.List(
        fields.Nested(BillLineIn),
        required=True,
        validate=validate.Length(max=MOST_LINES),
        metadata={"description": "A line that does not fit is listed with the bill's wrong lines; the rest is taken"},
    )


class BillQuery(PageSchema):
    """Which bills."""

    period = fields.String(validate=PERIOD, load_default=None)
    state = fields.String(validate=validate.OneOf(STATES), load_default=None)


class BillOut(Shown):
    """A bill. Counts are null until it is read, or matched."""

    id = fields.String()
    mode = fields.String()
    reference = fields.String()
    period = fields.String()
    as_of = fields.AwareDateTime(metadata={"description": "What was settled and refunded before counts"})
    state = fields.String(metadata={"enum": list(STATES)})
    unreadable_because = fields.String(allow_none=True)
    received_at = fields.AwareDateTime()
    read_at = fields.AwareDateTime(allow_none=True)
    matched_at = fields.AwareDateTime(allow_none=True)
    closed_at = fields.AwareDateTime(allow_none=True, metadata={"description": "When it was approved or rejected"})
    lines = fields.Integer(allow_none=True)
    wrong_lines = fields.Integer(allow_none=True, metadata={"description": "Lines that could not be read"})
    matched_lines = fields.Integer(allow_none=True)
    broken_lines = fields.Integer(allow_none=True)


class BillPage(Shown):
    """A page of bills."""

    items = fields.List(fields.Nested(BillOut))
    next = fields.String(allow_none=True)


class LineMoneyShown(Shown):
    """Minor units of a currency; it may be below zero."""

    amount_minor = fields.Integer(required=True)
    currency = fields.String(required=True)


class BillSummed(BillOut):
    """A bill with its sums by currency: of its lines, of what they took up, and of credits, which no line names."""

    billed = fields.List(fields.Nested(LineMoneyShown))
    matched = fields.List(fields.Nested(LineMoneyShown))
    credits = fields.List(fields.Nested(LineMoneyShown))
    breaks = fields.Dict(
        keys=fields.String(), values=fields.Integer(), metadata={"description": "How many lines there are of each kind"}
    )


class LinesQuery(Strict):
    """Where in a bill, and how much of it."""

    limit = QueryWhole(validate=validate.Range(min=1, max=1_000), load_default=100)
    after = QueryWhole(load_default=None, metadata={"description": "A line's number"})


class OutcomeQuery(LinesQuery):
    """Which lines: those that match, every break, or one kind of it."""

    state = fields.String(validate=validate.OneOf(["matched", "break", *KINDS]), load_default=None)


class BillLineOut(Shown):
    """A line, and what became of it."""

    line_no = fields.Integer()
    payment_id = fields.String()
    amount = fields.Nested(LineMoneyShown)
    order_reference = fields.String(allow_none=True)
    outcome = fields.String(allow_none=True, metadata={"enum": ["matched", *KINDS, None]})
    other_bill_id = fields.String(allow_none=True, metadata={"description": "The bill that took the payment up before"})
    expected_minor = fields.Integer(
        allow_none=True, metadata={"description": "What the payment came to, where the line says something else"}
    )
    break_state = fields.String(allow_none=True, metadata={"description": "How far the break was worked off"})


class BillLinePage(Shown):
    """A page of lines."""

    items = fields.List(fields.Nested(BillLineOut))
    next = fields.Integer(allow_none=True)


class WrongLineOut(Shown):
    """A line that could not be read: why, and how it begins."""

    line_no = fields.Integer()
    reason = fields.String()
    begins = fields.String()


class WrongLinePage(Shown):
    """A page of lines that could not be read."""

    items = fields.List(fields.Nested(WrongLineOut))
    next = fields.Integer(allow_none=True)


class UnbilledQuery(PageSchema):
    """Up to which month's end."""

    period = fields.String(validate=PERIOD, required=True, metadata=_MONTH)


class UnbilledOut(Shown):
    """What no bill has taken up of a payment."""

    payment_id = fields.String()
    amount = fields.Nested(LineMoneyShown, metadata={"description": "What a line of it would come to"})
    settled_minor = fields.Integer()
    refunded_minor = fields.Integer()
    first_at = fields.DateTime()


class UnbilledPage(Shown):
    """A page of what is unbilled."""

    items = fields.List(fields.Nested(UnbilledOut))
    next = fields.String(allow_none=True)


class RejectIn(Strict):
    """Nothing: the whole bill is withdrawn."""


class RemittanceOut(Shown):
    """A payout that was sent to the store, in one currency, of one issuer's money."""

    id = fields.String()
    end_to_end_id = fields.String(metadata={"description": "What the bank's statement names"})
    mode = fields.String()
    issuer = fields.String()
    amount = MoneyShown()
    state = fields.String(metadata={"enum": list(SENT_STATES)})
    sent_at = fields.AwareDateTime()
    paid_at = fields.AwareDateTime(allow_none=True)
    returned_at = fields.AwareDateTime(allow_none=True)
    returned_because = fields.String(allow_none=True)


class RemittancePage(Shown):
    """A page of remittances."""

    items = fields.List(fields.Nested(RemittanceOut))
    next = fields.String(allow_none=True)


class RemittedBillOut(Shown):
    """A bill's part: amount = billed + credits + differences, in minor units."""

    bill_id = fields.String()
    reference = fields.String()
    period = fields.String()
    lines = fields.Integer()
    billed_minor = fields.Integer()
    credits_minor = fields.Integer()
    differences_minor = fields.Integer()
    amount_minor = fields.Integer()


class RemittedCreditOut(Shown):
    """A refund that no line names, of a payment that was billed before; below zero, in minor units."""

    bill_id = fields.String()
    refund_id = fields.String()
    payment_id = fields.String()
    amount_minor = fields.Integer()


class RemittedBreakOut(Shown):
    """A line that did not match: what it asked for, and what is paid for it, in minor units."""

    bill_id = fields.String()
    line_no = fields.Integer()
    payment_id = fields.String()
    kind = fields.String(metadata={"enum": list(KINDS)})
    state = fields.String()
    line_minor = fields.Integer()
    paid_minor = fields.Integer()
    difference_minor = fields.Integer()


class AdviceOut(RemittanceOut):
    """A remittance advice: the payout, its bills, credits, and the breaks that were closed."""

    bills = fields.List(fields.Nested(RemittedBillOut))
    credits = fields.List(fields.Nested(RemittedCreditOut))
    breaks = fields.List(fields.Nested(RemittedBreakOut))


def advised(advice: Advice) -> dict[str, Any]:
    """An advice as AdviceOut shows it: its head and its parts side by side."""
    head = {**asdict(advice.remittance), "amount": advice.remittance.amount}
    return {**head, "bills": advice.bills, "credits": advice.credits, "breaks": advice.breaks}
