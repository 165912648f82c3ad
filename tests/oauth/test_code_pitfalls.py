"""What stock Authlib gets wrong about authorization codes: each check passes on ours and fails on the stock server."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import pytest
from authlib.integrations.flask_oauth2 import AuthorizationServer
from authlib.oauth2.rfc6749 import AuthorizationCodeMixin, ClientMixin
from authlib.oauth2.rfc6749.grants import AuthorizationCodeGrant
from authlib.oauth2.rfc7636 import CodeChallenge
from flask import Flask
from sqlalchemy import text
from werkzeug.test import TestResponse

from app.db.transaction import transaction
from tests.at_once import at_once
from tests.checkout.shop import CALLBACK, Shopper, challenge_of, details, shop_of
from tests.oauth.conftest import basic
from tests.world import World

VERIFIER = "v" * 43


@dataclass(frozen=True)
class Server:
    """A server under test: `ask` for an authorization code with these parameters; None where it was refused.

    `visit`: the statuses of requests that name this redirect URI.
    """

    ask: Callable[[dict[str, str]], str | None]
    visit: Callable[[str], list[int]]
    redeem: Callable[[str, dict[str, str]], TestResponse]

    def code(self, **changes: str | None) -> str | None:
        good = {"code_challenge": challenge_of(VERIFIER), "code_challenge_method": "S256"}
        return self.ask({name: value for name, value in {**good, **changes}.items() if value is not None})


def gives_one_token_for_one_code(server: Server) -> None:
    """1: one authorization code redeemed in parallel gave two to four tokens."""
    for _ in range(5):
        code = server.code() or ""
        answers = at_once([partial(server.redeem, code, {"code_verifier": VERIFIER}) for _ in range(12)])
        assert [answer.status_code for answer in answers].count(200) == 1


def wants_a_challenge_of_every_client(server: Server) -> None:
    """2: PKCE is not enforced for confidential clients."""
    code = server.code(code_challenge=None, code_challenge_method=None)
    assert code is None or server.redeem(code, {}).status_code != 200


def refuses_plain(server: Server) -> None:
    """2: `plain` is allowed: the challenge is the verifier, and stands in the browser's address."""
    code = server.code(code_challenge=VERIFIER, code_challenge_method="plain")
    assert code is None or server.redeem(code, {"code_verifier": VERIFIER}).status_code != 200


def refuses_a_challenge_without_its_method(server: Server) -> None:
    """2: and so it is when no method is named."""
    code = server.code(code_challenge=VERIFIER, code_challenge_method=None)
    assert code is None or server.redeem(code, {"code_verifier": VERIFIER}).status_code != 200


def survives_a_quote_in_the_redirect_uri(server: Server) -> None:
    """7: a quote in redirect_uri is a 500, for it does not fit into the description of the error."""
    for odd in (f'{CALLBACK}"', f"{CALLBACK}\\", f"{CALLBACK}é"):
        assert all(400 <= status < 500 for status in server.visit(odd))


CHECKS = (
    survives_a_quote_in_the_redirect_uri,
    gives_one_token_for_one_code,
    wants_a_challenge_of_every_client,
    refuses_plain,
    refuses_a_challenge_without_its_method,
)


@pytest.mark.parametrize("check", CHECKS)
def test_our_server_avoids_the_pitfall(check: Callable[[Server], None], our_server: Server) -> None:
    check(our_server)


@pytest.mark.parametrize("check", CHECKS)
def test_stock_authlib_falls_into_it(check: Callable[[Server], None], stock_server: Server) -> None:
    """A check that passes here no longer proves anything."""
    with pytest.raises(AssertionError):
        for _ in range(5):
            check(stock_server)


@pytest.mark.parametrize("name", ["our_server", "stock_server"])
def test_both_servers_take_a_good_code(name: str, request: pytest.FixtureRequest) -> None:
    """The refusals above are not refusals of everything."""
    server: Server = request.getfixturevalue(name)
    assert server.redeem(server.code() or "", {"code_verifier": VERIFIER}).status_code == 200


# ── the two servers ─────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def our_server(app: Flask, world: World) -> Server:
    shop = shop_of(app, world.bookshop)

    def ask(parameters: dict[str, str]) -> str | None:
        wanted = {"code_challenge": None, "code_challenge_method": None, **parameters}
        answer = shop.ask(authorization_details=json.dumps(details()), **wanted)
        if answer.status_code != 201:
            return None
        pushed = replace(shop.push(), request_uri=answer.get_json()["request_uri"])
        return Shopper(app.test_client()).pay(pushed, world.code().code)

    def redeem(code: str, parameters: dict[str, str]) -> TestResponse:
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": CALLBACK, **parameters}
        return app.test_client().post("/oauth/token", data=form, headers=shop.authorization)

    def visit(redirect_uri: str) -> list[int]:
        asked = shop.ask(redirect_uri=redirect_uri)
        query = {"response_type": "code", "client_id": shop.credentials.client_id, "redirect_uri": redirect_uri}
        return [asked.status_code, app.test_client().get("/oauth/authorize", query_string=query).status_code]

    return Server(ask, visit, redeem)


@pytest.fixture
def stock_server(own_database: object) -> Iterator[Server]:
    """Authlib as its documentation puts it together, over a table of codes in our database."""
    with transaction() as db:
        db.exec_driver_sql("SELECT 1")
    codes = StockCodes()
    flask = Flask("stock")
    server = AuthorizationServer(flask, lambda _client_id: StockClient(), lambda _token, _request: None)
    server.register_grant(codes.grant(), [CodeChallenge()])
    flask.add_url_rule("/oauth/token", view_func=server.create_token_response, methods=["POST"], endpoint="token")

    @flask.get("/oauth/authorize")
    def authorize() -> Any:
        grant = server.get_consent_grant(end_user="sam")
        return server.create_authorization_response(grant=grant, grant_user="sam")

    def ask(parameters: dict[str, str]) -> str | None:
        query = {"response_type": "code", "client_id": "x", "redirect_uri": CALLBACK, **parameters}
        location = flask.test_client().get("/oauth/authorize", query_string=query).headers.get("Location", "")
        return location.partition("code=")[2] or None

    def redeem(code: str, parameters: dict[str, str]) -> TestResponse:
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": CALLBACK, **parameters}
        return flask.test_client().post("/oauth/token", data=form, headers={"Authorization": basic("x", "secret")})

    def visit(redirect_uri: str) -> list[int]:
        query = {"response_type": "code", "client_id": "x", "redirect_uri": redirect_uri}
        return [flask.test_client().get("/oauth/authorize", query_string=query).status_code]

    yield Server(ask, visit, redeem)


class StockClient(ClientMixin):  # type: ignore[misc]
    """The example of ClientMixin's documentation: a confidential client."""

    def get_client_id(self) -> str:
        return "x"

    def get_allowed_scope(self, scope: str | None) -> str:
        return scope or ""

    def check_redirect_uri(self, redirect_uri: str) -> bool:
        return redirect_uri == CALLBACK

    def check_client_secret(self, client_secret: str) -> bool:
        return client_secret == "secret"

    def check_endpoint_auth_method(self, method: str, _endpoint: str) -> bool:
        return method == "client_secret_basic"

    def check_response_type(self, response_type: str) -> bool:
        return response_type == "code"

    def check_grant_type(self, grant_type: str) -> bool:
        return grant_type == "authorization_code"


@dataclass
class StockCode(AuthorizationCodeMixin):  # type: ignore[misc]
    """A row of the documentation's table of codes."""

    code: str
    code_challenge: str | None
    code_challenge_method: str | None

    def get_redirect_uri(self) -> str:
        return CALLBACK

    def get_scope(self) -> str:
        return ""


class StockCodes:
    """Codes kept as the documentation keeps them: read by one transaction, deleted by a later one."""

    def __init__(self) -> None:
        self.kept: dict[str, StockCode] = {}

    def grant(self) -> type[AuthorizationCodeGrant]:
        codes = self

        class Grant(AuthorizationCodeGrant):  # type: ignore[misc]
            TOKEN_ENDPOINT_AUTH_METHODS = ("client_secret_basic",)

            def save_authorization_code(self, code: str, asked: Any) -> StockCode:
                given = asked.payload.data
                row = StockCode(code, given.get("code_challenge"), given.get("code_challenge_method"))
                return codes.kept.setdefault(code, row)

            def query_authorization_code(self, code: str, _client: object) -> StockCode | None:
                found = codes.kept.get(code)
                with transaction() as db:  # a database answers in its own time
                    db.execute(text("SELECT pg_sleep(0.002)"))
                return found

            def delete_authorization_code(self, row: StockCode) -> None:
                codes.kept.pop(row.code, None)

            def authenticate_user(self, _row: StockCode) -> str:
                return "sam"

        return Grant
