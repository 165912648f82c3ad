"""The verbs of a checkout, against the real service: what stands when, and who wins when two come at once."""

import threading
import time
from collections.abc import Callable
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import DatabaseError, connection, connections, transaction
from django.test import override_settings

from scrip_sdk import AmountTooHigh, Client, Money, Payment, PaymentClosed, ServiceUnavailable, TryLater
from scrip_sdk.django import client, payments
from scrip_sdk.django.abandoned import give_back_abandoned
from scrip_sdk.django.delivery import deliver_all
from scrip_sdk.django.models import ScripInstruction, ScripPayment
from scrip_sdk.django.outbox import DjangoOutbox
from scrip_sdk.django.times import now
from scrip_sdk.outbox import InstructionDiffers

Held = Callable[..., Payment]
GBP30 = Money(3_000, "GBP")
AWAY = {"URL": "http://127.0.0.1:9", "CLIENT_ID": "cli_x", "CLIENT_SECRET": "nobody", "TOTAL_S": 0.3}
LATER = {"DELIVER_ON_COMMIT": False}
is_sqlite = connection.vendor == "sqlite"


def state(payment_id: str) -> str:
    found: str = ScripPayment.objects.get(payment_id=payment_id).state
    return found


def told() -> "list[tuple[str, str]]":
    return [(one.verb, one.state) for one in DjangoOutbox().list()]


def ordered(held: Held, order: str = "order-1", amount: Money = GBP30) -> str:
    """A card that pays for an order."""
    payment_id: str = payments.record(held(order), order_reference=order).payment_id
    payments.confirm(order, {payment_id: amount})
    with transaction.atomic():
        payments.place(order, {payment_id: amount})
    return payment_id


def test_from_code_to_settled(held: Held) -> None:
    row = payments.record(held(), order_reference="order-1")
    assert (row.state, row.held, row.order_reference) == ("applied", Money(5_000, "GBP"), "order-1")
    payments.confirm("order-1", {row.payment_id: GBP30})
    assert state(row.payment_id) == "confirmed" and client().get(row.payment_id).confirmed
    with transaction.atomic():
        payments.place("order-1", {row.payment_id: GBP30})
        assert client().get(row.payment_id).state == "held", "it was told before the order stood"
    assert state(row.payment_id) == "settled" and told() == [("settle", "done")]
    assert client().get(row.payment_id).settled == GBP30


def test_placing_twice_settles_once(held: Held) -> None:
    payment_id = ordered(held)
    with transaction.atomic():
        payments.place("order-1", {payment_id: GBP30})
    assert told() == [("settle", "done")] and client().get(payment_id).settled == GBP30


def test_an_order_that_is_rolled_back_takes_nothing_and_can_be_tried_again(held: Held) -> None:
    row = payments.record(held(), order_reference="order-1")
    payments.confirm("order-1", {row.payment_id: GBP30})
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        payments.place("order-1", {row.payment_id: GBP30})
        raise ZeroDivisionError
    assert (state(row.payment_id), told()) == ("confirmed", [])
    payments.confirm("order-1", {row.payment_id: GBP30})
    with transaction.atomic():
        payments.place("order-1", {row.payment_id: GBP30})
    assert client().get(row.payment_id).settled == GBP30


def test_an_order_stands_on_what_was_confirmed_for_it_and_nothing_else(held: Held) -> None:
    row = payments.record(held(), order_reference="order-1")
    for order, amount in (("order-1", GBP30), ("order-2", GBP30)):
        with pytest.raises(PaymentClosed), transaction.atomic():
            payments.place(order, {row.payment_id: amount})
    payments.confirm("order-1", {row.payment_id: GBP30})
    for order, amount in (("order-2", GBP30), ("order-1", Money(3_001, "GBP"))):
        with pytest.raises(PaymentClosed), transaction.atomic():
            payments.place(order, {row.payment_id: amount})
    with pytest.raises(PaymentClosed):
        payments.confirm("order-2", {row.payment_id: GBP30})
    with pytest.raises(PaymentClosed):
        payments.confirm("order-1", {"pay_of_nobody": GBP30})
    assert told() == []


def test_a_card_and_its_confirm_in_one_transaction_are_refused(held: Held) -> None:
    """A rollback would leave a confirmed payment that no record speaks of."""
    paid = held()
    with pytest.raises(transaction.TransactionManagementError), transaction.atomic():
        row = payments.record(paid, order_reference="order-1")
        payments.confirm("order-1", {row.payment_id: GBP30})
    assert not client().get(paid.id).confirmed
    with transaction.atomic():
        payments.record(paid, order_reference="order-1")
    with transaction.atomic():  # as under ATOMIC_REQUESTS, in the next request
        payments.confirm("order-1", {paid.id: GBP30})
        payments.place("order-1", {paid.id: GBP30})
    assert state(paid.id) == "settled"


def test_where_one_of_two_cards_is_over_the_other_is_given_back(held: Held) -> None:
    first, second = (payments.record(held(), order_reference="order-1").payment_id for _ in range(2))
    client().void(second)
    with pytest.raises(PaymentClosed) as refused:
        payments.confirm("order-1", {first: GBP30, second: GBP30})
    assert (refused.value.payment_id, refused.value.given_back) == (second, (first,))
    assert (state(first), state(second)) == ("voided", "expired")
    assert [client().get(one).state for one in (first, second)] == ["voided", "voided"]
    with pytest.raises(PaymentClosed) as again:
        payments.confirm("order-1", {first: GBP30})
    assert (again.value.payment_id, again.value.given_back) == (first, ())


def test_an_amount_above_the_hold_is_refused_before_an_order_stands(held: Held) -> None:
    row = payments.record(held(), order_reference="order-1")
    with pytest.raises(AmountTooHigh):
        payments.confirm("order-1", {row.payment_id: Money(5_001, "GBP")})


def test_when_the_service_is_away_the_cards_stay_for_the_next_try(held: Held) -> None:
    row = payments.record(held(), order_reference="order-1")
    with override_settings(SCRIP=AWAY), pytest.raises(ServiceUnavailable) as away:
        payments.confirm("order-1", {row.payment_id: GBP30})
    assert (away.value.payment_id, away.value.given_back) == (row.payment_id, ())
    assert (state(row.payment_id), told()) == ("confirmed", [])
    with pytest.raises(PaymentClosed, match="has not said"), transaction.atomic():
        payments.place("order-1", {row.payment_id: GBP30})
    payments.confirm("order-1", {row.payment_id: GBP30})
    with override_settings(SCRIP=AWAY), pytest.raises(ServiceUnavailable):
        payments.confirm("order-1", {row.payment_id: GBP30})  # a second press, which takes nothing from the first
    with transaction.atomic():
        payments.place("order-1", {row.payment_id: GBP30})
    assert told() == [("settle", "done")]


def test_a_card_that_is_taken_off_while_the_service_is_asked_is_not_confirmed(
    held: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Told now, and not when the bank has been charged."""
    row, service = payments.record(held(), order_reference="order-1"), client()

    def ask(call: Any, deadline: Any) -> Any:
        answer = service.ask(call, deadline)
        assert payments.remove(row.payment_id)
        return answer

    monkeypatch.setattr(payments, "client", lambda: SimpleNamespace(ask=ask))
    with pytest.raises(PaymentClosed) as gone:
        payments.confirm("order-1", {row.payment_id: GBP30})
    assert (gone.value.payment_id, gone.value.given_back) == (row.payment_id, ())
    assert (state(row.payment_id), client().get(row.payment_id).state) == ("voided", "voided")


def test_an_order_stands_though_the_service_is_away_and_is_delivered_later(held: Held) -> None:
    row = payments.record(held(), order_reference="order-1")
    payments.confirm("order-1", {row.payment_id: GBP30})
    with override_settings(SCRIP=AWAY), transaction.atomic():
        payments.place("order-1", {row.payment_id: GBP30})
    assert (state(row.payment_id), told()) == ("placed", [("settle", "pending")])
    ScripInstruction.objects.update(due_at=ScripInstruction.objects.get().created_at)
    assert deliver_all().done == 1
    assert state(row.payment_id) == "settled"


def test_delivery_can_be_left_to_the_command(held: Held, settings_with: "Callable[..., Any]") -> None:
    with settings_with(**LATER):
        ordered(held)
        assert told() == [("settle", "pending")]
        assert deliver_all().done == 1


def test_delivery_after_a_commit_keeps_one_end_for_all_of_its_calls(
    held: Held, settings_with: "Callable[..., Any]", monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that is begun just before the time is over does not have that time again."""
    takes = {payments.record(held(), order_reference="order-1").payment_id: GBP30 for _ in range(2)}
    payments.confirm("order-1", takes)
    ends, ask = [], Client.ask

    def note(self: Client, call: Any, deadline: Any = None) -> Any:
        ends.append(deadline and deadline.ends_at)
        return ask(self, call, deadline)

    monkeypatch.setattr(Client, "ask", note)
    with settings_with(DELIVER_BUDGET_S=1.5):
        latest = time.monotonic() + 1.5
        with transaction.atomic():
            payments.place("order-1", takes)
    assert told() == [("settle", "done")] * 2
    assert len(ends) == 2 and len(set(ends)) == 1 and abs(ends[0] - latest) < 1


# ── removed, typed again, abandoned ─────────────────────────────────────────────────────────────────────────────────


def test_a_card_that_is_removed_can_be_typed_again(held: Held, code: str) -> None:
    first = payments.record(held(code=code), order_reference="order-1").payment_id
    assert payments.remove(first) and not payments.remove(first)
    assert state(first) == "voided"
    second = payments.record(held(code=code), order_reference="order-1").payment_id
    assert second != first and state(second) == "applied"


def test_a_card_that_is_typed_again_before_it_was_given_back_is_not_given_back(
    held: Held, code: str, settings_with: "Callable[..., Any]"
) -> None:
    with settings_with(**LATER):
        first = payments.record(held(code=code), order_reference="order-1").payment_id
        payments.remove(first)
        assert (state(first), told()) == ("voiding", [("void", "pending")])
        with pytest.raises(PaymentClosed):
            payments.confirm("order-1", {first: GBP30})
        assert payments.record(held(code=code), order_reference="order-1").payment_id == first
        assert (state(first), told()) == ("applied", [])
        payments.remove(first)
        assert told() == [("void", "pending")], "the second time it was not given back"


def test_while_it_is_being_given_back_a_card_has_to_wait(
    held: Held, code: str, settings_with: "Callable[..., Any]"
) -> None:
    with settings_with(**LATER):
        first = payments.record(held(code=code), order_reference="order-1").payment_id
        payments.remove(first)
        assert DjangoOutbox().claim(now(), limit=1, lease_s=60)
        with pytest.raises(TryLater) as wait:
            payments.record(held(code=code), order_reference="order-1")
        assert wait.value.retry_after_s > 0


def test_a_card_on_which_an_order_stands_is_not_removed(held: Held) -> None:
    payment_id = ordered(held)
    assert not payments.remove(payment_id)
    assert client().get(payment_id).state == "settled"


def test_what_never_became_an_order_is_given_back_in_time(held: Held) -> None:
    applied, confirmed, placed = (held(order) for order in ("order-1", "order-2", "order-3"))
    for paid in (applied, confirmed):
        payments.record(paid, order_reference=paid.order_reference)
    payments.confirm("order-2", {confirmed.id: GBP30})
    payments.record(placed, order_reference="order-3")
    payments.confirm("order-3", {placed.id: GBP30})
    with transaction.atomic():
        payments.place("order-3", {placed.id: GBP30}, settle=False)
    assert give_back_abandoned(now() + timedelta(seconds=890)) == 0
    assert give_back_abandoned(now() + timedelta(seconds=910)) == 1
    assert [state(one.id) for one in (applied, confirmed, placed)] == ["applied", "voiding", "placed"]
    assert give_back_abandoned(applied.expires_at + timedelta(seconds=1)) == 1
    assert give_back_abandoned(now() + timedelta(days=400)) == 0
    assert deliver_all().done == 2
    assert [client().get(one.id).state for one in (applied, confirmed, placed)] == ["voided", "voided", "held"]


def test_a_confirm_that_was_rolled_back_with_its_request_is_given_back(held: Held) -> None:
    """Under ATOMIC_REQUESTS the mark of the confirm is lost. The record of the card is not: it was committed before."""
    paid = held()
    with transaction.atomic():
        payments.record(paid, order_reference="order-1")
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        payments.confirm("order-1", {paid.id: GBP30})
        raise ZeroDivisionError
    assert state(paid.id) == "applied" and client().get(paid.id).confirmed
    assert client().get(paid.id).expires_at > paid.expires_at + timedelta(days=1), "held for days"
    assert give_back_abandoned(paid.expires_at + timedelta(seconds=1)) == 1
    assert deliver_all().done == 1 and client().get(paid.id).state == "voided"


@pytest.mark.skipif(is_sqlite, reason="SQLite lets one write at a time")
def test_who_places_an_order_meanwhile_keeps_the_card(held: Held) -> None:
    """The row is locked from confirm to commit: what gives back passes it over, and does not wait."""
    paid = held()
    payments.record(paid, order_reference="order-1")
    given: list[int] = []

    def give_back() -> None:
        given.append(give_back_abandoned(now() + timedelta(days=2)))
        connections.close_all()

    with transaction.atomic():
        payments.confirm("order-1", {paid.id: GBP30})
        thread = threading.Thread(target=give_back)
        thread.start()
        thread.join(10)
        assert given == [0]
        payments.place("order-1", {paid.id: GBP30})
    assert state(paid.id) == "settled"


def test_an_order_does_not_stand_on_what_was_given_back_under_it(held: Held) -> None:
    """Outside a transaction nothing is locked: then one of the two finds that the state has changed."""
    row = payments.record(held(), order_reference="order-1")
    payments.confirm("order-1", {row.payment_id: GBP30})
    assert give_back_abandoned(now() + timedelta(days=2)) == 1
    with pytest.raises(PaymentClosed), transaction.atomic():
        payments.place("order-1", {row.payment_id: GBP30})
    assert told() == [("void", "pending")]


def test_of_many_that_place_one_order_all_settle_once(held: Held) -> None:
    row = payments.record(held(), order_reference="order-1")
    payments.confirm("order-1", {row.payment_id: GBP30})
    errors: list[Exception] = []

    def place() -> None:
        try:
            with transaction.atomic():
                payments.place("order-1", {row.payment_id: GBP30})
        except (DatabaseError, PaymentClosed) as error:
            errors.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=place) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    deliver_all()
    assert told() == [("settle", "done")] and client().get(row.payment_id).settled == GBP30
    assert len(errors) < 4


# ── refunds, and settling later ─────────────────────────────────────────────────────────────────────────────────────


def test_refunds_are_done_once_each_and_never_exceed_what_was_taken(held: Held) -> None:
    payment_id = ordered(held)
    payments.refund(payment_id, Money(1_000, "GBP"), part="return-1", reason="One book came back")
    payments.refund(payment_id, Money(1_000, "GBP"), part="return-1", reason="One book came back")
    with pytest.raises(InstructionDiffers):
        payments.refund(payment_id, Money(500, "GBP"), part="return-1")
    with pytest.raises(AmountTooHigh) as too_high:
        payments.refund(payment_id, Money(2_001, "GBP"), part="return-2")
    assert too_high.value.left_minor == 2_000
    payments.refund(payment_id, Money(2_000, "GBP"), part="return-2")
    assert client().get(payment_id).refunded == GBP30
    assert ScripPayment.objects.get().refunded == GBP30


def test_two_refunds_at_once_do_not_give_back_more_than_was_taken(held: Held) -> None:
    """The second one comes while the first is not committed, and so not to be seen."""
    payment_id = ordered(held)
    results: list[object] = []

    def refund() -> None:
        try:
            results.append(payments.refund(payment_id, Money(2_000, "GBP"), part="return-2"))
        except AmountTooHigh as error:
            results.append(error.left_minor)
        finally:
            connections.close_all()

    with transaction.atomic():
        payments.refund(payment_id, Money(2_000, "GBP"), part="return-1")
        thread = threading.Thread(target=refund)
        thread.start()
        thread.join(0.4)
    thread.join(30)
    assert results == [1_000]
    deliver_all()
    assert client().get(payment_id).refunded == Money(2_000, "GBP")


def test_nothing_is_settled_or_refunded_without_an_order(held: Held) -> None:
    row = payments.record(held(), order_reference="order-1")
    with pytest.raises(PaymentClosed):
        payments.settle(row.payment_id, GBP30)
    with pytest.raises(PaymentClosed):
        payments.refund(row.payment_id, GBP30, part="1")


def test_parcels_are_settled_one_by_one(held: Held) -> None:
    row = payments.record(held(), order_reference="order-1")
    payments.confirm("order-1", {row.payment_id: GBP30})
    with transaction.atomic():
        payments.place("order-1", {row.payment_id: GBP30}, settle=False)
    assert told() == []
    payments.settle(row.payment_id, Money(1_000, "GBP"), final=False, part="parcel-1")
    assert (state(row.payment_id), client().get(row.payment_id).settled) == ("placed", Money(1_000, "GBP"))
    payments.settle(row.payment_id, Money(1_500, "GBP"), part="parcel-2")
    assert (state(row.payment_id), client().get(row.payment_id).settled) == ("settled", Money(2_500, "GBP"))


def test_an_order_that_falls_through_before_its_parcel_left_gives_the_card_back(held: Held) -> None:
    paid = held()
    row = payments.record(paid, order_reference="order-1")
    payments.confirm("order-1", {row.payment_id: GBP30})
    with transaction.atomic():
        payments.place("order-1", {row.payment_id: GBP30}, settle=False)
    longer = payments.extend(row.payment_id, 14 * 86_400)
    assert longer.expires_at == client().get(row.payment_id).expires_at > now() + timedelta(days=13)
    assert payments.cancel(row.payment_id) and not payments.cancel(row.payment_id)
    assert (state(row.payment_id), client().get(row.payment_id).state, told()) == (
        "voided",
        "voided",
        [("void", "done")],
    )
    with pytest.raises(PaymentClosed):
        payments.settle(row.payment_id, GBP30)
    with pytest.raises(PaymentClosed):
        payments.extend(row.payment_id, 60)


def test_what_was_told_to_settle_is_not_cancelled(held: Held) -> None:
    payment_id = ordered(held)
    assert not payments.cancel(payment_id) and state(payment_id) == "settled"
    paid = held("order-2")
    payments.record(paid, order_reference="order-2")
    assert not payments.cancel(paid.id), "no order stands on it"


def test_a_card_that_was_rolled_back_may_be_taken_and_confirmed_by_others(held: Held) -> None:
    """The connection that took it first has nothing to remember: what it had written is gone."""
    paid = held()
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        payments.record(paid, order_reference="order-1")
        raise ZeroDivisionError

    def take() -> None:
        payments.record(paid, order_reference="order-1")
        connections.close_all()

    other = threading.Thread(target=take)
    other.start()
    other.join()
    with transaction.atomic():
        payments.confirm("order-1", {paid.id: GBP30})
    assert client().get(paid.id).confirmed


def test_a_card_that_is_typed_again_while_it_is_being_confirmed_stays_confirmed(held: Held) -> None:
    paid = held()
    payments.record(paid, order_reference="order-1")
    payments.confirm("order-1", {paid.id: GBP30})
    payments.record(paid, order_reference="order-1")  # an answer from before the confirm, in another tab
    with transaction.atomic():
        payments.place("order-1", {paid.id: GBP30})
    assert client().get(paid.id).settled == GBP30
