"""Working breaks off, on the real database: what each step changes, what it comes to, and what stands in its way."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from app import clock
from app.billing.breaks import Break, list_breaks, read_break
from app.billing.taking_up import give_back, lock_bill
from app.billing.work_break import approve_break, assign_break, decline_break, propose, reopen_break
from app.db.transaction import transaction
from app.errors import (
    BillClosed,
    BreakChanged,
    BreakClosed,
    InvalidRequest,
    NotFound,
    SecondPersonNeeded,
)
from app.ids import PaymentId, new_id
from app.redemption.refund import refund_payment
from tests.billing.bills import paid_minor
from tests.billing.broken import (
    billed_minor,
    break_of,
    breaks_of,
    broken_bill,
    close_bill,
    now_is,
    settled,
)
from tests.world import World, gbp, make_world, reference, rows

ANNA, BEN = "operator:anna", "operator:ben"
Step = Callable[[], object]


def proposed(found: Break, proposal: str, *, by: str = ANNA, **more: Any) -> Break:
    return propose(found.id, proposal, reason="as agreed", by=by, **more)


def approved(found: Break, *, by: str = BEN) -> Break:
    return approve_break(found.id, found.proposal_id or "", by=by)


def worked_off(found: Break, proposal: str, **more: Any) -> Break:
    return approved(proposed(found, proposal, **more))


# ── what each proposal does ─────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("line_minor", "smaller_minor"), [(4_000, 3_000), (2_000, 2_000)])
def test_the_smaller_amount_is_paid_and_what_counts_is_taken_up(
    world: World, line_minor: int, smaller_minor: int
) -> None:
    """Who proposed it may approve it: nobody is paid more than the books say."""
    bill_id = broken_bill(world, (settled(world), line_minor))
    assert billed_minor(bill_id) == 0
    found = approved(proposed(break_of(bill_id), "pay_smaller"), by=ANNA)
    assert (found.state, found.claimed_minor, found.paid_minor, found.issuer_id) == (
        "resolved",
        3_000,
        smaller_minor,
        world.issuer_id,
    )
    assert (found.approved_by, found.proposed_by, found.assignee) == (ANNA, ANNA, None)
    assert (billed_minor(bill_id), paid_minor(bill_id)) == (3_000, smaller_minor)


def test_a_line_that_means_another_payment_takes_that_one_up(world: World) -> None:
    """The mistyped ID's line is then paid as if it had named the right one: the smaller amount, by its issuer."""
    meant = settled(world)
    bill_id = broken_bill(world, (new_id("pay"), 3_500))
    assert break_of(bill_id).kind == "unknown_payment"
    found = worked_off(break_of(bill_id), "match_payment", payment_id=meant)
    assert (found.state, found.claimed_minor, found.paid_minor) == ("resolved", 3_000, 3_000)
    assert found.issuer_id == world.issuer_id
    taken = rows("SELECT payment_id, line_no FROM billed WHERE bill_id = :id", id=bill_id)
    assert [(each.payment_id, each.line_no) for each in taken] == [(meant, 1)]


def test_a_write_off_pays_what_the_line_asks_for(world: World) -> None:
    bill_id = broken_bill(world, (settled(world), 3_700))
    found = worked_off(break_of(bill_id), "write_off")
    assert (found.state, found.claimed_minor, found.paid_minor) == ("written_off", 3_000, 3_700)
    assert (billed_minor(bill_id), paid_minor(bill_id)) == (3_000, 3_700)


def test_a_write_off_of_an_unknown_payment_is_the_goodwill_of_an_issuer_that_is_named(world: World) -> None:
    bill_id = broken_bill(world, (new_id("pay"), 700))
    found = break_of(bill_id)
    for issuer_id in (None, new_id("iss"), make_world(mode="live").issuer_id):
        with pytest.raises(InvalidRequest) as refused:
            proposed(found, "write_off", issuer_id=issuer_id)
        assert refused.value.facts["errors"][0]["pointer"] == "/issuer_id"  # type: ignore[index]
    found = worked_off(found, "write_off", issuer_id=world.issuer_id)
    assert (found.claimed_minor, found.paid_minor, found.issuer_id) == (0, 700, world.issuer_id)
    assert (billed_minor(bill_id), paid_minor(bill_id)) == (0, 700)


def test_an_issuer_is_named_for_nothing_else(world: World) -> None:
    found = break_of(broken_bill(world, (settled(world), 3_700)))
    for proposal in ("write_off", "pay_smaller", "reject"):
        with pytest.raises(InvalidRequest, match="issuer"):
            proposed(found, proposal, issuer_id=make_world().issuer_id)


def test_a_rejected_line_is_paid_nothing_and_can_be_billed_again(world: World) -> None:
    payment_id = settled(world)
    first = broken_bill(world, (payment_id, 4_000))
    found = approved(proposed(break_of(first), "reject"), by=ANNA)
    assert (found.state, found.claimed_minor, found.paid_minor) == ("rejected", None, None)
    assert paid_minor(first) == 0
    second = broken_bill(world, (payment_id, 3_000))
    assert (breaks_of(second), paid_minor(second)) == ([], 3_000)


@pytest.mark.parametrize("which", ["nobody's", "another store's", "another mode's", "billed", "of this bill"])
def test_a_payment_that_does_not_count_for_the_line_is_not_matched(world: World, which: str) -> None:
    other = make_world(mode="live" if which == "another mode's" else "test")
    match which:
        case "nobody's":
            payment_id = PaymentId(new_id("pay"))
        case "another store's" | "another mode's":
            payment_id = other.payment(mode="live" if which == "another mode's" else "test").payment.id
            other.settle(payment_id, 3_000)
        case _:
            payment_id = settled(world)
    lines = [(new_id("pay"), 3_000)]
    if which == "billed":
        broken_bill(world, (payment_id, 3_000))
    if which == "of this bill":
        lines.append((payment_id, 3_000))
    found = breaks_of(broken_bill(world, *lines))[0]
    with pytest.raises(InvalidRequest) as refused:
        proposed(found, "match_payment", payment_id=payment_id)
    assert refused.value.facts["errors"][0]["pointer"] == "/payment_id"  # type: ignore[index]
    assert now_is(found) == found


# ── the second person ───────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("proposal", ["write_off", "match_payment"])
def test_who_proposed_what_pays_differently_cannot_approve_it(world: World, proposal: str) -> None:
    named = settled(world) if proposal == "match_payment" else None
    found = proposed(break_of(broken_bill(world, (settled(world), 3_700))), proposal, payment_id=named)
    with pytest.raises(SecondPersonNeeded):
        approved(found, by=ANNA)
    assert now_is(found) == found
    assert approved(found, by=BEN).approved_by == BEN


@pytest.mark.parametrize("approved_by", [ANNA, None])
def test_the_database_wants_the_second_person_too(world: World, approved_by: str | None) -> None:
    found = proposed(break_of(broken_bill(world, (settled(world), 3_700))), "write_off")
    forged = "approved_by = :by, state = 'written_off', approved_at = now(), closed_at = now(), claimed_minor = 3000"
    with pytest.raises(IntegrityError, match=r"bill_break_(four_eyes|closed)"), transaction() as db:
        query = f"UPDATE bill_break SET {forged}, paid_minor = 3700 WHERE id = :id"
        db.execute(text(query), {"id": found.id, "by": approved_by})


def test_a_proposal_that_takes_anothers_place_is_not_approved_by_the_others_name(world: World) -> None:
    """Ben has looked at the first; what Anna puts in its place he must look at again."""
    found = break_of(broken_bill(world, (settled(world), 3_700)))
    first = proposed(found, "reject")
    second = proposed(found, "write_off")
    with pytest.raises(BreakChanged) as refused:
        approved(first)
    assert refused.value.facts == {"state": "proposed", "proposal_id": second.proposal_id}
    assert paid_minor(found.bill_id) == 0


def test_who_takes_a_proposal_over_has_proposed_it(world: World) -> None:
    """Ben proposes the same again: from then on it is Ben who cannot approve it."""
    found = break_of(broken_bill(world, (settled(world), 3_700)))
    proposed(found, "write_off")
    found = proposed(found, "write_off", by=BEN)
    with pytest.raises(SecondPersonNeeded):
        approved(found, by=BEN)
    assert approved(found, by=ANNA).state == "written_off"


def test_a_declined_proposal_is_gone(world: World) -> None:
    found = proposed(break_of(broken_bill(world, (settled(world), 3_700))), "write_off")
    declined = decline_break(found.id, found.proposal_id or "", reason="ask the store first", by=BEN)
    assert (declined.state, declined.proposal, declined.reason) == ("open", None, "ask the store first")
    with pytest.raises(BreakChanged):
        approved(found)


# ── what may have changed in between ────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("proposal", ["pay_smaller", "match_payment", "write_off"])
def test_what_another_bill_has_taken_up_meanwhile_is_not_taken_up_again(world: World, proposal: str) -> None:
    """The proposal no longer comes to what was proposed, and whoever approves is told what it comes to now."""
    payment_id = settled(world)
    if proposal == "match_payment":
        found = break_of(broken_bill(world, (new_id("pay"), 3_700)))
        found = proposed(found, proposal, payment_id=payment_id)
    else:
        found = proposed(break_of(broken_bill(world, (payment_id, 3_700))), proposal)
    other = broken_bill(world, (payment_id, 3_000))
    with pytest.raises(BreakChanged) as refused:
        approved(found)
    facts = refused.value.facts
    assert (facts["state"], facts["proposal_id"]) == ("proposed", found.proposal_id)
    if proposal == "write_off":
        assert (facts["would_claim_minor"], facts["would_pay_minor"]) == (0, 3_700)
    else:
        assert "already_billed" in str(refused.value)
    assert (paid_minor(found.bill_id), paid_minor(other)) == (0, 3_000)
    assert now_is(found) == found


def test_a_refund_between_proposal_and_approval_changes_nothing(world: World) -> None:
    """It comes after the bill's time, and comes back with a later bill."""
    payment_id = settled(world)
    found = proposed(break_of(broken_bill(world, (payment_id, 3_700))), "pay_smaller")
    refund(world, payment_id, 1_000)
    assert approved(found).paid_minor == 3_000


def test_a_refund_before_the_bill_that_was_seen_late_makes_the_proposal_stale(world: World) -> None:
    """It was under way when the bill came, and is there when the approval is decided anew."""
    payment_id = settled(world)
    with clock.ahead(timedelta(seconds=60)):
        bill_id = broken_bill(world, (payment_id, 3_700))
    found = proposed(break_of(bill_id), "pay_smaller")
    refund(world, payment_id, 1_000)
    with pytest.raises(BreakChanged) as refused:
        approved(found)
    assert refused.value.facts["would_pay_minor"] == 2_000
    assert approved(proposed(found, "pay_smaller")).paid_minor == 2_000


def refund(world: World, payment_id: PaymentId, amount_minor: int) -> None:
    store = world.bookshop
    refund_payment(payment_id, gbp(amount_minor), store_id=store, reference=reference(store))


@pytest.mark.parametrize("state", ["approved", "rejected"])
def test_nothing_about_a_closed_bill_changes(world: World, state: str) -> None:
    bill_id = broken_bill(world, (settled(world), 3_700), (settled(world), 2_000))
    waiting = proposed(breaks_of(bill_id)[0], "write_off")
    closed = worked_off(breaks_of(bill_id)[1], "pay_smaller")
    close_bill(bill_id, state)
    steps: tuple[Step, ...] = (
        lambda: approved(waiting),
        lambda: proposed(waiting, "reject"),
        lambda: assign_break(waiting.id, assignee=BEN, by=ANNA),
        lambda: decline_break(waiting.id, waiting.proposal_id or "", reason="no", by=BEN),
        lambda: reopen_break(closed.id, reason="no", by=ANNA),
    )
    for step in steps:
        with pytest.raises(BillClosed) as refused:
            step()
        assert refused.value.facts == {"state": state}
    with pytest.raises(IntegrityError, match="bill of this break is closed"), transaction() as db:
        db.execute(text("UPDATE bill_break SET assignee = 'x' WHERE id = :id"), {"id": waiting.id})


# ── reopening ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("proposal", ["pay_smaller", "match_payment", "write_off", "reject"])
def test_a_reopened_break_is_as_open_and_what_it_took_up_is_given_back(world: World, proposal: str) -> None:
    other = settled(world)
    bill_id = broken_bill(world, (settled(world), 3_700), (settled(world), 3_000))
    before = break_of(bill_id)
    payment_id = other if proposal == "match_payment" else None
    worked_off(before, proposal, payment_id=payment_id)
    found = reopen_break(before.id, reason="the store wrote", by=ANNA)
    assert (found.state, found.reason) == ("reopened", "the store wrote")
    changed = {name for name in Break.__dataclass_fields__ if getattr(found, name) != getattr(before, name)}
    assert changed == {"state", "reason"}
    assert (billed_minor(bill_id), paid_minor(bill_id)) == (3_000, 3_000), "the matched line's own"
    assert worked_off(found, "write_off").paid_minor == 3_700


def test_a_reopened_write_off_of_nobodys_payment_forgets_whose_goodwill_it_was(world: World) -> None:
    found = break_of(broken_bill(world, (new_id("pay"), 700)))
    worked_off(found, "write_off", issuer_id=world.issuer_id)
    assert reopen_break(found.id, reason="no", by=ANNA).issuer_id is None


def test_a_line_that_was_freed_elsewhere_can_be_matched_to_its_own_payment(world: World) -> None:
    """The bill that had taken it up gave it back: the second bill's line is right after all."""
    payment_id = settled(world)
    first = broken_bill(world, (payment_id, 3_000))
    found = break_of(broken_bill(world, (payment_id, 3_000)))
    assert (found.kind, found.other_bill_id) == ("already_billed", first)
    with pytest.raises(InvalidRequest):
        proposed(found, "pay_smaller")
    with transaction() as db:
        lock_bill(db, first)
        give_back(db, first)
    assert worked_off(found, "match_payment", payment_id=payment_id).paid_minor == 3_000


# ── who looks after it, lists, repeats, words ───────────────────────────────────────────────────────────────────────


def test_somebody_looks_after_a_break(world: World) -> None:
    found = break_of(broken_bill(world, (settled(world), 3_700)))
    assert assign_break(found.id, assignee="Claire", by=ANNA).state == "assigned"
    found = proposed(found, "reject")
    found = assign_break(found.id, assignee=BEN, by=ANNA)
    assert (found.state, found.assignee, found.proposal) == ("proposed", BEN, "reject")
    found = decline_break(found.id, found.proposal_id or "", reason="no", by=BEN)
    assert (found.state, found.assignee) == ("assigned", BEN)


def test_lists_are_by_what_one_asks_for(world: World) -> None:
    bill_id = broken_bill(world, (settled(world), 3_700), (new_id("pay"), 100), days_ago=40)
    first, second = breaks_of(bill_id)
    assert first.age_days == 40
    worked_off(first, "pay_smaller")
    assign_break(second.id, assignee=BEN, by=ANNA)

    def listed(**wanted: Any) -> list[str]:
        return [each.id for each in list_breaks(store_id=world.bookshop, limit=10, **wanted)]

    assert listed() == [first.id, second.id]
    assert listed(closed=False) == listed(state="assigned") == listed(assignee=BEN) == [second.id]
    assert listed(closed=True) == listed(kind="amount_over") == listed(state="resolved") == [first.id]
    assert listed(after=first.id) == [second.id]
    assert listed(bill_id=bill_id, mode="test", older_than_days=40) == [first.id, second.id]
    assert listed(mode="live") == listed(older_than_days=41) == listed(state="open") == []


def test_the_other_modes_breaks_are_not_found(world: World) -> None:
    found = proposed(break_of(broken_bill(world, (settled(world), 3_700))), "reject")
    live: dict[str, Any] = {"mode": "live"}
    steps: tuple[Step, ...] = (
        lambda: read_break(found.id, **live),
        lambda: assign_break(found.id, assignee=BEN, by=BEN, **live),
        lambda: propose(found.id, "reject", reason="no", by=BEN, **live),
        lambda: approve_break(found.id, found.proposal_id or "", by=BEN, **live),
        lambda: decline_break(found.id, found.proposal_id or "", reason="no", by=BEN, **live),
        lambda: reopen_break(found.id, reason="no", by=BEN, **live),
    )
    for step in steps:
        with pytest.raises(NotFound):
            step()
    assert now_is(found) == found


def test_the_same_request_twice_is_done_once_and_answered_the_same(world: World) -> None:
    found = break_of(broken_bill(world, (settled(world), 3_700)))
    once, twice = reference("finance_test"), reference("finance_test")
    first = propose(found.id, "write_off", reason="ok", by=ANNA, reference=once)
    again = propose(found.id, "write_off", reason="ok", by=ANNA, reference=once)
    assert again.replayed and again.proposal_id == first.proposal_id
    done = approve_break(found.id, first.proposal_id or "", by=BEN, reference=twice)
    again = approve_break(found.id, first.proposal_id or "", by=BEN, reference=twice)
    assert (again.replayed, again.paid_minor, again.closed_at) == (True, done.paid_minor, done.closed_at)


@pytest.mark.parametrize("words", ["", "  ", "two\nlines", "a\0b", "x" * 501])
def test_words_of_people_are_one_line(world: World, words: str) -> None:
    found = break_of(broken_bill(world, (settled(world), 3_700)))
    with pytest.raises(InvalidRequest):
        propose(found.id, "reject", reason=words, by=ANNA)
    with pytest.raises(InvalidRequest):
        assign_break(found.id, assignee=words, by=ANNA)


def test_a_payment_is_named_by_match_payment_alone(world: World) -> None:
    found = break_of(broken_bill(world, (settled(world), 3_700)))
    wrong: list[tuple[str, PaymentId | None]] = [("match_payment", None), ("reject", found.payment_id), ("pay", None)]
    for proposal, payment_id in wrong:
        with pytest.raises(InvalidRequest):
            proposed(found, proposal, payment_id=payment_id)


def test_every_step_writes_what_was_done_and_by_whom(world: World) -> None:
    found = break_of(broken_bill(world, (settled(world), 3_700)))
    assign_break(found.id, assignee=BEN, by=ANNA)
    stood = proposed(found, "reject")
    decline_break(found.id, stood.proposal_id or "", reason="no", by=BEN)
    worked_off(found, "write_off")
    reopen_break(found.id, reason="no", by=ANNA)
    told = rows("SELECT kind, facts FROM event WHERE facts ->> 'break_id' = :id ORDER BY at, id", id=found.id)
    assert [each.kind for each in told] == [
        "break_assigned",
        "break_proposed",
        "break_declined",
        "break_proposed",
        "break_approved",
        "break_reopened",
    ]
    assert all(each.facts["mode"] == "test" and each.facts["store_id"] == world.bookshop for each in told)
    approval = told[4].facts
    assert (approval["proposed_by"], approval["approved_by"], approval["paid_minor"]) == (ANNA, BEN, 3_700)


def test_a_closed_break_is_reopened_before_anything_else(world: World) -> None:
    found = worked_off(break_of(broken_bill(world, (settled(world), 3_700))), "write_off")
    steps: tuple[Step, ...] = (
        lambda: proposed(found, "reject"),
        lambda: approved(found),
        lambda: assign_break(found.id, assignee=BEN, by=ANNA),
    )
    for step in steps:
        with pytest.raises(BreakClosed) as caught:
            step()
        assert caught.value.facts == {"state": "written_off"}
    assert paid_minor(found.bill_id) == 3_700
