"""The outbox in Django's database keeps the contract of every outbox, and stands and falls with the order."""

from collections.abc import Callable

import pytest
from django.db import connections, transaction
from outbox_contract import CHECKS, NOW, payment, refund, settle, void

from scrip_sdk.django.models import ScripInstruction, ScripPayment
from scrip_sdk.django.outbox import DjangoOutbox
from scrip_sdk.django.signals import instruction_done
from scrip_sdk.django.times import stored
from scrip_sdk.outbox import Instruction


class ClosingOutbox(DjangoOutbox):
    """Each thread has a connection of its own, which nobody closes but it."""

    def claim(self, *args: object, **options: object) -> "list[Instruction]":
        try:
            return list(super().claim(*args, **options))  # type: ignore[arg-type]
        finally:
            connections.close_all()

    def add(self, instruction: Instruction) -> Instruction:
        try:
            return super().add(instruction)
        finally:
            connections.close_all()


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_contract(check: "Callable[[DjangoOutbox], None]") -> None:
    check(ClosingOutbox())


def test_an_instruction_stands_exactly_if_the_order_does() -> None:
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        DjangoOutbox().add(settle(1))
        raise ZeroDivisionError
    assert DjangoOutbox().list() == []
    with transaction.atomic():
        DjangoOutbox().add(settle(1))
    assert len(DjangoOutbox().list()) == 1


def test_only_what_it_is_for_is_claimed() -> None:
    """Who has just ordered does not wait for what other orders left behind."""
    for number in (1, 2):
        DjangoOutbox().add(settle(number))
    assert [one.payment_id for one in DjangoOutbox(only=[payment(2)]).claim(NOW, limit=9, lease_s=9)] == [payment(2)]
    assert DjangoOutbox(only=[]).claim(NOW, limit=9, lease_s=9) == []


def row(number: int, **changes: object) -> ScripPayment:
    known = {"state": "placed", "currency": "GBP", "held_minor": 5_000, "amount_minor": 3_000}
    times = {name: stored(NOW) for name in ("expires_at", "applied_at", "changed_at")}
    made = {**known, **times, "order_reference": f"order-{number}", **changes}
    found: ScripPayment = ScripPayment.objects.create(payment_id=payment(number), **made)
    return found


def test_what_is_done_stands_on_the_payment_once() -> None:
    row(1)
    outbox = DjangoOutbox()
    settled, refunded = outbox.add(settle(1)), outbox.add(refund(1))
    for _ in range(2):
        outbox.done(settled, at=NOW, answer_id="set_1")
        outbox.done(refunded, at=NOW, answer_id="ref_1")
    kept = ScripPayment.objects.get()
    assert (kept.state, kept.settled_minor, kept.refunded_minor) == ("settled", 3_000, 500)
    assert kept.settled_at is not None


def test_a_void_ends_the_payment_and_spares_what_was_settled() -> None:
    row(1, state="voiding")
    row(2, state="voiding", settled_minor=1_000)
    row(3, state="placed")  # its void was not sent, for an order stands
    for number in (1, 2, 3):
        DjangoOutbox().done(DjangoOutbox().add(void(number)), at=NOW)
    assert [one.state for one in ScripPayment.objects.order_by("payment_id")] == ["voided", "settled", "placed"]


def test_listeners_write_into_the_same_transaction_and_their_bugs_undo_nothing() -> None:
    told = []

    def listen(*, instruction: Instruction, answer_id: str, **_: object) -> None:
        told.append((instruction.verb, answer_id))
        ScripInstruction.objects.filter(pk=-1).update(tries=1)
        raise ZeroDivisionError

    instruction_done.connect(listen)
    try:
        one = DjangoOutbox().add(settle(1))
        DjangoOutbox().done(one, at=NOW, answer_id="set_1")
        DjangoOutbox().done(one, at=NOW, answer_id="set_1")
    finally:
        instruction_done.disconnect(listen)
    assert told == [("settle", "set_1")]
    assert [each.state for each in DjangoOutbox().list()] == ["done"]
