"""Matching: what a line becomes, in the order in which it is decided, and what is paid for it."""

from app.ids import is_id
from tests.billing.bills import breaks, given_bill, matched, paid_minor
from tests.world import World


def settled(world: World, amount_minor: int = 3_000) -> str:
    payment = world.payment().payment
    world.settle(payment.id, amount_minor)
    return payment.id


def test_a_line_is_matched_or_one_break(world: World) -> None:
    pay = settled(world)
    bill = given_bill(world.bookshop, [(pay, 3_000), (pay, 3_000), ("pay_0" + "0" * 25, 1), (pay, 3_000, "EUR")])
    assert matched(bill) == {1: "matched", 2: "duplicate_line", 3: "unknown_payment", 4: "currency_mismatch"}
    assert all(is_id(found.id, "brk") for found in breaks(bill))
    assert paid_minor(bill) == 3_000
