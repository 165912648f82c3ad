"""Wire shapes of breaks, as finance works them off."""

from typing import Any

from marshmallow import fields, validate

from app.billing.break_notes import LONGEST_NOTE
from app.billing.break_rules import PROPOSALS, STATES
from app.billing.breaks import Attachment, Break, Note
from app.billing.rules import KINDS
from app.billing.schemas import BillOut, BillQuery
from app.billing.work_break import LONGEST_NAME, LONGEST_REASON
from app.web.arguments import Identifier, PageSchema, QueryWhole, Shown, SignedMoney, Strict, Text

#: A break is looked for by its age up to so many days.
MOST_DAYS = 36_500


class BreakQuery(PageSchema):
    """Which breaks."""

    state = fields.String(validate=validate.OneOf(STATES), load_default=None)
    closed = fields.String(validate=validate.OneOf(["yes", "no"]), load_default=None)
    kind = fields.String(validate=validate.OneOf(KINDS), load_default=None)
    bill = Identifier("bill", load_default=None)
    store = Identifier("str", load_default=None)
    assignee = Text(longest=LONGEST_NAME, load_default=None)
    older_than_days = QueryWhole(validate=validate.Range(min=0, max=MOST_DAYS), load_default=None)


class FinanceBillQuery(BillQuery):
    """Which bills, of all stores."""

    store = Identifier("str", load_default=None)


class FinanceBillOut(BillOut):
    """A bill, and whose it is."""

    store_id = fields.String()


class FinanceBillPage(Shown):
    """A page of bills."""

    items = fields.List(fields.Nested(FinanceBillOut))
    next = fields.String(allow_none=True)


def asked_by(query: dict[str, Any]) -> dict[str, Any]:
    """The query as `list_breaks` and `list_bills` take it."""
    names = {"bill": "bill_id", "store": "store_id"}
    asked = {names.get(name, name): value for name, value in query.items()}
    if asked.get("closed") is not None:
        asked["closed"] = asked["closed"] == "yes"
    return asked


class AssignIn(Strict):
    """Who looks after a break from now on."""

    assignee = Text(longest=LONGEST_NAME, required=True)


class ProposeIn(Strict):
    """What should become of a break."""

    proposal = fields.String(required=True, validate=validate.OneOf(PROPOSALS))
    reason = Text(longest=LONGEST_REASON, required=True)
    payment_id = Identifier("pay", load_default=None)
    issuer_id = Identifier("iss", load_default=None)


class ApproveIn(Strict):
    """The proposal that whoever approves has looked at."""

    proposal_id = Identifier("prop", required=True)


class DeclineIn(Strict):
    """The proposal, and why it is not approved."""

    proposal_id = Identifier("prop", required=True)
    reason = Text(longest=LONGEST_REASON, required=True)


class ReopenIn(Strict):
    """Why a closed break is opened again."""

    reason = Text(longest=LONGEST_REASON, required=True)


class NoteIn(Strict):
    """What somebody says about a break; several lines are fine."""

    note = Text(longest=LONGEST_NOTE, lines=True, required=True)


class BreakBill(Shown):
    """The bill of a break."""

    id = fields.String()
    reference = fields.String(metadata={"description": "the store's own"})
    period = fields.String(metadata={"example": "2026-11"})
    state = fields.String()


class BreakStore(Shown):
    """The store of a break."""

    id = fields.String()
    name = fields.String()


class BreakLine(Shown):
    """The line that did not match."""

    number = fields.Integer()
    payment_id = fields.String(metadata={"description": "as the line has it"})
    amount = fields.Nested(SignedMoney)
    order_reference = fields.String(allow_none=True)


class ProposalOut(Shown):
    """What is proposed, or was approved. One of `tolerance` is the service's own, and has no ID."""

    id = fields.String(allow_none=True)
    proposal = fields.String(metadata={"enum": [*PROPOSALS, "tolerance"]})
    payment_id = fields.String(allow_none=True)
    issuer_id = fields.String(allow_none=True)
    takes_up = fields.Nested(SignedMoney, allow_none=True, metadata={"description": "what the line would take up"})
    pays = fields.Nested(SignedMoney, allow_none=True, metadata={"description": "what would be paid for it"})
    proposed_by = fields.String()
    proposed_at = fields.AwareDateTime()


class BreakOut(Shown):
    """A line that did not match, and what becomes of it."""

    id = fields.String()
    mode = fields.String(metadata={"enum": ["live", "test"]})
    bill = fields.Nested(BreakBill)
    store = fields.Nested(BreakStore)
    line = fields.Nested(BreakLine)
    kind = fields.String(metadata={"enum": list(KINDS)})
    expected = fields.Nested(SignedMoney, allow_none=True, metadata={"description": "what its payment came to"})
    other_bill_id = fields.String(allow_none=True, metadata={"description": "the bill that has taken it up already"})
    issuer_id = fields.String(allow_none=True, metadata={"description": "who pays, once it is closed"})
    opened_at = fields.AwareDateTime()
    age_days = fields.Integer(metadata={"minimum": 0, "description": "whole days since it was opened"})
    state = fields.String(metadata={"enum": list(STATES)})
    assignee = fields.String(allow_none=True)
    proposal = fields.Nested(ProposalOut, allow_none=True)
    reason = fields.String(allow_none=True, metadata={"description": "of what was done last"})
    approved_by = fields.String(allow_none=True)
    closed_at = fields.AwareDateTime(allow_none=True)
    taken_up = fields.Nested(SignedMoney, allow_none=True)
    paid = fields.Nested(SignedMoney, allow_none=True)


class NoteOut(Shown):
    """What somebody said about a break."""

    id = fields.String()
    note = fields.String()
    noted_by = fields.String()
    at = fields.AwareDateTime()


class AttachmentOut(Shown):
    """A file that was added to a break, without its content."""

    id = fields.String()
    name = fields.String()
    media_type = fields.String()
    size = fields.Integer(metadata={"description": "in bytes"})
    sha256 = fields.String()
    attached_by = fields.String()
    at = fields.AwareDateTime()


class BreakRead(BreakOut):
    """A break with all that was said about it and added to it."""

    notes = fields.List(fields.Nested(NoteOut))
    attachments = fields.List(fields.Nested(AttachmentOut))


class BreakPage(Shown):
    """A page of breaks."""

    items = fields.List(fields.Nested(BreakOut))
    next = fields.String(allow_none=True)


def shown(found: Break) -> dict[str, Any]:
    """A break as its shape has it."""

    def money(amount_minor: int | None) -> dict[str, Any] | None:
        return None if amount_minor is None else {"amount_minor": amount_minor, "currency": found.currency}

    proposal = {
        "id": found.proposal_id,
        "proposal": found.proposal,
        "payment_id": found.proposed_payment_id,
        "issuer_id": found.proposed_issuer_id,
        "takes_up": money(found.would_claim_minor),
        "pays": money(found.would_pay_minor),
        "proposed_by": found.proposed_by,
        "proposed_at": found.proposed_at,
    }
    same = (
        "id",
        "mode",
        "kind",
        "other_bill_id",
        "issuer_id",
        "opened_at",
        "age_days",
        "state",
        "assignee",
        "reason",
        "approved_by",
        "closed_at",
    )
    return {
        **{name: getattr(found, name) for name in same},
        "bill": {
            "id": found.bill_id,
            "reference": found.bill_reference,
            "period": found.period,
            "state": found.bill_state,
        },
        "store": {"id": found.store_id, "name": found.store_name},
        "line": {
            "number": found.line_no,
            "payment_id": found.payment_id,
            "amount": money(found.amount_minor),
            "order_reference": found.order_reference,
        },
        "expected": money(found.expected_minor),
        "proposal": None if found.proposal is None else proposal,
        "taken_up": money(found.claimed_minor),
        "paid": money(found.paid_minor),
    }


def read(found: Break, notes: list[Note], attachments: list[Attachment]) -> dict[str, Any]:
    """A break with its notes and attachments."""
    return {**shown(found), "notes": notes, "attachments": attachments}
