"""A store that uses the hosted checkout, and a shopper at its page; without a network between."""

import base64
import hashlib
import json
import re
from dataclasses import dataclass
from html import unescape
from typing import Any
from urllib.parse import parse_qs, urlsplit

from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from app.oauth.clients import NewClient, add_client
from app.oauth.scopes import PARTY_SCOPES
from app.secrecy import random_secret
from tests.guard.captchas import solved
from tests.oauth.conftest import basic
from tests.world import World

ORIGIN = "http://127.0.0.1:8000"
CALLBACK = "https://bookshop.example/paid?shop=1"
STATE = "the store's own / state"


def details(amount: str = "30.00", currency: str = "GBP", order: str = "123", **more: Any) -> list[dict[str, Any]]:
    """What a store asks for."""
    asked = {"currency": currency, "amount": amount}
    return [{"type": "giftcard_payment", "actions": ["settle"], "instructed_amount": asked, "order": order, **more}]


def challenge_of(verifier: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()


@dataclass(frozen=True)
class Pushed:
    """A request that was pushed, and what the store keeps of it."""

    request_uri: str
    verifier: str
    client_id: str

    @property
    def query(self) -> dict[str, str]:
        return {"client_id": self.client_id, "request_uri": self.request_uri}


@dataclass(frozen=True)
class Shop:
    """A store's server with a client of its own."""

    web: FlaskClient
    store_id: str
    credentials: NewClient
    redirect_uri: str = CALLBACK

    @property
    def authorization(self) -> dict[str, str]:
        return {"Authorization": basic(self.credentials.client_id, self.credentials.client_secret)}

    def form(self, **changes: Any) -> dict[str, Any]:
        """A good request, with changes; None leaves a parameter out."""
        good = {
            "response_type": "code",
            "redirect_uri": self.redirect_uri,
            "state": STATE,
            "code_challenge": challenge_of("v" * 43),
            "code_challenge_method": "S256",
            "authorization_details": json.dumps(details()),
        }
        return {name: value for name, value in {**good, **changes}.items() if value is not None}

    def ask(self, **changes: Any) -> TestResponse:
        return self.web.post("/oauth/par", data=self.form(**changes), headers=self.authorization)

    def push(
        self, amount: str = "30.00", *, state: str | None = STATE, scope: str | None = None, **more: Any
    ) -> Pushed:
        verifier = random_secret()
        asked = json.dumps(details(amount, **more))
        answer = self.ask(authorization_details=asked, code_challenge=challenge_of(verifier), state=state, scope=scope)
        assert answer.status_code == 201, answer.text
        return Pushed(answer.get_json()["request_uri"], verifier, self.credentials.client_id)

    def redeem(self, code: str, pushed: Pushed, **changes: Any) -> TestResponse:
        good = {
            "grant_type": "authorization_code",
            "code": code,
            "code_verifier": pushed.verifier,
            "redirect_uri": self.redirect_uri,
        }
        form = {name: value for name, value in {**good, **changes}.items() if value is not None}
        return self.web.post("/oauth/token", data=form, headers=self.authorization)


@dataclass(frozen=True)
class Shopper:
    """A browser without script."""

    web: FlaskClient

    def open(self, pushed: Pushed) -> TestResponse:
        return self.web.get("/oauth/authorize", query_string=pushed.query)

    def decide(self, pushed: Pushed, action: str, **fields: str) -> TestResponse:
        """Presses a button of the page as it is now."""
        page = self.open(pushed)
        return self.post(pushed, action=action, csrf=csrf_of(page), **fields)

    def post(self, pushed: Pushed, *, origin: str | None = ORIGIN, **fields: str) -> TestResponse:
        headers = {"Origin": origin} if origin else {}
        return self.web.post("/oauth/authorize", query_string=pushed.query, data=fields, headers=headers)

    def type_code(self, pushed: Pushed, code: str) -> TestResponse:
        """Types a code, and solves the captcha if one is asked, as the page's script does."""
        answer = self.decide(pushed, "code", code=code)
        if (challenge := challenge_in(answer)) is None:
            return answer
        return self.decide(pushed, "code", code=code, captcha=solved(challenge))

    def pay(self, pushed: Pushed, code: str) -> str:
        """Types a code that has enough; the authorization code."""
        return code_of(self.decide(pushed, "code", code=code))


def challenge_in(page: TestResponse) -> dict[str, Any] | None:
    """The captcha that the page asks."""
    found = re.search(r"data-captcha='([^']+)'", page.text)
    challenge: dict[str, Any] | None = json.loads(unescape(found[1])) if found else None
    return challenge


def csrf_of(page: TestResponse) -> str:
    found = re.search(r'name="csrf" value="([^"]+)"', page.text)
    assert found is not None, page.text
    return unescape(found[1])


def sent_back(answer: TestResponse) -> dict[str, str]:
    """The parameters of an answer that leads back to the store."""
    assert answer.status_code == 303, answer.text
    place = urlsplit(answer.headers["Location"])
    assert f"{place.scheme}://{place.netloc}{place.path}" == CALLBACK.partition("?")[0]
    return {name: values[0] for name, values in parse_qs(place.query, strict_parsing=True).items()}


def code_of(answer: TestResponse) -> str:
    return sent_back(answer)["code"]


def shop_of(app: Flask, store_id: str, *, mode: str = "test", redirect_uri: str = CALLBACK, **more: Any) -> Shop:
    asked = {"scopes": PARTY_SCOPES["store"], "redirect_uris": [redirect_uri], **more}
    return Shop(
        app.test_client(), store_id, add_client(name="checkout", mode=mode, store_id=store_id, **asked), redirect_uri
    )


def bookshop_of(app: Flask, world: World) -> Shop:
    return shop_of(app, world.bookshop)
