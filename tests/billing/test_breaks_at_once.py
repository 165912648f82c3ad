"""Many hands at one break: one decides, nothing is taken up twice, and the books balance."""

from collections.abc import Callable
from functools import partial

import pytest
from sqlalchemy import Select, text
from sqlalchemy.exc import IntegrityError

from app.billing import taking_up
from app.billing.work_break import approve_break, propose, reopen_break
from app.errors import BillClosed, BreakChanged, BreakClosed, Busy
from tests.at_once import at_once, split
from tests.billing.bills import given_bill, matched, paid_minor
from tests.billing.broken import billed_minor, break_of, breaks_of, broken_bill, close_bill, now_is, settled
from tests.world import World, rows

ANNA, BEN = "operator:anna", "operator:ben"
Call = Callable[[], object]


def approvals_of(break_id: str) -> int:
    query = "SELECT count(*) AS times FROM event WHERE kind = 'break_approved' AND facts ->> 'break_id' = :id"
    return int(rows(query, id=break_id)[0].times)


def check_one_approval_executes(world: World) -> None:
    bill_id = broken_bill(world, (settled(world), 3_700))
    found = propose(break_of(bill_id).id, "write_off", reason="agreed", by=ANNA)
    calls: list[Call] = [lambda: approve_break(found.id, found.proposal_id or "", by=BEN) for _ in range(6)]
    done, refused = split(at_once(calls))
    assert len(done) == approvals_of(found.id) == 1
    assert {type(each) for each in refused} <= {BreakClosed, Busy}
    assert (billed_minor(bill_id), paid_minor(bill_id)) == (3_000, 3_700)


def check_a_proposal_is_not_swapped_under_an_approval(world: World) -> None:
    """Ben approves the rejection that he has looked at, while Anna puts a write-off in its place."""
    bill_id = broken_bill(world, (settled(world), 3_700))
    found = propose(break_of(bill_id).id, "reject", reason="too much", by=ANNA)
    outcomes = at_once(
        [
            lambda: approve_break(found.id, found.proposal_id or "", by=BEN),
            lambda: propose(found.id, "write_off", reason="or not", by=ANNA),
        ]
    )
    done, refused = split(outcomes)
    assert len(done) == len(refused) == 1
    state, kind = now_is(found).state, type(refused[0])
    assert (state, kind) in (("rejected", BreakClosed), ("proposed", BreakChanged))
    assert paid_minor(bill_id) == 0


def check_the_bill_is_closed_before_or_after(world: World) -> None:
    """What is approved counts for the bill, and what comes too late is refused."""
    bill_id = broken_bill(world, (settled(world), 3_700))
    found = propose(break_of(bill_id).id, "pay_smaller", reason="agreed", by=ANNA)
    outcomes = at_once(
        [
            lambda: approve_break(found.id, found.proposal_id or "", by=BEN),
            lambda: close_bill(bill_id, "approved"),
        ]
    )
    _, refused = split(outcomes)
    assert {type(each) for each in refused} <= {BillClosed}
    assert (now_is(found).state == "proposed") == bool(refused)
    assert paid_minor(bill_id) == (0 if refused else 3_000)


CHECKS = [
    check_one_approval_executes,
    check_a_proposal_is_not_swapped_under_an_approval,
    check_the_bill_is_closed_before_or_after,
]


@pytest.mark.parametrize("check", CHECKS)
def test_one_of_those_who_decide_at_once_decides(world: World, check: Callable[[World], None]) -> None:
    for _ in range(3):
        check(world)


@pytest.mark.parametrize("check", CHECKS[:2])
def test_without_locks_it_is_noticed(
    world: World, check: Callable[[World], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Select, "with_for_update", lambda self, **_: self)
    monkeypatch.setattr(taking_up, "_LOCK", text(taking_up._LOCK.text.replace(" FOR UPDATE", "")))
    monkeypatch.setattr(taking_up, "lock_bills_of", lambda *_: None)
    with pytest.raises((AssertionError, IntegrityError)):
        for _ in range(20):
            check(world)


def test_two_lines_that_mean_the_same_payment_take_it_up_once(world: World) -> None:
    """Both proposals were right when they were made."""
    meant = settled(world)
    bill_id = broken_bill(world, ("pay_mistyped", 3_000), ("pay_mistyped_too", 3_000))
    both = [propose(each.id, "match_payment", reason="x", by=ANNA, payment_id=meant) for each in breaks_of(bill_id)]
    calls: list[Call] = [partial(approve_break, found.id, found.proposal_id or "", by=BEN) for found in both]
    done, refused = split(at_once(calls))
    assert (len(done), [type(each) for each in refused]) == (1, [BreakChanged])
    assert (billed_minor(bill_id), paid_minor(bill_id)) == (3_000, 3_000)


def test_an_approval_and_another_bills_matching_take_a_payment_up_once(world: World) -> None:
    payment_id = settled(world)
    first = broken_bill(world, (payment_id, 3_700))
    found = propose(break_of(first).id, "pay_smaller", reason="x", by=ANNA)
    second = given_bill(world.bookshop, [(payment_id, 3_000)])
    outcomes = at_once([lambda: approve_break(found.id, found.proposal_id or "", by=BEN), lambda: matched(second)])
    _, refused = split(outcomes)
    assert {type(each) for each in refused} <= {BreakChanged}
    assert paid_minor(first) + paid_minor(second) == billed_minor(first) + billed_minor(second) == 3_000


def test_reopenings_and_approvals_at_once_leave_one_or_the_other(world: World) -> None:
    bill_id = broken_bill(world, (settled(world), 2_000))
    found = propose(break_of(bill_id).id, "pay_smaller", reason="x", by=ANNA)
    approve_break(found.id, found.proposal_id or "", by=BEN)
    split(at_once([lambda: reopen_break(found.id, reason="x", by=ANNA) for _ in range(4)]))
    assert (now_is(found).state, billed_minor(bill_id), paid_minor(bill_id)) == ("reopened", 0, 0)
