"""An access token that is bound to a key is worth nothing to whoever does not hold that key."""

import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import timedelta
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from joserfc.jwk import ECKey, OKPKey
from sqlalchemy import func, select
from werkzeug.test import TestResponse

from app import clock
from app.config import Settings, settings
from app.db.transaction import transaction
from app.oauth.client_jwt import MAX_LENGTH
from app.oauth.client_keys import AnyKey
from app.oauth.dpop import LIFE, make_nonce
from app.oauth.models import SpentAssertion
from app.oauth.spent import forget_spent
from tests.api import assert_problem
from tests.oauth.conftest import Party, basic, segments
from tests.oauth.proofs import Prover
from tests.oauth.test_client_assertion import PAIRS, form_of, machine_of
from tests.service import served

OPEN = "/v1/cards"
Ask = Callable[..., TestResponse]


@pytest.fixture
def prover() -> Prover:
    return Prover()


@pytest.fixture
def ask_bound(client: FlaskClient, acme: Party) -> Ask:
    """Asks for an access token with a secret, and with this proof."""

    def post(proof: str | None) -> TestResponse:
        headers = {"Authorization": basic(acme.client.client_id, acme.client.client_secret)}
        headers |= {} if proof is None else {"DPoP": proof}
        return client.post("/oauth/token", data={"grant_type": "client_credentials"}, headers=headers)

    return post


@pytest.fixture
def bound(ask_bound: Ask, prover: Prover) -> str:
    """An access token that is bound to the prover's key."""
    answer = ask_bound(prover.prove("POST", "/oauth/token"))
    assert answer.status_code == 200, answer.data
    return str(answer.get_json()["access_token"])


# ── at the token endpoint ───────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("algorithm", PAIRS)
def test_a_proof_binds_the_access_token_to_its_key(ask_bound: Ask, client: FlaskClient, algorithm: str) -> None:
    prover = Prover(PAIRS[algorithm], algorithm)
    answer = ask_bound(prover.prove("POST", "/oauth/token")).get_json()
    assert answer["token_type"] == "DPoP"
    assert segments(answer["access_token"])[1]["cnf"] == {"jkt": prover.pair.thumbprint()}
    assert prover.call(client, OPEN, answer["access_token"]).status_code == 200


def test_without_a_proof_a_client_with_a_secret_gets_a_bearer_token(ask_bound: Ask) -> None:
    answer = ask_bound(None).get_json()
    assert answer["token_type"] == "Bearer"
    assert "cnf" not in segments(answer["access_token"])[1]


def test_a_client_with_keys_gets_no_bearer_token(client: FlaskClient, bookshop: Party) -> None:
    """FAPI 2.0, section 5.3.2.1: only sender-constrained ones."""
    answer = client.post("/oauth/token", data=form_of(machine_of(bookshop.id, "ES256").sign()))
    assert (answer.status_code, answer.get_json()["error"]) == (400, "invalid_dpop_proof")
    assert answer.headers["Cache-Control"] == "no-store"


def test_who_needs_a_nonce_has_spent_no_assertion_by_then(client: FlaskClient, bookshop: Party, prover: Prover) -> None:
    """A client that signs once and tries again with the nonce is served."""
    assertion = machine_of(bookshop.id, "ES256").sign()
    proof = prover.prove("POST", "/oauth/token", nonce=...)
    answer = client.post("/oauth/token", data=form_of(assertion), headers={"DPoP": proof})
    assert (answer.status_code, answer.get_json()["error"]) == (400, "use_dpop_nonce")
    again = prover.prove("POST", "/oauth/token", nonce=answer.headers["DPoP-Nonce"])
    assert client.post("/oauth/token", data=form_of(assertion), headers={"DPoP": again}).status_code == 200


def test_a_proof_is_good_once_for_tokens_too(ask_bound: Ask, prover: Prover) -> None:
    proof = prover.prove("POST", "/oauth/token")
    assert [ask_bound(proof).status_code for _ in range(3)] == [200, 400, 400]


# ── at the API ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_stolen_access_token_is_worth_nothing(client: FlaskClient, bound: str, prover: Prover) -> None:
    assert prover.call(client, OPEN, bound).status_code == 200
    for headers in ({"Authorization": f"Bearer {bound}"}, {"Authorization": f"DPoP {bound}"}):
        answer = client.get(OPEN, headers=headers)
        assert answer.status_code == 401
    thief = Prover()
    assert_problem(thief.call(client, OPEN, bound), 401, "invalid-access-token")
    assert_problem(prover.call(client, OPEN, bound, scheme="Bearer"), 401, "invalid-access-token")


def test_a_bearer_token_does_not_become_a_bound_one(client: FlaskClient, ask_bound: Ask, prover: Prover) -> None:
    """RFC 9449, section 7.2: its sender believes it to be safe from thieves."""
    bearer = ask_bound(None).get_json()["access_token"]
    assert_problem(prover.call(client, OPEN, bearer), 401, "invalid-access-token")


def test_a_proof_is_good_once_and_for_one_request(client: FlaskClient, bound: str, prover: Prover) -> None:
    proof = prover.prove("GET", OPEN, access_token=bound)
    headers = {"Authorization": f"DPoP {bound}", "DPoP": proof}
    assert client.get(OPEN, headers=headers).status_code == 200
    answer = client.get(OPEN, headers=headers)
    assert_problem(answer, 401, "invalid-dpop-proof")
    assert answer.headers["WWW-Authenticate"] == 'DPoP error="invalid_dpop_proof"'


def ago(seconds: float) -> Callable[[], int]:
    """A time that counts from when the proof is made."""
    return lambda: int(time.time() - seconds)


def here(path: str = OPEN, scheme: str = "http:") -> Callable[[], str]:
    return lambda: settings().public_url.replace("http:", scheme) + path


def key_of(pair: AnyKey, *, private: bool = False) -> dict[str, Any]:
    return {"header": {"jwk": pair.as_dict(private=private)}}


#: What makes a proof bad. A function is called when the proof is made.
BAD: dict[str, dict[str, Any]] = {
    "another method": {"htm": "POST"},
    "no method": {"htm": ...},
    "another case": {"htm": "get"},
    "another path": {"htu": here("/v1/programmes")},
    "another host": {"htu": "https://evil.example" + OPEN},
    "another scheme": {"htu": here(scheme="https:")},
    "another port": {"htu": "http://127.0.0.1:1" + OPEN},
    "no address": {"htu": ...},
    "a number for an address": {"htu": 7},
    "an odd address": {"htu": "http://[::1" + OPEN},
    "another token": {"ath": "x" * 43},
    "no token": {"ath": ...},
    "too old": {"iat": ago(LIFE.total_seconds() + 5)},
    "not yet": {"iat": ago(-60)},
    "no time": {"iat": ...},
    "a time in words": {"iat": "now"},
    "true for a time": {"iat": True},
    "the end of time": {"iat": 1e300},
    "no name": {"jti": ...},
    "an empty name": {"jti": ""},
    "a long name": {"jti": "x" * 256},
    "a number for a name": {"jti": 1},
    "NUL in the name": {"jti": "a\0b"},
    "no type": {"header": {"typ": ...}},
    "an assertion's type": {"header": {"typ": "jwt"}},
    "an access token's type": {"header": {"typ": "at+jwt"}},
    "no key": {"header": {"jwk": ...}},
    "a key that is none": {"header": {"jwk": {"kty": "EC"}}},
    "another's key": key_of(ECKey.generate_key("P-256")),
    "a private key": key_of(ECKey.generate_key("P-256"), private=True),
    "a symmetric key": {"header": {"jwk": {"kty": "oct", "k": "c2VjcmV0"}}},
    "a small key": {"header": {"jwk": {"kty": "RSA", "n": "w" * 171, "e": "AQAB"}}},
    "a key of another kind": key_of(OKPKey.generate_key("Ed25519")),
    "another curve": key_of(ECKey.generate_key("P-384")),
    "an extension": {"header": {"crit": ["b64"], "b64": False}},
    "much": {"padding": "x" * MAX_LENGTH},
}


@pytest.mark.parametrize("case", BAD)
def test_a_proof_that_is_not_for_this_request_is_refused(
    client: FlaskClient, bound: str, prover: Prover, case: str
) -> None:
    assert prover.call(client, OPEN, bound).status_code == 200
    made = {name: value() if callable(value) else value for name, value in BAD[case].items()}
    answer = prover.call(client, OPEN, bound, **made)
    assert_problem(answer, 401, "invalid-dpop-proof")


@pytest.mark.parametrize("proof", ["", "x", "a.b.c", "..", "é", "a" * 9_000, "eyJhbGciOiJub25lIn0.e30."])
def test_garbage_is_refused(client: FlaskClient, bound: str, proof: str) -> None:
    headers = {"Authorization": f"DPoP {bound}", "DPoP": proof.encode().decode("latin-1")}
    assert_problem(client.get(OPEN, headers=headers), 401, "invalid-dpop-proof")


def test_two_proofs_are_refused(client: FlaskClient, bound: str, prover: Prover) -> None:
    proofs = [("DPoP", prover.prove("GET", OPEN, access_token=bound)) for _ in range(2)]
    answer = client.get(OPEN, headers=[("Authorization", f"DPoP {bound}"), *proofs])
    assert_problem(answer, 401, "invalid-dpop-proof")


def test_the_address_is_compared_without_its_query_and_with_its_port(
    client: FlaskClient, bound: str, prover: Prover
) -> None:
    """RFC 9449, section 4.3: query and fragment are ignored."""
    for htu in (f"{settings().public_url}{OPEN}?limit=1", settings().public_url.upper().replace("HTTP", "http") + OPEN):
        assert prover.call(client, OPEN, bound, htu=htu).status_code == 200


# ── nonces ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "nonce", [..., "", "mine", 7, "1700000000.forged", "9999999999.x", "٣.x", "-1.x", "1e9.x", "1" * 400 + ".x"]
)
def test_a_nonce_that_is_not_ours_is_answered_with_one_that_is(
    client: FlaskClient, bound: str, prover: Prover, nonce: Any
) -> None:
    answer = prover.call(client, OPEN, bound, nonce=nonce)
    assert_problem(answer, 401, "use-dpop-nonce")
    assert answer.headers["WWW-Authenticate"] == 'DPoP error="use_dpop_nonce"'
    assert prover.call(client, OPEN, bound, nonce=answer.headers["DPoP-Nonce"]).status_code == 200


def test_a_nonce_lives_for_minutes_and_the_next_comes_in_time(client: FlaskClient, bound: str, prover: Prover) -> None:
    nonce = make_nonce()
    answer = prover.call(client, OPEN, bound, nonce=nonce)
    assert (answer.status_code, "DPoP-Nonce" in answer.headers) == (200, False)
    with clock.ahead(timedelta(minutes=4)):
        answer = prover.call(client, OPEN, bound, nonce=nonce, iat=int(time.time()) + 240)
        assert (answer.status_code, "DPoP-Nonce" in answer.headers) == (200, True)
    with clock.ahead(LIFE + timedelta(seconds=1)):
        answer = prover.call(client, OPEN, bound, nonce=nonce, iat=int(time.time()) + 301)
        assert_problem(answer, 401, "invalid-access-token")  # it has died by then as well


def test_a_nonce_from_the_future_is_none(client: FlaskClient, bound: str, prover: Prover) -> None:
    with clock.ahead(timedelta(hours=1)):
        nonce = make_nonce()
    assert_problem(prover.call(client, OPEN, bound, nonce=nonce), 401, "use-dpop-nonce")


# ── once, everywhere ────────────────────────────────────────────────────────────────────────────────────────────────


def test_in_all_processes_at_once_a_proof_is_good_once(
    own_database: Settings, keys_dir: Path, tmp_path: Path, acme: Party
) -> None:
    prover = Prover()
    with served(own_database, keys_dir, tmp_path / "log") as port:
        origin = f"http://127.0.0.1:{port}"

        def request(method: str, path: str, headers: dict[str, str], body: str | None = None) -> tuple[int, Any]:
            with closing(HTTPConnection("127.0.0.1", port, timeout=30)) as web:
                web.request(method, path, body, headers)
                answer = web.getresponse()
                return answer.status, json.loads(answer.read())

        credentials = {"Authorization": basic(acme.client.client_id, acme.client.client_secret)}
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        proof = {"DPoP": prover.prove("POST", "/oauth/token", htu=f"{origin}/oauth/token")}
        status, token = request("POST", "/oauth/token", credentials | form | proof, "grant_type=client_credentials")
        assert status == 200, token
        access_token = token["access_token"]
        for _ in range(5):
            proof = {"DPoP": prover.prove("GET", OPEN, access_token=access_token, htu=origin + OPEN)}
            headers = proof | {"Authorization": f"DPoP {access_token}"}
            with ThreadPoolExecutor(8) as pool:
                answers = [pool.submit(request, "GET", OPEN, headers) for _ in range(8)]
            assert sorted(answer.result()[0] for answer in answers) == [200, *[401] * 7]


def test_a_spent_proof_is_remembered_for_longer_than_it_is_good(own_database: Settings, ask_bound: Ask) -> None:
    assert ask_bound(Prover().prove("POST", "/oauth/token")).status_code == 200
    for minutes, left in ((60, 1), (75, 0)):
        with clock.ahead(timedelta(minutes=minutes)):
            forget_spent()
        with transaction() as db:
            assert db.scalar(select(func.count()).select_from(SpentAssertion)) == left
