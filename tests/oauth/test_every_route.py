"""Every route under /v1 asks first who is calling, by whatever method."""

import re

import pytest
from flask import Flask
from flask.testing import FlaskClient

from app.ids import new_id
from app.oauth import keys
from app.oauth.scopes import PARTY_SCOPES
from tests.oauth.conftest import Ask, Party

METHODS = {"GET", "POST", "PUT", "PATCH", "DELETE"}


def routes(app: Flask) -> list[tuple[str, str, tuple[str, ...]]]:
    """Method, path with fresh IDs, and the scopes of which any one suffices."""
    return [
        (method, re.sub(r"<id\((\w+)\):\w+>", lambda kind: new_id(kind[1]), rule.rule), scopes(app, rule.endpoint))
        for rule in app.url_map.iter_rules()
        if rule.rule.startswith("/v1/")
        for method in sorted(METHODS & (rule.methods or set()))
    ]


def scopes(app: Flask, endpoint: str) -> tuple[str, ...]:
    found: tuple[str, ...] = getattr(app.view_functions[endpoint], "required_scopes", ())
    return found


def test_every_route_requires_a_scope(app: Flask) -> None:
    found = routes(app)
    assert len(found) > 12
    assert not [(method, path) for method, path, wanted in found if not wanted]
    assert not [path for _, path, _ in found if "<" in path]


@pytest.mark.parametrize("authorization", [None, "Bearer nonsense", "Basic eDp4", "Bearer a.b.c"])
def test_without_a_good_access_token_every_route_is_401(
    app: Flask, client: FlaskClient, authorization: str | None
) -> None:
    """Before it looks at the body, the idempotency key or whether the thing exists."""
    headers = {} if authorization is None else {"Authorization": authorization}
    for method, path, _ in routes(app):
        answer = client.open(path, method=method, headers=headers, data=b"{not json")
        assert (answer.status_code, answer.get_json()["slug"]) == (401, "invalid-access-token"), (method, path)
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")


def test_with_no_scope_that_it_wants_every_route_is_403(
    app: Flask, client: FlaskClient, ask: Ask, acme: Party, bookshop: Party
) -> None:
    access_tokens = {
        "issuer": ask(acme.client).get_json()["access_token"],
        "store": ask(bookshop.client).get_json()["access_token"],
    }
    for method, path, wanted in routes(app):
        other = "store" if set(wanted) <= set(PARTY_SCOPES["issuer"]) else "issuer"
        headers = {"Authorization": f"Bearer {access_tokens[other]}"}
        answer = client.open(path, method=method, headers=headers, data=b"{not json")
        assert (answer.status_code, answer.get_json()["slug"]) == (403, "insufficient-scope"), (method, path)
        assert f'scope="{" ".join(wanted)}"' in answer.headers["WWW-Authenticate"]


def test_a_balance_token_opens_no_route(app: Flask, client: FlaskClient) -> None:
    balance_token = keys.sign("balance", {"sub": new_id("pay")}, typ="scrip-balance+jwt")
    for method, path, _ in routes(app):
        answer = client.open(path, method=method, headers={"Authorization": f"Bearer {balance_token}"})
        assert answer.status_code == 401, (method, path)


def test_no_route_takes_the_access_token_from_the_url(client: FlaskClient, ask: Ask, acme: Party) -> None:
    access_token = ask(acme.client).get_json()["access_token"]
    assert client.get("/v1/cards", headers={"Authorization": f"Bearer {access_token}"}).status_code == 200
    assert client.get("/v1/cards", query_string={"access_token": access_token}).status_code == 401
