"""The plugin for pretix, in one that runs before the real service, with a proxy between them that breaks things."""

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from playwright.sync_api import Browser

from app.db.embedded import EmbeddedPostgres
from scrip_sdk import Client
from scrip_sdk.testing.adapter import CASES, Case
from tests.plugin_sdk.stores.adapter_service import RealService
from tests.plugin_sdk.stores.fault_proxy import FaultProxy
from tests.plugin_sdk.stores.pretix_shop import AGENT, Order, Shop, Visitor, running_pretix
from tests.plugin_sdk.stores.service import Service, assert_books_balance
from tests.plugin_sdk.stores.store_process import PATIENCE_S

pytestmark = pytest.mark.slow

CONFIRM, SETTLE = "/v1/payments/*/confirm", "/v1/payments/*/settlements"


@pytest.fixture(scope="module")
def shop(service: Service, server: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """The pretix, for the whole module; each test has shoppers of its own."""
    with running_pretix(service, server, tmp_path_factory.mktemp("pretix")) as shop:
        yield shop


@pytest.fixture
def real(shop: Shop) -> Iterator[RealService]:
    """The service as the cases want it."""
    real = RealService(shop.store)
    real.clear()
    yield real
    real.clear()
    shop.codes.extend(real.codes)


@pytest.fixture
def ready(shop: Shop, real: RealService, faults: FaultProxy) -> tuple[Order, str]:
    """A shopper whose card is on an order of 30.00 GBP that it covers, before the last button; and its code."""
    code, order = real.issue(5_000), shop.order(3_000)
    assert order.give(code) == "taken"
    order.get(f"{shop.url}/checkout/confirm/")
    assert "Nothing was taken from it yet" in order.page.words
    return order, code


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_adapter(case: Case, shop: Shop, real: RealService) -> None:
    case(shop, real)


# ── the order stands, and is paid afterwards ────────────────────────────────────────────────────────────────────────


def test_a_failed_settlement_leaves_a_pending_order_that_recovers_by_itself(
    shop: Shop, real: RealService, faults: FaultProxy, ready: tuple[Order, str]
) -> None:
    order, code = ready
    faults.refuse("POST", SETTLE, times=-1)
    assert order.press(), "the shopper is done"
    assert (order.state(), order.payments()) == ("pending", [("scrip", "pending", 3_000)])
    assert "You need not do anything" in order.get(order.link).words
    assert not order.get(f"{order.link}pay/change").path.endswith("/pay/change"), "nothing else is paid meanwhile"
    faults.clear()
    shop.deliver()
    assert (order.state(), order.payments()) == ("paid", [("scrip", "confirmed", 3_000)])
    assert real.taken_minor(code) == 3_000


def test_an_order_that_is_placed_while_the_service_is_away_for_long_is_paid_when_it_is_back(
    shop: Shop, real: RealService, ready: tuple[Order, str]
) -> None:
    order, code = ready
    with real.away():
        assert order.press()
        shop.keeper.ask("grow_old")
    assert order.payments() == [("scrip", "pending", 3_000)]
    shop.deliver()
    assert (order.state(), real.taken_minor(code)) == ("paid", 3_000)


def test_what_is_paid_in_another_way_meanwhile_goes_back_to_the_card(
    shop: Shop, real: RealService, faults: FaultProxy
) -> None:
    """pretix offers to pay what is pending: one card was not confirmed yet, the other is being settled."""
    orders = [shop.order(3_000), shop.order(3_000)]
    codes = [real.issue(1_000), real.issue(1_000)]
    for order, code, broken in zip(orders, codes, (CONFIRM, SETTLE), strict=True):
        assert order.give(code) == "taken"
        faults.lose("POST", broken, times=-1)
        assert order.place(with_rest=True)
        faults.clear()
        assert (order.state(), order.payments()[0]) == ("pending", ("scrip", "pending", 1_000))
        order.get(f"{order.link}pay/change")
        order.post(f"{order.link}pay/change", {"payment": "till"})
        order.post(order.page.url, {})
        assert (order.state(), order.rest_minor()) == ("paid", 3_000)
    shop.deliver()
    assert [order.payments()[0][1] for order in orders] == ["canceled", "refunded"]
    assert [order.refunds() for order in orders] == [[], [("done", 1_000)]]
    assert [(real.taken_minor(code), real.held_minor(code)) for code in codes] == [(0, 0), (0, 0)]


def test_four_presses_at_once_are_one_order_that_is_paid_once(
    shop: Shop, real: RealService, ready: tuple[Order, str]
) -> None:
    order, code = ready
    tabs = [Order(shop, 3_000, order.jar) for _ in range(4)]
    for tab in tabs:
        tab.email = order.email
    with ThreadPoolExecutor(4) as pool:
        assert any(pool.map(Order.press, tabs))
    shop.deliver()
    assert order.stands()
    assert (order.state(), order.payments()) == ("paid", [("scrip", "confirmed", 3_000)])
    assert real.taken_minor(code) == 3_000


def test_a_process_that_is_killed_between_confirm_and_commit_is_made_up_for(
    shop: Shop, real: RealService, faults: FaultProxy, ready: tuple[Order, str]
) -> None:
    order, code = ready
    faults.slow("POST", CONFIRM, seconds=2.0)
    with ThreadPoolExecutor(1) as pool:
        pressed = pool.submit(order.press)
        until = time.monotonic() + PATIENCE_S
        while not [row for row in shop.store.payments().values() if row.confirmed_at and row.state == "held"]:
            assert time.monotonic() < until
            time.sleep(0.05)
        shop.process.kill_workers()
        assert pressed.exception()
    assert order.stands()
    assert order.payments() == [("scrip", "pending", 3_000)]
    shop.deliver()
    assert (order.state(), real.taken_minor(code)) == ("paid", 3_000)


def test_a_card_that_is_refused_when_the_order_stands_pays_nothing_and_another_pays_late(
    shop: Shop, real: RealService, faults: FaultProxy, ready: tuple[Order, str]
) -> None:
    order, code = ready
    faults.refuse("POST", CONFIRM, status=409)
    assert not order.press()
    assert "no longer reserved" in order.page.words
    assert (order.state(), order.payments()) == ("pending", [("scrip", "failed", 3_000)])
    late = real.issue(1_000)
    assert order.give(late) == "taken"
    assert not order.place()
    assert order.place(with_rest=True)
    assert order.payments()[1:] == [("scrip", "confirmed", 1_000), ("till", "confirmed", 2_000)]
    shop.deliver()
    assert [order.state(), real.taken_minor(code), real.taken_minor(late)] == ["paid", 0, 1_000]


def test_an_order_that_is_canceled_while_its_card_is_charged_gives_the_money_back(
    shop: Shop, real: RealService, faults: FaultProxy, ready: tuple[Order, str]
) -> None:
    order, code = ready
    faults.lose("POST", SETTLE, times=10)
    assert order.press()
    assert shop.keeper.ask("cancel", code=order.code) == "pending", "the service may have taken it"
    faults.clear()
    shop.deliver()
    assert order.state() == "canceled"
    assert (order.refunds(), real.taken_minor(code)) == ([("done", 3_000)], 0)


def test_an_order_that_is_canceled_before_its_card_is_asked_gives_the_hold_back(
    shop: Shop, real: RealService, ready: tuple[Order, str]
) -> None:
    order, code = ready
    with real.away():
        assert order.press()
        assert shop.keeper.ask("cancel", code=order.code) == "canceled"
    shop.deliver()
    assert (order.state(), real.taken_minor(code), real.held_minor(code)) == ("canceled", 0, 0)


def test_an_order_whose_places_are_gone_when_it_is_settled_gives_the_money_back(
    shop: Shop, real: RealService, faults: FaultProxy, ready: tuple[Order, str]
) -> None:
    order, code = ready
    faults.drop("POST", SETTLE, times=-1)
    assert order.press()
    shop.keeper.ask("expire_and_sell_out", code=order.code)
    faults.clear()
    shop.deliver()
    shop.keeper.ask("sell_again")
    assert order.state() == "expired"
    assert (order.refunds(), real.taken_minor(code)) == ([("done", 3_000)], 0)


def test_a_settlement_that_never_will_be_leaves_the_order_to_another_method(
    shop: Shop, real: RealService, faults: FaultProxy, ready: tuple[Order, str]
) -> None:
    """The service gave the card back meanwhile, as it does when a hold is over for long."""
    order, code = ready
    faults.drop("POST", SETTLE, times=-1)
    assert order.press()
    reference = f"ACME-NIGHT-{order.code}"
    [payment] = [row.id for row in shop.store.payments().values() if row.order_reference == reference]
    made = shop.store.credentials
    with Client(shop.store.service.url, made.client_id, made.client_secret) as client:
        client.void(payment)
    faults.clear()
    shop.deliver()
    assert (order.state(), order.payments()) == ("pending", [("scrip", "failed", 3_000)])
    assert order.place(with_rest=True)
    assert (order.state(), real.taken_minor(code)) == ("paid", 0)


# ── the hosted checkout, and another organizer's client ─────────────────────────────────────────────────────────────


def test_a_code_is_typed_at_the_services_page_and_each_organizer_has_a_client_of_its_own(shop: Shop) -> None:
    hosted = shop.hosted
    code, order = hosted.card(1_000), hosted.order(3_000)
    order.post(f"{hosted.url}/checkout/payment/", {"payment": "scrip"})
    assert not order.page.url.startswith(shop.process.url)
    order.answer_service("code", {"code": code, "action": "code"})
    order.answer_service("decide", {"action": "approve"})
    assert order.page.url == f"{hosted.url}/checkout/payment/"
    assert order.place(with_rest=True)
    shop.deliver()
    assert order.payments() == [("scrip", "confirmed", 1_000), ("till", "confirmed", 2_000)]
    [(payment, sums)] = hosted.sums().items()
    assert (sums, payment in shop.sums()) == ((1_000, 0), False)
    assert hosted.billed() == {payment: 1_000}
    again = hosted.order(3_000)
    again.post(f"{hosted.url}/checkout/payment/", {"payment": "scrip"})
    again.answer_service("decide", {"action": "cancel"})
    assert "Nothing was taken from a gift card" in again.page.words
    assert_books_balance(hosted.store)


# ── the back office ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_settings_are_tried_before_they_are_saved_and_secrets_are_not_shown(shop: Shop) -> None:
    staff, where, store = shop.staff(), f"{shop.control}/settings/payment/scrip", shop.store.credentials
    page = staff.get(where)
    assert store.client_id in page.body and store.client_secret not in page.body

    def save(**changes: str) -> str:
        sent = {name: value for name, value in staff.inputs("payment_scrip_").items() if "_availability" not in name}
        sent |= {"payment_scrip__enabled": "on", "payment_scrip_checkout": "typed"}
        sent |= {"payment_scrip__restrict_to_sales_channels": "web"}
        return staff.post(where, sent | {f"payment_scrip_{name}": value for name, value in changes.items()}).words

    assert "Your changes have been saved" not in save(test_client_secret="scrip_test_wrong")
    assert "does not know this client" in staff.page.words
    staff.get(where)
    assert "secret of a client for test mode" in save(client_id=store.client_id, client_secret=store.client_secret)
    staff.get(where)
    assert "belong together" in save(client_id="cli_x")
    staff.get(where)
    assert "Your changes have been saved" in save(test_client_secret=store.client_secret, public_name_0="Gift card")
    logged = shop.keeper.ask("log_of_settings")
    assert logged and not any(store.client_secret in each for each in logged)
    fields = {"payment_scrip_url": shop.store.service.url, "payment_scrip_test_client_id": store.client_id}
    fields["payment_scrip_test_client_secret"] = store.client_secret
    assert shop.keeper.ask("settings_errors", slug="acme", fields=fields, private=True) == {}
    fields["payment_scrip_url"] = fields["payment_scrip_url"].replace("127.0.0.1", "localhost")  # no open connection
    said = shop.keeper.ask("settings_errors", slug="acme", fields=fields, private=False)
    assert "allow_http_to_private_networks" in said["payment_scrip_test_client_secret"][0]


def test_what_is_shredded_keeps_the_payments_id_and_nothing_else(shop: Shop, ready: tuple[Order, str]) -> None:
    order, _ = ready
    assert order.press()
    [payment] = shop.rows(
        "SELECT info FROM pretixbase_orderpayment JOIN pretixbase_order o ON o.id = order_id WHERE code = :code",
        code=order.code,
    )
    assert json.loads(shop.keeper.ask("shred", code=order.code)) == json.loads(payment.info)
    assert list(json.loads(payment.info)) == ["payment_id"]


@pytest.mark.browser
def test_in_a_browser_a_card_and_a_bank_card_pay_and_the_back_office_refunds(
    shop: Shop, real: RealService, browser: Browser, faults: FaultProxy
) -> None:
    code = real.issue(1_000)
    context = browser.new_context(locale="en-GB", user_agent=AGENT)
    page = context.new_page()
    page.set_default_timeout(20_000)
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    shopper = Order(shop, 3_000)
    context.add_cookies(cookies(shop, shopper))
    page.goto(f"{shop.url}/checkout/payment/")
    page.get_by_text("Gift card", exact=True).first.click()
    page.get_by_label("Gift card code").fill(code)
    page.screenshot(path=shop.folder / "payment.png", full_page=True)
    page.get_by_role("button", name="Continue").click()
    page.get_by_text("still need to be paid").wait_for()
    page.screenshot(path=shop.folder / "rest.png", full_page=True)
    assert code not in page.content()
    page.get_by_text("Bank card", exact=True).first.click()
    page.get_by_role("button", name="Continue").click()
    page.get_by_role("button", name="Place binding order").click()
    page.get_by_text("Thank you").first.wait_for()
    page.screenshot(path=shop.folder / "paid.png", full_page=True)
    shop.deliver()
    assert shopper.stands() and shopper.state() == "paid"

    context.add_cookies(cookies(shop, shop.staff()))
    page.goto(f"{shop.control}/settings/payment/scrip")
    page.get_by_label("Client ID for test mode").wait_for()
    page.screenshot(path=shop.folder / "settings.png", full_page=True)
    page.goto(f"{shop.control}/orders/{shopper.code}/")
    page.screenshot(path=shop.folder / "order.png", full_page=True)
    assert shopper.refund(400)
    page.reload()
    page.screenshot(path=shop.folder / "refunded.png", full_page=True)
    shop.deliver()
    assert (shopper.refunds(), real.taken_minor(code)) == ([("done", 400)], 600)
    context.close()
    assert errors == []


def cookies(shop: Shop, visitor: Visitor) -> list[Any]:
    """What a visitor has over HTTP, for a browser that goes on."""
    return [{"name": each.name, "value": each.value or "", "url": shop.process.url} for each in visitor.jar]


# ── what is installed, and what is left ─────────────────────────────────────────────────────────────────────────────


def test_the_sdk_suits_what_pretix_pins_and_its_migrations_are_its_models(shop: Shop) -> None:
    assert shop.keeper.ask("unmet") == []
    assert shop.keeper.ask("migrations") == "same"


def test_no_code_stays_in_the_shop_and_the_books_balance(shop: Shop) -> None:
    assert len(shop.codes) > 20
    shop.traces.assert_without(*shop.codes)
    assert_books_balance(shop.store)
    assert dict(shop.sums()) == dict(RealService(shop.store).sums())
