"""Introspection: a party learns whether an access token of its own is good, and nothing of anybody else's."""

from collections.abc import Callable
from time import monotonic, sleep

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from app.config import settings
from app.oauth.access_token import make_access_token
from app.oauth.clients import NewClient, add_client, authenticate_client, disable_client
from tests.oauth.conftest import Ask, Party, basic
from tests.oauth.proofs import Prover
from tests.oauth.test_token_endpoint import check_refused

Introspect = Callable[..., TestResponse]


@pytest.fixture
def resource(bookshop: Party) -> NewClient:
    """A machine of Bookshop that is shown access tokens."""
    return add_client(name="gateway", mode="test", store_id=bookshop.id, scopes=["introspect"])


@pytest.fixture
def introspect(client: FlaskClient, resource: NewClient) -> Introspect:
    def post(token: str, by: NewClient = resource, **form: str) -> TestResponse:
        headers = {"Authorization": basic(by.client_id, by.client_secret)}
        return client.post("/oauth/introspect", data={"token": token} | form, headers=headers)

    return post


def test_a_good_access_token_is_told_whole(introspect: Introspect, ask: Ask, bookshop: Party) -> None:
    token = ask(bookshop.client, scope="settle").get_json()
    answer = introspect(token["access_token"], token_type_hint="access_token")
    assert (answer.status_code, answer.headers["Cache-Control"]) == (200, "no-store")
    told = answer.get_json()
    client_id, origin = bookshop.client.client_id, settings().public_url
    assert {name: told[name] for name in ("active", "token_type", "scope", "client_id", "sub", "iss", "aud")} == {
        "active": True,
        "token_type": "Bearer",
        "scope": "settle",
        "client_id": client_id,
        "sub": client_id,
        "iss": origin,
        "aud": origin,
    }
    assert told["exp"] - told["iat"] == token["expires_in"]
    assert set(told) == {"active", "token_type", "scope", "client_id", "sub", "iss", "aud", "exp", "iat", "jti"}


def test_a_bound_one_is_told_with_its_key(introspect: Introspect, client: FlaskClient, bookshop: Party) -> None:
    prover = Prover()
    headers = {"Authorization": basic(bookshop.client.client_id, bookshop.client.client_secret)}
    headers["DPoP"] = prover.prove("POST", "/oauth/token")
    token = client.post("/oauth/token", data={"grant_type": "client_credentials"}, headers=headers).get_json()
    told = introspect(token["access_token"]).get_json()
    assert (told["token_type"], told["cnf"]) == ("DPoP", {"jkt": prover.pair.thumbprint()})


def test_whatever_is_not_good_is_not_active_and_no_more(
    introspect: Introspect, ask: Ask, client: FlaskClient, acme: Party, bookshop: Party
) -> None:
    known = authenticate_client(bookshop.client.client_id, bookshop.client.client_secret)
    assert known is not None
    revoked = ask(bookshop.client).get_json()["access_token"]
    headers = {"Authorization": basic(bookshop.client.client_id, bookshop.client.client_secret)}
    assert client.post("/oauth/revoke", data={"token": revoked}, headers=headers).status_code == 200
    other = add_client(name="old", mode="test", store_id=bookshop.id, scopes=["settle"])
    of_disabled = ask(other).get_json()["access_token"]
    disable_client(other.client_id)
    wrong = {
        "garbage": "garbage",
        "three parts": "a.b.c",
        "expired": make_access_token(known, known.scopes, lifetime_s=-1),
        "another party's": ask(acme.client).get_json()["access_token"],
        "revoked": revoked,
        "of a disabled client": of_disabled,
    }
    for name, token in wrong.items():
        until_told(introspect, token)
        answer = introspect(token)
        assert (answer.status_code, answer.get_json()) == (200, {"active": False}), name


def until_told(introspect: Introspect, token: str) -> None:
    """What this process remembers of revoked tokens is half a second old at most."""
    until = monotonic() + 1
    while introspect(token).get_json()["active"] and monotonic() < until:
        sleep(0.05)


def test_who_lacks_the_scope_learns_nothing(introspect: Introspect, ask: Ask, bookshop: Party) -> None:
    token = ask(bookshop.client).get_json()["access_token"]
    answer = introspect(token, by=bookshop.client)
    assert (answer.status_code, answer.get_json()["error"]) == (403, "unauthorized_client")


def test_who_is_nobody_learns_nothing(client: FlaskClient, ask: Ask, bookshop: Party) -> None:
    token = ask(bookshop.client).get_json()["access_token"]
    check_refused(client.post("/oauth/introspect", data={"token": token}), 401, "invalid_client")


def test_the_scope_is_given_to_nobody_who_does_not_name_it(ask: Ask, bookshop: Party) -> None:
    assert ask(bookshop.client, scope="introspect").get_json()["error"] == "invalid_scope"
