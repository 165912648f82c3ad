"""Hundreds of malformed token requests, drawn by chance: never a 5xx, never an access token by mistake."""

import base64
import random
from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import EnvironBuilder, run_wsgi_app
from werkzeug.wrappers import Response

from tests.oauth.conftest import Party, basic

ROUNDS = 600
NASTY_BYTES = [
    *(b"", b"\0", b"\xff", b"\xff\xfe\xfd", b"\xc3\x28", b"\xed\xa0\x80", b"%", b"%zz", b"%00", b"%FF", b"%u0000"),
    *(b"\r\n", b"&", b"&&&", b"=", b"==", b";", b"+", b"'", b'"', b"\\", b"{}", b"[]", b"<x>", b"../..", b"x" * 9000),
    *("\u202e".encode(), "é".encode(), "\U0001f381".encode(), "é".encode("latin-1"), b"a\tb", b"\x7f", b"-1", b"null"),
]


def drawn_authorization(chance: random.Random, good: str) -> str | None:
    raw = bytes(chance.randrange(256) for _ in range(chance.randrange(60)))
    nasty = chance.choice(NASTY_BYTES)
    return chance.choice(
        [
            None,
            good,
            good,
            good[: chance.randrange(len(good))],
            good + chance.choice(["=", " ", "x", ",", "\t", ", Basic eDp4"]),
            good.replace("Basic", chance.choice(["Bearer", "Digest", "BASIC", "Basic Basic", "basic\t", ""])),
            "Basic " + base64.b64encode(raw).decode(),
            "Basic " + base64.b64encode(nasty + b":" + nasty).decode(),
            "Basic " + base64.b64encode(b"cli_" + nasty + b":" + raw).decode(),
            "Basic " + nasty.decode("latin-1").translate({13: None, 10: None}),
            raw.decode("latin-1").translate({13: None, 10: None}),
        ]
    )


def drawn_body(chance: random.Random) -> bytes:
    names = [b"grant_type", b"scope", b"client_id", b"client_secret", b"client_assertion", b"resource", b"x"]
    values = [b"client_credentials", b"settle", b"exchange%20settle", b"issue", *NASTY_BYTES]
    pairs = [chance.choice([*names, *NASTY_BYTES]) + b"=" + chance.choice(values) for _ in range(chance.randrange(6))]
    if chance.random() < 0.6:
        pairs.append(b"grant_type=client_credentials")
    chance.shuffle(pairs)
    return chance.choice([b"&", b"&", b"&", b";", b"&&", b"\n"]).join(pairs)


def drawn_request(chance: random.Random, good: str) -> dict[str, Any]:
    form = "application/x-www-form-urlencoded"
    content_type = chance.choice(
        [form, form, form, form + "; charset=utf-16", "application/json", "x", "", form + ";;="]
    )
    environ = EnvironBuilder(
        "/oauth/token", method="POST", data=drawn_body(chance), content_type=content_type
    ).get_environ()
    if (authorization := drawn_authorization(chance, good)) is not None:
        environ["HTTP_AUTHORIZATION"] = authorization
    if chance.random() < 0.15:
        environ["QUERY_STRING"] = chance.choice(NASTY_BYTES).decode("latin-1")
    if chance.random() < 0.1:
        environ["CONTENT_LENGTH"] = chance.choice(["", "-1", "x", "0", "5", "99999999999"])
    if chance.random() < 0.1:
        environ["HTTP_HOST"] = chance.choice(["", "evil.example", "\xff", "a b", "[::1", "x:99999"])
    return environ


@pytest.mark.parametrize("seed", range(4))
def test_a_malformed_token_request_is_a_4xx(client: FlaskClient, bookshop: Party, seed: int) -> None:
    chance = random.Random(seed)
    good = basic(bookshop.client.client_id, bookshop.client.client_secret)
    seen: dict[object, int] = {}
    for _ in range(ROUNDS // 4):
        environ = drawn_request(chance, good)
        chunks, status, headers = run_wsgi_app(client.application, environ)  # the test client would tidy things up
        answer = Response(b"".join(chunks), status, headers)
        told = {name: environ[name] for name in environ if not name.startswith(("wsgi", "werkzeug", "SERVER"))}
        assert answer.status_code < 500, told
        if answer.status_code == 200:
            assert environ.get("HTTP_AUTHORIZATION", "").lower().startswith("basic "), told
        else:
            found = answer.get_json(silent=True) or {}
            assert "error" in found and set(found) <= {"error", "error_description"}, told
            seen[found.get("error")] = seen.get(found.get("error"), 0) + 1
        assert answer.headers["Cache-Control"] == "no-store", told
    assert {"invalid_request", "invalid_client"} <= set(seen), "the draw became too tame"
    assert sum(seen.values()) > ROUNDS // 8


def test_the_draw_would_find_a_bug(client: FlaskClient, bookshop: Party, monkeypatch: pytest.MonkeyPatch) -> None:
    """A control: the careless way to read Basic is caught."""

    def careless(authorization: str) -> tuple[str, str]:
        client_id, _, client_secret = base64.b64decode(authorization.split(" ")[1]).decode().partition(":")
        return client_id, client_secret

    monkeypatch.setattr("app.oauth.client_authentication._basic_credentials", careless)
    check: Callable[..., None] = test_a_malformed_token_request_is_a_4xx
    with pytest.raises(AssertionError):
        check(client, bookshop, 0)
