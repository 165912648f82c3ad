"""Every route, by every method, answers with the headers of its kind, whether it goes well or not."""

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from app import config
from app.factory import create_app
from app.ids import new_id
from app.redemption.store import set_origins
from tests.checkout.shop import Shopper, bookshop_of
from tests.world import World, key_of

SHOP = "https://shop.example"
METHODS = ("GET", "HEAD", "POST", "OPTIONS", "PUT")
#: Anybody may keep them for a while: they are the same for all, and hold no secret.
PUBLIC = {"/.well-known/jwks.json", "/.well-known/oauth-authorization-server", "/widget/v1.js"}
FRAME = "/widget/<id(str):store_id>"
LOOSE = {"*", "http:", "data:", "blob:", "'unsafe-eval'", "'unsafe-inline'"}
#: Redoc writes its own styles into the page, has small pictures in them, and searches in a worker made of a text.
DOCS_ALONE = {("style-src", "'unsafe-inline'"), ("img-src", "data:"), ("worker-src", "blob:")}


def policy(answer: Any) -> dict[str, set[str]]:
    """The directives of an answer's Content-Security-Policy; there is one."""
    [header] = answer.headers.getlist("Content-Security-Policy")
    parts = [part.split() for part in header.split(";")]
    found = {name: set(words) for name, *words in parts}
    assert len(found) == len(parts)
    return found


def paths(rule: str, known: dict[str, str]) -> Iterator[str]:
    """The rule with an ID of nothing and, where there is one, with an ID of something."""
    if "<path:filename>" in rule:
        yield rule.replace("<path:filename>", "nothing.js")
        yield rule.replace("<path:filename>", known[rule])
        return
    yield re.sub(r"<id\((\w+)\):\w+>|<(link)_id>", lambda kind: new_id(kind[1] or kind[2]), rule)
    if "<" in rule:
        yield re.sub(r"<id\((\w+)\):\w+>|<(link)_id>", lambda kind: known.get(kind[1] or kind[2], "x"), rule)


@pytest.fixture
def known(world: World) -> dict[str, str]:
    """IDs and files that exist."""
    set_origins(world.bookshop, [SHOP])
    return {
        "str": world.bookshop,
        "link": key_of(world.issue().claim_link or "")[0],
        "/static/web/<path:filename>": "redoc/redoc.standalone.js",
        "/static/holder/<path:filename>": "claim.js",
        "/static/checkout/<path:filename>": "checkout.js",
        "/static/guard/<path:filename>": "captcha.js",
        "/static/widget/<path:filename>": "frame.js",
    }


def check(answer: Any, rule: str, where: object) -> str:
    """The headers that this answer must have; returns its kind."""
    headers, directives = answer.headers, policy(answer)
    kind = "static" if rule.startswith("/static/") and answer.status_code < 400 else str(answer.mimetype)
    assert headers["X-Content-Type-Options"] == "nosniff", where
    assert headers["Referrer-Policy"] == "no-referrer", where
    assert headers["X-Request-Id"].startswith("req_"), where
    assert not {"X-Powered-By", "Server", "Access-Control-Allow-Credentials"} & {name for name, _ in headers}, where
    assert directives["default-src"] == {"'none'"}, where
    is_page = kind == "text/html" and answer.request.method != "OPTIONS"
    is_frame = rule == FRAME and kind == "text/html"
    assert directives["frame-ancestors"] in ([{"'none'"}, {SHOP}] if is_frame else [{"'none'"}]), where
    loose = {(name, word) for name, words in directives.items() for word in words & LOOSE}
    assert loose == (DOCS_ALONE if rule == "/docs" and is_page else set()), where
    assert directives["base-uri"] == {"'none'"}, where
    assert directives["form-action"], where
    if is_page:
        assert directives["script-src"] == {"'self'"}, where
        assert not re.search(rb"<script(?![^>]* src=)|<[^>]+ on[a-z]+=|javascript:", answer.data), where
    if kind == "static" or (rule in PUBLIC and answer.status_code == 200 and answer.mimetype != "text/html"):
        assert re.fullmatch("no-store|no-cache|public, .*", headers["Cache-Control"]), where
    else:
        assert headers["Cache-Control"] == "no-store", where
    return kind


def test_every_route_answers_with_the_headers_of_its_kind(
    app: Flask, client: FlaskClient, known: dict[str, str]
) -> None:
    kinds: dict[str, set[int]] = {}
    for rule in [*map(str, app.url_map.iter_rules()), "/nowhere"]:
        for path in paths(rule, known):
            for method in METHODS:
                for accepted in ("text/html", "application/json"):
                    headers = {"Accept": accepted, "Origin": "http://127.0.0.1:8000"}
                    with client.open(path, method=method, headers=headers, data=b"{") as answer:
                        kind = check(answer, rule, (method, path, accepted))
                        assert answer.status_code < 500 or answer.status_code == 501, (method, path)
                    kinds.setdefault(kind, set()).add(answer.status_code)
    assert {200, 404} <= kinds["text/html"]
    assert {401, 404, 405, 415} <= kinds["application/problem+json"]
    assert 200 in kinds["static"]
    assert 200 in kinds["application/json"]


def test_pages_that_show_something_have_them_too(app: Flask, client: FlaskClient, world: World) -> None:
    link_id, key = key_of(world.issue().claim_link or "")
    form = {"key": key, "nonce": "n" * 43}
    for _ in range(2):  # the code, and that it was shown already
        assert check(client.post(f"/claim/{link_id}", data=form), "/claim", "code") == "text/html"
        form["nonce"] = "o" * 43
    assert check(client.get(f"/claim/{link_id}/card", headers={"Accept": "text/html"}), "/claim", "card") == "text/html"
    shop, shopper = bookshop_of(app, world), Shopper(app.test_client())
    pushed = shop.push()
    page = shopper.open(pushed)
    check(page, "/oauth/authorize", "open")
    assert policy(page)["form-action"] == {"'self'", "https:", "https://bookshop.example"}
    for code in ("0000-0000-0000-0000", world.code().code):
        check(shopper.decide(pushed, "code", code=code), "/oauth/authorize", code)


def test_over_tls_browsers_are_told_to_stay_there(database: config.Settings) -> None:
    """For our host alone; over http, on this machine, it would say nothing."""
    try:
        client = create_app(replace(database, public_url="https://cards.example")).test_client()
        for path, status in (("/docs", 200), ("/healthz", 200), ("/nowhere", 404), ("/static/holder/claim.js", 200)):
            with client.get(path) as answer:
                assert answer.status_code == status
                assert answer.headers.getlist("Strict-Transport-Security") == ["max-age=63072000"]
    finally:
        config.use(database)
    with create_app(database).test_client().get("/docs") as answer:
        assert "Strict-Transport-Security" not in answer.headers


def test_the_planted_want_of_a_header_is_seen(client: FlaskClient) -> None:
    for header in ("Content-Security-Policy", "Referrer-Policy", "X-Content-Type-Options", "Cache-Control"):
        with client.get("/docs") as answer:
            check(answer, "/docs", header)
            del answer.headers[header]
            with pytest.raises((AssertionError, KeyError, ValueError)):
                check(answer, "/docs", header)
