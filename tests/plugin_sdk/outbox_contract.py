"""What every outbox must do, as plain functions: they need no pytest, so that each store's environment can run them.

Each takes an outbox that is empty, and that threads may use at once.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta

from scrip_sdk.money import Money
from scrip_sdk.outbox import LEASE_S, Instruction, InstructionDiffers, Outbox, refund_later, settle_later, void_later

NOW = datetime(2026, 10, 5, 12, 0, 0, 123456, tzinfo=UTC)


def check_an_instruction_comes_back_as_it_was_added(outbox: Outbox) -> None:
    for one in (settle(1), void(2), refund(3)):
        assert outbox.add(one) == one
    assert outbox.list() == [settle_1 := outbox.list()[0], *outbox.list()[1:]]
    assert (settle_1.verb, settle_1.amount, settle_1.final, settle_1.created_at) == ("settle", gbp(3_000), True, NOW)
    kept_void, kept_refund = outbox.list()[1:]
    assert (kept_void.amount, kept_refund.reason) == (None, "One book came back")
    assert (outbox.counts().pending, outbox.counts().oldest_pending_at) == (3, NOW)


def check_the_same_key_is_kept_once(outbox: Outbox) -> None:
    """A store whose process was restarted adds again; nothing is sent twice, and nothing is silently changed."""
    first = outbox.add(settle(1))
    assert outbox.add(settle(1)).id == first.id
    with suppress(InstructionDiffers):
        with suppress(ValueError):  # which is what a bad amount is
            outbox.add(settle(1, amount_minor=2_999))
        raise AssertionError("another amount under the same key was taken")
    assert [one.id for one in outbox.list()] == [first.id]
    [claimed] = claim(outbox)
    outbox.done(claimed, at=NOW)
    assert outbox.add(settle(1)).state == "done"


def check_a_claimed_one_is_nobody_elses_until_its_lease_is_over(outbox: Outbox) -> None:
    outbox.add(settle(1))
    [first] = claim(outbox)
    assert first.tries == 1
    assert claim(outbox, NOW + timedelta(seconds=LEASE_S - 1)) == []
    [second] = claim(outbox, NOW + timedelta(seconds=LEASE_S))
    assert (second.id, second.key, second.tries) == (first.id, first.key, 2)


def check_a_late_deliverer_does_not_undo_what_another_knows(outbox: Outbox) -> None:
    """One is stopped for longer than its lease; another claims meanwhile."""
    outbox.add(settle(1))
    [late] = claim(outbox)
    [other] = claim(outbox, NOW + timedelta(seconds=LEASE_S))
    outbox.retry(late, at=NOW, error="no-answer")
    assert not outbox.dead(late, at=NOW, error="payment-closed")
    assert claim(outbox, NOW + timedelta(seconds=LEASE_S)) == [], "the other's lease was ended"
    outbox.done(other, at=NOW, answer_id="set_1")
    assert not outbox.dead(other, at=NOW, error="payment-closed")
    outbox.retry(other, at=NOW, error="no-answer")
    [kept] = outbox.list()
    assert (kept.state, kept.answer_id, kept.ended_at, kept.last_error) == ("done", "set_1", NOW, None)


def check_what_is_done_is_done_whoever_says_so(outbox: Outbox) -> None:
    """A deliverer that was taken for dead got the answer after all; it is true for a row that was given up too."""
    outbox.add(settle(1))
    [late] = claim(outbox)
    [other] = claim(outbox, NOW + timedelta(seconds=LEASE_S))
    assert outbox.dead(other, at=NOW, error="payment-closed")
    outbox.done(late, at=NOW, answer_id="set_1")
    assert [one.state for one in outbox.list()] == ["done"]


def check_one_that_is_put_off_waits(outbox: Outbox) -> None:
    outbox.add(settle(1))
    [claimed] = claim(outbox)
    outbox.retry(claimed, at=NOW + timedelta(seconds=8), error="busy")
    assert claim(outbox, NOW + timedelta(seconds=7)) == []
    [again] = claim(outbox, NOW + timedelta(seconds=8))
    assert (again.tries, again.last_error, again.key) == (2, "busy", claimed.key)


def check_one_that_is_not_due_waits(outbox: Outbox) -> None:
    outbox.add(settle(1, due_at=NOW + timedelta(hours=1)))
    assert claim(outbox) == []
    assert len(claim(outbox, NOW + timedelta(hours=1))) == 1


def check_the_order_within_a_payment_is_kept(outbox: Outbox) -> None:
    """A refund waits for its settle: while that one is claimed, and while it is put off."""
    outbox.add(settle(1))
    outbox.add(refund(1))
    outbox.add(settle(2))
    assert sorted(one.payment_id for one in claim(outbox)) == [payment(1), payment(2)]
    [settled] = [one for one in outbox.list(payment_id=payment(1)) if one.verb == "settle"]
    assert claim(outbox) == []
    outbox.retry(settled, at=NOW + timedelta(minutes=5), error="busy")
    assert claim(outbox) == []
    outbox.done(settled, at=NOW)
    assert [one.verb for one in claim(outbox)] == ["refund"]


def check_the_longest_due_comes_first(outbox: Outbox) -> None:
    for number, minutes in ((1, 3), (2, 1), (3, 2)):
        outbox.add(settle(number, due_at=NOW - timedelta(minutes=minutes)))
    assert [one.payment_id for one in claim(outbox, limit=2)] == [payment(1), payment(3)]


def check_a_dead_one_is_left_alone_until_it_is_set_going_again(outbox: Outbox) -> None:
    outbox.add(settle(1))
    outbox.add(refund(1))
    [claimed] = claim(outbox)
    assert outbox.dead(claimed, at=NOW, error="amount-over-hold")
    assert [one.verb for one in claim(outbox)] == ["refund"], "what is dead holds nobody up"
    assert outbox.counts().dead == 1
    assert [one.last_error for one in outbox.list(state="dead")] == ["amount-over-hold"]
    revived = outbox.revive(claimed.id, at=NOW)
    assert (revived.state, revived.ended_at, revived.key) == ("pending", None, claimed.key)
    assert [one.id for one in claim(outbox)] == [claimed.id]
    outbox.done(revived, at=NOW)
    for unknown in (claimed.id, "ins_unknown"):
        with suppress(LookupError):
            outbox.revive(unknown, at=NOW)
            raise AssertionError("one that is done was set going")


def check_a_clock_that_was_wrong_stops_nothing_for_good(outbox: Outbox) -> None:
    """Put off, and claimed by one that was killed, both ten years ahead: each can be brought forward."""
    wrong = NOW + timedelta(days=3_650)
    outbox.add(settle(1))
    outbox.add(settle(2))
    [first, second] = claim(outbox, wrong)
    outbox.retry(first, at=wrong, error="busy")
    assert claim(outbox) == []
    revived = outbox.revive(first.id, at=NOW)
    assert (revived.state, revived.due_at, revived.tries, revived.last_error) == ("pending", NOW, 1, "busy")
    assert [one.id for one in claim(outbox)] == [first.id]
    outbox.revive(second.id, at=NOW)
    assert claim(outbox) == [], "somebody may be sending it"
    outbox.done(first, at=NOW)
    assert [one.id for one in claim(outbox, NOW + timedelta(seconds=LEASE_S))] == [second.id]


def check_a_lease_does_not_end_by_being_brought_forward(outbox: Outbox) -> None:
    outbox.add(void(1))
    claim(outbox)
    later = NOW + timedelta(seconds=20)
    [one] = outbox.list()
    outbox.revive(one.id, at=later)
    assert claim(outbox, later) == []
    assert not outbox.withdraw_voids(payment(1), at=later), "it may be on its way"
    assert len(claim(outbox, NOW + timedelta(seconds=LEASE_S))) == 1


def check_a_void_is_withdrawn_when_its_payment_is_wanted_after_all(outbox: Outbox) -> None:
    """But not while a deliverer may be sending it; and the same order may fall through once more."""
    assert outbox.withdraw_voids(payment(1), at=NOW), "there was none"
    outbox.add(void(1))
    outbox.add(void(2))
    outbox.add(settle(1))
    [claimed] = [one for one in claim(outbox) if one.payment_id == payment(1)]
    assert not outbox.withdraw_voids(payment(1), at=NOW)
    outbox.retry(claimed, at=NOW, error="no-answer")
    assert outbox.withdraw_voids(payment(1), at=NOW)
    outbox.done(claimed, at=NOW)
    outbox.retry(claimed, at=NOW, error="no-answer")
    assert [one.verb for one in outbox.list(payment_id=payment(1))] == ["settle"]
    assert [one.verb for one in claim(outbox)] == ["settle"]
    assert outbox.add(void(1)).state == "pending"
    assert len(outbox.list(payment_id=payment(2))) == 1, "another payment's void was withdrawn"


def check_a_list_can_be_read_page_by_page(outbox: Outbox) -> None:
    added = [outbox.add(settle(number)).id for number in range(5)]
    first = outbox.list(limit=2)
    second = outbox.list(limit=2, after=first[-1].id)
    third = outbox.list(limit=2, after=second[-1].id)
    assert [one.id for page in (first, second, third) for one in page] == added
    assert outbox.list(after=third[-1].id) == []
    assert [one.id for one in outbox.list(payment_id=payment(3))] == [added[3]]


def check_no_two_deliverers_get_the_same_one(outbox: Outbox) -> None:
    """Four at once, until nothing is left: each instruction was given once."""
    added = {outbox.add(settle(number)).id for number in range(40)}

    def take_all() -> list[str]:
        taken: list[str] = []
        empty = 0
        while empty < 3:  # a database may pass over rows that another is just taking
            claimed = [one.id for one in outbox.claim(NOW, limit=3, lease_s=LEASE_S)]
            taken += claimed
            empty = 0 if claimed else empty + 1
        return taken

    with ThreadPoolExecutor(4) as pool:
        taken = [one for each in pool.map(lambda _: take_all(), range(4)) for one in each]
    assert sorted(taken) == sorted(added)


def check_of_many_that_add_the_same_one_is_kept(outbox: Outbox) -> None:
    """Four simultaneous "place order": one settlement."""
    with ThreadPoolExecutor(4) as pool:
        kept = list(pool.map(lambda _: outbox.add(settle(1)).id, range(8)))
    assert len(set(kept)) == 1
    assert len(outbox.list()) == 1


CHECKS: list[Callable[[Outbox], None]] = [check for name, check in globals().items() if name.startswith("check_")]


# ── instructions ────────────────────────────────────────────────────────────────────────────────────────────────────


def gbp(amount_minor: int) -> Money:
    return Money(amount_minor, "GBP")


def payment(number: int) -> str:
    return f"pay_{number:026d}"


def settle(number: int, amount_minor: int = 3_000, due_at: datetime | None = None) -> Instruction:
    order = f"Bestellung Nº {number}"
    return settle_later(payment(number), gbp(amount_minor), order_reference=order, at=NOW, due_at=due_at)


def void(number: int) -> Instruction:
    return void_later(payment(number), order_reference=f"order-{number}", at=NOW)


def refund(number: int) -> Instruction:
    return refund_later(
        payment(number),
        gbp(500),
        order_reference=f"order-{number}",
        part="return-1",
        reason="One book came back",
        at=NOW,
    )


def claim(outbox: Outbox, now: datetime = NOW, *, limit: int = 100) -> list[Instruction]:
    return list(outbox.claim(now, limit=limit, lease_s=LEASE_S))
