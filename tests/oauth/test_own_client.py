"""A client changes its own credentials, without an operator, without a pause, and without a way to lock itself out."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from flask.testing import FlaskClient
from joserfc.jwk import ECKey
from sqlalchemy import text
from werkzeug.test import TestResponse

from app.db.transaction import transaction
from app.ids import new_id
from app.oauth.access_token import make_access_token
from app.oauth.clients import NewClient, add_client, add_keyed_client, authenticate_client, list_clients
from tests.api import assert_problem
from tests.oauth.conftest import Ask, Party, basic
from tests.oauth.proofs import Prover

ME = "/oauth/clients/me"
Open = Callable[..., TestResponse]


@pytest.fixture
def made(bookshop: Party) -> NewClient:
    return add_client(name="erp", mode="test", store_id=bookshop.id, scopes=["settle", "client.manage"])


@pytest.fixture
def as_client(client: FlaskClient) -> Open:
    """A request by a client, with an access token for its own affairs that is bound to a key."""

    def send(client_id: str, method: str, path: str, **more: Any) -> TestResponse:
        known, prover = next(found for found in list_clients() if found.client_id == client_id), Prover()
        confirmation = {"jkt": prover.pair.thumbprint()}
        access_token = make_access_token(known, ["client.manage"], confirmation=confirmation)
        proof = prover.prove(method, ME + path, access_token=access_token)
        headers = {"Authorization": f"DPoP {access_token}", "DPoP": proof}
        return client.open(ME + path, method=method, headers=headers, **more)

    return send


def test_a_client_sees_what_it_is_and_what_works(as_client: Open, made: NewClient, bookshop: Party) -> None:
    told = as_client(made.client_id, "GET", "").get_json()
    assert [secret["id"] for secret in told.pop("secrets")] == [made.secret_id]
    assert told == {
        "client_id": made.client_id,
        "client_name": "erp",
        "mode": "test",
        "party": bookshop.id,
        "tier": "basic",
        "token_endpoint_auth_method": "client_secret_basic",
        "scope": "settle client.manage",
        "kids": [],
    }


def test_a_secret_is_changed_without_a_pause(as_client: Open, made: NewClient) -> None:
    answer = as_client(made.client_id, "POST", "/secrets")
    assert (answer.status_code, answer.headers["Cache-Control"]) == (201, "no-store")
    fresh = answer.get_json()
    assert all(authenticate_client(made.client_id, each) for each in (made.client_secret, fresh["client_secret"]))
    assert as_client(made.client_id, "DELETE", f"/secrets/{made.secret_id}").status_code == 204
    assert authenticate_client(made.client_id, made.client_secret) is None
    assert authenticate_client(made.client_id, fresh["client_secret"]) is not None
    assert as_client(made.client_id, "DELETE", f"/secrets/{made.secret_id}").status_code == 204, "again changes nothing"


def test_a_third_secret_is_refused_so_that_no_lost_answer_ends_the_one_in_use(as_client: Open, made: NewClient) -> None:
    assert as_client(made.client_id, "POST", "/secrets").status_code == 201
    for _ in range(2):
        assert_problem(as_client(made.client_id, "POST", "/secrets"), 409, "two-secrets-live")
    assert authenticate_client(made.client_id, made.client_secret) is not None


def test_at_once_two_live_and_never_none(as_client: Open, made: NewClient) -> None:
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: as_client(made.client_id, "POST", "/secrets").status_code, range(8)))
    assert sorted(answers) == [201, *[409] * 7]
    ids = [secret["id"] for secret in as_client(made.client_id, "GET", "").get_json()["secrets"]]
    with ThreadPoolExecutor(8) as pool:
        jobs = [pool.submit(as_client, made.client_id, "DELETE", f"/secrets/{each}") for each in ids * 4]
    statuses = [job.result().status_code for job in jobs]
    assert set(statuses) == {204, 409}
    assert len(as_client(made.client_id, "GET", "").get_json()["secrets"]) == 1


def test_the_last_secret_stays(as_client: Open, made: NewClient) -> None:
    assert_problem(as_client(made.client_id, "DELETE", f"/secrets/{made.secret_id}"), 409, "last-secret")
    assert authenticate_client(made.client_id, made.client_secret) is not None


def test_nobody_touches_anothers_secret(as_client: Open, made: NewClient, bookshop: Party) -> None:
    for other in (bookshop.client.secret_id, new_id("sec")):
        assert_problem(as_client(made.client_id, "DELETE", f"/secrets/{other}"), 404, "not-found")
    assert authenticate_client(bookshop.client.client_id, bookshop.client.client_secret) is not None


def test_keys_are_replaced_as_a_whole(as_client: Open, bookshop: Party) -> None:
    old, new = ECKey.generate_key("P-256"), ECKey.generate_key("P-256")
    scopes = ["settle", "client.manage"]
    jwks = {"keys": [old.as_dict(private=False)]}
    client_id = add_keyed_client(name="erp", mode="test", store_id=bookshop.id, scopes=scopes, jwks=jwks)
    for content_type in ("application/json", "application/jwk-set+json"):
        both = {"keys": [old.as_dict(private=False), new.as_dict(private=False)]}
        answer = as_client(client_id, "PUT", "/jwks", json=both, content_type=content_type)
        assert answer.get_json() == {"kids": [old.thumbprint(), new.thumbprint()]}
    told = as_client(client_id, "GET", "").get_json()
    assert (told["kids"], told["tier"], told["secrets"]) == ([old.thumbprint(), new.thumbprint()], "fapi", [])
    assert_problem(as_client(client_id, "POST", "/secrets"), 422, "invalid-request")


@pytest.mark.parametrize(
    ("body", "status", "slug"),
    [
        (b"{}", 422, "invalid-request"),
        (b"[]", 422, "invalid-request"),
        (b"null", 422, "invalid-request"),
        (b"{", 400, "malformed-json"),
        (b"\xff", 400, "malformed-json"),
        (b'{"keys": []}', 422, "invalid-request"),
        (b'{"keys": [{"kty": "oct", "k": "c2VjcmV0"}]}', 422, "invalid-request"),
        (b'{"keys": [' + b"1," * 9_000 + b"1]}", 422, "invalid-request"),
        (b"[" * 50_000, 400, "malformed-json"),
    ],
)
def test_what_is_no_set_of_keys_changes_nothing(
    as_client: Open, made: NewClient, body: bytes, status: int, slug: str
) -> None:
    answer = as_client(made.client_id, "PUT", "/jwks", data=body, content_type="application/json")
    assert_problem(answer, status, slug)
    assert_problem(as_client(made.client_id, "PUT", "/jwks", data=b"{}"), 415, "unsupported-media-type")


def test_a_client_may_prove_who_it_is_by_its_secret(client: FlaskClient, made: NewClient, bookshop: Party) -> None:
    headers = {"Authorization": basic(made.client_id, made.client_secret)}
    fresh = client.post(f"{ME}/secrets", headers=headers).get_json()
    headers = {"Authorization": basic(made.client_id, fresh["client_secret"])}
    assert client.delete(f"{ME}/secrets/{made.secret_id}", headers=headers).status_code == 204
    for secret, status in ((made.client_secret, 401), (fresh["client_secret"], 200)):
        answer = client.get(ME, headers={"Authorization": basic(made.client_id, secret)})
        assert answer.status_code == status
    other = {"Authorization": basic(bookshop.client.client_id, bookshop.client.client_secret)}
    assert_problem(client.get(ME, headers=other), 403, "insufficient-scope")
    for garbage in ("Basic", "Basic x", "basic \xff"):
        assert client.get(ME, headers={"Authorization": garbage}).status_code == 401


def test_a_stolen_bearer_token_does_not_become_a_secret(ask: Ask, client: FlaskClient, made: NewClient) -> None:
    access_token = ask(made, scope="client.manage").get_json()["access_token"]
    headers = {"Authorization": f"Bearer {access_token}"}
    for method, path in (("GET", ""), ("POST", "/secrets"), ("DELETE", f"/secrets/{made.secret_id}"), ("PUT", "/jwks")):
        assert_problem(client.open(ME + path, method=method, headers=headers), 403, "insufficient-scope")
    assert authenticate_client(made.client_id, made.client_secret) is not None


def test_without_the_scope_nothing_of_it_is_open(ask: Ask, client: FlaskClient, bookshop: Party) -> None:
    headers = {"Authorization": f"Bearer {ask(bookshop.client).get_json()['access_token']}"}
    for method, path in (("GET", ""), ("POST", "/secrets"), ("DELETE", f"/secrets/{new_id('sec')}"), ("PUT", "/jwks")):
        assert_problem(client.open(ME + path, method=method, headers=headers), 403, "insufficient-scope")
        assert client.open(ME + path, method=method).status_code == 401


def test_the_history_tells_of_each_change_and_no_secret(as_client: Open, made: NewClient) -> None:
    fresh = as_client(made.client_id, "POST", "/secrets").get_json()
    as_client(made.client_id, "DELETE", f"/secrets/{made.secret_id}")
    with transaction() as db:
        query = text("SELECT kind, actor, facts::text FROM event WHERE facts ->> 'client_id' = :id ORDER BY id")
        events = db.execute(query, {"id": made.client_id}).all()
    assert [(event.kind, event.actor == made.client_id) for event in events][1:] == [
        ("client_rotated", True),
        ("client_secret_retired", True),
    ]
    assert not any(fresh["client_secret"] in event.facts for event in events)
