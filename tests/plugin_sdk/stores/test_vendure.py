"""The shop on Vendure, against the real service, with faults between them: what every adapter must do, and its own."""

import os
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from app.db.embedded import EmbeddedPostgres
from scrip_sdk.testing.adapter import CARD, CASES, PRICE, Case
from tests.plugin_sdk.stores.fault_proxy import FaultProxy
from tests.plugin_sdk.stores.service import Service, assert_books_balance
from tests.plugin_sdk.stores.vendure_shop import (
    BANK,
    DECLINED,
    DELIVER,
    GIFT_CARD,
    PACKAGE,
    REFUSED,
    Order,
    Shop,
    node,
    running_shop,
    said_once,
    serving,
)

PAYMENTS, CONFIRM, SETTLE = "/v1/payments", "/v1/payments/*/confirm", "/v1/payments/*/settlements"

#: The shopper goes back to his cart, and puts another book into it in place of the first.
BACK = """mutation($id: ID!) {
  transitionOrderToState(state: "AddingItems") { __typename }
  removeAllOrderLines { __typename }
  addItemToOrder(productVariantId: $id, quantity: 1) { __typename }
  setOrderShippingMethod(shippingMethodId: ["1"]) { __typename }
}"""
ON = "mutation($state: String!) { transitionOrderToState(state: $state) { ... on Order { state } } }"


@pytest.fixture(scope="module")
def running(service: Service, server: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """One shop for all of this module."""
    with running_shop(service, server, tmp_path_factory.mktemp("vendure")) as shop:
        yield shop


@pytest.fixture
def shop(running: Shop, faults: FaultProxy) -> Shop:
    return running


@pytest.fixture
def sam(shop: Shop) -> Order:
    """Somebody at the payment page, with the book for 30.00 GBP."""
    return shop.order(PRICE)


def assert_paid(shop: Shop, order: Order, code: str, minor: int, *, rest_minor: int = 0) -> None:
    """The order stands, and this card has paid so much of it, once, as both sides say."""
    shop.deliver()
    assert order.stands()
    assert (order.paid_minor(), order.rest_minor()) == (minor, rest_minor)
    assert (shop.service.taken_minor(code), shop.service.held_minor(code)) == (minor, 0)
    assert shop.sums() == shop.service.sums()


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_adapter(case: Case, shop: Shop) -> None:
    case(shop, shop.service)


# ── Vendure's own ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_words_for_a_shopper_who_must_wait(shop: Shop, sam: Order, faults: FaultProxy) -> None:
    faults.refuse("POST", PAYMENTS, status=429, retry_after_s=47)
    assert sam.give(shop.service.issue(CARD)) == "wait"
    assert sam.words == "Please wait 47 seconds before the next try."


def test_a_form_that_is_sent_twice_at_once_takes_the_card_once(shop: Shop, sam: Order) -> None:
    code, other = shop.service.issue(1_000), replace(sam)
    with ThreadPoolExecutor(2) as pool:
        told = list(pool.map(lambda tab: tab.give(code), (sam, other)))
    assert "taken" in told
    assert sam.paid_minor() == 1_000
    assert sam.place(with_rest=True)
    assert_paid(shop, sam, code, 1_000, rest_minor=2_000)


def test_one_code_at_once_in_two_orders_pays_once(shop: Shop, sam: Order) -> None:
    code, kim = shop.service.issue(PRICE), shop.order(PRICE)
    with ThreadPoolExecutor(2) as pool:
        told = list(pool.map(lambda order: order.give(code), (sam, kim)))
    assert sorted(told) == ["refused", "taken"]
    winner, loser = (sam, kim) if told[0] == "taken" else (kim, sam)
    assert loser.words == REFUSED
    assert_paid(shop, winner, code, PRICE)
    assert not loser.stands()


def test_more_shoppers_at_once_than_the_shop_has_connections_are_all_served(shop: Shop) -> None:
    """Each has one of the ten while he waits for the service."""
    codes, orders = [shop.service.issue(CARD) for _ in range(12)], [shop.order(PRICE) for _ in range(12)]
    with ThreadPoolExecutor(12) as pool:
        told = list(pool.map(lambda order, code: order.give(code), orders, codes))
    assert told == ["taken"] * 12
    shop.deliver()
    assert [shop.service.taken_minor(code) for code in codes] == [PRICE] * 12


def test_two_cards_at_once_on_one_order_pay_no_more_than_it_costs(shop: Shop, sam: Order) -> None:
    codes, other = [shop.service.issue(2_000) for _ in range(2)], replace(sam, nonce="another form")
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda tab, code: tab.give(code), (sam, other), codes))
    if not sam.stands():
        assert sam.place(with_rest=True)
    shop.deliver()
    assert sam.paid_minor() + sam.rest_minor() == PRICE
    assert sum(map(shop.service.taken_minor, codes)) == sam.paid_minor()
    assert sum(map(shop.service.held_minor, codes)) == 0


def test_a_bank_that_says_no_leaves_the_gift_card_on_the_order(shop: Shop, sam: Order) -> None:
    code = shop.service.issue(1_000)
    assert sam.give(code) == "taken"
    assert sam.pay(BANK, number=DECLINED)["errorCode"] == "PAYMENT_DECLINED_ERROR"
    assert not sam.stands()
    assert sam.place(with_rest=True)
    assert_paid(shop, sam, code, 1_000, rest_minor=2_000)


@pytest.mark.parametrize("is_free", [True, False])
def test_a_card_that_was_taken_off_can_be_typed_again(shop: Shop, sam: Order, is_free: bool) -> None:
    """Also at once, while the service does not know yet that it was taken off."""
    code = shop.service.issue(1_000)
    assert sam.give(code) == "taken"
    if not is_free:
        shop.service.refuse("void", -1)
    sam.call_off()
    assert sam.paid_minor() == 0
    if is_free:
        shop.deliver()
        assert shop.service.held_minor(code) == 0
    shop.service.clear()
    assert sam.give(code) == "taken"
    assert sam.place(with_rest=True)
    assert_paid(shop, sam, code, 1_000, rest_minor=2_000)


@pytest.mark.parametrize("is_told_meanwhile", [True, False])
def test_an_order_that_is_cancelled_before_its_card_was_charged_gives_it_back(
    shop: Shop, sam: Order, is_told_meanwhile: bool
) -> None:
    """While the service is told of the order, which succeeds in the end, and while that waits for its next time."""
    code = shop.service.issue(CARD)
    shop.service.refuse("settle", -1)
    assert sam.give(code) == "taken"
    at_it = "SELECT id FROM scrip_instruction WHERE order_code = :code AND verb = 'settle' AND lease_until > now()"
    while not is_told_meanwhile and shop.rows(at_it, code=sam.code):
        time.sleep(0.1)
    sam.call_off()
    shop.service.clear()
    shop.deliver()
    assert (sam.paid_minor(), shop.service.taken_minor(code), shop.service.held_minor(code)) == (0, 0, 0)
    assert shop.sums() == shop.service.sums()


def test_an_order_that_became_cheaper_takes_no_more_of_its_card_than_it_costs(shop: Shop, sam: Order) -> None:
    code = shop.service.issue(2_000)
    assert sam.give(code) == "taken"
    sam.shopper.ask(BACK, id=shop.books[1_200])
    assert not sam.stands()
    for state in ("ArrangingPayment", "PaymentAuthorized"):
        assert sam.shopper.ask(ON, state=state)["transitionOrderToState"] == {"state": state}
    assert_paid(shop, sam, code, 1_200)


def test_a_refund_while_the_service_is_away_waits_for_it(shop: Shop, sam: Order) -> None:
    code = shop.service.issue(CARD)
    assert sam.give(code) == "taken"
    assert_paid(shop, sam, code, PRICE)
    with shop.service.away():
        assert sam.refund(500)
        assert [back["state"] for back in sam.payments(GIFT_CARD)[0]["refunds"]] == ["Pending"]
    shop.deliver()
    assert [back["state"] for back in sam.payments(GIFT_CARD)[0]["refunds"]] == ["Settled"]
    assert_paid(shop, sam, code, PRICE - 500)


def test_the_payment_is_settled_in_vendure_when_the_service_was_told(shop: Shop, sam: Order) -> None:
    code = shop.service.issue(CARD)
    shop.service.refuse("settle", -1)
    assert sam.give(code) == "taken"
    assert [each["state"] for each in sam.payments(GIFT_CARD)] == ["Authorized"]
    shop.service.clear()
    shop.deliver()
    assert ([each["state"] for each in sam.payments(GIFT_CARD)], sam.seen()["state"]) == (["Settled"], "PaymentSettled")


@pytest.mark.parametrize("asked", [DELIVER, '{ scripBill(month: "2026-01") }'])
def test_what_the_back_office_may_is_forbidden_to_others(shop: Shop, asked: str) -> None:
    answer = shop.post("admin-api", asked, {}, "")
    assert [error["extensions"]["code"] for error in answer["errors"]] == ["FORBIDDEN"]


def test_two_servers_tell_the_service_each_thing_once(shop: Shop, faults: FaultProxy, tmp_path: Path) -> None:
    """One that is killed between a confirmation and the payment's row leaves no card held and no order paid by it."""
    killed, others = shop.order(PRICE), [shop.order(PRICE) for _ in range(4)]
    codes, lost = [shop.service.issue(CARD) for _ in others], shop.service.issue(CARD)
    log = tmp_path / "second.log"
    shop.traces.files.append(log)
    with serving({**shop.environment, "SHOP_MAKES_TABLES": "no"}, log) as process:
        second = replace(shop, process=process)
        shop.service.refuse("settle", -1)
        assert [order.give(code) for order, code in zip(others, codes, strict=True)] == ["taken"] * 4
        shop.service.clear()
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda server: server.staff(DELIVER), [shop, second] * 2))
        shop.deliver()
        assert len(faults.seen("POST", SETTLE)) == 4
        for order, code in zip(others, codes, strict=True):
            assert_paid(shop, order, code, PRICE)

        faults.slow("POST", CONFIRM, seconds=2)
        killed.shopper.shop = second
        with ThreadPoolExecutor(1) as pool:
            broken = pool.submit(killed.give, lost)
            while not shop.service.held_minor(lost):
                time.sleep(0.02)
            time.sleep(0.2)  # the answer is on its way
            process.kill()
            assert isinstance(broken.exception(), OSError)
    killed.shopper.shop = shop
    shop.staff(DELIVER)
    shop.deliver()
    assert (killed.paid_minor(), shop.service.held_minor(lost)) == (0, 0)
    assert killed.give(lost) == "taken"
    assert_paid(shop, killed, lost, PRICE)


def test_the_books_balance_and_no_code_stays_in_the_shop(shop: Shop) -> None:
    """Its log says everything that Vendure and its database can say."""
    assert shop.sums() == shop.service.sums()
    assert_books_balance(shop.service.store)
    addresses, pages = map("\n".join, zip(*shop.traces.seen, strict=True))
    shop.traces.seen = [(addresses, pages)]
    shop.traces.files = [said_once(log) for log in shop.traces.files]
    for log in shop.traces.files:
        assert "INSERT INTO" in log.read_text(), "the log does not say what is asked of the database"
    assert len(shop.service.codes) > 20
    shop.traces.assert_without(*shop.service.codes)


def test_the_package_passes_its_own_tests() -> None:
    done = subprocess.run(
        [node(), "--test", "test/"],
        cwd=PACKAGE,
        env={"PATH": os.environ["PATH"]},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout[-20_000:]
