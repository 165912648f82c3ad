"""The example shop on django-oscar as its tests drive it: started once, with shoppers who come over HTTP."""

import html
import os
import re
import secrets
import subprocess
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from http.cookiejar import CookieJar
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode, urljoin, urlsplit
from urllib.request import HTTPCookieProcessor, OpenerDirector, Request, build_opener

from app.db.embedded import EmbeddedPostgres
from tests.plugin_sdk.stores.service import Card, Service, Store
from tests.plugin_sdk.stores.store_process import (
    Database,
    StoreProcess,
    end_in_order,
    run_python,
    running_store,
    store_database,
    store_environment,
    stores_python,
)
from tests.plugin_sdk.stores.traces import Traces
from tests.service import ROOT, free_port

HERE = ROOT / "plugin_sdk" / "examples" / "oscar_shop"
PREPARE = """
import django; django.setup()
from django.core.management import call_command
call_command("migrate", run_syncdb=True, verbosity=0)
call_command("seed_shop")
"""
#: What a request waits for the service at most; by default it is 8.
PATIENCE_S = 3
STAFF, PASSWORD = "staff@bookshop.example", "a password of the back office"
#: The books' prices, in minor units.
PRICES = {
    "Night Trains": 3_000,
    "The Salt Almanac": 1_200,
    "Letters to a Lighthouse": 725,
    "The Cartographer's Daughter": 3_000,
}
GOOD, DECLINED = "4242 4242 4242 4242", "4000 0000 0000 0002"


@dataclass
class Shop:
    """The running shop, and all that it leaves behind."""

    store: Store
    database: Database
    process: StoreProcess
    environment: dict[str, str]
    folder: Path
    traces: Traces
    books: dict[str, int] = field(default_factory=dict)
    #: Every code that somebody was given, to be looked for at the end.
    codes: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        return self.process.url

    def card(self, amount_minor: int = 5_000) -> Card:
        """A new card, whose code is looked for at the end."""
        made = self.store.card(amount_minor)
        self.codes.append(made.code)
        return made

    @contextmanager
    def hosted(self) -> Iterator["Shop"]:
        """The same shop on another port, where codes are typed at the service's page."""
        port = free_port()
        self.store.sends_shoppers_back_to(f"http://127.0.0.1:{port}/checkout/gift-card/return/")
        env = {**self.environment, "SHOP_CHECKOUT": "hosted", "SHOP_PATIENCE_S": "3"}
        del env["SHOP_RANDOM_NUMBERS"]
        log = self.folder / "hosted.log"
        self.traces.files.append(log)
        with _serving(env, log, port, workers=1) as process:
            yield replace(self, process=process, environment=env)

    def shopper(self) -> "Shopper":
        """Somebody new, who has the address of nobody else."""
        return Shopper(self)

    def manage(self, *arguments: str, check: bool = True) -> str:
        """One of the shop's commands."""
        return run_python([str(HERE / "manage.py"), *arguments], env=self.environment, cwd=HERE, check=check).stdout

    def deliver(self) -> None:
        """Waits until nothing is left to tell the service; what was put off is due at once."""
        until = time.monotonic() + 20
        while self.waiting():
            assert time.monotonic() < until, self.rows("SELECT * FROM scrip_instruction WHERE state <> 'done'")
            self.run("UPDATE scrip_instruction SET due_at = now() WHERE state = 'pending' AND lease_until IS NULL")
            time.sleep(0.1)

    def waiting(self) -> int:
        """How many instructions the service has not been told."""
        return len(self.rows("SELECT id FROM scrip_instruction WHERE state = 'pending'"))

    def rows(self, query: str, **values: Any) -> list[Any]:
        """What the shop's database says."""
        return self.database.rows(query, **values)

    def run(self, statement: str, **values: Any) -> None:
        """Changes something in the shop's database."""
        self.database.run(statement, **values)

    def orders(self, email: str) -> list[Any]:
        """The orders of a guest."""
        query = "SELECT id, number, total_incl_tax FROM order_order WHERE guest_email = :email ORDER BY id"
        return self.rows(query, email=email)

    def sources(self, number: str) -> dict[str, Any]:
        """An order's payment sources, by their reference."""
        query = (
            "SELECT reference, name, amount_allocated, amount_debited, amount_refunded FROM payment_source"
            " JOIN payment_sourcetype ON payment_sourcetype.id = source_type_id"
            " JOIN order_order ON order_order.id = order_id WHERE number = :number"
        )
        return {row.reference: row for row in self.rows(query, number=number)}

    def charges(self, number: str) -> list[int]:
        """What the bank took for an order, in minor units."""
        return [
            int(row.amount * 100)
            for row in self.rows("SELECT amount FROM shop_bankcharge WHERE order_number = :n", n=number)
        ]


@dataclass
class Page:
    """What came back, after redirects."""

    url: str
    body: str
    status: int = 200

    @property
    def path(self) -> str:
        return urlsplit(self.url).path

    @property
    def words(self) -> str:
        """What a person reads of it."""
        shown = re.sub(r"(?s)<(script|style|head)\b.*?</\1>|<!--.*?-->|<[^>]+>", " ", self.body)
        return " ".join(html.unescape(shown).split())

    def alerts(self) -> list[str]:
        """The messages of this page."""
        found = re.findall(r'(?s)<div class="alert[^"]*"[^>]*>(.*?)</div>', self.body)
        return [" ".join(html.unescape(re.sub(r"<[^>]+>|&times;|×", " ", each)).split()) for each in found]

    def fields(self, form_id: str) -> dict[str, str]:
        """What a form would send as it came."""
        form = re.search(rf'(?s)<form[^>]*id="{form_id}".*?</form>', self.body)
        assert form, f"no form {form_id} on {self.url}: {self.words[:600]}"
        return dict(_inputs(form.group()))

    def all_pays(self) -> list[str]:
        """What each card pays, as the page says it."""
        return re.findall(r'gift-card-pays">([^<]*)<', self.body)

    def rest(self) -> str | None:
        """What is left to pay, as the page says it."""
        found = re.search(r'id="gift-cards-rest">([^<]*)<', self.body)
        return found.group(1) if found else None

    def payment_ids(self) -> list[str]:
        return re.findall(r'data-payment="([^"]*)"', self.body)


def page_of(browser: OpenerDirector, request: Request) -> Page:
    """What comes back, whatever its status."""
    try:
        answer = browser.open(request, timeout=60)
    except HTTPError as error:
        answer = error
    with answer:
        return Page(answer.geturl(), answer.read().decode(errors="replace"), answer.status)


class Shopper:
    """A guest with a browser's cookies."""

    def __init__(self, shop: Shop) -> None:
        self.shop = shop
        self.email = f"guest-{secrets.token_hex(4)}@example.com"
        self._browse(CookieJar())

    def _browse(self, jar: CookieJar) -> None:
        self.jar, self.page = jar, Page("", "")
        self._opener: OpenerDirector = build_opener(HTTPCookieProcessor(jar))

    def tab(self) -> "Shopper":
        """A second tab of the same browser."""
        other = Shopper(self.shop)
        other._browse(self.jar)
        return other

    def get(self, path: str) -> Page:
        return self._ask(Request(self.shop.url + path))

    def post(self, path: str, fields: dict[str, str]) -> Page:
        token = next((cookie.value for cookie in self.jar if cookie.name == "csrftoken"), None)
        if token is None:
            self.get("/basket/")
            return self.post(path, fields)
        return self._send(self.shop.url + path, {"csrfmiddlewaretoken": token, **fields})

    def put_into_basket(self, *titles: str) -> None:
        """As the form on the shelf does, but without looking at the book afterwards."""
        for title in titles:
            fields = {"quantity": "1", "next": "/static/oscar/favicon.ico"}
            self.post(f"/basket/add/{self.shop.books[title]}/", fields)

    def go_to_payment(self, *titles: str) -> Page:
        """Fills the basket and goes to the payment page as a guest."""
        self.put_into_basket(*titles)
        return self.post("/checkout/", {"username": self.email, "options": "anonymous"})

    def apply(self, code: str, page: Page | None = None) -> Page:
        """Types a code into the payment page."""
        if page is None:
            page = self.page if 'id="gift-card-form"' in self.page.body else self.get("/checkout/payment-details/")
        return self.post("/checkout/gift-card/", {**page.fields("gift-card-form"), "gift_card_code": code})

    def join(self) -> None:
        """Opens an account with this email address; the basket comes with him."""
        self.get("/accounts/login/")
        self.post("/accounts/register/", {"email": self.email, "password1": PASSWORD, "password2": PASSWORD})

    def log_in(self, email: str) -> None:
        """As a customer who has an account; what is in his saved basket and in this one becomes one."""
        self.get("/accounts/login/")
        fields = {"login-username": email, "login-password": PASSWORD, "login_submit": "1"}
        self.post("/accounts/login/", fields)

    def basket_id(self) -> int:
        """The basket that is being filled, of a guest."""
        value = next(cookie.value or "" for cookie in self.jar if cookie.name == "oscar_open_basket")
        return int(value.strip('"').split(":")[0])

    def take_off(self, payment_id: str) -> Page:
        return self.post("/checkout/gift-card/remove/", {"payment_id": payment_id})

    def preview(self, bank_card: str | None = None) -> Page:
        """Goes on from the payment page."""
        if bank_card is None:
            return self.get("/checkout/preview/")
        return self.post("/checkout/preview/", {"number": bank_card})

    def place(self, preview: Page | None = None) -> Page:
        """Presses "Place order" on the preview."""
        preview = preview or self.page
        return self.post("/checkout/preview/", preview.fields("place_order_form"))

    def ready(self, *amounts_minor: int, bank_card: str | None = None, title: str = "Night Trains") -> Page:
        """All but the last press of the button, with new cards of these amounts; returns the preview."""
        self.go_to_payment(title)
        for amount_minor in amounts_minor:
            self.apply(self.shop.card(amount_minor).code)
        return self.preview(bank_card)

    def type_at_the_service(self, code: str) -> Page:
        """At the service's page: the code, and yes where it asks whether to pay what the card has."""
        self._answer_service("code", {"code": code, "action": "code"})
        if not self.page.url.startswith(self.shop.url):
            self._answer_service("decide", {"action": "approve"})
        return self.page

    def say_no_at_the_service(self) -> Page:
        """At the service's page: back to the shop, without paying."""
        return self._answer_service("decide", {"action": "cancel"})

    def _answer_service(self, act: str, fields: dict[str, str]) -> Page:
        form = re.search(rf'(?s)<form[^>]*action="([^"]*)"[^>]*data-act="{act}".*?</form>', self.page.body)
        assert form, self.page.words
        return self._send(
            urljoin(self.page.url, html.unescape(form.group(1))), {**dict(_inputs(form.group())), **fields}
        )

    def order(self) -> Any:
        """The only order of this guest."""
        orders = self.shop.orders(self.email)
        assert len(orders) == 1, self.page.words
        return orders[0]

    def _send(self, url: str, fields: dict[str, str]) -> Page:
        origin = "http://" + urlsplit(url).netloc
        return self._ask(Request(url, urlencode(fields).encode(), {"Referer": url, "Origin": origin}))

    def _ask(self, request: Request) -> Page:
        self.page = page_of(self._opener, request)
        if self.page.url.startswith(self.shop.url):
            self.shop.traces.saw(self.page.url, self.page.body)
        return self.page


@contextmanager
def running_shop(
    service: Service, server: EmbeddedPostgres, folder: Path, *, environ: dict[str, str] | None = None
) -> Iterator[Shop]:
    """The shop on a database of its own, with its books, two workers and four threads each."""
    store = service.new_store()
    letters, log, deliveries = folder / "letters", folder / "shop.log", folder / "deliver.log"
    letters.mkdir()
    with store_database(server) as database:
        env = store_environment(
            store.environment,
            {
                "PYTHONPATH": f"{os.environ.get('SCRIP_OVERLAY', ROOT / 'plugin_sdk')}:{HERE}",
                "DJANGO_SETTINGS_MODULE": "shop.settings",
                "DATABASE_URL": f"postgresql://{database.user}:{database.password}@/{database.name}?host={database.host}",
                "SHOP_SECRET_KEY": secrets.token_urlsafe(40),
                "SHOP_STAFF_PASSWORD": PASSWORD,
                "SHOP_MEDIA": str(folder / "media"),
                "SHOP_LETTERS": str(letters),
                "SHOP_LOG_LEVEL": "DEBUG",
                "SHOP_TABLES_AT_ONCE": "yes",
                "SHOP_PATIENCE_S": str(PATIENCE_S),
                "SHOP_RANDOM_NUMBERS": "yes",  # the hosted shop and the demo have Oscar's
            },
            environ or {},
        )
        run_python(["-c", PREPARE], env=env, cwd=HERE)
        with _serving(env, log, free_port(), workers=2) as process:
            traces = Traces(database, [log, letters, deliveries])
            shop = Shop(store, database, process, env, folder, traces)
            shop.books = {row.title: row.id for row in shop.rows("SELECT id, title FROM catalogue_product")}
            with _delivering(env, deliveries):
                yield shop


def _serving(env: dict[str, str], log: Path, port: int, *, workers: int) -> AbstractContextManager[StoreProcess]:
    return running_store(
        "shop.wsgi:application",
        env=env,
        cwd=HERE,
        log=log,
        health="/basket/",
        port=port,
        workers=workers,
        options=["--graceful-timeout=1", "--no-control-socket", "--preload"],
    )


@contextmanager
def _delivering(env: dict[str, str], log: Path) -> Iterator[None]:
    """What a store runs beside its web server."""
    command = [stores_python(), str(HERE / "manage.py"), "scrip_deliver", "--every", "0.3"]
    with log.open("wb") as output:
        process = subprocess.Popen(command, env=env, cwd=HERE, stdout=output, stderr=output)
    try:
        yield
    finally:
        assert end_in_order(process) == 0


def _inputs(form: str) -> Iterator[tuple[str, str]]:
    for tag in re.findall(r"<input[^>]*>", form):
        attributes = dict(re.findall(r'([\w-]+)="([^"]*)"', tag))
        if "name" in attributes:
            yield html.unescape(attributes["name"]), html.unescape(attributes.get("value", ""))
