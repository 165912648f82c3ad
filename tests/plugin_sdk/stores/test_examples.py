"""The example shops as they run, each a program of its own before the real service: orders, faults, and what stays."""

import json
import os
import re
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from html import unescape
from http.cookiejar import CookieJar
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import HTTPCookieProcessor, HTTPRedirectHandler, Request, build_opener

import pytest
from playwright.sync_api import Browser as BrowserOfPlaywright
from playwright.sync_api import expect
from sqlalchemy import text

from app.db.embedded import EmbeddedPostgres
from tests.plugin_sdk.stores.fault_proxy import FaultProxy
from tests.plugin_sdk.stores.service import Card, Service, Store, assert_books_balance
from tests.plugin_sdk.stores.store_process import (
    Database,
    run_python,
    running_store,
    store_database,
    store_environment,
    stores_python,
)
from tests.plugin_sdk.stores.traces import Traces
from tests.service import ROOT, free_port

EXAMPLES = ROOT / "plugin_sdk" / "examples"
PAYMENTS, SETTLEMENTS = "/v1/payments", "/v1/payments/*/settlements"
#: An order is placed sooner than that, whatever the service does, in seconds.
LONGEST_S = 12
THIRTY = 3_000


@dataclass
class Shop:
    """An example shop that runs."""

    url: str
    store: Store
    database: Database
    folder: Path
    deliver: Callable[[], None]
    kill_workers: Callable[[], None] = lambda: None

    def orders(self) -> dict[str, Any]:
        """All of its orders, by reference."""
        engine = self.database.engine()
        with engine.connect() as db:
            query = "SELECT reference, card_minor, other_minor, payment_id FROM shop_order"
            found = {row.reference: row for row in db.execute(text(query))}
        engine.dispose()
        return found

    def payment_of(self, order: str) -> str:
        return str(self.orders()[order].payment_id)

    def wait_until_settled(self, order: str, seconds: float = 15) -> None:
        """The order's settlement is done once, and stays so."""
        until = time.monotonic() + seconds
        while not self.store.settlements(self.payment_of(order)) and time.monotonic() < until:
            time.sleep(0.05)
        assert self.store.settlements(self.payment_of(order)) == [THIRTY]


class _Stay(HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        """Redirects are followed by hand, so that each address is seen."""


@dataclass
class Browser:
    """A shopper's browser without script; `traces` keeps every address, page and cookie that it saw."""

    shop: Shop
    traces: Traces
    cookies: CookieJar = field(default_factory=CookieJar)

    def get(self, url: str) -> str:
        return self._follow(Request(self._at(url)))

    def post(self, url: str, form: "dict[str, str] | None" = None, **headers: str) -> str:
        return self._follow(Request(self._at(url), urlencode(form or {}).encode(), headers))

    def post_json(self, url: str, body: object, **headers: str) -> Any:
        sent = {"Content-Type": "application/json", **headers}
        return json.loads(self._follow(Request(self._at(url), json.dumps(body).encode(), sent)))

    def nonce(self) -> str:
        found = re.search(r'name=nonce value="([^"]+)"', self.get("/"))
        assert found is not None
        return found[1]

    def type_code(self, code: str) -> str:
        return self.post("/card", {"nonce": self.nonce(), "code": code})

    def _at(self, url: str) -> str:
        return url if url.startswith("http") else self.shop.url + url

    def _follow(self, asked: Request) -> str:
        opener = build_opener(HTTPCookieProcessor(self.cookies), _Stay())
        for _ in range(5):
            try:
                answer = opener.open(asked, timeout=30)
            except HTTPError as error:
                answer = error
            page: str = answer.read().decode()
            cookies = "\n".join(f"{cookie.name}={cookie.value}" for cookie in self.cookies)
            self.traces.saw(asked.full_url, f"{page}\n{cookies}")
            assert answer.status < 500 or "said" in page, page
            if answer.status not in (302, 303):
                return page
            asked = Request(self._at(answer.headers["Location"]))
        raise AssertionError("redirected for ever")


def browser_at(shop: Shop) -> Browser:
    return Browser(shop, Traces(shop.database, [shop.folder]))


def environment(store: Store, database: Database) -> dict[str, str]:
    return store_environment(store.environment, {"SHOP_DATABASE": database.url, "SHOP_SECRET": "s" * 32})


@pytest.fixture(scope="module")
def flask_shop(service: Service, server: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """The Flask shop on gunicorn."""
    folder, store = tmp_path_factory.mktemp("flask"), service.new_store()
    with store_database(server) as database:
        env = environment(store, database)
        run_python(["-m", "flask", "--app", "flask_shop", "make-tables"], env=env, cwd=EXAMPLES)
        with running_store("flask_shop:app", env=env, cwd=EXAMPLES, log=folder / "shop.log") as running:

            def deliver() -> None:
                run_python(["-m", "flask", "--app", "flask_shop", "deliver"], env=env, cwd=EXAMPLES)

            store.sends_shoppers_back_to(f"{running.url}/paid")
            yield Shop(running.url, store, database, folder, deliver, running.kill_workers)


@pytest.fixture(scope="module")
def fastapi_shop(
    service: Service, server: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Shop]:
    """The FastAPI shop on uvicorn."""
    folder, store = tmp_path_factory.mktemp("fastapi"), service.new_store()
    with store_database(server) as database:
        env = environment(store, database)
        run_python(["fastapi_shop.py", "make-tables"], env=env, cwd=EXAMPLES)
        with running_uvicorn("fastapi_shop:app", env, folder / "shop.log") as url:

            def deliver() -> None:
                run_python(["fastapi_shop.py", "deliver"], env=env, cwd=EXAMPLES)

            store.shows_the_field_on(url)
            yield Shop(url, store, database, folder, deliver)


@contextmanager
def running_uvicorn(asgi: str, env: "dict[str, str]", log: Path) -> Iterator[str]:
    port = free_port()
    command = [stores_python(), "-m", "uvicorn", "--port", str(port), asgi]
    with log.open("ab") as output:
        process = subprocess.Popen(command, env=env, cwd=EXAMPLES, stdout=output, stderr=output)
    try:
        until = time.monotonic() + 60
        while b"Uvicorn running" not in log.read_bytes():
            assert process.poll() is None and time.monotonic() < until, log.read_text()
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(30)


# ── Flask ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def order_of(page: str) -> str:
    found = re.search(r"web-[0-9a-f]{16}", page)
    assert found is not None, page
    return found[0]


def test_flask_an_order_is_paid_by_card_and_no_code_stays(flask_shop: Shop, faults: FaultProxy) -> None:
    card, browser = flask_shop.store.card(), browser_at(flask_shop)
    assert "Gift card: 30.00 GBP" in browser.type_code(card.code)
    order = order_of(browser.post("/order"))
    flask_shop.wait_until_settled(order)
    assert flask_shop.store.balance_minor(card) == 2_000
    assert_books_balance(flask_shop.store)
    browser.traces.assert_without(card.code)


def test_flask_a_small_card_pays_its_part(flask_shop: Shop, faults: FaultProxy) -> None:
    card, browser = flask_shop.store.card(1_000), browser_at(flask_shop)
    assert "By bank transfer: 20.00 GBP" in browser.type_code(card.code)
    assert "By bank transfer: 30.00 GBP" in browser.post("/card/remove")
    assert "By bank transfer: 20.00 GBP" in browser.type_code(card.code)  # typed again here, it is good
    order = order_of(browser.post("/order"))
    found = flask_shop.orders()[order]
    assert (found.card_minor, found.other_minor) == (1_000, 2_000)


def test_flask_wrong_codes_say_one_thing(flask_shop: Shop, faults: FaultProxy) -> None:
    browser = browser_at(flask_shop)
    assert "typing mistake" in browser.type_code("0000-0000-0000-0001")
    assert faults.seen("POST", PAYMENTS) == []
    assert "is not accepted" in browser.type_code("MA4K-V30W-8P9C-GEM6")


def test_flask_a_lost_exchange_answer_burns_no_code(flask_shop: Shop, faults: FaultProxy) -> None:
    card, browser = flask_shop.store.card(), browser_at(flask_shop)
    faults.lose("POST", PAYMENTS)
    assert "Gift card: 30.00 GBP" in browser.type_code(card.code)


def test_flask_while_the_service_is_down_the_shop_sells(flask_shop: Shop, faults: FaultProxy) -> None:
    card, browser = flask_shop.store.card(), browser_at(flask_shop)
    nonce, began = browser.nonce(), time.monotonic()
    with faults.away():
        assert "cannot be taken just now" in browser.post("/card", {"nonce": nonce, "code": card.code})
        order = order_of(browser.post("/order"))
    assert time.monotonic() - began < LONGEST_S
    assert (flask_shop.orders()[order].payment_id, flask_shop.store.balance_minor(card)) == (None, 5_000)
    browser.traces.assert_without(card.code)


def test_flask_a_lost_settle_answer_settles_once(flask_shop: Shop, faults: FaultProxy) -> None:
    card, browser = flask_shop.store.card(), browser_at(flask_shop)
    browser.type_code(card.code)
    faults.lose("POST", SETTLEMENTS, times=2)
    flask_shop.wait_until_settled(order_of(browser.post("/order")))
    assert_books_balance(flask_shop.store)


def test_flask_what_could_not_be_told_is_told_later(flask_shop: Shop, faults: FaultProxy) -> None:
    card, browser = flask_shop.store.card(), browser_at(flask_shop)
    browser.type_code(card.code)
    faults.refuse("POST", SETTLEMENTS, retry_after_s=30, times=-1)
    began = time.monotonic()
    order = order_of(browser.post("/order"))
    assert time.monotonic() - began < LONGEST_S
    while not faults.seen("POST", SETTLEMENTS):
        time.sleep(0.02)
    assert flask_shop.store.settlements(flask_shop.payment_of(order)) == []
    faults.clear()
    make_due(flask_shop)
    flask_shop.deliver()
    assert flask_shop.store.settlements(flask_shop.payment_of(order)) == [THIRTY]


def make_due(shop: Shop) -> None:
    """Nobody waits for half a minute here."""
    until = time.monotonic() + 10
    engine, changed = shop.database.engine(), 0
    while not changed and time.monotonic() < until:  # the thread that tried first writes down when it is due again
        with engine.begin() as db:
            later = "UPDATE scrip_instruction SET due_at = created_at WHERE state = 'pending' AND last_error = 'busy'"
            changed = db.execute(text(later)).rowcount
    engine.dispose()


def test_flask_killed_between_confirm_and_commit_the_card_is_given_back(flask_shop: Shop, faults: FaultProxy) -> None:
    """By kill -9: the service holds the card for an order that never came to be, and nobody is there who knows."""
    card, browser = flask_shop.store.card(), browser_at(flask_shop)
    browser.type_code(card.code)
    faults.slow("POST", "/v1/payments/*/confirm", seconds=5)
    before = flask_shop.orders().keys()

    def press() -> None:
        with suppress(OSError):
            browser.post("/order")

    pressed = threading.Thread(target=press)
    pressed.start()
    [held] = wait_for(lambda: payments_of(flask_shop, card, "held", confirmed=True))
    flask_shop.kill_workers()
    pressed.join()
    assert flask_shop.orders().keys() == before
    assert len(wait_for(lambda: make_voids_due(flask_shop))) == 1
    assert payments_of(flask_shop, card, "held", confirmed=True) == [held]
    flask_shop.deliver()
    assert payments_of(flask_shop, card, "voided", confirmed=True) == [held]
    assert flask_shop.store.balance_minor(card) == 5_000


def payments_of(shop: Shop, card: Card, state: str, *, confirmed: bool) -> list[Any]:
    """The card's payments that are so."""
    found = [one for one in shop.store.payments().values() if (one.card_id, one.state) == (card.id, state)]
    return [one.id for one in found if (one.confirmed_at is not None) == confirmed]


def wait_for(look: "Callable[[], list[Any]]") -> list[Any]:
    """What is seen, once there is something."""
    until = time.monotonic() + 30
    while not (seen := look()) and time.monotonic() < until:
        time.sleep(0.02)
    assert seen
    return seen


def make_voids_due(shop: Shop) -> list[Any]:
    """A quarter of an hour passes; which voids wait."""
    engine = shop.database.engine()
    with engine.begin() as db:
        later = (
            "UPDATE scrip_instruction SET due_at = created_at WHERE state = 'pending' AND verb = 'void' RETURNING id"
        )
        found = list(db.execute(text(later)))
    engine.dispose()
    return found


def test_flask_placed_four_times_at_once_it_is_one_order(flask_shop: Shop, faults: FaultProxy) -> None:
    card, browser = flask_shop.store.card(), browser_at(flask_shop)
    browser.type_code(card.code)
    pages: list[str] = []
    same = [Browser(flask_shop, browser.traces, browser.cookies) for _ in range(4)]
    before = len(flask_shop.orders())
    threads = [threading.Thread(target=lambda each=each: pages.append(each.post("/order"))) for each in same]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    orders = {order_of(page) for page in pages if "Thank you" in page}
    assert (len(orders), len(flask_shop.orders()) - before) == (1, 1)
    flask_shop.wait_until_settled(orders.pop())
    assert_books_balance(flask_shop.store)


def test_flask_hosted_checkout_pays_an_order(flask_shop: Shop, faults: FaultProxy) -> None:
    card, browser = flask_shop.store.card(), browser_at(flask_shop)
    page = browser.post("/checkout")
    address = browser.traces.seen[-1][0]
    origin = flask_shop.store.service.url
    assert address.startswith(f"{origin}/oauth/authorize?") and "30.00" in page
    csrf = re.search(r'name="csrf" value="([^"]+)"', page)
    assert csrf is not None
    back = browser.post(address, {"csrf": unescape(csrf[1]), "action": "code", "code": card.code}, Origin=origin)
    assert "Gift card: 30.00 GBP" in back
    flask_shop.wait_until_settled(order_of(browser.post("/order")))
    browser.traces.assert_without(card.code)


def test_flask_whoever_goes_back_pays_in_another_way(flask_shop: Shop, faults: FaultProxy) -> None:
    browser = browser_at(flask_shop)
    page = browser.post("/checkout")
    csrf = re.search(r'name="csrf" value="([^"]+)"', page)
    assert csrf is not None
    address, origin = browser.traces.seen[-1][0], flask_shop.store.service.url
    back = browser.post(address, {"csrf": unescape(csrf[1]), "action": "cancel"}, Origin=origin)
    assert "You have not paid with a gift card" in back
    assert "By bank transfer: 30.00 GBP" in browser.get("/")


# ── FastAPI ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def tokenise(browser: Browser, code: str) -> "tuple[str, str]":
    """What the field on the page does with a code: the code token, and the page's form."""
    page = browser.get("/")
    attributes = dict(re.findall(r' (\w+)="([^"]*)"', page.partition("<scrip-code")[2].partition(">")[0]))
    form = re.search(r'form: "([^"]+)"', page)
    assert form is not None, page
    service = browser.shop.store.service
    body = {
        "code": code,
        "order_reference": attributes["order"],
        "amount": {"amount_minor": int(attributes["amount"]), "currency": attributes["currency"]},
        "shopper_key": attributes["shopper"],
    }
    frame = Browser(browser.shop, Traces())  # the service's own page, of which the shop sees nothing
    answer = frame.post_json(f"{service.url}/widget/{attributes['store']}/code-tokens", body, Origin=service.url)
    return answer["code_token"], form[1]


def test_fastapi_an_order_is_paid_through_the_field_and_no_code_stays(fastapi_shop: Shop, faults: FaultProxy) -> None:
    card, browser = fastapi_shop.store.card(), browser_at(fastapi_shop)
    token, form = tokenise(browser, card.code)
    answer = browser.post_json("/card", {"code_token": token, "form": form})
    assert answer == {"balance": "50.00 GBP", "pays": "30.00 GBP"}
    assert "Gift card: 30.00 GBP" in browser.get("/")
    fastapi_shop.wait_until_settled(browser.post_json("/order", {})["order"])
    assert fastapi_shop.store.balance_minor(card) == 2_000
    assert_books_balance(fastapi_shop.store)
    browser.traces.assert_without(card.code)
    assert not browser.traces.search({"code token": token})


def test_fastapi_a_token_is_good_once_and_for_its_shopper(fastapi_shop: Shop, faults: FaultProxy) -> None:
    browser, other = browser_at(fastapi_shop), browser_at(fastapi_shop)
    token, form = tokenise(browser, fastapi_shop.store.card().code)
    other.get("/")
    assert "not accepted" in other.post_json("/card", {"code_token": token, "form": form})["said"]
    assert "balance" in browser.post_json("/card", {"code_token": token, "form": form})
    assert "balance" in browser.post_json("/card", {"code_token": token, "form": form})  # the same form: a repeat


def test_what_no_page_of_the_shops_sends_is_no_bug(flask_shop: Shop, fastapi_shop: Shop, faults: FaultProxy) -> None:
    browser, other = browser_at(flask_shop), browser_at(fastapi_shop)
    assert "Bad Request" in browser.post("/card", {"code": "x"})
    assert "load the page again" in browser.post("/card", {"code": "x", "nonce": "n" * 300})
    nonsense: tuple[object, ...] = ([], {}, {"form": "", "code_token": "x"}, {"form": "x"}, "text")
    for body in nonsense:
        assert "load the page again" in other.post_json("/card", body)["said"]
    assert "just now" in other.post_json("/card", {"form": "x", "code_token": "ct_\r\n"})["said"]
    assert "No such order" in browser.get("/orders/1")
    assert "Method Not Allowed" in browser.get("/card")
    assert faults.seen("POST", PAYMENTS)[-1].status == 422


def test_fastapi_while_the_service_is_away_the_shop_sells(fastapi_shop: Shop, faults: FaultProxy) -> None:
    browser = browser_at(fastapi_shop)
    token, form = tokenise(browser, fastapi_shop.store.card().code)
    faults.refuse("POST", "*", retry_after_s=30, times=-1)
    assert "just now" in browser.post_json("/card", {"code_token": token, "form": form})["said"]
    order = browser.post_json("/order", {})["order"]
    assert fastapi_shop.orders()[order].payment_id is None


def test_fastapi_a_lost_settle_answer_settles_once(fastapi_shop: Shop, faults: FaultProxy) -> None:
    browser = browser_at(fastapi_shop)
    token, form = tokenise(browser, fastapi_shop.store.card().code)
    browser.post_json("/card", {"code_token": token, "form": form})
    faults.lose("POST", SETTLEMENTS, times=2)
    fastapi_shop.wait_until_settled(browser.post_json("/order", {})["order"])
    assert_books_balance(fastapi_shop.store)


@pytest.mark.browser
def test_fastapi_in_a_browser_the_page_does_all_of_it(
    fastapi_shop: Shop, faults: FaultProxy, browser: BrowserOfPlaywright
) -> None:
    card, context = fastapi_shop.store.card(), browser.new_context(locale="en-GB")
    page, wrong = context.new_page(), list[str]()
    page.on("console", lambda said: wrong.append(said.text) if said.type == "error" else None)
    page.goto(fastapi_shop.url)
    field = page.frame_locator("scrip-code iframe").get_by_role("textbox", name="Gift card code")
    field.fill(card.code)
    page.get_by_role("button", name="Use this card").click()
    expect(page.get_by_text("Gift card: 30.00 GBP")).to_be_visible()
    page.get_by_role("button", name="Place the order").click()
    expect(page.get_by_role("alert")).to_contain_text("Thank you")
    fastapi_shop.wait_until_settled(order_of(page.get_by_role("alert").inner_text()))
    context.close()
    assert wrong == []


def test_a_store_tests_itself_with_the_fake(tmp_path: Path) -> None:
    options = [
        "-q",
        "-c",
        os.devnull,
        "--rootdir=.",
        "-p",
        "no:cacheprovider",
        "-p",
        "scrip_sdk.testing.plugin",
        "-W",
        "error",
    ]
    # An installation from the checkout leaves the name of the plugin there, and pytest would take it twice.
    env = store_environment({"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"})
    done = run_python(["-m", "pytest", *options, "test_flask_shop.py"], env=env, cwd=EXAMPLES)
    assert re.search(r"^1[0-9] passed", done.stdout, re.MULTILINE), done.stdout
