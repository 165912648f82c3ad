"""A small store on a port of its own: its server pushes requests and redeems codes, its page says what came back."""

import base64
import hashlib
import json
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode
from urllib.request import Request, urlopen

from flask import Flask, redirect, request
from werkzeug.serving import make_server
from werkzeug.wrappers import Response

from app.oauth.clients import NewClient
from tests.checkout.shop import details
from tests.holder.conftest import Quiet


@dataclass
class StoreServer:
    """What the store knows of its shopper's order. `lazy`: it does not redeem the code that it gets; `leads_on`: where
    its callback redirects to."""

    scrip: str
    credentials: NewClient
    url: str = ""
    amount: str = "30.00"
    order: str = "123"
    lazy: bool = False
    leads_on: str = ""
    verifier: str = ""
    state: str = ""
    came_back: list[dict[str, str]] = field(default_factory=list)
    token: dict[str, Any] = field(default_factory=dict)

    @property
    def callback(self) -> str:
        return f"{self.url}/paid?order=123"

    def checkout_url(self) -> str:
        """Pushes a request; where the shopper goes from here."""
        self.verifier, self.state = secrets.token_urlsafe(32), secrets.token_urlsafe(8)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(self.verifier.encode()).digest()).rstrip(b"=").decode()
        pushed = self.post(
            "/oauth/par",
            response_type="code",
            redirect_uri=self.callback,
            state=self.state,
            code_challenge=challenge,
            code_challenge_method="S256",
            authorization_details=json.dumps(details(self.amount, order=self.order)),
        )
        query = {"client_id": self.credentials.client_id, "request_uri": pushed["request_uri"]}
        return f"{self.scrip}/oauth/authorize?{urlencode(query)}"

    def redeem(self, code: str) -> dict[str, Any]:
        return self.post(
            "/oauth/token",
            grant_type="authorization_code",
            code=code,
            code_verifier=self.verifier,
            redirect_uri=self.callback,
        )

    def call(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """The payments API, with the token of this payment alone."""
        headers = {
            "Authorization": f"Bearer {self.token['access_token']}",
            "Content-Type": "application/json",
            "Idempotency-Key": secrets.token_hex(),
        }
        return _answer(Request(f"{self.scrip}{path}", json.dumps(body).encode(), headers))

    def post(self, path: str, **form: str) -> dict[str, Any]:
        pair = f"{self.credentials.client_id}:{self.credentials.client_secret}".encode()
        headers = {"Authorization": "Basic " + base64.b64encode(pair).decode()}
        return _answer(Request(f"{self.scrip}{path}", urlencode(form).encode(), headers))


def _answer(asked: Request) -> dict[str, Any]:
    with urlopen(asked, timeout=10) as answer:
        found: dict[str, Any] = json.load(answer)
        return found


def store_app(store: StoreServer) -> Flask:
    """The store's pages."""
    app = Flask("store")

    @app.get("/")
    def cart() -> str:
        return '<h1>Your cart</h1><a href="/checkout">Pay with a gift card</a>'

    @app.get("/checkout")
    def checkout() -> Response:
        return redirect(store.checkout_url(), 303)

    @app.get("/paid")
    def paid() -> str | Response:
        back = request.args.to_dict()
        store.came_back.append(back)
        if "error" in back:
            return "<h1>Not paid</h1>"
        if not store.lazy:
            store.token = store.redeem(back["code"])
        if store.leads_on:
            return redirect(store.leads_on, 303)
        return "<h1>Thank you</h1>"

    return app


@contextmanager
def open_store(store: StoreServer) -> Iterator[StoreServer]:
    """Opens it on a free port."""
    server = make_server("127.0.0.1", 0, store_app(store), threaded=True, request_handler=Quiet)
    store.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield store
    server.shutdown()
    thread.join()
    server.server_close()
