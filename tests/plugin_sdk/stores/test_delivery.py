"""Delivery against the real service: whatever breaks on the way, each order's money is settled, once."""

import logging
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from app.ids import CardId
from app.redemption.reissue import reissue_card
from scrip_sdk import Client
from scrip_sdk.outbox import Instruction, refund_later, settle_later, void_later
from scrip_sdk.outbox.deliver import FIRST_WAIT_S, LATE_WAIT_S, LONGEST_WAIT_S, deliver, keep_delivering, wait_before
from scrip_sdk.outbox.sqlite import SqliteOutbox
from tests.plugin_sdk.stores.fault_proxy import FaultProxy
from tests.plugin_sdk.stores.keeping import LONG, Till, client_of, gbp
from tests.plugin_sdk.stores.service import Store, assert_books_balance
from tests.world import reference

SETTLEMENTS = "/v1/payments/*/settlements"


@pytest.fixture
def till(store: Store, faults: FaultProxy, tmp_path: Path) -> Iterator[Till]:
    with client_of(store) as client:
        yield Till(store, client, SqliteOutbox(tmp_path / "outbox.db"))


def assert_settled_once(till: Till, one: Instruction) -> None:
    assert one.amount is not None
    row = till.row(one)
    assert (row.state, row.last_error) == ("done", None)
    assert row.answer_id is not None
    assert row.answer_id.startswith("set_")
    assert till.store.settlements(one.payment_id) == [one.amount.amount_minor]
    assert_books_balance(till.store)


@pytest.mark.parametrize(
    "fault", ["lost once", "lost three times", "lost six times", "dropped", "twice", "503", "429", "slow"]
)
def test_whatever_breaks_the_money_is_settled_once(till: Till, faults: FaultProxy, fault: str) -> None:
    rule = {
        "lost once": lambda: faults.lose("POST", SETTLEMENTS),
        "lost three times": lambda: faults.lose("POST", SETTLEMENTS, times=3),
        "lost six times": lambda: faults.lose("POST", SETTLEMENTS, times=6),
        "dropped": lambda: faults.drop("POST", SETTLEMENTS, times=2),
        "twice": lambda: faults.twice("POST", SETTLEMENTS),
        "503": lambda: faults.refuse("POST", SETTLEMENTS, times=2),
        "429": lambda: faults.refuse("POST", SETTLEMENTS, status=429, times=2),
        "slow": lambda: faults.slow("POST", SETTLEMENTS, seconds=0.8, times=2),
    }[fault]()
    one = till.sell()
    till.hurry()
    till.deliver_all()
    assert rule.met == rule.times
    assert_settled_once(till, one)


def test_while_the_service_is_away_one_asks_ever_more_seldom_and_the_others_wait(
    till: Till, faults: FaultProxy
) -> None:
    orders = [till.sell(order=f"order-{number}") for number in range(3)]
    away = faults.refuse("POST", SETTLEMENTS, retry_after_s=None, times=-1)
    till.hurry()
    first = till.deliver()
    assert (first.done, first.put_off, first.dead) == (0, 1, 0)
    assert first.away_s is not None
    asked = [faults.seen("POST", f"/v1/payments/{one.payment_id}/settlements") != [] for one in orders]
    assert asked == [True, False, False]
    assert [till.row(one).tries for one in orders] == [1, 0, 0]
    assert till.row(orders[0]).last_error == "busy"
    away.times = away.met  # it is back
    till.wait(minutes=6)
    assert till.deliver().done == 3
    for one in orders:
        assert_settled_once(till, one)


def test_the_service_is_away_for_long(till: Till, faults: FaultProxy) -> None:
    """Nothing is given up, however often it was tried."""
    one = till.sell()
    till.hurry()
    with faults.away():
        for _ in range(3):
            assert till.deliver().away_s is not None
            till.wait(hours=9)
    assert till.row(one).tries == 3
    till.deliver_all()
    assert_settled_once(till, one)


def test_waits_grow_to_minutes_and_are_not_the_same_for_all() -> None:
    for tries in range(1, 40):
        longest = min(FIRST_WAIT_S * 2 ** (tries - 1), LONGEST_WAIT_S)
        drawn = {wait_before(tries) for _ in range(20)}
        assert len(drawn) > 1
        assert all(longest / 2 <= each <= longest for each in drawn)


def test_it_waits_as_long_as_it_is_told(till: Till, faults: FaultProxy) -> None:
    one = till.sell()
    faults.refuse("POST", SETTLEMENTS, retry_after_s=100)
    till.hurry()
    asked_at = till.now()
    delivery = till.deliver()
    assert delivery.away_s is not None
    assert delivery.away_s >= 100
    assert timedelta(seconds=100) <= till.row(one).due_at - asked_at < timedelta(seconds=115)
    till.wait(seconds=99)
    assert till.deliver().done == 0


def test_a_refund_that_is_wanted_early_comes_after_its_settle(till: Till, faults: FaultProxy) -> None:
    one = till.sell()
    till.outbox.add(refund_later(one.payment_id, gbp(500), order_reference="order-1", part="return-1", reason="torn"))
    faults.refuse("POST", SETTLEMENTS, times=2)
    till.hurry()
    till.deliver_all()
    assert till.store.payments()[one.payment_id].refunded_minor == 500
    assert_settled_once(till, one)
    assert [each.path.rpartition("/")[2] for each in faults.seen("POST", "/v1/payments/*")][-2:] == [
        "settlements",
        "refunds",
    ]


def test_two_parcels_of_one_order_are_two_settlements(till: Till) -> None:
    one = till.sell(1_000, final=False)
    till.outbox.add(settle_later(one.payment_id, gbp(1_000), order_reference="order-1", part="parcel-2"))
    till.deliver_all()
    assert till.store.settlements(one.payment_id) == [1_000, 1_000]
    assert_books_balance(till.store)


# ── what will never be ──────────────────────────────────────────────────────────────────────────────────────────────


def assert_given_up(till: Till, one: Instruction, error: str, caplog: pytest.LogCaptureFixture) -> None:
    told: list[Instruction] = []
    delivery = till.deliver(told.append)
    assert (delivery.dead, delivery.away_s) == (1, None)
    assert (till.row(one).state, till.row(one).last_error) == ("dead", error)
    assert [each.id for each in told] == [one.id]
    assert [record.levelno for record in caplog.records if one.id in record.getMessage()] == [logging.ERROR]
    till.wait(hours=1)
    assert till.deliver(told.append).dead == 0, "it was tried again"


def test_more_than_is_held_is_given_up_at_once(till: Till, caplog: pytest.LogCaptureFixture) -> None:
    one = till.sell(5_001)
    assert_given_up(till, one, "amount-over-hold", caplog)


def test_a_payment_that_was_voided_is_given_up_and_can_be_set_going_again(
    till: Till, caplog: pytest.LogCaptureFixture
) -> None:
    one = till.sell()
    till.client.void(one.payment_id)
    assert_given_up(till, one, "payment-closed", caplog)
    till.outbox.revive(one.id, at=till.now())
    assert till.deliver().dead == 1


def test_somebody_elses_payment_is_given_up(till: Till, caplog: pytest.LogCaptureFixture) -> None:
    one = till.outbox.add(settle_later(f"pay_{'0' * 26}", gbp(1), order_reference="order-1"))
    assert_given_up(till, one, "not-found", caplog)


def test_one_that_is_given_up_keeps_nobody_waiting_and_neither_does_a_broken_alert(till: Till) -> None:
    bad, good = till.sell(5_001), till.sell()

    def broken(_: Instruction) -> None:
        raise OSError("no mail server")

    delivery = till.deliver(broken)
    assert (delivery.dead, delivery.done) == (1, 1)
    assert till.row(bad).state == "dead"
    assert_settled_once(till, good)


# ── a payment that is closed ────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("amount_minor", "state"), [(3_000, "done"), (2_999, "dead"), (3_001, "dead")])
def test_what_somebody_has_settled_by_hand_for_this_order_is_done(till: Till, amount_minor: int, state: str) -> None:
    one = till.sell()
    till.client.settle(one.payment_id, gbp(amount_minor), order_reference="order-1", key="by-hand")
    till.deliver()
    assert till.row(one).state == state
    assert till.store.settlements(one.payment_id) == [amount_minor]


def test_a_second_parcel_is_not_taken_for_the_first(till: Till) -> None:
    """The first was final by mistake: what it took is not the second's."""
    one = till.sell(1_000)
    second = till.outbox.add(settle_later(one.payment_id, gbp(1_000), order_reference="order-1", part="parcel-2"))
    till.deliver_all()
    assert (till.row(one).state, till.row(second).state) == ("done", "dead")


def test_a_void_of_what_holds_nothing_is_done(till: Till) -> None:
    payment = till.exchange(till.store.card(), "order-1")
    void = till.outbox.add(void_later(payment.id, order_reference="order-1"))
    till.client.void(payment.id, key="by-hand")
    till.deliver()
    assert till.row(void).state == "done"


def test_a_void_leaves_alone_what_another_order_stands_on(till: Till) -> None:
    payment = till.exchange(till.store.card(), "order-1")
    till.client.confirm(payment.id, order_reference="order-1")
    void = till.outbox.add(void_later(payment.id, order_reference="order-2"))
    till.deliver()
    assert till.row(void).state == "done"
    assert till.client.get(payment.id).state == "held"


def test_a_void_that_an_order_has_overtaken_is_dropped(till: Till) -> None:
    """It fell through, the shopper typed the code again, and it was placed: by a store that withdrew nothing."""
    payment = till.exchange(till.store.card(), "order-1")
    void = till.outbox.add(void_later(payment.id, order_reference="order-1"))
    one = till.outbox.add(settle_later(payment.id, gbp(3_000), order_reference="order-1"))
    till.deliver()
    assert till.row(void).state == "done"
    assert_settled_once(till, one)


def test_the_rest_of_an_order_is_voided_after_its_first_parcel(till: Till) -> None:
    one = till.sell(1_000, final=False)
    till.outbox.add(void_later(one.payment_id, order_reference="order-1"))
    till.deliver_all()
    assert (till.client.get(one.payment_id).state, till.client.get(one.payment_id).held) == ("settled", gbp(0))
    assert_settled_once(till, one)


def test_with_credentials_that_are_not_good_nothing_is_given_up(till: Till, faults: FaultProxy) -> None:
    one, other = till.sell(order="order-1"), till.sell(order="order-2")
    good, url = till.client, till.store.service.url
    faults.clear()
    with Client(url, till.store.credentials.client_id, "scrip_test_wrong", budget=LONG) as till.client:
        assert till.deliver().away_s is not None
    assert (till.row(one).last_error, till.row(other).tries) == ("invalid_client", 0)
    assert len(faults.seen("POST", "/oauth/token")) == 1, "a wrong secret is not tried for each of them"
    till.client = good
    till.deliver_all()
    for each in (one, other):
        assert_settled_once(till, each)


def test_an_expired_payment_is_settled_late_and_tried_while_its_value_is_elsewhere(till: Till, store: Store) -> None:
    free, elsewhere = (till.exchange(store.card(), "order-1", hold_ttl_s=1) for _ in range(2))
    late, never = (
        till.outbox.add(settle_later(each.id, gbp(3_000), order_reference="order-1")) for each in (free, elsewhere)
    )
    time.sleep(max(0.0, elsewhere.expires_at.timestamp() - time.time()) + 0.2)
    card = store.world.card_of(elsewhere.id)  # type: ignore[arg-type]
    again = store.world.claim(_new_link(store, card.id))
    store.world.exchange(again.code, store=store.world.toyshop)
    delivery = till.deliver()
    assert (delivery.done, delivery.put_off, delivery.away_s) == (1, 1, None)
    assert_settled_once(till, late)
    assert till.row(never).due_at - till.now() > timedelta(seconds=LATE_WAIT_S - 60)
    till.wait(hours=71)
    assert till.deliver().put_off == 1
    till.wait(hours=2)
    assert till.deliver().dead == 1


def _new_link(store: Store, card_id: CardId) -> str:
    """What the holder gets for the expired hold."""
    issuer_id = store.world.issuer_id
    reissued = reissue_card(card_id, issuer_id=issuer_id, deliver="link", reference=reference(issuer_id))
    assert reissued.claim_link is not None
    return reissued.claim_link


# ── many at once, and for ever ──────────────────────────────────────────────────────────────────────────────────────


def test_three_deliverers_at_once_send_each_once(till: Till, faults: FaultProxy) -> None:
    orders = [till.sell(order=f"order-{number}") for number in range(9)]
    with ThreadPoolExecutor(3) as pool:
        deliveries = list(pool.map(lambda _: deliver(till.outbox, till.client), range(3)))
    assert sum(each.done for each in deliveries) == 9
    assert len(faults.seen("POST", SETTLEMENTS)) == 9
    for one in orders:
        assert_settled_once(till, one)


def test_a_loop_waits_longer_and_longer_while_the_service_is_away(till: Till, faults: FaultProxy) -> None:
    one = till.sell()
    pauses: list[float] = []
    path = till.outbox.path  # type: ignore[attr-defined]

    def stop(seconds: float) -> bool:
        pauses.append(seconds)
        if len(pauses) == 4:
            faults.up()
        return till.row(one).state == "done" or len(pauses) > 9

    faults.down()
    till.hurry()
    at_once = SqliteOutbox.retry

    class Eager(SqliteOutbox):
        """Puts off nothing, so that the loop's own waits are seen."""

        def retry(self, instruction: Instruction, *, at: datetime, error: str) -> None:
            at_once(self, instruction, at=till.now(), error=error)

    keep_delivering(Eager(path), till.client, every_s=0.01, stop=stop)
    assert pauses[0] == 0
    assert pauses[1] >= FIRST_WAIT_S / 2
    assert pauses[3] >= FIRST_WAIT_S * 2
    assert pauses[-1] == 0.01
    assert_settled_once(till, one)
