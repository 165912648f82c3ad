"""Two tiers of client: with `OAUTH_FAPI_ONLY` the basic one is gone, with everything that it was given."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
from flask.testing import FlaskClient

from app import config
from app.config import settings
from app.oauth.clients import list_clients
from tests.api import assert_problem
from tests.oauth.conftest import Ask, Party, segments
from tests.oauth.proofs import Prover
from tests.oauth.test_client_assertion import form_of, machine_of
from tests.oauth.test_token_endpoint import check_refused

OPEN = "/v1/cards"


@pytest.fixture
def fapi_only(database: config.Settings) -> Iterator[None]:
    yield
    config.use(database)


def close_basic() -> None:
    config.use(replace(settings(), fapi_only=True))


def test_a_client_is_of_the_tier_of_its_method(acme: Party, bookshop: Party) -> None:
    keyed = machine_of(bookshop.id, "ES256").id
    tiers = {found.client_id: found.tier for found in list_clients()}
    assert (tiers[acme.client.client_id], tiers[keyed]) == ("basic", "fapi")


def test_a_secret_is_worth_nothing_any_more(ask: Ask, acme: Party, fapi_only: None) -> None:
    assert ask(acme.client).status_code == 200
    close_basic()
    answer = ask(acme.client)
    check_refused(answer, 401, "invalid_client")
    assert "client_secret_basic" not in answer.get_json()["error_description"]


def test_bearer_tokens_that_are_out_are_worth_nothing_any_more(
    ask: Ask, client: FlaskClient, acme: Party, fapi_only: None
) -> None:
    access_token = ask(acme.client).get_json()["access_token"]
    headers = {"Authorization": f"Bearer {access_token}"}
    assert client.get(OPEN, headers=headers).status_code == 200
    close_basic()
    assert_problem(client.get(OPEN, headers=headers), 401, "invalid-access-token")


def test_introspection_calls_no_token_good_that_nothing_takes(
    ask: Ask, client: FlaskClient, bookshop: Party, fapi_only: None
) -> None:
    bearer, machine = ask(bookshop.client).get_json()["access_token"], machine_of(bookshop.id, "ES256", "introspect")
    close_basic()
    answer = client.post("/oauth/introspect", data={**form_of(machine.sign()), "token": bearer})
    assert answer.get_json() == {"active": False}


def test_clients_with_keys_go_on(client: FlaskClient, bookshop: Party, fapi_only: None) -> None:
    close_basic()
    machine, prover = machine_of(bookshop.id, "ES256"), Prover()
    headers = {"DPoP": prover.prove("POST", "/oauth/token")}
    answer = client.post("/oauth/token", data=form_of(machine.sign()), headers=headers)
    access_token = answer.get_json()["access_token"]
    assert segments(access_token)[1]["cnf"] == {"jkt": prover.pair.thumbprint()}
    path = "/v1/payments/pay_01hzzzzzzzzzzzzzzzzzzzzzzz"
    assert prover.call(client, path, access_token).status_code == 404


def test_the_metadata_no_longer_names_it(client: FlaskClient, fapi_only: None) -> None:
    close_basic()
    found = client.get("/.well-known/oauth-authorization-server").get_json()
    named = {name: methods for name, methods in found.items() if name.endswith("auth_methods_supported")}
    assert named
    assert all(methods == ["private_key_jwt"] for methods in named.values())
