"""An order stands on all of its cards or on none, against the real service; nobody's money is held for nothing."""

import secrets
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, Engine, MetaData, create_engine, event, text
from sqlalchemy.exc import OperationalError

from app.db.embedded import EmbeddedPostgres
from scrip_sdk.errors import AmountTooHigh, PaymentClosed, ServiceUnavailable, TryLater
from scrip_sdk.order import UNLESS_PLACED_S, OrderNotConfirmed, confirm_order, void_unless_placed
from scrip_sdk.outbox import LEASE_S, settle_later, utc_now
from scrip_sdk.outbox.sql import SqlOutbox, outbox_table
from scrip_sdk.outbox.sqlite import SqliteOutbox
from tests.plugin_sdk.stores.fault_proxy import FaultProxy
from tests.plugin_sdk.stores.keeping import LONG, Till, client_of, gbp
from tests.plugin_sdk.stores.service import Card, Store

CONFIRMS = "/v1/payments/*/confirm"


class TwoCards(Till):
    """A shopper with two cards of 50.00 GBP, both typed in."""

    def type_both(self) -> None:
        self.cards: list[Card] = [self.store.card(), self.store.card()]
        self.payments = [self.exchange(card, "order-1") for card in self.cards]
        self.ids = [payment.id for payment in self.payments]
        self.parts = [(self.ids[0], gbp(5_000)), (self.ids[1], gbp(1_000))]

    def place(self, order: str = "order-1", seconds: float = 8.0) -> None:
        confirm_order(self.client, order, self.parts, outbox=self.outbox, seconds=seconds)

    def fail(self, order: str = "order-1", seconds: float = 8.0) -> OrderNotConfirmed:
        with pytest.raises(OrderNotConfirmed) as failed:
            self.place(order, seconds)
        return failed.value

    @property
    def states(self) -> list[tuple[str, bool]]:
        payments = self.store.payments()
        return [(payments[each].state, payments[each].confirmed_at is not None) for each in self.ids]


@pytest.fixture
def shop(store: Store, faults: FaultProxy, tmp_path: Path) -> Iterator[TwoCards]:
    with client_of(store) as client:
        shop = TwoCards(store, client, SqliteOutbox(tmp_path / "outbox.db"))
        shop.type_both()
        yield shop


def test_every_card_of_an_order_is_confirmed_and_again_when_it_is_paid_at_last(shop: TwoCards) -> None:
    """A bank card was declined in between: no code is typed again, and the basket may have grown."""
    shop.place()
    assert shop.states == [("held", True), ("held", True)]
    shop.parts[1] = (shop.ids[1], gbp(4_500))
    shop.place()
    assert shop.states == [("held", True), ("held", True)]
    assert [payment.held for payment in confirm_order(shop.client, "order-1", shop.parts)] == [gbp(5_000)] * 2


def test_when_one_is_gone_the_others_are_given_back_and_can_be_typed_again(shop: TwoCards) -> None:
    shop.client.void(shop.ids[1], key="removed-in-another-tab")
    failed = shop.fail()
    assert (failed.payment_id, failed.slug, failed.status) == (shop.ids[1], "payment-closed", 409)
    assert isinstance(failed.cause, PaymentClosed)
    assert (failed.voided, failed.to_void) == ((shop.ids[0],), ())
    assert [state for state, _ in shop.states] == ["voided", "voided"]
    assert shop.exchange(shop.cards[0], "order-1").held == gbp(5_000)


def test_the_first_that_fails_leaves_the_others_as_they_were(shop: TwoCards) -> None:
    shop.client.void(shop.ids[0], key="removed-in-another-tab")
    failed = shop.fail()
    assert (failed.payment_id, failed.voided, failed.to_void) == (shop.ids[0], (), ())
    assert shop.states == [("voided", False), ("held", False)]


def test_an_old_answer_does_not_say_that_a_card_is_held_which_is_not(shop: TwoCards) -> None:
    """Confirmed, given back, and placed again: the service would repeat its first answer under the first key."""
    shop.place()
    shop.client.void(shop.ids[0], key="order-fell-through")
    assert shop.fail().payment_id == shop.ids[0]


def test_a_card_that_has_too_little_is_no_card_of_this_order(shop: TwoCards) -> None:
    shop.parts[1] = (shop.ids[1], gbp(5_001))
    failed = shop.fail()
    assert isinstance(failed.cause, AmountTooHigh)
    assert failed.cause.left_minor == 5_000
    assert set(failed.voided) == set(shop.ids)


def test_lost_answers_are_asked_for_again(shop: TwoCards, faults: FaultProxy) -> None:
    faults.lose("POST", CONFIRMS, times=2)
    shop.place()
    assert shop.states == [("held", True), ("held", True)]


def test_one_whose_answer_never_comes_is_given_back_too(shop: TwoCards, faults: FaultProxy) -> None:
    """It was confirmed, and nobody was told."""
    faults.lose("POST", f"/v1/payments/{shop.ids[1]}/confirm", times=-1)
    shop.hurry()
    failed = shop.fail()
    assert (failed.payment_id, set(failed.voided), failed.to_void) == (shop.ids[1], set(shop.ids), ())
    assert isinstance(failed.cause, ServiceUnavailable)
    assert [state for state, _ in shop.states] == ["voided", "voided"]


def test_the_service_goes_away_in_the_middle_and_nothing_stays_held(shop: TwoCards, faults: FaultProxy) -> None:
    """What may be confirmed is given back as soon as the service is there again."""
    faults.lose("POST", f"/v1/payments/{shop.ids[1]}/confirm", times=-1)
    shop.hurry()
    away = faults.refuse("POST", "/v1/payments/*/void", times=-1)
    failed = shop.fail()
    assert failed.voided == ()
    assert [each.payment_id for each in failed.to_void] == shop.ids
    for each in failed.to_void:
        shop.outbox.add(each)
    away.times = away.met
    shop.deliver_all()
    assert [state for state, _ in shop.states] == ["voided", "voided"]


def test_the_whole_order_takes_no_longer_than_it_may(shop: TwoCards, faults: FaultProxy) -> None:
    """Each call alone might take eight seconds; the shopper waits for all of them."""
    faults.slow("*", "/v1/payments/*", seconds=4, times=-1)
    begun = time.monotonic()
    failed = shop.fail(seconds=2.8)
    assert time.monotonic() - begun < 3.5
    assert len(failed.to_void) >= 1


def test_what_was_to_be_given_back_is_kept_when_the_order_is_placed_after_all(
    shop: TwoCards, faults: FaultProxy
) -> None:
    """The service was away, a void waits in the outbox, and the shopper tries again: the void must not win."""
    faults.down()
    for each in shop.fail(seconds=1.0).to_void:
        shop.outbox.add(each)
    assert shop.outbox.counts().pending == 1
    faults.up()
    shop.place()
    shop.deliver_all()
    assert shop.states == [("held", True), ("held", True)]
    assert shop.outbox.list() == []


def test_while_a_void_is_on_its_way_the_order_waits(shop: TwoCards, faults: FaultProxy) -> None:
    faults.down()
    for each in shop.fail(seconds=1.0).to_void:
        shop.outbox.add(each)
    faults.up()
    shop.outbox.claim(shop.now(), limit=1, lease_s=60)
    failed = shop.fail()
    assert isinstance(failed.cause, TryLater)
    assert (failed.voided, failed.to_void) == ((), ())
    assert shop.states == [("held", False), ("held", False)]


def test_another_tabs_order_keeps_its_card(shop: TwoCards, faults: FaultProxy) -> None:
    """One card in two orders of one shopper: the second is refused, and takes nothing from the first, even when it
    does not hear why."""
    first, second = shop.ids
    confirm_order(shop.client, "order-1", [(second, gbp(1_000))])
    failed = shop.fail("order-2")
    assert (failed.payment_id, failed.slug, failed.voided) == (second, "order-superseded", (first,))
    faults.lose("POST", f"/v1/payments/{second}/confirm", times=-1)
    shop.hurry()
    shop.parts = [(second, gbp(1_000))]
    failed = shop.fail("order-2")
    assert (failed.voided, failed.to_void) == ((), ())
    assert shop.states[1] == ("held", True)


def test_an_order_that_was_placed_meanwhile_keeps_its_cards(shop: TwoCards, faults: FaultProxy) -> None:
    """The same order comes twice, and the second meets a fault: the first has written its settle already."""
    shop.place()
    settled = shop.outbox.add(settle_later(shop.ids[0], gbp(5_000), order_reference="order-1"))
    faults.lose("POST", f"/v1/payments/{shop.ids[1]}/confirm", times=-1)
    shop.hurry()
    assert shop.ids[0] not in shop.fail().voided
    faults.clear()
    shop.client.service.budget = LONG
    shop.deliver()
    assert shop.row(settled).state == "done"


def test_what_is_no_order_is_refused(shop: TwoCards) -> None:
    with pytest.raises(ValueError, match="twice"):
        confirm_order(shop.client, "order-1", [shop.parts[0], shop.parts[0]])
    with pytest.raises(ValueError, match="pays nothing"):
        confirm_order(shop.client, "order-1", [(shop.ids[0], gbp(0))])
    assert confirm_order(shop.client, "order-1", []) == ()


# ── a process that dies between confirm and commit ──────────────────────────────────────────────────────────────────


class Desk(TwoCards):
    """A shop whose outbox is a table of its own database: an order stands exactly if its transaction is committed."""

    engine: Engine
    outbox: SqlOutbox

    def begin(self) -> None:
        """The void for the case that this process dies, in a transaction of its own."""
        with self.engine.begin() as db:
            void_unless_placed(SqlOutbox(db, self.outbox.table), "order-1", self.ids)

    def confirm_in(self, db: Connection) -> None:
        """In the transaction of the order."""
        in_this = SqlOutbox(db, self.outbox.table)
        confirm_order(self.client, "order-1", self.parts, outbox=in_this)
        for payment_id, amount in self.parts:
            in_this.add(settle_later(payment_id, amount, order_reference="order-1"))

    def assert_paid(self) -> None:
        self.deliver_all()
        assert [state for state, _ in self.states] == ["settled", "settled"]
        assert {one.verb for one in self.outbox.list(state="done") if one.answer_id} == {"settle"}


@pytest.fixture
def desk(store: Store, faults: FaultProxy, server: EmbeddedPostgres) -> Iterator[Desk]:
    engine, metadata = create_engine(server.admin_url), MetaData()
    table = outbox_table(metadata, f"outbox_{secrets.token_hex(4)}")
    metadata.create_all(engine)
    with client_of(store) as client:
        desk = Desk(store, client, SqlOutbox(engine, table))
        desk.engine = engine
        desk.type_both()
        yield desk
    metadata.drop_all(engine)
    engine.dispose()


def test_what_was_confirmed_for_an_order_that_never_came_is_given_back(desk: Desk) -> None:
    """After the last try, and not before."""
    desk.begin()
    with desk.engine.connect() as db:
        desk.confirm_in(db)  # and no commit: the process is gone
    assert desk.states == [("held", True), ("held", True)]
    desk.wait(seconds=UNLESS_PLACED_S - 60)
    assert desk.deliver().sent == 0
    desk.wait(seconds=120)
    assert desk.deliver().done == 2
    assert desk.states == [("voided", True), ("voided", True)]


def test_with_each_try_to_place_it_the_time_begins_anew(desk: Desk) -> None:
    with desk.engine.begin() as db:
        void_unless_placed(SqlOutbox(db, desk.outbox.table), "order-1", desk.ids, seconds=60)
    desk.begin()
    desk.wait(seconds=120)
    assert desk.deliver().sent == 0
    assert [one.verb for one in desk.outbox.list(state="pending")] == ["void", "void"]


def test_placing_that_takes_longer_is_not_voided_while_it_lasts(desk: Desk) -> None:
    """The void is due, and the order's transaction still open."""
    desk.begin()
    with desk.engine.begin() as db:
        desk.confirm_in(db)
        desk.wait(seconds=2 * UNLESS_PLACED_S)
        assert desk.deliver().sent == 0
    desk.assert_paid()


def test_placing_that_begins_too_late_does_not_stand(desk: Desk) -> None:
    """The process slept between the two transactions, and what it wants to confirm was given back meanwhile."""
    desk.begin()
    desk.wait(seconds=UNLESS_PLACED_S)
    assert desk.deliver().done == 2
    with pytest.raises(OrderNotConfirmed) as failed, desk.engine.begin() as db:
        desk.confirm_in(db)
    assert isinstance(failed.value.cause, PaymentClosed)
    assert {one.verb for one in desk.outbox.list()} == {"void"}


def test_a_void_that_is_on_its_way_and_the_order_exclude_each_other(desk: Desk) -> None:
    """Claimed first, the order does not come to stand; withdrawn first, there is nothing to claim, even before the
    commit."""
    desk.begin()
    late = utc_now()
    for one in desk.outbox.list():
        desk.outbox.revive(one.id, at=late)
    claimed = desk.outbox.claim(late, limit=9, lease_s=LEASE_S)
    assert len(claimed) == 2
    with pytest.raises(OrderNotConfirmed) as failed, desk.engine.begin() as db:
        desk.confirm_in(db)
    assert isinstance(failed.value.cause, TryLater)
    for one in claimed:
        desk.outbox.retry(one, at=late, error="busy")
    with desk.engine.begin() as db:
        desk.confirm_in(db)
        assert desk.outbox.claim(late, limit=9, lease_s=LEASE_S) == []
    desk.assert_paid()


def test_who_presses_twice_does_not_void_what_he_has_bought(desk: Desk, faults: FaultProxy) -> None:
    """His second press adds the void once more, after the order stands; so may one that never withdrew it."""
    desk.begin()
    with desk.engine.begin() as db:
        desk.confirm_in(db)
    desk.begin()
    desk.wait(seconds=2 * UNLESS_PLACED_S)
    desk.assert_paid()
    assert faults.seen("POST", "/v1/payments/*/void") == []


def test_a_second_press_that_waited_for_the_first_holds_its_settle_up_no_longer_than_it_takes(desk: Desk) -> None:
    """Its void has a place in line before the settle that it waited for; it finds the order, and withdraws it."""
    desk.begin()
    waiting = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE :query"
    with desk.engine.begin() as db:
        assert all(SqlOutbox(db, desk.outbox.table).withdraw_voids(each, at=utc_now()) for each in desk.ids)
        second = threading.Thread(target=desk.begin)
        second.start()
        until = time.monotonic() + 20
        while time.monotonic() < until:
            with desk.engine.connect() as other:
                if other.execute(text(waiting), {"query": f"INSERT INTO {desk.outbox.table.name} %"}).first():
                    break
        desk.confirm_in(db)
    second.join()
    assert [one.verb for one in desk.outbox.list(payment_id=desk.ids[0])] == ["void", "settle"]
    for each in desk.ids:
        assert desk.outbox.withdraw_voids(each, at=utc_now())
    assert desk.deliver().done == 2
    desk.assert_paid()


def test_what_is_added_is_not_withdrawn_before_it_is_read(desk: Desk) -> None:
    """Two presses at once: one adds the void that is there, while the other withdraws it."""
    desk.begin()
    tried: list[str] = []

    @event.listens_for(desk.engine, "after_cursor_execute")
    def withdraw(db: Connection, cursor: object, statement: str, *_: object) -> None:
        if statement.startswith("INSERT") and not tried:
            tried.append(statement)
            with desk.engine.begin() as other, pytest.raises(OperationalError, match="lock timeout"):
                other.execute(text("SET LOCAL lock_timeout = '50ms'"))
                SqlOutbox(other, desk.outbox.table).withdraw_voids(desk.ids[0], at=utc_now())

    desk.begin()
    assert len(tried) == 1
    assert len(desk.outbox.list(state="pending")) == 2
