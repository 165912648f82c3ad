"""What people and stores send: a claim, an exchange, the field for codes, the hosted checkout, a settlement."""

import base64
import hashlib
import json
import re
import secrets
import time
from collections.abc import Mapping
from html import unescape
from typing import Any
from urllib.parse import urlencode

from altcha import Challenge, Payload, solve_challenge

from bench.abuse.ground import AMOUNT, Shop
from bench.abuse.wire import FORM, Answer, Headers, Line

#: An access token is good for five minutes.
TOKEN_USED_S = 200
MONEY = {"amount_minor": AMOUNT, "currency": "GBP"}


def from_address(address: str) -> Headers:
    """As a trusted proxy tells where somebody comes from."""
    return [("X-Forwarded-For", address)]


def as_store(line: Line, shop: Shop) -> Headers:
    """The headers of a store's call, for which it fetches an access token now and then."""
    token, made_s = _tokens.get(shop.store_id, ("", 0.0))
    if not token or time.monotonic() - made_s > TOKEN_USED_S:
        asked = [*FORM, ("Authorization", _basic(shop))]
        token = str(
            good(line.ask("POST", "/oauth/token", b"grant_type=client_credentials", asked)).told["access_token"]
        )
        _tokens[shop.store_id] = (token, time.monotonic())
    return [("Authorization", f"Bearer {token}"), ("Idempotency-Key", secrets.token_urlsafe(16))]


_tokens: dict[str, tuple[str, float]] = {}


def _basic(shop: Shop) -> str:
    return "Basic " + base64.b64encode(f"{shop.client_id}:{shop.client_secret}".encode()).decode()


def exchange(
    line: Line, shop: Shop, *, code: str, shopper: Mapping[str, str] | None, order: str = "order-1", by: str = "code"
) -> Answer:
    """A store tries a code, or a code token, for a shopper."""
    body: dict[str, Any] = {by: code, "order_reference": order}
    if shopper is not None:
        body["shopper"] = shopper
    return line.post("/v1/payments", body, as_store(line, shop))


def settle(line: Line, shop: Shop, payment_id: str) -> Answer:
    """A store takes all that it holds."""
    return line.post(f"/v1/payments/{payment_id}/settlements", {"amount": MONEY}, as_store(line, shop))


def good(answer: Answer) -> Answer:
    """The answer. Raises RuntimeError for a refusal, which is none that is looked for."""
    if answer.status >= 400:
        raise RuntimeError(f"{answer.status}: {answer.body.decode()}")
    return answer


def path_of(link: str) -> str:
    """Where a claim link leads, without its key."""
    return link[link.index("/claim/") :].partition("#")[0]


def claim(line: Line, link: str, *, nonce: str, address: str, captcha: str | None = None) -> Answer:
    """A holder opens a link."""
    key = link.partition("#")[2]
    body = {"key": key, "nonce": nonce, **({"captcha": captcha} if captcha else {})}
    return line.post(path_of(link), body, [*from_address(address), ("Accept", "application/json")])


def code_token(
    line: Line,
    port: int,
    shop: Shop,
    *,
    code: str,
    headers: Headers,
    order: str = "order-1",
    key: str | None = None,
    captcha: str | None = None,
) -> Answer:
    """Somebody types a code into the field on a store's page."""
    body: dict[str, Any] = {"code": code, "order_reference": order, "amount": MONEY, "nonce": "abuse"}
    body |= {"shopper_key": key} if key else {}
    body |= {"captcha": captcha} if captcha else {}
    origin = [("Origin", f"http://127.0.0.1:{port}"), ("Sec-Fetch-Site", "same-origin")]
    return line.post(f"/widget/{shop.store_id}/code-tokens", body, [*headers, *origin])


def solution_of(answer: Answer) -> str | None:
    """What a browser finds when an answer asks for a captcha, in JSON or in a page."""
    if answer.status != 403:
        return None
    challenge = answer.told.get("challenge")
    if challenge is None and (found := re.search(r"data-captcha='([^']+)'", answer.body.decode())):
        challenge = json.loads(unescape(found[1]))
    if challenge is None:
        return None
    asked = Challenge.from_dict(challenge)
    solution = solve_challenge(asked)
    return Payload(asked, solution).to_base64() if solution else None


class Checkout:
    """One order at the hosted page, in one browser."""

    def __init__(self, line: Line, port: int, shop: Shop, address: str) -> None:
        self._line, self._port, self._shop, self._address = line, port, shop, address
        self._path, self._csrf, self._cookie, self._verifier = "", "", "", secrets.token_urlsafe(32)

    def push(self) -> Answer:
        """The store's server asks for a page (RFC 9126)."""
        digest = hashlib.sha256(self._verifier.encode()).digest()
        asked = {"currency": "GBP", "amount": f"{AMOUNT / 100:.2f}"}
        details = {"type": "giftcard_payment", "actions": ["settle"], "instructed_amount": asked, "order": "order-1"}
        form = {
            "response_type": "code",
            "redirect_uri": self._shop.redirect_uri,
            "state": "state",
            "code_challenge": base64.urlsafe_b64encode(digest).rstrip(b"=").decode(),
            "code_challenge_method": "S256",
            "authorization_details": json.dumps([details]),
        }
        answer = self._as_server("/oauth/par", form)
        query = {"client_id": self._shop.client_id, "request_uri": answer.told.get("request_uri", "")}
        self._path = f"/oauth/authorize?{urlencode(query)}"
        return answer

    def open(self) -> Answer:
        """The browser comes to the page."""
        answer = self._line.ask("GET", self._path, headers=[*from_address(self._address), ("Cookie", self._cookie)])
        if found := re.search(r'name="csrf" value="([^"]+)"', answer.body.decode()):
            self._csrf = unescape(found[1])
        self._cookie = answer.headers.get("set-cookie", self._cookie).partition(";")[0]
        return answer

    def try_code(self, code: str, captcha: str | None = None) -> Answer:
        """Types a code: 303 leads to the store when it was right, and to the page again when it was not."""
        form = {"action": "code", "code": code, "csrf": self._csrf, **({"captcha": captcha} if captcha else {})}
        own = [("Cookie", self._cookie), ("Origin", f"http://127.0.0.1:{self._port}")]
        body = urlencode(form).encode()
        return self._line.ask("POST", self._path, body, [*FORM, *from_address(self._address), *own])

    def redeem(self, location: str) -> Answer:
        """The store fetches what the shopper said yes to."""
        found = re.search(r"[?&]code=([^&]+)", location)
        form = {
            "grant_type": "authorization_code",
            "code": found[1] if found else "",
            "code_verifier": self._verifier,
            "redirect_uri": self._shop.redirect_uri,
        }
        return self._as_server("/oauth/token", form)

    def leads_to_store(self, answer: Answer) -> bool:
        """Whether the code was right."""
        return answer.status == 303 and answer.headers.get("location", "").startswith(self._shop.redirect_uri)

    def _as_server(self, path: str, form: Mapping[str, str]) -> Answer:
        headers = [*FORM, ("Authorization", _basic(self._shop))]
        return self._line.ask("POST", path, urlencode(form).encode(), headers)
