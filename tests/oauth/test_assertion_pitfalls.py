"""What stock Authlib gets wrong about `private_key_jwt`: each check passes on our server and fails on the stock one."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from authlib.integrations.flask_oauth2 import AuthorizationServer
from authlib.oauth2.rfc6749 import ClientCredentialsGrant, ClientMixin
from authlib.oauth2.rfc7523 import JWTBearerClientAssertion
from flask import Flask
from flask.testing import FlaskClient

from app.config import settings
from app.oauth.client_keys import AnyKey
from app.oauth.routes import blueprint
from app.web.converters import IdConverter
from tests.oauth.conftest import Party
from tests.oauth.test_client_assertion import Machine, form_of, machine_of, proven

TEN_YEARS_S = 10 * 365 * 86_400


@dataclass(frozen=True)
class Server:
    """A server under test, and a machine of each algorithm that it knows."""

    web: FlaskClient
    machine: Callable[[str], Machine]

    def takes(self, assertion: str) -> bool:
        status = self.web.post("/oauth/token", data=form_of(assertion), headers=proven()).status_code
        assert status in (200, 401)
        return status == 200


def takes_ps256(server: Server) -> None:
    """9: PS256 is not taken."""
    assert server.takes(server.machine("PS256").sign())


def takes_eddsa(server: Server) -> None:
    """9: nor is EdDSA."""
    assert server.takes(server.machine("EdDSA").sign())


def refuses_rs256(server: Server) -> None:
    """9: RS256 is, whose padding FAPI 2.0 does not allow."""
    assert not server.takes(server.machine("PS256").sign({"alg": "RS256"}))


def refuses_a_list_of_audiences(server: Server) -> None:
    """9: an assertion for several audiences can be passed on by any of them."""
    assert not server.takes(server.machine("ES256").sign(aud=[settings().public_url, "https://evil.example"]))


def refuses_an_assertion_for_ten_years(server: Server) -> None:
    """9: whoever finds it in a log has years to use it."""
    assert not server.takes(server.machine("ES256").sign(exp=int(time.time()) + TEN_YEARS_S))


CHECKS = (
    takes_ps256,
    takes_eddsa,
    refuses_rs256,
    refuses_a_list_of_audiences,
    refuses_an_assertion_for_ten_years,
)


@pytest.mark.parametrize("check", CHECKS)
def test_our_server_avoids_the_pitfall(check: Callable[[Server], None], bookshop: Party) -> None:
    flask = Flask("ours")
    flask.url_map.converters["id"] = IdConverter
    flask.register_blueprint(blueprint)
    check(Server(flask.test_client(), lambda algorithm: machine_of(bookshop.id, algorithm)))


@pytest.mark.parametrize("check", CHECKS)
def test_stock_authlib_falls_into_it(check: Callable[[Server], None], bookshop: Party) -> None:
    """A check that passes here no longer proves anything."""
    server = stock_server(bookshop)
    assert server.takes(server.machine("ES256").sign()), "it does take a good one"
    with pytest.raises(AssertionError):
        check(server)


def stock_server(party: Party) -> Server:
    """Authlib as its documentation puts it together."""
    machines: dict[str, Machine] = {}

    def machine(algorithm: str) -> Machine:
        made = machine_of(party.id, algorithm)
        return machines.setdefault(made.id, made)

    class Assertion(JWTBearerClientAssertion):  # type: ignore[misc]
        def get_audiences(self) -> list[str]:
            return [settings().public_url]

        def validate_jti(self, _claims: object, _jti: str) -> bool:
            return True

        def resolve_client_public_key(self, client: "StockClient") -> AnyKey:
            return client.machine.pair

    class Grant(ClientCredentialsGrant):  # type: ignore[misc]
        TOKEN_ENDPOINT_AUTH_METHODS = (Assertion.CLIENT_AUTH_METHOD,)

    def query_client(client_id: str) -> "StockClient | None":
        return StockClient(machines[client_id]) if client_id in machines else None

    flask = Flask("stock")
    server = AuthorizationServer(flask, query_client, lambda _token, _request: None)
    server.register_client_auth_method(Assertion.CLIENT_AUTH_METHOD, Assertion())
    server.register_grant(Grant)
    flask.add_url_rule("/oauth/token", view_func=server.create_token_response, methods=["POST"], endpoint="token")
    return Server(flask.test_client(), machine)


@dataclass(frozen=True)
class StockClient(ClientMixin):  # type: ignore[misc]
    """The example of ClientMixin's documentation."""

    machine: Machine

    def get_client_id(self) -> str:
        return self.machine.id

    def get_allowed_scope(self, scope: str | None) -> str:
        return scope or ""

    def check_endpoint_auth_method(self, method: str, _endpoint: str) -> bool:
        return method == str(JWTBearerClientAssertion.CLIENT_AUTH_METHOD)

    def check_grant_type(self, grant_type: str) -> bool:
        return grant_type == "client_credentials"
