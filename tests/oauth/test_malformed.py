"""Malformed requests to every endpoint of OAuth: whatever is sent, nothing is a bug, and nothing is let in."""

import random
from collections.abc import Callable
from dataclasses import replace
from ipaddress import ip_network
from urllib.parse import quote, quote_plus, urlencode

import pytest
from flask import Flask
from flask.testing import FlaskClient

from app import config
from app.config import settings
from app.oauth.clients import authenticate_client
from app.oauth.keys import ensure_keys
from tests.api import nothing_changes
from tests.oauth.certificates import HEADER, certificate, rfc9440
from tests.oauth.conftest import Party, basic
from tests.oauth.proofs import Prover
from tests.oauth.test_client_assertion import machine_of

#: For each seed so many requests.
CASES = 250
SEEDS = range(4)
METHODS = ("GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "QUERY")
TYPES = (
    "application/x-www-form-urlencoded",
    "application/x-www-form-urlencoded; charset=utf-16",
    "application/json",
    "multipart/form-data; boundary=x",
    "multipart/form-data",
    "text/plain",
    "",
    "é",
)
NAMES = (
    "grant_type",
    "client_id",
    "client_secret",
    "client_assertion",
    "client_assertion_type",
    "scope",
    "token",
    "token_type_hint",
    "code",
    "code_verifier",
    "code_challenge",
    "code_challenge_method",
    "redirect_uri",
    "response_type",
    "request_uri",
    "request",
    "state",
    "authorization_details",
    "dpop_jkt",
    "resource",
    "nonce",
    "x",
    "",
)
SCRAPS = (
    "",
    " ",
    "\0",
    "'",
    '"',
    "\\",
    "\r\nX: y",
    "é",
    "\ud83d\ude00",
    "\u202e",
    "%",
    "%00",
    "%ff",
    "{}",
    "[]",
    "[[[[",
    '[{"type":"giftcard_payment"}]',
    "null",
    "1e400",
    "NaN",
    "a.b.c",
    "..",
    "eyJhbGciOiJub25lIn0.e30.",
    "client_credentials",
    "authorization_code",
    "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
    "urn:ietf:params:oauth:request_uri:x",
    "https://shop.example/back",
    "https://shop.example/back?a=b#c",
    "javascript:alert(1)",
    "http://[::1",
    "S256",
    "plain",
    "x" * 2_000,
    "cli_" + "0" * 26,
)


@pytest.fixture
def paths(app: Flask) -> list[str]:
    """Every endpoint of OAuth, with an identifier where it wants one."""
    rules = (rule.rule for rule in app.url_map.iter_rules() if rule.rule.startswith(("/oauth", "/.well-known")))
    return sorted({rule.replace("<id(sec):secret_id>", "sec_" + "0" * 26) for rule in rules})


@pytest.fixture
def good(bookshop: Party) -> list[Callable[[], tuple[dict[str, str], dict[str, str]]]]:
    """Ways in which a good request begins, as headers and form; what is malformed comes on top."""
    machine, prover = machine_of(bookshop.id, "ES256"), Prover()
    known = authenticate_client(bookshop.client.client_id, bookshop.client.client_secret)
    assert known is not None
    secret = {"Authorization": basic(bookshop.client.client_id, bookshop.client.client_secret)}
    return [
        lambda: ({}, {}),
        lambda: (secret, {}),
        lambda: (secret | {"DPoP": prover.prove("POST", "/oauth/token")}, {}),
        lambda: ({}, {"client_assertion": machine.sign()}),
        lambda: (rfc9440(certificate()), {"client_id": bookshop.client.client_id}),
    ]


@pytest.mark.parametrize("seed", SEEDS)
def test_nothing_is_a_bug(
    client: FlaskClient,
    paths: list[str],
    good: list[Callable[[], tuple[dict[str, str], dict[str, str]]]],
    database: config.Settings,
    seed: int,
) -> None:
    """A failure names the seed and the request."""
    ensure_keys()  # made at their first use otherwise
    chance = random.Random(seed)
    config.use(replace(settings(), trusted_proxies=(ip_network("127.0.0.0/8"),), client_certificate_header=HEADER))
    try:
        with nothing_changes(but=("spent_assertion", "client_secret")):
            for number in range(CASES):
                begin, form = chance.choice(good)()
                path, method = chance.choice(paths), chance.choice((*METHODS, "POST", "POST", "POST", "POST"))
                headers, body, query = _drawn(chance, begin, form)
                answer = client.open(path, method=method, headers=headers, data=body, query_string=query)
                about = (seed, number, method, path, headers, body[:300], query)
                assert answer.status_code < 500, about
                assert '"access_token":' not in answer.text, about
    finally:
        config.use(database)


def _drawn(
    chance: random.Random, begin: dict[str, str], form: dict[str, str]
) -> tuple[list[tuple[str, str]], bytes, str]:
    """Headers, body and query of one request, some of them good so that the rest is looked at. Never a whole one."""
    pairs = [*form.items(), *((chance.choice(NAMES), chance.choice(SCRAPS)) for _ in range(chance.randrange(6)))]
    if chance.random() < 0.5:
        pairs.insert(0, ("grant_type", chance.choice(("client_credentials ", "authorization_code", "password"))))
    chance.shuffle(pairs)
    headers = [*begin.items(), ("Content-Type", TYPES[0] if chance.random() < 0.8 else chance.choice(TYPES))]
    for name in ("Authorization", "DPoP", HEADER, "Cookie", "Content-Length", "Accept"):
        if chance.random() < 0.15:
            headers = [(each, value) for each, value in headers if each != name]
            headers.append((name, _header_value(chance, name)))
    query = urlencode(pairs[:1], errors="surrogatepass") if chance.random() < 0.1 else ""
    return [(name, _latin(value)) for name, value in headers], _body(chance, pairs), query


def _header_value(chance: random.Random, name: str) -> str:
    scheme = chance.choice(("", "Basic ", "Bearer ", "DPoP ", "basic", "Digest ", "Basic\t")) if name[0] == "A" else ""
    if name == "Content-Length":
        return chance.choice(("0", "1", "-1", "x", "99999999999999999999"))
    return scheme + chance.choice((*SCRAPS[:28], "OTo=", "Og==", "w6k6w6k=", "/w==", "a" * 5_000))


def _latin(value: str) -> str:
    """As it can go over the wire."""
    clean = value.replace("\r", "").replace("\n", "").replace("\0", "")
    return clean.encode("utf-8", "surrogatepass").decode("latin-1")


def _body(chance: random.Random, pairs: list[tuple[str, str]]) -> bytes:
    kind = chance.random()
    if kind < 0.1:
        return chance.randbytes(chance.randrange(400))
    if kind < 0.15:
        return b"&".join([b"a=b"] * chance.choice((33, 1_000)))
    if kind < 0.2:
        return quote("x" * 9_000).encode()
    text = "&".join(f"{_quoted(chance, name)}={_quoted(chance, value)}" for name, value in pairs)
    return text.encode("utf-8", "surrogatepass")


def _quoted(chance: random.Random, text: str) -> str:
    """Mostly as it should be."""
    return text if chance.random() < 0.1 else quote_plus(text.encode("utf-8", "surrogatepass"))
