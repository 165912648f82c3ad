"""A pretix as its tests drive it: started once, with shoppers and a back office that come over HTTP."""

import json
import re
import secrets
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from html import unescape
from http.cookiejar import CookieJar
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urljoin, urlsplit
from urllib.request import HTTPCookieProcessor, OpenerDirector, Request, build_opener

from app.db.embedded import EmbeddedPostgres
from scrip_sdk.testing.adapter import Sums, Told
from tests.plugin_sdk.stores.oscar_shop import Page, page_of
from tests.plugin_sdk.stores.service import Service, Store
from tests.plugin_sdk.stores.store_process import (
    Database,
    StoreProcess,
    running_store,
    store_database,
    store_environment,
    stores_python,
)
from tests.plugin_sdk.stores.sums import sums_of_django
from tests.plugin_sdk.stores.traces import Traces
from tests.service import ROOT, free_port

VENV = ".venv-pretix"
INSIDE = Path(__file__).parent / "pretix_inside"
STAFF, PASSWORD = "staff@night.example", "a password of the back office"
#: A login of pretix's back office holds for one browser.
AGENT = "Mozilla/5.0 (a visitor of tests)"
#: What the shopper is told, and what it means.
SENTENCES: dict[str, Told] = {
    "typing mistake": "mistyped",
    "is not accepted": "refused",
    "Too many tries": "wait",
    "cannot be taken at the moment": "away",
}


class Keeper:
    """The process inside pretix that runs its periodic task, and looks where only pretix can look."""

    def __init__(self, env: Mapping[str, str], log: Path) -> None:
        self._log = log.open("ab")
        self._process = subprocess.Popen(
            [stores_python(VENV), str(INSIDE / "pretix_keeper.py")],
            env=dict(env),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )

    def ask(self, do: str, **more: Any) -> Any:
        """Has it do this, and waits for what it says."""
        self.begin(do, **more)
        return self.finish()

    def begin(self, do: str, **more: Any) -> None:
        """Has it do this."""
        assert self._process.stdin
        self._process.stdin.write(json.dumps({"do": do, **more}) + "\n")
        self._process.stdin.flush()

    def finish(self) -> Any:
        """What it says of what was begun."""
        assert self._process.stdout
        said = self._process.stdout.readline()
        assert said, f"the keeper has ended:\n{Path(self._log.name).read_text()[-8_000:]}"
        return json.loads(said)

    def close(self) -> None:
        assert self._process.stdin and self._process.stdout
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait(30)
        self._log.close()


@dataclass
class Shop:
    """The running pretix as one organizer's shop; `scrip_sdk.testing.adapter.Shop`."""

    store: Store
    database: Database
    process: StoreProcess
    keeper: Keeper
    traces: Traces
    items: dict[str, int]
    other: Store
    folder: Path
    slug: str = "acme"
    codes: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"{self.process.url}/{self.slug}/night"

    @property
    def control(self) -> str:
        return f"{self.process.url}/control/event/{self.slug}/night"

    def order(self, price_minor: int) -> "Order":
        return Order(self, price_minor)

    def deliver(self) -> None:
        self.keeper.ask("deliver")

    def sums(self) -> Sums:
        own = self.store.payments()
        found = sums_of_django(self.database)
        return {payment: (one.settled_minor, one.refunded_minor) for payment, one in found.items() if payment in own}

    def billed(self) -> Mapping[str, int]:
        bill = json.loads(self.keeper.ask("bill", client=self.store.credentials.client_id))
        return {line["payment_id"]: line["amount"]["amount_minor"] for line in bill["lines"]}

    def card(self, amount_minor: int = 5_000) -> str:
        """The code of a new card, which is looked for at the end."""
        self.codes.append(self.store.card(amount_minor).code)
        return self.codes[-1]

    def rows(self, query: str, **values: Any) -> list[Any]:
        """What the shop's database says."""
        return self.database.rows(query, **values)

    @property
    def hosted(self) -> "Shop":
        """The other organizer's shop in the same pretix, with a client of another store, at the hosted checkout."""
        return replace(self, store=self.other, other=self.store, slug="other")

    def staff(self) -> "Visitor":
        """Somebody of the back office, who has logged in."""
        visitor = Visitor(self)
        visitor.get(f"{self.process.url}/control/login")
        visitor.post(f"{self.process.url}/control/login", {"email": STAFF, "password": PASSWORD})
        return visitor


class Visitor:
    """A browser's cookies, over HTTP."""

    def __init__(self, shop: Shop, jar: "CookieJar | None" = None) -> None:
        self.shop, self.page = shop, Page("", "")
        self.jar = CookieJar() if jar is None else jar
        self._opener: OpenerDirector = build_opener(HTTPCookieProcessor(self.jar))
        self._opener.addheaders = [("User-Agent", AGENT)]

    def get(self, url: str) -> Page:
        return self._ask(Request(url))

    def post(self, url: str, fields: Mapping[str, str]) -> Page:
        token = next((cookie.value for cookie in self.jar if cookie.name.endswith("csrftoken")), "") or ""
        sent = urlencode({"csrfmiddlewaretoken": token, **fields}).encode()
        return self._ask(Request(url, sent, {"Referer": url, "Origin": "http://" + urlsplit(url).netloc}))

    def inputs(self, part: str = "") -> dict[str, str]:
        """The inputs of this page that have a value, those whose name begins with `part`."""
        found = {}
        for tag in re.findall(r"<input[^>]*>", self.page.body):
            said = dict(re.findall(r'([\w-]+)="([^"]*)"', tag))
            if said.get("name", "").startswith(part) and "value" in said:
                found[said["name"]] = unescape(said["value"])
        return found

    def answer_service(self, act: str, fields: Mapping[str, str]) -> Page:
        """At the service's page."""
        form = re.search(rf'(?s)<form[^>]*action="([^"]*)"[^>]*data-act="{act}".*?</form>', self.page.body)
        assert form, self.page.words
        return self.post(urljoin(self.page.url, unescape(form.group(1))), {**self.inputs(), **fields})

    def _ask(self, request: Request) -> Page:
        self.page = page_of(self._opener, request)
        assert self.page.status < 500, f"{self.page.url}: {self.page.words[:500]}"
        if self.page.url.startswith(self.shop.process.url):
            self.shop.traces.saw(self.page.url, self.page.body)
        return self.page


class Order(Visitor):
    """A shopper with a ticket; `scrip_sdk.testing.adapter.Order`."""

    def __init__(self, shop: Shop, price_minor: int, jar: "CookieJar | None" = None) -> None:
        super().__init__(shop, jar)
        self.email = f"guest-{secrets.token_hex(4)}@example.com"
        self.code: str | None = None
        self.link = ""
        if jar is None:
            self._choose(price_minor)

    def _choose(self, price_minor: int) -> None:
        item = self.shop.items[self.shop.slug]
        self.get(f"{self.shop.url}/")
        self.post(f"{self.shop.url}/cart/add", {f"item_{item}": "1", f"price_{item}": f"{price_minor / 100:.2f}"})
        self.get(f"{self.shop.url}/checkout/start")
        self.post(f"{self.shop.url}/checkout/questions/", {"email": self.email})
        assert self.page.path.endswith("/checkout/payment/"), (self.page.url, self.page.words[-1_000:])

    def give(self, code: str) -> Told:
        at_checkout = self.code is None
        where = f"{self.shop.url}/checkout/payment/" if at_checkout else f"{self.link}pay/change"
        if self.page.url != where:
            self.get(where)
        nonce = self.inputs("payment_scrip-nonce")["payment_scrip-nonce"]
        self.post(where, {"payment": "scrip", "payment_scrip-code": code, "payment_scrip-nonce": nonce})
        for sentence, told in SENTENCES.items():
            if sentence in self.page.words:
                return told
        assert self.page.url != where or "has been applied" in self.page.words, self.page.words[:1_500]
        return "taken"

    def place(self, *, with_rest: bool = False) -> bool:
        if self.code is not None:
            return self._pay_late(with_rest=with_rest)
        if with_rest:
            self.choose_till()
        self.get(f"{self.shop.url}/checkout/confirm/")
        if not self.page.path.endswith("/checkout/confirm/"):
            return False
        return self.press()

    def press(self) -> bool:
        """The last button; returns whether there is nothing left to do for the shopper."""
        self.post(f"{self.shop.url}/checkout/confirm/", {})
        return self.stands()

    def choose_till(self) -> None:
        self.post(f"{self.shop.url}/checkout/payment/", {"payment": "till"})

    def stands(self) -> bool:
        """Whether everything is paid, or is under way."""
        query = (
            "SELECT o.code, o.secret, o.total, (SELECT coalesce(sum(amount), 0) FROM pretixbase_orderpayment"
            " WHERE order_id = o.id AND state IN ('confirmed', 'pending', 'refunded')) AS paid"
            " FROM pretixbase_order o WHERE email = :email"
        )
        found = self.shop.rows(query, email=self.email)
        assert len(found) <= 1
        if not found:
            return False
        self.code, self.link = found[0].code, f"{self.shop.url}/order/{found[0].code}/{found[0].secret}/"
        return bool(found[0].paid >= found[0].total)

    def _pay_late(self, *, with_rest: bool) -> bool:
        if not self.stands() and with_rest:
            self.get(f"{self.link}pay/change")
            self.post(f"{self.link}pay/change", {"payment": "till"})
        if self.page.path.endswith("/confirm"):
            self.post(self.page.url, {})
        return self.stands()

    def state(self) -> str:
        """The order's."""
        [row] = self.shop.rows("SELECT status FROM pretixbase_order WHERE code = :code", code=self.code)
        return {"n": "pending", "p": "paid", "c": "canceled", "e": "expired"}[row.status]

    def payments(self) -> list[tuple[str, str, int]]:
        """Method, state and amount of each."""
        query = (
            "SELECT provider, state, amount FROM pretixbase_orderpayment p JOIN pretixbase_order o ON o.id = p.order_id"
            " WHERE code = :code ORDER BY p.local_id"
        )
        return [(row.provider, row.state, int(row.amount * 100)) for row in self.shop.rows(query, code=self.code)]

    def refunds(self) -> list[tuple[str, int]]:
        """State and amount of each."""
        query = (
            "SELECT state, amount FROM pretixbase_orderrefund r JOIN pretixbase_order o ON o.id = r.order_id"
            " WHERE code = :code ORDER BY r.local_id"
        )
        return [(row.state, int(row.amount * 100)) for row in self.shop.rows(query, code=self.code)]

    def paid_minor(self) -> int:
        counted = ("done", "transit", "created")
        paid = sum(amount for who, state, amount in self.payments() if who == "scrip" and state in PAID)
        return paid - sum(amount for state, amount in self.refunds() if state in counted)

    def rest_minor(self) -> int:
        return sum(amount for who, state, amount in self.payments() if who == "till" and state in PAID)

    def call_off(self) -> None:
        self.get(f"{self.shop.url}/checkout/payment/")
        for chosen in re.findall(r'name="remove_payment" value="([^"]+)"', self.page.body):
            self.post(f"{self.shop.url}/checkout/payment/", {"remove_payment": chosen})

    def refund(self, amount_minor: int) -> bool:
        amount = f"{amount_minor / 100:.2f}"
        staff, before = self.shop.staff(), len(self.refunds())
        where = f"{self.shop.control}/orders/{self.code}/refund"
        first = {"start-action": "do_nothing", "start-mode": "partial", "start-partial_amount": amount}
        staff.post(where, first)
        names = [name for name in staff.inputs("refund-") if re.fullmatch(r"refund-[0-9]+", name)]
        if not names:
            return False
        staff.post(where, {**first, "perform": "on", "manual_state": "pending", names[0]: amount})
        return len(self.refunds()) > before


PAID = ("confirmed", "refunded")


@contextmanager
def running_pretix(service: Service, server: EmbeddedPostgres, folder: Path) -> Iterator[Shop]:
    """pretix as it was installed, with the SDK's wheel, on a database of its own: one worker, eight threads."""
    store, other = service.new_store(), service.new_store()
    letters, log, kept, port = folder / "letters", folder / "pretix.log", folder / "keeper.log", free_port()
    letters.mkdir()
    (folder / "data").mkdir()
    with store_database(server) as database:
        _write_config(folder / "pretix.cfg", database, folder / "data", port)
        env = store_environment(
            {
                "PYTHONPATH": f"{_unpacked_wheel(folder)}:{INSIDE}",
                "DJANGO_SETTINGS_MODULE": "pretix_test_settings",
                "PRETIX_CONFIG_FILE": str(folder / "pretix.cfg"),
                "SHOP_LETTERS": str(letters),
            },
        )
        keeper = Keeper(env, kept)
        try:
            stores = {"acme": _said(store, "typed"), "other": _said(other, "hosted")}
            other.sends_shoppers_back_to(f"http://127.0.0.1:{port}/other/night/scrip/return/")
            keeper.begin("prepare", email=STAFF, password=PASSWORD, stores=stores)
            # which loads pretix meanwhile, and is asked nothing of the database before they are done
            with running_store(
                "pretix.wsgi:application",
                env=env,
                cwd=folder,
                log=log,
                health="/static/LICENSE",
                port=port,
                workers=1,
                threads=8,
                options=["--graceful-timeout=1", "--no-control-socket"],
                venv=VENV,
            ) as process:
                items = keeper.finish()
                traces = Traces(database, [log, kept, letters, folder / "data" / "logs"])
                yield Shop(store, database, process, keeper, traces, items, other, folder)
        finally:
            keeper.close()


def _said(store: Store, checkout: str) -> dict[str, str]:
    made = store.credentials
    said = {"url": store.service.url, "client_id": made.client_id, "client_secret": made.client_secret}
    return {**said, "checkout": checkout}


def _write_config(path: Path, database: Database, data: Path, port: int) -> None:
    path.write_text(
        f"""[pretix]
instance_name=Tickets
url=http://127.0.0.1:{port}
datadir={data}
allow_http_to_private_networks=true
[database]
backend=postgresql
name={database.name}
user={database.user}
password={database.password}
host={database.host}
"""
    )


def _unpacked_wheel(folder: Path) -> Path:
    """As pip installs it: pretix finds plugins by what is installed."""
    source, into = folder / "source", folder / "installed"
    build = "import setuptools.build_meta as b, sys; print(b.build_wheel(sys.argv[1]))"
    subprocess.run(["cp", "-r", ROOT / "plugin_sdk", source], check=True)
    subprocess.run([sys.executable, "-c", build, str(folder)], cwd=source, check=True, capture_output=True)
    [made] = folder.glob("*.whl")
    with zipfile.ZipFile(made) as wheel:
        wheel.extractall(into)
    return into
