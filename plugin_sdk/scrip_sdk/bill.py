"""Bill: what a store is owed for a month, payment by payment, from its outbox."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timezone

from scrip_sdk.money import Money
from scrip_sdk.outbox import Instruction, Outbox

PAGE = 500
COLUMNS = ("payment_id", "order_reference", "amount", "currency", "amount_minor", "state")
#: A spreadsheet takes a cell that begins so for a formula, and runs it.
_FORMULA = re.compile(r"\s*[=+\-@\t\r]")


@dataclass(frozen=True)
class Line:
    """What one payment came to: settled less refunded; below zero where goods of an earlier month came back."""

    payment_id: str
    order_reference: str
    amount: Money


@dataclass(frozen=True)
class Bill:
    """`lines` are what the service has said yes to within the `period` (`2026-10`, in UTC); none of them is zero.

    `pending` is what it has not been told yet of orders of this month or earlier; `dead` counts what it said no to,
    and a person has not looked at. Neither is billed.
    """

    period: str
    lines: tuple[Line, ...]
    pending: tuple[Line, ...]
    dead: int


@dataclass
class _Sums:
    minor: dict[tuple[str, str], int] = field(default_factory=dict)
    orders: dict[tuple[str, str], str] = field(default_factory=dict)

    def add(self, one: Instruction) -> None:
        assert one.amount is not None
        of = (one.payment_id, one.amount.currency)
        sign = 1 if one.verb == "settle" else -1
        self.minor[of] = self.minor.get(of, 0) + sign * one.amount.amount_minor
        self.orders.setdefault(of, one.order_reference)

    def lines(self) -> tuple[Line, ...]:
        return tuple(
            Line(of[0], self.orders[of], Money(minor, of[1])) for of, minor in self.minor.items() if minor != 0
        )


def make_bill(outbox: Outbox, month: str) -> Bill:
    """The bill for a month such as `2026-10`: a settle and a refund belong to the month in which they were done.

    So the months' bills together are all that is owed. Raises ValueError: that is no month.
    """
    begins, ends = month_of(month)
    billed, pending, dead = _Sums(), _Sums(), 0
    for one in _all(outbox):
        if one.verb == "void" or one.created_at >= ends:
            continue
        if one.state == "pending":
            pending.add(one)
        elif one.state == "dead":
            dead += 1
        elif one.ended_at is not None and begins <= one.ended_at < ends:
            billed.add(one)
    return Bill(month, billed.lines(), pending.lines(), dead)


def month_of(month: str) -> tuple[datetime, datetime]:
    """When a month such as `2026-10` begins and when the next one does, in UTC. Raises ValueError."""
    if not re.fullmatch(r"[0-9]{4}-(0[1-9]|1[0-2])", month, re.ASCII) or month < "2000":
        raise ValueError(f"{month!r} is no month: write it as 2026-10")
    year, number = map(int, month.split("-"))
    after = (year + 1, 1) if number == 12 else (year, number + 1)
    return datetime(year, number, 1, tzinfo=timezone.utc), datetime(*after, 1, tzinfo=timezone.utc)


def as_json(bill: Bill, reference: str, *, indent: int | None = 2) -> str:
    """As `POST /v1/bills` takes it; `reference` is the store's own name for this bill. `indent`: for people."""
    lines = [
        {
            "payment_id": line.payment_id,
            "amount": {"amount_minor": line.amount.amount_minor, "currency": line.amount.currency},
            "order_reference": line.order_reference,
        }
        for line in bill.lines
    ]
    separators = (",", ":") if indent is None else None
    whole = {"period": bill.period, "reference": reference, "lines": lines}
    return json.dumps(whole, indent=indent, separators=separators) + "\n"


def as_csv(bill: Bill) -> str:
    """For people: one row for each line, `settled` or `pending`, in RFC 4180's way. No cell is a formula."""
    written = io.StringIO()
    rows = csv.writer(written)
    rows.writerow(COLUMNS)
    for state, lines in (("settled", bill.lines), ("pending", bill.pending)):
        for line in lines:
            amount = line.amount
            figures = (f"{amount.decimal:f}", amount.currency, amount.amount_minor, state)
            rows.writerow((_guarded(line.payment_id), _guarded(line.order_reference), *figures))
    return written.getvalue()


def _guarded(text: str) -> str:
    return f"'{text}" if _FORMULA.match(text) else text


def _all(outbox: Outbox) -> Iterator[Instruction]:
    after: str | None = None
    while page := outbox.list(limit=PAGE, after=after):
        yield from page
        after = page[-1].id


def totals(lines: Iterable[Line]) -> list[Money]:
    """What lines come to, by currency."""
    found: dict[str, Money] = {}
    for line in lines:
        currency = line.amount.currency
        found[currency] = found.get(currency, Money(0, currency)) + line.amount
    return [found[currency] for currency in sorted(found)]
