"""`private_key_jwt`: a client that signs who it is gets a token once for each assertion, and nobody else does."""

import base64
import hmac
import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from flask.testing import FlaskClient
from joserfc import jwt
from joserfc.jwk import ECKey, OKPKey, RSAKey
from joserfc.jws import JWSRegistry
from sqlalchemy import func, select
from werkzeug.test import TestResponse

from app import clock
from app.config import Settings, settings
from app.db.transaction import transaction
from app.ids import new_id
from app.oauth.client_assertion import TYPE, client_of_assertion
from app.oauth.client_jwt import MAX_LENGTH
from app.oauth.client_keys import AnyKey
from app.oauth.clients import add_keyed_client, disable_client, replace_keys
from app.oauth.keys import ensure_keys
from app.oauth.models import SpentAssertion
from app.oauth.spent import forget_spent
from app.redemption.store import add_store
from app.secrecy import random_secret
from tests.oauth.conftest import Party, basic, segments
from tests.oauth.proofs import Prover
from tests.oauth.test_token_endpoint import check_refused
from tests.service import served

#: The pair of each algorithm, made once: it is slow to find large primes.
PAIRS: dict[str, AnyKey] = {
    "ES256": ECKey.generate_key("P-256"),
    "PS256": RSAKey.generate_key(2048),
    "EdDSA": OKPKey.generate_key("Ed25519"),
}
PAIRS["Ed25519"] = PAIRS["EdDSA"]
PROVER = Prover()


@dataclass(frozen=True)
class Machine:
    """A client with keys, and what it can sign with them."""

    id: str
    pair: AnyKey
    algorithm: str = "ES256"

    def sign(self, header: dict[str, Any] | None = None, *, key: Any = None, **claims: Any) -> str:
        """A good assertion but for what is given; None leaves a claim or header out, a timedelta counts from now."""
        now = int(time.time())
        claims = {
            name: now + said.total_seconds() if isinstance(said, timedelta) else said for name, said in claims.items()
        }
        said = {"iss": self.id, "sub": self.id, "aud": settings().public_url, "jti": random_secret()}
        said |= {"iat": now, "exp": now + 60} | claims
        head = {"alg": self.algorithm, "kid": self.pair.thumbprint()} | (header or {})
        lenient = JWSRegistry(algorithms=[head["alg"]], strict_check_header=False)
        return jwt.encode(_without_none(head), _without_none(said), key or self.pair, registry=lenient)


@pytest.fixture
def machine(bookshop: Party) -> Machine:
    return machine_of(bookshop.id, "ES256")


def machine_of(store_id: str, algorithm: str, *more_scopes: str) -> Machine:
    pair, scopes = PAIRS[algorithm], ["exchange", "settle", *more_scopes]
    jwks = {"keys": [pair.as_dict(private=False)]}
    added = add_keyed_client(name="erp", mode="test", store_id=store_id, scopes=scopes, jwks=jwks)
    return Machine(added, pair, algorithm)


Assert = Callable[..., TestResponse]


@pytest.fixture
def present(client: FlaskClient) -> Assert:
    """Posts an assertion to the token endpoint, with a good proof; a parameter of None is left out."""

    def post(assertion: str | None, headers: dict[str, str] | None = None, **form: str | None) -> TestResponse:
        return client.post("/oauth/token", data=form_of(assertion, **form), headers=proven() | (headers or {}))

    return post


def form_of(assertion: str | None, **form: str | None) -> dict[str, str]:
    good = {"grant_type": "client_credentials", "client_assertion_type": TYPE, "client_assertion": assertion}
    return _without_none(good | form)


def proven(origin: str | None = None) -> dict[str, str]:
    """The header of a good proof: a client with keys gets no other access tokens than bound ones."""
    more: dict[str, Any] = {"htu": f"{origin}/oauth/token"} if origin else {}
    return {"DPoP": PROVER.prove("POST", "/oauth/token", **more)}


def encoded(segment: object) -> str:
    """A segment of a JWT."""
    return base64.urlsafe_b64encode(json.dumps(segment).encode()).decode().rstrip("=")


def _without_none(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


# ── what a good assertion gets ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("algorithm", PAIRS)
def test_a_client_that_signs_gets_a_token(present: Assert, bookshop: Party, algorithm: str) -> None:
    machine = machine_of(bookshop.id, algorithm)
    answer = present(machine.sign(), client_id=machine.id, scope="settle")
    assert answer.status_code == 200, answer.data
    claims = segments(answer.get_json()["access_token"])[1]
    assert (claims["client_id"], claims["party"], claims["scope"]) == (machine.id, bookshop.id, "settle")


@pytest.mark.parametrize(
    ("header", "claims"),
    [
        ({"typ": "JWT"}, {}),
        ({"typ": "client-authentication+jwt"}, {}),
        ({"kid": None}, {}),  # it has one key that signs so
        ({"jku": "https://evil.example/jwks.json"}, {}),  # never read
        ({"anything": "else"}, {}),  # RFC 7515, section 4: ignored
        ({"x5c": ["A" * 1_000]}, {}),
        ({}, {"iat": None}),
        ({}, {"nbf": timedelta(0)}),
        ({}, {"exp": timedelta(seconds=59.5)}),
        ({}, {"anything": {"else": 1}}),
    ],
)
def test_what_the_standard_leaves_open_is_taken(
    present: Assert, machine: Machine, header: dict[str, Any], claims: dict[str, Any]
) -> None:
    assert present(machine.sign(header, **claims)).status_code == 200


def test_clocks_may_differ_by_seconds_either_way(present: Assert, machine: Machine) -> None:
    now = int(time.time())
    assert present(machine.sign(iat=now + 10, exp=now + 70)).status_code == 200
    assert present(machine.sign(iat=now - 70, exp=now - 8)).status_code == 200
    assert present(machine.sign(exp=now + 3_600)).status_code == 200
    check_refused(present(machine.sign(iat=now + 20, exp=now + 70)), 401, "invalid_client")
    check_refused(present(machine.sign(iat=now - 70, exp=now - 16)), 401, "invalid_client")
    check_refused(present(machine.sign(exp=now + 3_620)), 401, "invalid_client")


# ── once ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_assertion_is_good_once(present: Assert, machine: Machine) -> None:
    assertion = machine.sign()
    assert present(assertion).status_code == 200
    check_refused(present(assertion), 401, "invalid_client")
    jti = segments(assertion)[1]["jti"]
    check_refused(present(machine.sign(jti=jti)), 401, "invalid_client")


def test_another_clients_jti_is_not_spent(present: Assert, machine: Machine, bookshop: Party) -> None:
    other = machine_of(bookshop.id, "EdDSA")
    assert present(machine.sign(jti="the same")).status_code == 200
    assert present(other.sign(jti="the same")).status_code == 200


def test_a_forgery_does_not_spend_what_it_names(present: Assert, machine: Machine) -> None:
    check_refused(present(machine.sign(key=ECKey.generate_key("P-256"), jti="mine")), 401, "invalid_client")
    assert present(machine.sign(jti="mine")).status_code == 200


def test_in_all_processes_at_once_it_is_good_once(own_database: Settings, keys_dir: Path, tmp_path: Path) -> None:
    ensure_keys()
    machine = machine_of(add_store("Bookshop", mode="test").id, "ES256")
    with served(own_database, keys_dir, tmp_path / "log") as port:

        def ask(assertion: str) -> int:
            with closing(HTTPConnection("127.0.0.1", port, timeout=30)) as web:
                headers = {"Content-Type": "application/x-www-form-urlencoded"} | proven(f"http://127.0.0.1:{port}")
                web.request("POST", "/oauth/token", urlencode(form_of(assertion)), headers)
                return web.getresponse().status

        for _ in range(5):
            assertion = machine.sign(aud=f"http://127.0.0.1:{port}")
            with ThreadPoolExecutor(8) as pool:
                assert sorted(pool.map(ask, [assertion] * 8)) == [200, *[401] * 7]


def test_it_is_remembered_for_as_long_as_it_is_good(own_database: Settings, bookshop: Party) -> None:
    machine = machine_of(bookshop.id, "ES256")
    for life_s in (60, 3_000):
        assert client_of_assertion(machine.sign(exp=int(time.time()) + life_s)) is not None
    for minutes, left in ((30, 2), (70, 1), (120, 0)):
        with clock.ahead(timedelta(minutes=minutes)):
            forget_spent()
        with transaction() as db:
            assert db.scalar(select(func.count()).select_from(SpentAssertion)) == left


# ── what gets nothing ───────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "claims",
    [
        {"aud": "https://elsewhere.example"},
        {"aud": None},
        {"aud": ["http://127.0.0.1:8000"]},  # one for several audiences can be passed on by any of them
        {"aud": "http://127.0.0.1:8000/oauth/token"},
        {"aud": "http://127.0.0.1:8000/"},
        {"iss": "cli_00000000000000000000000000"},
        {"iss": None},
        {"sub": None},
        {"sub": 7, "iss": 7},
        {"jti": None},
        {"jti": ""},
        {"jti": 7},
        {"jti": "x" * 256},
        {"jti": "a\0b"},
        {"exp": None},
        {"exp": timedelta(minutes=-1)},
        {"exp": timedelta(days=3_650)},
        {"exp": True},
        {"exp": "soon"},
        {"exp": float("inf")},
        {"exp": float("nan")},
        {"exp": 10**400},
        {"exp": 1e17},
        {"exp": 2**60},
        {"nbf": -(2**60)},
        {"exp": -(10**30)},
        {"iat": timedelta(minutes=10)},
        {"iat": []},
        {"nbf": timedelta(minutes=10)},
        {"nbf": "now"},
    ],
)
def test_an_assertion_that_says_something_else_gets_nothing(
    present: Assert, machine: Machine, claims: dict[str, Any]
) -> None:
    check_refused(present(machine.sign(**claims)), 401, "invalid_client")


@pytest.mark.parametrize(
    "header",
    [
        {"kid": "another"},
        {"kid": 7},
        {"typ": "at+jwt"},
        {"typ": 7},
        {"crit": ["exp"], "exp": 1},
        {"b64": True, "crit": ["b64"]},
    ],
)
def test_an_assertion_under_another_header_gets_nothing(
    present: Assert, machine: Machine, header: dict[str, Any]
) -> None:
    header_segment, claims, signature = machine.sign().split(".")
    altered = json.loads(base64.urlsafe_b64decode(header_segment + "==")) | header
    check_refused(present(f"{encoded(altered)}.{claims}.{signature}"), 401, "invalid_client")
    if "crit" not in header and not any(value == 7 for value in header.values()):
        check_refused(present(machine.sign(header)), 401, "invalid_client")


def test_only_the_algorithms_of_registered_keys_count(present: Assert, machine: Machine, bookshop: Party) -> None:
    """RS256 with a good RSA key; HMAC under the bytes of a public key; none."""
    rsa = machine_of(bookshop.id, "PS256")
    check_refused(present(rsa.sign({"alg": "RS256"})), 401, "invalid_client")
    _, claims, _ = machine.sign().split(".")
    for public in (machine.pair.as_pem(private=False), machine.pair.as_der(private=False)):
        signed = f"{encoded({'alg': 'HS256'})}.{claims}"
        signature = base64.urlsafe_b64encode(hmac.digest(public, signed.encode(), "sha256")).decode().rstrip("=")
        check_refused(present(f"{signed}.{signature}"), 401, "invalid_client")
    for signature in ("", "AAAA"):
        check_refused(present(f"{encoded({'alg': 'none'})}.{claims}.{signature}"), 401, "invalid_client")


def test_nobody_signs_for_another(present: Assert, machine: Machine, bookshop: Party, acme: Party) -> None:
    other = machine_of(bookshop.id, "EdDSA")
    check_refused(present(Machine(machine.id, other.pair, "EdDSA").sign()), 401, "invalid_client")
    check_refused(present(Machine(acme.client.client_id, machine.pair).sign()), 401, "invalid_client")
    check_refused(present(Machine(new_id("cli"), machine.pair).sign()), 401, "invalid_client")
    check_refused(present(Machine("erp", machine.pair).sign()), 401, "invalid_client")
    check_refused(present(machine.sign(), client_id=other.id), 401, "invalid_client")


def test_a_disabled_client_gets_nothing(present: Assert, machine: Machine) -> None:
    disable_client(machine.id)
    check_refused(present(machine.sign()), 401, "invalid_client")


def test_other_keys_take_the_place_of_those_before(present: Assert, machine: Machine) -> None:
    another = Machine(machine.id, ECKey.generate_key("P-256"))
    both = {"keys": [pair.as_dict(private=False) for pair in (machine.pair, another.pair)]}
    assert set(replace_keys(machine.id, both)) == {machine.pair.thumbprint(), another.pair.thumbprint()}
    assert present(machine.sign()).status_code == present(another.sign()).status_code == 200
    check_refused(present(machine.sign({"kid": None})), 401, "invalid_client")  # which of the two is not said
    replace_keys(machine.id, {"keys": [another.pair.as_dict(private=False)]})
    check_refused(present(machine.sign()), 401, "invalid_client")
    assert present(another.sign()).status_code == 200


def test_two_methods_at_once_are_refused(present: Assert, machine: Machine, acme: Party) -> None:
    header = {"Authorization": basic(acme.client.client_id, acme.client.client_secret)}
    check_refused(present(machine.sign(), headers=header), 400, "invalid_request")
    check_refused(present(machine.sign(), client_secret="x"), 400, "invalid_request")
    check_refused(present(None, headers=header), 400, "invalid_request")


def test_an_assertion_has_its_type(present: Assert, machine: Machine) -> None:
    for wrong in (None, "", "urn:ietf:params:oauth:client-assertion-type:saml2-bearer"):
        check_refused(present(machine.sign(), client_assertion_type=wrong), 401, "invalid_client")
    check_refused(present(None), 401, "invalid_client")


@pytest.mark.parametrize(
    "text",
    [
        "x",
        "..",
        "a.b.c",
        "é.é.é",
        "=.=.=",
        "." * 50,
        "e30.e30.",
        "W10.W10.W10",
        "bnVsbA.bnVsbA.AAAA",
        "x" * (MAX_LENGTH + 1),
    ],
)
def test_what_is_no_assertion_gets_nothing(present: Assert, text: str) -> None:
    check_refused(present(text), 401, "invalid_client")


@pytest.mark.parametrize("header", [["alg", "b64"], "alg b64", ["alg"], "alg", 7, None, {"alg": []}, {"alg": None}])
def test_an_odd_header_gets_nothing(
    present: Assert, machine: Machine, client: FlaskClient, bookshop: Party, header: object
) -> None:
    """Nor is it a bug: as an assertion, as an access token, as a token to be given up."""
    _, claims, signature = machine.sign().split(".")
    odd = f"{encoded(header)}.{claims}.{signature}"
    check_refused(present(odd), 401, "invalid_client")
    assert client.get("/v1/cards", headers={"Authorization": f"Bearer {odd}"}).status_code == 401
    credentials = {"Authorization": basic(bookshop.client.client_id, bookshop.client.client_secret)}
    assert client.post("/oauth/revoke", data={"token": odd}, headers=credentials).status_code == 200


def test_deeply_nested_claims_get_nothing(present: Assert, machine: Machine) -> None:
    header, _, signature = machine.sign().split(".")
    nested = base64.urlsafe_b64encode(b'{"sub":' + b"[" * 2_000).decode().rstrip("=")
    check_refused(present(f"{header}.{nested}.{signature}"), 401, "invalid_client")
