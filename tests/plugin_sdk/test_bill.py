"""The month's bill: what was settled less what was refunded, by payment and currency, and nothing that was not."""

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scrip_sdk.bill import Bill, Line, as_csv, as_json, make_bill, month_of, totals
from scrip_sdk.money import Money
from scrip_sdk.outbox import Instruction, Outbox, refund_later, settle_later, void_later
from scrip_sdk.outbox.sqlite import SqliteOutbox
from tests.plugin_sdk.outbox_contract import gbp, payment

OCTOBER = datetime(2026, 10, 1, tzinfo=UTC)
NOVEMBER = datetime(2026, 11, 1, tzinfo=UTC)
TICK = timedelta(microseconds=1)


@pytest.fixture
def outbox(tmp_path: Path) -> Outbox:
    return SqliteOutbox(tmp_path / "outbox.db")


def settled(outbox: Outbox, number: int, minor: int, at: datetime, *, currency: str = "GBP", part: str = "") -> None:
    amount = Money(minor, currency)
    done(outbox, settle_later(payment(number), amount, order_reference=f"order-{number}", part=part, at=at), at)


def refunded(outbox: Outbox, number: int, minor: int, at: datetime, part: str = "r1") -> None:
    done(outbox, refund_later(payment(number), gbp(minor), order_reference=f"order-{number}", part=part, at=at), at)


def done(outbox: Outbox, one: Instruction, at: datetime) -> None:
    outbox.done(outbox.add(one), at=at)


def billed(bill: Bill) -> dict[str, str]:
    return {line.payment_id: str(line.amount) for line in bill.lines}


def test_the_month_has_what_was_done_in_it(outbox: Outbox) -> None:
    settled(outbox, 1, 3_000, OCTOBER)
    settled(outbox, 2, 2_000, NOVEMBER - TICK)
    settled(outbox, 3, 1_000, OCTOBER - TICK)
    settled(outbox, 4, 1_000, NOVEMBER)
    settled(outbox, 5, 700, OCTOBER, currency="EUR")
    settled(outbox, 6, 500, OCTOBER, part="parcel-1")
    settled(outbox, 6, 600, OCTOBER, part="parcel-2")
    refunded(outbox, 1, 500, NOVEMBER - TICK)
    refunded(outbox, 2, 500, NOVEMBER)  # November's
    bill = make_bill(outbox, "2026-10")
    assert billed(bill) == {
        payment(1): "25.00 GBP",
        payment(2): "20.00 GBP",
        payment(5): "7.00 EUR",
        payment(6): "11.00 GBP",
    }
    assert (bill.pending, bill.dead) == ((), 0)
    assert list(map(str, totals(bill.lines))) == ["7.00 EUR", "56.00 GBP"]
    assert billed(make_bill(outbox, "2026-11")) == {payment(4): "10.00 GBP", payment(2): "-5.00 GBP"}


def test_what_was_given_back_in_full_is_no_line(outbox: Outbox) -> None:
    settled(outbox, 1, 3_000, OCTOBER)
    refunded(outbox, 1, 3_000, OCTOBER)
    assert make_bill(outbox, "2026-10").lines == ()


def test_what_is_not_settled_is_said_and_not_billed(outbox: Outbox) -> None:
    """What waits, what was given up, and what is only to be given back."""
    outbox.add(settle_later(payment(1), gbp(3_000), order_reference="order-1", at=NOVEMBER - TICK))
    outbox.add(settle_later(payment(2), gbp(3_000), order_reference="order-2", at=NOVEMBER))
    outbox.add(void_later(payment(3), order_reference="order-3", at=OCTOBER))
    dead = settle_later(payment(4), gbp(3_000), order_reference="order-4", at=OCTOBER - timedelta(days=9))
    outbox.dead(outbox.add(dead), at=OCTOBER, error="payment-closed")
    bill = make_bill(outbox, "2026-10")
    assert (bill.lines, bill.dead) == ((), 1)
    assert [(line.payment_id, line.amount) for line in bill.pending] == [(payment(1), gbp(3_000))]


moves = st.tuples(st.sampled_from([1, 2]), st.integers(1, 10**6), st.booleans(), st.integers(-40, 70))


@settings(deadline=None)
@given(st.lists(moves, max_size=9))
def test_all_months_together_are_all_that_is_owed(moves: list[tuple[int, int, bool, int]]) -> None:
    rows = []
    for place, (number, minor, is_refund, days) in enumerate(moves):
        order, at = f"order-{number}", OCTOBER + timedelta(days=days)
        later = refund_later if is_refund else settle_later
        one = later(payment(number), gbp(minor), order_reference=order, part=str(place), at=at)
        rows.append(replace(one, state="done", ended_at=at))
    months = [make_bill(Rows(rows), f"2026-{month:02d}") for month in range(8, 13)]
    owed = sum(-minor if is_refund else minor for _, minor, is_refund, _ in moves)
    assert sum(line.amount.amount_minor for bill in months for line in bill.lines) == owed


class Rows(SqliteOutbox):
    """An outbox to be read, without its file."""

    def __init__(self, rows: list[Instruction]) -> None:
        self.rows = rows

    def list(self, *, after: str | None = None, **_: object) -> Sequence[Instruction]:
        return self.rows if after is None else []


def test_a_bill_of_many_pages_is_whole(outbox: Outbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scrip_sdk.bill.PAGE", 3)
    for number in range(10):
        settled(outbox, number, 100, OCTOBER)
    assert len(make_bill(outbox, "2026-10").lines) == 10


@pytest.mark.parametrize("month", ["2026-13", "2026-00", "2026-1", "26-10", "2026-10-01", "", "２０２６-10"])
def test_what_is_no_month_is_refused(month: str) -> None:
    with pytest.raises(ValueError, match="no month"):
        month_of(month)


def test_december_ends_with_the_year() -> None:
    assert month_of("2026-12")[1] == datetime(2027, 1, 1, tzinfo=UTC)


def test_json_is_as_the_api_takes_it() -> None:
    line = Line(payment(1), "order-1", gbp(2_500))
    assert json.loads(as_json(Bill("2026-10", (line,), (line,), 0), "bill-7")) == {
        "period": "2026-10",
        "reference": "bill-7",
        "lines": [
            {
                "payment_id": payment(1),
                "amount": {"amount_minor": 2_500, "currency": "GBP"},
                "order_reference": "order-1",
            }
        ],
    }


@given(st.text(min_size=1).filter(lambda text: "\r" not in text and "\0" not in text))
def test_csv_can_be_read_again_and_no_cell_is_a_formula(order: str) -> None:
    lines = (Line(payment(1), order, gbp(2_500)), Line(payment(2), "=1+1", gbp(-500)))
    written = as_csv(Bill("2026-10", lines, (Line(payment(3), "@x", Money(700, "JPY")),), 0))
    rows = list(csv.DictReader(io.StringIO(written, newline="")))
    assert [(row["amount"], row["currency"], row["amount_minor"], row["state"]) for row in rows] == [
        ("25.00", "GBP", "2500", "settled"),
        ("-5.00", "GBP", "-500", "settled"),
        ("700", "JPY", "700", "pending"),
    ]
    assert rows[0]["order_reference"].removeprefix("'") == order.removeprefix("'")
    for row in rows:
        assert not row["order_reference"].lstrip()[:1] or row["order_reference"].lstrip()[0] not in "=+-@"
