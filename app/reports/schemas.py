"""Wire shapes of statements."""

from typing import Any

from marshmallow import fields

from app.reports.asked import Month
from app.reports.issuer_statement import IssuerStatement
from app.reports.lines import BilledLine
from app.reports.statement import Line
from app.web.arguments import PageSchema, Pattern, Shown, SignedMoney, Strict

MONTH = "20[0-9]{2}-(0[1-9]|1[0-2])"


class MonthField(fields.String):
    """A month, loaded as one."""

    def __init__(self) -> None:
        super().__init__(
            required=True, validate=Pattern(MONTH), metadata={"description": "in UTC", "example": "2026-10"}
        )


class StatementQuery(Strict):
    """Which month."""

    month = MonthField()


class LineQuery(PageSchema):
    """Which month, and where in it."""

    month = MonthField()


class StatementLineOut(Shown):
    """One programme: opening + funded + refunded - settled - lapsed + adjusted = closing."""

    programme = fields.String()
    name = fields.String()
    opening = fields.Nested(SignedMoney)
    funded = fields.Nested(SignedMoney)
    refunded = fields.Nested(SignedMoney)
    settled = fields.Nested(SignedMoney)
    lapsed = fields.Nested(SignedMoney)
    adjusted = fields.Nested(SignedMoney)
    closing = fields.Nested(SignedMoney)
    balances = fields.Nested(SignedMoney, metadata={"description": "the cards' own balances at the month's end"})
    difference = fields.Nested(SignedMoney, metadata={"description": "balances less closing"})


class StatementOut(Shown):
    """What an issuer's cards were worth, and what became of it in a month."""

    month = fields.String()
    mode = fields.String()
    as_of = fields.AwareDateTime()
    is_over = fields.Boolean(metadata={"description": "false while the month goes on"})
    agrees = fields.Boolean(metadata={"description": "whether transfers, balances and documents come to the same"})
    programmes = fields.List(fields.Nested(StatementLineOut))


class BilledLineOut(Shown):
    """A settlement or a refund of an own card that a store has billed."""

    id = fields.String()
    kind = fields.String(metadata={"enum": ["settlement", "refund"]})
    payment = fields.String()
    card = fields.String()
    programme = fields.String()
    store = fields.String()
    store_name = fields.String()
    at = fields.AwareDateTime()
    amount = fields.Nested(SignedMoney, metadata={"description": "above zero, for a refund too"})


class BilledLinePage(Shown):
    """A page of billed lines."""

    items = fields.List(fields.Nested(BilledLineOut))
    next = fields.String(allow_none=True)


def month_of(query: dict[str, Any]) -> Month:
    """The month, which its field has looked at."""
    return Month.read(query["month"])


def statement_shown(statement: IssuerStatement) -> dict[str, Any]:
    """As `StatementOut` dumps it."""
    return {
        "month": str(statement.month),
        "mode": statement.mode,
        "as_of": statement.as_of,
        "is_over": statement.is_over,
        "agrees": statement.agrees,
        "programmes": [_line_shown(line) for line in statement.lines],
    }


def _line_shown(line: Line) -> dict[str, Any]:
    amounts = ("opening", "funded", "refunded", "settled", "lapsed", "adjusted", "closing", "balances", "difference")
    currency = line.programme.currency
    return {
        "programme": line.programme.programme_id,
        "name": line.programme.programme,
        **{name: {"amount_minor": getattr(line, f"{name}_minor"), "currency": currency} for name in amounts},
    }


def billed_line_shown(line: BilledLine) -> dict[str, Any]:
    """As `BilledLineOut` dumps it."""
    return {
        "id": line.id,
        "kind": "settlement" if line.amount_minor > 0 else "refund",
        "payment": line.payment_id,
        "card": line.card_id,
        "programme": line.programme_id,
        "store": line.store_id,
        "store_name": line.store,
        "at": line.at,
        "amount": {"amount_minor": abs(line.amount_minor), "currency": line.currency},
    }
