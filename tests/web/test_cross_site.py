"""No POST of a page is taken from another site's page, whatever else it carries."""

import json
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from app.redemption.store import set_origins
from tests.api import money, nothing_changes
from tests.checkout.shop import Pushed, Shopper, bookshop_of, csrf_of
from tests.world import World, key_of

OWN, EVIL = "http://127.0.0.1:8000", "https://evil.example"
#: What a browser says of a form or a script on a page that is not ours; the last pair no browser would send.
CROSS: list[dict[str, str]] = [
    {"Origin": EVIL},
    {"Origin": EVIL, "Sec-Fetch-Site": "cross-site"},
    {"Origin": "null", "Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Origin": OWN, "Sec-Fetch-Site": "cross-site"},
    {"Origin": "http://127.0.0.1:8001"},
    {"Origin": "http://127.0.0.1:8000.evil.example"},
    {"Origin": "https://127.0.0.1:8000"},
    {"Origin": ""},
    {"Origin": EVIL, "Sec-Fetch-Site": "same-origin"},
]
#: By the rules of all pages that take a POST: what would be done, were it one of ours that asks.
PAGES = {
    "/claim/<link_id>",
    "/claim/<link_id>/resend",
    "/claim/<link_id>/code",
    "/oauth/authorize",
    "/widget/<id(str):store_id>/code-tokens",
}
#: Where no cookie and no form is an authority: an access token, a client's credentials.
BY_CREDENTIALS = ("/v1/", "/oauth/token", "/oauth/par", "/oauth/revoke", "/oauth/introspect", "/oauth/clients/")


class Visitor:
    """A browser with a claimed card's session and an open checkout."""

    def __init__(self, app: Flask, world: World) -> None:
        self.client: FlaskClient = app.test_client()
        self.code = world.code().code
        set_origins(world.bookshop, ["https://shop.example"])
        self.store_id = world.bookshop
        claimed, fresh = key_of(world.issue().claim_link or ""), key_of(world.issue().claim_link or "")
        told = self.client.post(f"/claim/{claimed[0]}", json={"key": claimed[1], "nonce": "n" * 43})
        assert told.status_code == 200
        self.claimed, self.fresh = claimed, fresh
        self.csrf = self.client.get(f"/claim/{claimed[0]}/card", headers={"Accept": "application/json"}).get_json()[
            "csrf"
        ]
        self.pushed: Pushed = bookshop_of(app, world).push()
        self.checkout_csrf = csrf_of(Shopper(self.client).open(self.pushed))

    def post(self, rule: str, headers: dict[str, str]) -> TestResponse:
        """What our own page would send there, with these headers."""
        asked: dict[str, Any] = {
            "/claim/<link_id>": (f"/claim/{self.fresh[0]}", {"key": self.fresh[1], "nonce": "m" * 43}),
            "/claim/<link_id>/resend": (f"/claim/{self.claimed[0]}/resend", {"csrf": self.csrf}),
            "/claim/<link_id>/code": (f"/claim/{self.claimed[0]}/code", {"csrf": self.csrf}),
        }
        if rule in asked:
            path, fields = asked[rule]
            return self.client.post(path, data=fields, headers=headers)
        if rule == "/oauth/authorize":
            fields = {"action": "code", "code": self.code, "csrf": self.checkout_csrf}
            return self.client.post(rule, query_string=self.pushed.query, data=fields, headers=headers)
        body = {"code": self.code, "order_reference": "order-1", "amount": money(3_000)}
        path = f"/widget/{self.store_id}/code-tokens"
        return self.client.post(path, data=json.dumps(body), headers={**headers, "Content-Type": "application/json"})


@pytest.fixture
def visitor(app: Flask, world: World) -> Visitor:
    return Visitor(app, world)


def test_every_post_is_a_pages_or_needs_credentials(app: Flask) -> None:
    """A new page that takes a POST must come to this list, and so to the tests below."""
    posts = {str(rule) for rule in app.url_map.iter_rules() if "POST" in (rule.methods or ())}
    assert {rule for rule in posts if not rule.startswith(BY_CREDENTIALS)} == PAGES


@pytest.mark.parametrize("rule", sorted(PAGES))
def test_another_sites_page_is_refused_with_all_that_the_browser_would_add(visitor: Visitor, rule: str) -> None:
    with nothing_changes():
        for headers in CROSS:
            answer = visitor.post(rule, headers)
            assert answer.status_code == 403, headers
            assert "Set-Cookie" not in answer.headers
    assert visitor.post(rule, {"Origin": OWN, "Sec-Fetch-Site": "same-origin"}).status_code in (200, 202, 303)


def test_a_claim_by_its_key_is_taken_from_a_program_and_from_a_form_without_script(app: Flask, world: World) -> None:
    """An old browser says "null" for our own form without script too, and the key is all the authority there is."""
    said: list[dict[str, str]] = [{}, {"Origin": "null"}, {"Sec-Fetch-Site": "none"}, {"Origin": OWN}]
    for headers in said:
        link_id, key = key_of(world.issue().claim_link or "")
        answer = app.test_client().post(f"/claim/{link_id}", data={"key": key, "nonce": "n" * 43}, headers=headers)
        assert answer.status_code == 200, headers


@pytest.mark.parametrize("rule", ["/claim/<link_id>/resend", "/claim/<link_id>/code", "/oauth/authorize"])
def test_where_a_cookie_is_the_authority_silence_is_no_proof(visitor: Visitor, rule: str) -> None:
    silent: list[dict[str, str]] = [{}, {"Origin": "null"}, {"Sec-Fetch-Site": "none"}]
    with nothing_changes():
        for headers in silent:
            assert visitor.post(rule, headers).status_code == 403, headers


def test_the_api_says_to_no_browser_that_it_may_read_an_answer(app: Flask, client: FlaskClient) -> None:
    """Nor does a preflight: only the public documents are for other sites' scripts."""
    asked = {"Origin": EVIL, "Access-Control-Request-Method": "POST"}
    for rule in app.url_map.iter_rules():
        if str(rule).startswith(BY_CREDENTIALS) and "<" not in str(rule):
            answer = client.options(str(rule), headers=asked)
            assert not [name for name, _ in answer.headers if name.startswith("Access-Control-")], rule
