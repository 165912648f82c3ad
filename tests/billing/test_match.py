"""Matching: what a line becomes, what is paid for it, and what comes back by itself."""

from datetime import UTC, datetime, timedelta

import pytest

from app import clock
from app.billing.match import match_bill
from app.billing.reject import reject_bill
from app.billing.taking_up import facts_of, lock_bill
from app.billing.tolerances import list_tolerances, set_tolerance
from app.db.transaction import transaction
from app.errors import InvalidRequest, NotFound
from app.ids import IssuerId, PaymentId, is_id
from app.redemption.refund import refund_payment
from app.redemption.settle import settle_payment
from app.redemption.void import void_payment
from tests.billing.bills import breaks, given_bill, matched, outcomes, paid_minor, taken
from tests.world import World, gbp, make_world, reference, rows

OCTOBER, NOVEMBER = "2026-10", "2026-11"
END_OF_OCTOBER = datetime(2026, 11, 1, tzinfo=UTC)
IN_OCTOBER, IN_NOVEMBER = END_OF_OCTOBER - timedelta(days=9), END_OF_OCTOBER + timedelta(days=9)
RECEIVED = END_OF_OCTOBER + timedelta(days=40)
#: A hold of then still stands at the month's end, and a little after it.
AT_THE_END, A_LITTLE_AFTER = END_OF_OCTOBER - timedelta(minutes=9), END_OF_OCTOBER + timedelta(minutes=9)
A_MOMENT = timedelta(microseconds=1)
NOBODYS = "pay_0" + "0" * 25


def settled(world: World, amount_minor: int = 3_000, *, at: datetime = IN_OCTOBER, final: bool = True) -> PaymentId:
    """A payment at Bookshop of which so much was settled then."""
    with clock.set_to(at):
        payment_id = world.payment().payment.id
        world.settle(payment_id, amount_minor, final=final)
    return payment_id


def refund(world: World, payment_id: PaymentId, amount_minor: int, *, at: datetime) -> None:
    with clock.set_to(at):
        key = reference(world.bookshop)
        refund_payment(payment_id, gbp(amount_minor), store_id=world.bookshop, reference=key)


def bill(world: World, *lines: tuple[str, int] | tuple[str, int, str], period: str = OCTOBER) -> str:
    return given_bill(world.bookshop, lines, period=period, received_at=RECEIVED)


def test_a_line_is_matched_or_one_break(world: World) -> None:
    """In one bill, and nothing of one line touches another; the event counts them."""
    with clock.set_to(IN_OCTOBER):
        held, voided = world.payment().payment.id, world.payment().payment.id
        void_payment(voided, store_id=world.bookshop, reference=reference(world.bookshop))
        elsewhere = world.payment(store=world.toyshop).payment.id
    pay, over, under, gone = (settled(world) for _ in range(4))
    refund(world, gone, 1_000, at=IN_OCTOBER + timedelta(days=1))
    before = bill(world, (settled(world), 3_000))
    assert matched(before) == {1: "matched"}
    again = PaymentId(rows("SELECT payment_id FROM bill_line WHERE bill_id = :id", id=before)[0].payment_id)
    live = make_world(mode="live")
    with clock.set_to(IN_OCTOBER):
        other_mode = live.payment(mode="live").payment.id
    made = bill(
        world,
        (NOBODYS, 1),
        (other_mode, 1),
        (elsewhere, 1),
        (pay, 3_000, "EUR"),
        (pay, 3_000),
        (pay, 3_000),
        (voided, 1),
        (again, 3_000),
        (held, 1),
        (gone, 3_000),
        (over, 3_001),
        (under, 2_999),
    )
    assert list(matched(made).values()) == [
        "unknown_payment",
        "other_mode",
        "not_this_store",
        "currency_mismatch",
        "matched",
        "duplicate_line",
        "voided",
        "already_billed",
        "not_settled",
        "refunded_after",
        "amount_over",
        "amount_under",
    ]
    found = {each.kind: each for each in breaks(made)}
    assert all(is_id(each.id, "brk") and each.state == "open" for each in found.values())
    assert len({each.id for each in found.values()}) == 11
    assert [kind for kind, each in found.items() if each.other_bill_id] == ["already_billed"]
    assert found["already_billed"].other_bill_id == before
    assert (found["refunded_after"].expected_minor, found["amount_over"].expected_minor) == (2_000, 3_000)
    assert {kind for kind, each in found.items() if each.issuer_id != world.issuer_id} == {
        "unknown_payment", "other_mode", "not_this_store"
    }  # fmt: skip
    assert paid_minor(made) == 3_000
    event = rows("SELECT facts FROM event WHERE kind = 'bill_matched' AND facts ->> 'bill_id' = :id", id=made)
    assert event[0].facts == {
        "bill_id": made, "store_id": world.bookshop, "lines": 12, "matched_lines": 1, "broken_lines": 11, "credits": 0
    }  # fmt: skip


def test_matched_again_nothing_changes(world: World) -> None:
    made = bill(world, (settled(world), 3_000), (NOBODYS, 1))
    first = matched(made), taken(made), breaks(made)
    assert not match_bill(made)
    assert (outcomes(made), taken(made), breaks(made)) == first


def test_a_settlement_counts_up_to_the_moment_before_the_period_ends(world: World) -> None:
    """The moment itself is the next month's, to the microsecond; a bill that comes early counts to when it came."""
    last, first = settled(world, at=END_OF_OCTOBER - timedelta(seconds=9)), settled(world, at=AT_THE_END, final=False)
    at = rows("SELECT at FROM settlement WHERE payment_id = :id", id=last)[0].at
    early = [
        given_bill(world.bookshop, [(last, 3_000)], period=OCTOBER, received_at=when) for when in (at, at + A_MOMENT)
    ]
    assert [matched(each) for each in early] == [{1: "not_settled"}, {1: "matched"}]
    with clock.set_to(END_OF_OCTOBER):
        exactly = world.settle(first, 1_000).id
    (found,) = rows("SELECT at FROM settlement WHERE id = :id", id=exactly)
    assert END_OF_OCTOBER <= found.at < END_OF_OCTOBER + timedelta(milliseconds=1)
    assert matched(bill(world, (first, 3_000))) == {1: "matched"}
    assert matched(bill(world, (first, 1_000), period=NOVEMBER)) == {1: "matched"}


def test_partial_settlements_of_two_months_are_billed_in_each(world: World) -> None:
    pay = settled(world, 1_000, at=AT_THE_END, final=False)
    october = bill(world, (pay, 1_000))
    with clock.set_to(A_LITTLE_AFTER):
        world.settle(pay, 2_000)
    assert (matched(october), paid_minor(october)) == ({1: "matched"}, 1_000)
    november = bill(world, (pay, 2_000), period=NOVEMBER)
    assert (matched(november), paid_minor(november)) == ({1: "matched"}, 2_000)


def test_a_later_month_may_bill_all_that_earlier_ones_left(world: World) -> None:
    pay = settled(world, 1_000, at=AT_THE_END, final=False)
    with clock.set_to(A_LITTLE_AFTER):
        world.settle(pay, 2_000)
    assert matched(bill(world, (pay, 3_000), period=NOVEMBER)) == {1: "matched"}
    assert matched(bill(world, (pay, 1_000))) == {1: "already_billed"}


def test_a_late_settlement_is_billed_in_the_month_in_which_it_came(world: World) -> None:
    """Its payment had expired; in the month before there is nothing to bill."""
    with clock.set_to(END_OF_OCTOBER - timedelta(minutes=31)):
        pay = world.payment().payment.id
    with clock.set_to(END_OF_OCTOBER + timedelta(hours=2)):
        settlement = world.settle(pay, 3_000)
    assert rows("SELECT late FROM settlement WHERE id = :id", id=settlement.id)[0].late
    assert matched(bill(world, (pay, 3_000))) == {1: "not_settled"}
    assert matched(bill(world, (pay, 3_000), period=NOVEMBER)) == {1: "matched"}


def test_a_refund_after_billing_comes_back_once_by_itself(world: World) -> None:
    pay, quiet = settled(world), settled(world)
    assert matched(bill(world, (pay, 3_000))) == {1: "matched"}
    refund(world, pay, 1_200, at=IN_NOVEMBER)
    refund(world, quiet, 100, at=IN_NOVEMBER)  # nobody has billed what it gives back: nothing comes back
    november = bill(world, period=NOVEMBER)
    assert (matched(november), paid_minor(november)) == ({0: "credit"}, -1_200)
    assert matched(bill(world, period="2026-12")) == {}


def test_a_refund_after_billing_may_be_named_by_a_line_below_zero(world: World) -> None:
    pay = settled(world)
    matched(bill(world, (pay, 3_000)))
    refund(world, pay, 1_200, at=IN_NOVEMBER)
    november = bill(world, (pay, -1_200), period=NOVEMBER)
    assert (matched(november), paid_minor(november)) == ({1: "matched"}, -1_200)
    assert matched(bill(world, period="2026-12")) == {}


def test_a_credit_is_not_deducted_again_for_a_line_that_names_it_wrongly(world: World) -> None:
    """It comes back by itself; nothing is left for the line, so nothing is paid, or deducted, for it."""
    pay = settled(world)
    matched(bill(world, (pay, 3_000)))
    refund(world, pay, 1_200, at=IN_NOVEMBER)
    november = bill(world, (pay, -1_000), period=NOVEMBER)
    assert matched(november) == {0: "credit", 1: "amount_over"}
    assert paid_minor(november) == -1_200


def test_a_refund_that_an_open_break_has_to_do_with_is_no_credit(world: World) -> None:
    """It lessens what the break may take up; taken up before, the store would be paid too little."""
    pay = settled(world, 2_000, at=AT_THE_END, final=False)
    assert matched(bill(world, (pay, 2_000))) == {1: "matched"}
    with clock.set_to(A_LITTLE_AFTER):
        world.settle(pay, 1_000)
    refund(world, pay, 300, at=IN_NOVEMBER)
    november = bill(world, (pay, 800), period=NOVEMBER)
    assert matched(november) == {1: "amount_over"}
    with transaction() as db:
        assert facts_of(db, lock_bill(db, november), 1).expected_minor == 700


def test_a_refund_before_billing_leaves_the_rest_to_bill(world: World) -> None:
    pay, all_of_it = settled(world), settled(world)
    refund(world, pay, 1_200, at=IN_OCTOBER + timedelta(days=1))
    refund(world, all_of_it, 3_000, at=IN_OCTOBER + timedelta(days=1))
    made = bill(world, (pay, 1_800), (all_of_it, 3_000))
    assert (matched(made), paid_minor(made)) == ({1: "matched", 2: "refunded_after"}, 1_800)


def test_a_void_after_the_period_does_not_change_what_the_line_was(world: World) -> None:
    with clock.set_to(END_OF_OCTOBER - timedelta(seconds=10)):
        pay = world.payment().payment.id
    with clock.set_to(END_OF_OCTOBER):
        void_payment(pay, store_id=world.bookshop, reference=reference(world.bookshop))
    assert matched(bill(world, (pay, 1))) == {1: "not_settled"}
    assert matched(bill(world, (pay, 1), period=NOVEMBER)) == {1: "voided"}


def test_a_tolerance_closes_the_break_and_the_smaller_amount_is_paid(world: World) -> None:
    set_tolerance(world.issuer_id, "GBP", 5)
    over, under, far, back = settled(world), settled(world), settled(world), settled(world)
    matched(bill(world, (back, 3_000)))
    refund(world, back, 1_000, at=IN_NOVEMBER)
    made = bill(world, (over, 3_005), (under, 2_995), (far, 3_006), (back, -1_002), period=NOVEMBER)
    assert list(matched(made).values()) == ["amount_over", "amount_under", "amount_over", "amount_under"]
    found = breaks(made)
    assert [(each.state, each.proposal, each.claimed_minor, each.paid_minor) for each in found] == [
        ("resolved", "tolerance", 3_000, 3_000),
        ("resolved", "tolerance", 3_000, 2_995),
        ("open", None, None, None),
        ("resolved", "tolerance", -1_000, -1_002),
    ]
    assert paid_minor(made) == 3_000 + 2_995 - 1_002
    assert {line for line, _ in taken(made).values()} == {1, 2, 4}
    assert any(each.issuer_id == world.issuer_id and each.tolerance_minor == 5 for each in list_tolerances())


def test_a_tolerance_of_nobody_or_of_no_currency_is_refused(world: World) -> None:
    with pytest.raises(NotFound):
        set_tolerance(IssuerId("iss_x"), "GBP", 5)
    for currency, tolerance_minor in (("GBX", 5), ("GBP", -1), ("GBP", 10**13)):
        with pytest.raises(InvalidRequest):
            set_tolerance(world.issuer_id, currency, tolerance_minor)


def test_a_rejected_bill_gives_back_what_it_took_and_keeps_its_breaks_to_itself(world: World) -> None:
    pay = settled(world)
    made = bill(world, (pay, 3_000), (NOBODYS, 1))
    assert matched(made) == {1: "matched", 2: "unknown_payment"}
    reject_bill(made, by="operator:ann")
    assert taken(made) == {}
    again = bill(world, (pay, 3_000))
    assert (matched(again), paid_minor(again)) == ({1: "matched"}, 3_000)
    assert not match_bill(made)


@pytest.mark.parametrize("many_lines", [0, 10**9])
def test_a_large_bill_is_matched_by_sets_as_a_small_one_line_by_line(
    world: World, monkeypatch: pytest.MonkeyPatch, many_lines: int
) -> None:
    monkeypatch.setattr("app.billing.match.MANY_LINES", many_lines)
    one, two, three = settled(world), settled(world, 1_000, final=False), settled(world)
    with clock.set_to(IN_OCTOBER + timedelta(hours=1)):
        settle_payment(two, gbp(500), store_id=world.bookshop, reference=reference(world.bookshop))
    refund(world, two, 300, at=IN_OCTOBER + timedelta(days=1))
    made = bill(
        world, (one, 3_000, "EUR"), (one, 3_000), (one, 3_000), (two, 1_200), (three, 2), (three, 3_000), (NOBODYS, 1)
    )
    assert list(matched(made).values()) == [
        "currency_mismatch",
        "matched",
        "duplicate_line",
        "matched",
        "amount_under",
        "duplicate_line",
        "unknown_payment",
    ]
    assert sorted(taken(made).values()) == [(2, 3_000), (4, -300), (4, 500), (4, 1_000)]
