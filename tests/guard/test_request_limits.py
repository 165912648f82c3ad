"""Who asks too often is refused early, in words that fit the place, and nobody else is."""

import base64
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from ipaddress import ip_network
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from app import config
from app.config import settings
from app.guard import request_limits
from app.ids import new_id
from app.issuance import code_hash
from app.issuance.code import draw_code, show_code
from app.oauth.clients import add_client
from app.secrecy import random_secret
from tests.api import Api, api_of, assert_problem
from tests.service import FAR_LIMITS, free_port
from tests.world import World

CLAIM = f"/claim/{new_id('link')}"
PAYMENT = f"/v1/payments/{new_id('pay')}"
HTML = {"Accept": "text/html"}


@pytest.fixture
def limited(app: Flask, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Sets limits, for one test; whoever was refused in another is forgotten."""
    before = settings()
    monkeypatch.setattr(request_limits, "_asked_again_s", 0.0)

    def use(**limits: str) -> None:
        config.use(replace(before, limits=replace(FAR_LIMITS, **limits)))

    yield use
    config.use(before)
    request_limits._refused.clear()
    request_limits._given_back.clear()


@pytest.fixture
def api(client: FlaskClient, world: World) -> Api:
    return api_of(client, world)


@pytest.fixture
def address() -> str:
    """An IPv4 address that no other test has."""
    return f"203.0.113.{next(_NUMBERS)}"


_NUMBERS = iter(range(1, 255))
_SITES = iter(range(1, 65_535))


def come_from(client: FlaskClient, address: str, path: str = CLAIM, **more: Any) -> TestResponse:
    more.setdefault("headers", HTML)
    more["environ_base"] = {"REMOTE_ADDR": address}
    return client.open(path, **more)


def statuses(answers: list[TestResponse]) -> list[int]:
    return [answer.status_code for answer in answers]


# ── clients ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_tries_of_a_shopper_who_has_to_wait_count_a_quarter_and_a_flood_of_them_has_an_end(
    limited: Callable[..., None], api: Api
) -> None:
    """What one hostile shopper's store may ask is for all of its shoppers."""
    limited(per_client="20/hour")
    body = {"code": show_code(draw_code()), "order_reference": "x", "shopper": {"key_hash": "hostile-shopper"}}
    told = [api.bookshop.post("/v1/payments", body).get_json() for _ in range(40)]
    assert [each["slug"] for each in told].count("try-later") > 30
    assert "Too many requests came from here." not in [each["detail"] for each in told]
    assert api.bookshop.get(f"/v1/payments/{new_id('pay')}").status_code == 404, "the store has room for others"
    told = [api.bookshop.post("/v1/payments", body).get_json() for _ in range(40)]
    assert told[-1]["detail"] == "Too many requests came from here."


def test_a_client_that_asks_too_often_is_told_when_to_come_back(limited: Callable[..., None], api: Api) -> None:
    limited(per_client="3/hour")
    answers = [api.bookshop.get(PAYMENT) for _ in range(5)]
    assert statuses(answers) == [404, 404, 404, 429, 429]
    for answer in answers[3:]:
        assert_problem(answer, 429, "try-later")
        assert 3_600 <= int(answer.headers["Retry-After"]) <= 3_601
        assert re.fullmatch(r'"client";r=0;t=360[01]', answer.headers["RateLimit"])
    assert answers[0].headers["RateLimit-Policy"] == '"client";q=3;w=3600'
    assert [answer.headers["RateLimit"].partition(";t=")[0] for answer in answers[:3]] == [
        '"client";r=2',
        '"client";r=1',
        '"client";r=0',
    ]
    assert api.toyshop.get(PAYMENT).status_code == 404, "another store's client is not meant"


def test_a_client_without_the_scope_is_counted_too(limited: Callable[..., None], api: Api) -> None:
    limited(per_client="2/hour")
    assert statuses([api.acme.get(PAYMENT) for _ in range(3)]) == [403, 403, 429]


def test_a_limited_exchange_costs_no_hash(
    limited: Callable[..., None], api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    limited(per_client="1/hour")
    assert api.bookshop.get(PAYMENT).status_code == 404
    monkeypatch.setattr(code_hash, "hash_secret_raw", None)
    assert_problem(api.bookshop.post("/v1/payments", {}), 429, "try-later")


def test_a_flood_costs_no_look_at_the_database(limited: Callable[..., None], client: FlaskClient, address: str) -> None:
    limited(per_address="1/hour")
    assert statuses([come_from(client, address) for _ in range(2)]) == [200, 429]
    config.use(replace(settings(), database_url=f"postgresql+psycopg://scrip_service:x@127.0.0.1:{free_port()}/x"))
    assert come_from(client, address).status_code == 429


# ── strangers ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_every_route_counts_a_client_or_a_stranger_but_those_named(limited: Callable[..., None], app: Flask) -> None:
    """A new route that counts nobody is noticed here."""
    limited(per_client="1/hour", per_address="1/hour")
    free = set()
    for number, rule in enumerate(app.url_map.iter_rules()):
        path = re.sub(r"<id\((\w+)\):\w+>", lambda found: new_id(found[1]), rule.rule)
        path = re.sub(r"<(path:)?\w+>", new_id("link"), path)
        method = sorted((rule.methods or set()) - {"OPTIONS", "HEAD"})[0]
        asked = app.test_client()
        for _ in range(2):
            answer = come_from(asked, f"198.51.100.{number}", path, method=method, headers={})
            answer.close()
        if answer.status_code != 429:
            free.add(rule.endpoint)
    static = {endpoint for endpoint in app.view_functions if endpoint.endswith(".static")}
    assert free == {*static, "widget.show_loader", "health"}


def test_access_tokens_that_are_not_good_count_for_the_address(
    limited: Callable[..., None], api: Api, address: str
) -> None:
    limited(per_address="2/hour")
    bad = {"Authorization": "Bearer eyJ.bad.token"}
    answers = [come_from(api.bookshop.client, address, PAYMENT, headers=bad) for _ in range(3)]
    assert statuses(answers) == [401, 401, 429]
    good = come_from(api.bookshop.client, address, PAYMENT, headers=api.bookshop.authorization)
    assert good.status_code == 404, "a good one from there is not meant"


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Forwarded-For": "{}"},
        {"x-forwarded-for": "{}"},
        {"X-FORWARDED-FOR": "10.0.0.1, {}"},
        {"Forwarded": "for={}"},
        {"X-Real-IP": "{}"},
        {"True-Client-IP": "{}"},
        {"CF-Connecting-IP": "{}"},
        {"X-Client-IP": "{}", "X-Forwarded-For": "{}"},
    ],
    ids=str,
)
def test_what_a_stranger_writes_into_headers_changes_nothing(
    limited: Callable[..., None], client: FlaskClient, address: str, headers: dict[str, str]
) -> None:
    limited(per_address="2/hour")
    answers = [
        come_from(client, address, headers={name: text.format(f"192.0.2.{n}") for name, text in headers.items()})
        for n in range(4)
    ]
    assert statuses(answers) == [200, 200, 429, 429]


def test_behind_a_trusted_proxy_each_client_has_its_own_limit(
    limited: Callable[..., None], client: FlaskClient, address: str
) -> None:
    limited(per_address="1/hour")
    config.use(replace(settings(), trusted_proxies=(ip_network("10.0.0.0/8"),)))
    said = [f"{invented}, {address}" for invented in ("192.0.2.1", "192.0.2.2")]
    answers = [come_from(client, "10.0.0.1", headers={"X-Forwarded-For": line}) for line in (*said, "192.0.2.77")]
    assert statuses(answers) == [200, 429, 200]


def test_addresses_of_one_v6_subscriber_are_one(limited: Callable[..., None], client: FlaskClient) -> None:
    limited(per_address="2/hour")
    site = f"2001:db8:{next(_SITES):x}"
    inside = [come_from(client, f"{site}:7::{n:x}") for n in range(1, 5)]
    assert statuses(inside) == [200, 200, 429, 429]
    assert come_from(client, f"{site}:8::1").status_code == 200, "the neighbour is not meant"


def test_hopping_over_the_networks_of_a_site_does_not_help(limited: Callable[..., None], client: FlaskClient) -> None:
    limited(per_address="2/hour", per_site="5/hour")
    site = f"2001:db8:{next(_SITES):x}"
    answers = [come_from(client, f"{site}:{n:x}::1") for n in range(8)]
    assert statuses(answers) == [200] * 5 + [429] * 3
    assert answers[0].headers["RateLimit-Policy"] == '"address";q=2;w=3600, "site";q=5;w=3600'
    assert answers[0].headers["RateLimit"].startswith('"address";r=1;')
    assert answers[7].headers["RateLimit"].startswith('"site";r=0;')
    assert come_from(client, f"2001:db8:{next(_SITES):x}::1").status_code == 200


def test_whoever_comes_through_a_socket_without_address_shares_one_limit(
    limited: Callable[..., None], client: FlaskClient
) -> None:
    limited(per_address="2/hour")
    assert [come_from(client, "").status_code for _ in range(3)][2] == 429


# ── in which words ──────────────────────────────────────────────────────────────────────────────────────────────────


def refused(limited: Callable[..., None], client: FlaskClient, address: str, path: str, **more: Any) -> TestResponse:
    """The second answer where one is the limit."""
    limited(per_address="1/hour", per_client="1/hour")
    come_from(client, address, path, **more)
    answer = come_from(client, address, path, **more)
    assert answer.status_code == 429
    assert 3_600 <= int(answer.headers["Retry-After"]) <= 3_601
    assert answer.headers["Cache-Control"] == "no-store"
    return answer


@pytest.mark.parametrize(
    ("path", "more"),
    [
        (CLAIM, {}),
        (CLAIM, {"method": "POST", "data": {"key": "x"}}),
        ("/oauth/authorize", {}),
        (f"/widget/{new_id('str')}", {}),
    ],
    ids=["claim", "a claim's form", "checkout", "widget"],
)
def test_people_get_a_page(
    limited: Callable[..., None], client: FlaskClient, address: str, path: str, more: dict[str, Any]
) -> None:
    answer = refused(limited, client, address, path, **more)
    assert answer.mimetype == "text/html"
    assert "Too many requests came from" in answer.text
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]


@pytest.mark.parametrize(
    ("path", "more"),
    [
        (CLAIM, {"method": "POST", "json": {}, "headers": {"Accept": "application/json"}}),
        (f"/widget/{new_id('str')}/code-tokens", {"method": "POST", "json": {}}),
        ("/oauth/clients/me", {}),
        ("/openapi.json", {}),
        ("/docs", {}),
    ],
    ids=["claim", "widget", "own client", "openapi", "docs"],
)
def test_programs_get_a_problem(
    limited: Callable[..., None], client: FlaskClient, address: str, path: str, more: dict[str, Any]
) -> None:
    assert_problem(refused(limited, client, address, path, **more), 429, "try-later")


@pytest.mark.parametrize("path", ["token", "par", "revoke", "introspect"])
def test_oauth_has_its_own_words(limited: Callable[..., None], client: FlaskClient, address: str, path: str) -> None:
    answer = refused(limited, client, address, f"/oauth/{path}", method="POST", data={"grant_type": "x"})
    assert json.loads(answer.data)["error"] == "temporarily_unavailable"
    assert answer.mimetype == "application/json"


# ── wrong secrets ───────────────────────────────────────────────────────────────────────────────────────────────────


def ask_for_token(client: FlaskClient, address: str, client_id: str, client_secret: str) -> TestResponse:
    basic = base64.b64encode(f"{client_id}:{client_secret}".encode()).decode()
    return come_from(
        client,
        address,
        "/oauth/token",
        method="POST",
        data={"grant_type": "client_credentials"},
        headers={"Authorization": f"Basic {basic}"},
    )


def test_guessing_a_secret_ends_soon_and_locks_nobody_else_out(
    limited: Callable[..., None], client: FlaskClient, world: World, address: str
) -> None:
    limited(wrong_secrets="3/hour")
    made, other = (add_client(name="m", mode="test", store_id=world.bookshop, scopes=["bill"]) for _ in range(2))
    guesses = [ask_for_token(client, address, made.client_id, random_secret()) for _ in range(5)]
    assert statuses(guesses) == [401, 401, 401, 429, 429]
    assert ask_for_token(client, address, made.client_id, made.client_secret).status_code == 200, "the right one passes"
    assert ask_for_token(client, "192.0.2.1", made.client_id, made.client_secret).status_code == 200
    assert ask_for_token(client, address, other.client_id, other.client_secret).status_code == 200


def test_good_secrets_do_not_count(
    limited: Callable[..., None], client: FlaskClient, world: World, address: str
) -> None:
    limited(wrong_secrets="2/hour")
    made = add_client(name="m", mode="test", store_id=world.bookshop, scopes=["bill"])
    assert statuses([ask_for_token(client, address, made.client_id, made.client_secret) for _ in range(4)]) == [200] * 4
