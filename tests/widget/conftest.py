"""A store's page on an origin of its own, with the store's server behind it, and the running service beside it."""

import json
import threading
from base64 import b64encode
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from html import escape
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, FrameLocator, Locator, Page, expect

from app import config
from app.oauth.clients import add_client
from app.oauth.scopes import PARTY_SCOPES
from app.redemption.store import set_origins
from app.secrecy import random_secret
from tests.holder.conftest import PHONE
from tests.service import served
from tests.world import World, key_of

#: Two codes of docs/codes.md: one with a mistake, and one that nobody has.
MISTYPED, UNKNOWN = "7KQ4-ZX9M-2FHN-C0NA", "BK4K-3NFZ-XTV2-7SF6"
#: What the store's page does by itself: its button asks for the token, its server spends it.
SCRIPT = """
const element = document.querySelector("scrip-code");
const told = [];
for (const name of ["ready", "token", "error"]) {
  element?.addEventListener(name, (event) => told.push([name, event.detail]));
}
element?.addEventListener("token", async (event) => {
  const answer = await fetch("/pay", { method: "POST", body: JSON.stringify({ code_token: event.detail.code_token }) });
  document.querySelector("output").textContent = await answer.text();
});
document.querySelector("#pay")?.addEventListener("click", () => element.tokenise());
"""
PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Bookshop</title>
<meta name="viewport" content="width=device-width, initial-scale=1"><style>{style}</style>
<script src="{service}/widget/v1.js"></script></head>
<body><main><h1>Your order</h1><scrip-code {attributes}></scrip-code>
<button id="pay">Pay with this card</button><output></output></main>{more}
<script src="/page.js"></script></body></html>"""
#: The least that a store's page must allow, and nothing that it need not.
POLICY = (
    "default-src 'none'; script-src 'self' {service}; frame-src {service}; connect-src 'self'; "
    "style-src 'unsafe-inline'"
)


@dataclass
class Shop:
    """A store's web server. `heard` is every request to its origin, as it came: line, headers and body."""

    service: str
    store_id: str
    credentials: tuple[str, str]
    host: str = "localhost"
    port: int = 0
    style: str = ""
    more: str = ""
    policy: str = POLICY
    headers: dict[str, str] = field(default_factory=dict)
    order: dict[str, Any] = field(default_factory=lambda: {"order_reference": "order-1"})
    attributes: dict[str, str] = field(default_factory=dict)
    heard: list[bytes] = field(default_factory=list)

    @property
    def origin(self) -> str:
        return f"http://{self.host}:{self.port}"

    def html(self) -> bytes:
        given = {"store": self.store_id, "order": "order-1", "amount": "3000", "currency": "GBP", **self.attributes}
        attributes = " ".join(f'{name}="{escape(value)}"' for name, value in given.items())
        page = PAGE.format(style=self.style, service=self.service, attributes=attributes, more=self.more)
        return page.encode()

    def pay(self, body: bytes) -> bytes:
        """The store's server exchanges the code token for a payment."""
        form = b"grant_type=client_credentials&scope=exchange"
        asked = {"Content-Type": "application/x-www-form-urlencoded", "Authorization": _basic(*self.credentials)}
        access_token = post(self.service, "/oauth/token", form, asked)[1]["access_token"]
        asked = {"Content-Type": "application/json", "Idempotency-Key": random_secret()}
        asked["Authorization"] = f"Bearer {access_token}"
        wanted = json.dumps({"code_token": json.loads(body)["code_token"], **self.order}).encode()
        status, told = post(self.service, "/v1/payments", wanted, asked)
        return f"{status} {told.get('slug') or told['id']}".encode()


def _basic(name: str, secret: str) -> str:
    return "Basic " + b64encode(f"{name}:{secret}".encode()).decode()


def post(origin: str, path: str, body: bytes, headers: dict[str, str]) -> tuple[int, Any]:
    """Status and JSON of an answer."""
    connection = HTTPConnection(urlsplit(origin).netloc, timeout=30)
    connection.request("POST", path, body, headers)
    answer = connection.getresponse()
    found = json.loads(answer.read())
    connection.close()
    return answer.status, found


@pytest.fixture(scope="module")
def service(database: config.Settings, keys_dir: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The service as it runs, with the Argon2 that it must have."""
    with served(database, keys_dir, tmp_path_factory.mktemp("widget") / "gunicorn.log") as port:
        yield f"http://127.0.0.1:{port}"


@pytest.fixture
def new_shop(service: str, world: World) -> Iterator[Callable[..., Shop]]:
    """Makes stores' web servers on ports of their own, all of Bookshop."""
    made = add_client(name="shop", mode="test", store_id=world.bookshop, scopes=PARTY_SCOPES["store"])
    servers: list[ThreadingHTTPServer] = []

    def make(**more: Any) -> Shop:
        shop = Shop(service, world.bookshop, (made.client_id, made.client_secret), **more)

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._answer(*_file(shop, self.path))

            def do_POST(self) -> None:
                self._answer(shop.pay(self._note()), "text/plain")

            def _answer(self, content: bytes, kind: str) -> None:
                if self.command == "GET":
                    self._note()
                self.send_response(200)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(content)))
                self.send_header("Content-Security-Policy", shop.policy.format(service=service))
                for name, value in shop.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)

            def _note(self) -> bytes:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                shop.heard.append(f"{self.requestline}\n{self.headers}".encode() + body)
                return body

            def log_message(self, *_: object) -> None:
                """Says nothing."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        servers.append(server)
        shop.port = server.server_port
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        return shop

    yield make
    for server in servers:
        server.shutdown()
        server.server_close()


def _file(shop: Shop, path: str) -> tuple[bytes, str]:
    return (SCRIPT.encode(), "text/javascript") if path == "/page.js" else (shop.html(), "text/html")


@pytest.fixture
def shop(new_shop: Callable[..., Shop]) -> Shop:
    """Bookshop's page, whose origin the operator has named."""
    made = new_shop()
    set_origins(made.store_id, [made.origin])
    return made


@pytest.fixture
def code(service: str, world: World) -> str:
    """The code of a fresh card of 50.00 GBP, as the holder was shown it."""
    return claim(service, world)


def claim(service: str, world: World) -> str:
    """Opens a fresh card's link at the running service, whose pepper is its own."""
    link_id, key = key_of(world.issue().claim_link or "")
    body = json.dumps({"key": key, "nonce": random_secret()}).encode()
    status, told = post(service, f"/claim/{link_id}", body, {"Content-Type": "application/json"})
    assert status == 200, told
    return str(told["code"])


@pytest.fixture
def new_page(browser: Browser) -> Iterator[Callable[..., Page]]:
    """Makes phones that share nothing with each other."""
    contexts: list[BrowserContext] = []

    def make(**options: Any) -> Page:
        contexts.append(browser.new_context(**{"viewport": PHONE, "locale": "en-GB", **options}))
        contexts[-1].set_default_timeout(10_000)
        return contexts[-1].new_page()

    yield make
    for context in contexts:
        context.close()


@pytest.fixture
def page(new_page: Callable[..., Page]) -> Page:
    """A fresh phone."""
    return new_page()


def frame_of(page: Page) -> FrameLocator:
    """The field's frame in the store's page."""
    return page.frame_locator("scrip-code iframe")


def field_of(page: Page) -> Locator:
    """The field, once it can be typed into."""
    found = frame_of(page).get_by_role("textbox", name="Gift card code")
    expect(found).to_be_enabled()
    return found


def type_in(page: Page, text: str) -> None:
    """With the keyboard, into the field; the frame is another process, to which the focus must have gone."""
    field_of(page).click()
    page.wait_for_function("() => document.activeElement.localName === 'scrip-code'")
    expect(field_of(page)).to_be_focused()
    page.keyboard.type(text)
