"""The fake service as HTTP sees it: every address that a store and its shoppers use, and what each is answered."""

from __future__ import annotations

import html
import secrets
from collections.abc import Callable
from datetime import datetime
from typing import Any
from urllib.parse import parse_qsl

from scrip_sdk.code import read_code
from scrip_sdk.testing.api import PaymentsApi
from scrip_sdk.testing.authorization import Authorization, PushedRequest
from scrip_sdk.testing.bills import BillsApi
from scrip_sdk.testing.books import CODE_TOKEN, Asker, Books
from scrip_sdk.testing.codes import draw_code
from scrip_sdk.testing.parties import SCOPES, OAuthError, Parties
from scrip_sdk.testing.refusals import NOTHING_HERE, Refused
from scrip_sdk.testing.shapes import BODIES, read_body
from scrip_sdk.testing.signing import Signer
from scrip_sdk.testing.wire import Answer, Asked, as_json, as_problem

FORM = "application/x-www-form-urlencoded"
#: Orders whose reference ends so are decided at once where a shopper comes to the page of the hosted checkout.
APPROVED_ORDER, DENIED_ORDER = "approved", "denied"


class Service:
    """One service with its books; nothing of it is kept anywhere but in memory."""

    def __init__(self, issuer: str, now: Callable[[], datetime]) -> None:
        self.issuer = issuer
        self.books, self.parties, self.signer = Books(now), Parties(), Signer(issuer)
        self.api = PaymentsApi(self.books, self.parties, lambda payment: self.signer.sign(payment, now()))
        self.bills = BillsApi(self.books, self.parties)
        self.authorization = Authorization(self.books, self.parties, issuer)

    def moved_to(self, issuer: str) -> None:
        """From now on the service goes by this name."""
        self.issuer = self.signer.issuer = self.authorization.issuer = issuer

    def answer(self, asked: Asked) -> Answer:
        """The answer to any request."""
        self.authorization.release_due()
        try:
            answer = self._answer(asked)
        except Refused as refused:
            authorization = asked.header("authorization")
            scheme = "DPoP" if authorization.lower().startswith("dpop ") else "Bearer"
            answer = as_problem(refused, scheme=scheme, had_token=bool(authorization))
        except OAuthError as error:
            answer = as_json(error.status, {"error": error.error, "error_description": error.description})
            if error.status == 401:
                answer.headers["WWW-Authenticate"] = 'Basic realm="scrip", charset="UTF-8"'
        answer.headers.setdefault("Cache-Control", "no-store")
        return answer

    def _answer(self, asked: Asked) -> Answer:
        place = (asked.method, asked.path)
        if asked.path.startswith("/v1/"):
            return (self.bills if asked.path.startswith("/v1/bills") else self.api).answer(asked)
        if place == ("POST", "/oauth/token"):
            return self._token(asked)
        if place == ("POST", "/oauth/par"):
            form = _form(asked, "response_type")
            return as_json(201, self.authorization.push(form, self.parties.identify(asked.header("authorization"))))
        if place == ("POST", "/oauth/revoke"):
            form = _form(asked, "token")
            self.parties.identify(asked.header("authorization"))
            self.parties.revoke(form["token"])
            return as_json(200, {})
        if asked.path == "/oauth/authorize":
            return self._authorize(asked)
        if place == ("GET", "/.well-known/oauth-authorization-server"):
            return as_json(200, self._metadata())
        if place == ("GET", "/.well-known/jwks.json"):
            return as_json(200, self.signer.jwks)
        if place == ("GET", "/healthz"):
            return as_json(200, {"status": "ok"})
        if asked.method == "POST" and asked.path.startswith("/widget/") and asked.path.endswith("/code-tokens"):
            return self._code_token(asked)
        raise Refused("nothing-here", NOTHING_HERE)

    def _token(self, asked: Asked) -> Answer:
        form = _form(asked, "grant_type")
        if form["grant_type"] not in ("client_credentials", "authorization_code"):
            raise OAuthError("unsupported_grant_type", "There are client_credentials and authorization_code.")
        client = self.parties.identify(asked.header("authorization"))
        if form["grant_type"] == "authorization_code":
            return as_json(200, self.authorization.redeem(form, client))
        text, token, lifetime_s = self.parties.lend(client, form.get("scope"), self.books.now())
        body = {
            "access_token": text,
            "expires_in": lifetime_s,
            "scope": " ".join(token.scopes),
            "token_type": "Bearer",
        }
        return as_json(200, body)

    # ── shoppers ────────────────────────────────────────────────────────────────────────────────────────────────────

    def make_code_token(self, typed: str, asker: Asker, amount: Any) -> str:
        """What the field in a store's page gets for a code. Raises Refused."""
        if (code := read_code(typed)) is None:
            raise Refused("code-mistyped")
        text = "ct_" + secrets.token_urlsafe(32)
        self.books.make_code_token(code, asker, amount, text)
        return text

    def _code_token(self, asked: Asked) -> Answer:
        store_id = asked.path.removeprefix("/widget/").removesuffix("/code-tokens")
        fields, _ = read_body(asked.header("content-type"), asked.body, BODIES["code_token"])
        if store_id not in {client.store_id for client in self.parties.clients.values()}:
            raise Refused("not-found", "This store has no field for codes.")
        asker = Asker(store_id, fields["shopper_key"], fields["order_reference"])
        code_token = self.make_code_token(fields["code"], asker, fields["amount"])
        return as_json(200, {"code_token": code_token, "expires_in": int(CODE_TOKEN.total_seconds())})

    def _authorize(self, asked: Asked) -> Answer:
        query = dict(parse_qsl(asked.query))
        try:
            request = self.authorization.open(query.get("client_id", ""), query.get("request_uri", ""))
        except LookupError as error:
            return _page(404, f"<h1>{html.escape(str(error).capitalize())}.</h1>")
        order = request.asker.order_reference
        if order.endswith(DENIED_ORDER):
            return _see_other(self.authorization.deny(request))
        if order.endswith(APPROVED_ORDER):
            code = draw_code()
            self.books.issue(request.amount, code)
            return _see_other(self.authorization.approve(request, code))
        if asked.method == "GET":
            return _page(200, _asking(request))
        form = dict(parse_qsl(asked.body.decode()))
        if form.get("action") == "cancel":
            return _see_other(self.authorization.deny(request))
        try:
            return _see_other(self.authorization.approve(request, form.get("code", "")))
        except Refused as refused:
            return _page(refused.status, f"<p>{html.escape(refused.detail)}</p>{_asking(request)}")

    def _metadata(self) -> dict[str, Any]:
        return {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/oauth/authorize",
            "pushed_authorization_request_endpoint": f"{self.issuer}/oauth/par",
            "require_pushed_authorization_requests": True,
            "token_endpoint": f"{self.issuer}/oauth/token",
            "token_endpoint_auth_methods_supported": ["client_secret_basic"],
            "revocation_endpoint": f"{self.issuer}/oauth/revoke",
            "grant_types_supported": ["client_credentials", "authorization_code"],
            "response_types_supported": ["code"],
            "code_challenge_methods_supported": ["S256"],
            "authorization_response_iss_parameter_supported": True,
            "authorization_details_types_supported": ["giftcard_payment"],
            "scopes_supported": list(SCOPES),
            "jwks_uri": f"{self.issuer}/.well-known/jwks.json",
        }


def _form(asked: Asked, required: str) -> dict[str, str]:
    """The body's parameters, each of them once. Raises OAuthError `invalid_request`."""
    if asked.query:
        raise OAuthError("invalid_request", "Parameters belong into the body, never into the URL.")
    if asked.header("content-type").partition(";")[0].strip() != FORM:
        raise OAuthError("invalid_request", f"The body must be {FORM}.")
    pairs = parse_qsl(asked.body.decode("utf-8", "replace"), keep_blank_values=True)
    if len({name for name, _ in pairs}) != len(pairs):
        raise OAuthError("invalid_request", "A parameter is given twice.")
    form = {name: value for name, value in pairs if value}
    if required not in form:
        raise OAuthError("invalid_request", f"The parameter {required} is missing.")
    return form


def _see_other(address: str) -> Answer:
    return Answer(303, {"Location": address})


def _page(status: int, content: str) -> Answer:
    page = f"<!doctype html><html lang=en><meta charset=utf-8><title>Fake Scrip</title><body>{content}"
    return Answer(status, {"Content-Type": "text/html; charset=utf-8"}, page.encode())


def _asking(request: PushedRequest) -> str:
    order = html.escape(request.asker.order_reference)
    return (
        f"<h1>Fake Scrip</h1><p>The store may take up to {request.amount} for order {order}.</p>"
        "<form method=post><label>Code <input name=code autocomplete=off></label> <button name=action value=code>Pay"
        "</button> <button name=action value=cancel>Back to the store</button></form>"
    )
