"""What stock Authlib gets wrong for money: each check passes on our server, and is shown to fail on stock Authlib."""

import base64
import logging
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import Any

import pytest
from authlib.integrations.flask_oauth2 import AuthorizationServer, ResourceProtector
from authlib.oauth2.rfc6749 import ClientCredentialsGrant, ClientMixin
from authlib.oauth2.rfc9068 import JWTBearerTokenGenerator, JWTBearerTokenValidator, JWTRevocationEndpoint
from flask import Flask
from flask.testing import FlaskClient
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet
from sqlalchemy import select
from werkzeug.test import TestResponse

from app.config import settings
from app.db.transaction import transaction
from app.errors import InvalidAccessToken
from app.ids import new_id
from app.oauth import keys
from app.oauth.bearer import requires
from app.oauth.models import Client as ClientRow
from app.oauth.routes import blueprint
from app.web.converters import IdConverter
from tests.oauth.conftest import Party, basic, segments
from tests.oauth.proofs import Prover

Sign = Callable[[dict[str, Any], dict[str, Any]], str]


@dataclass(frozen=True)
class Server:
    """A server under test: its HTTP, a client of its own, and its signature under header and claims of our choice."""

    web: FlaskClient
    client_id: str
    client_secret: str
    sign: Sign

    @property
    def basic(self) -> dict[str, str]:
        return {"Authorization": basic(self.client_id, self.client_secret)}

    def ask(self, **form: str) -> TestResponse:
        return self.web.post("/oauth/token", data={"grant_type": "client_credentials"} | form, headers=self.basic)

    def access_token(self) -> str:
        return str(self.ask().get_json()["access_token"])

    def call(self, access_token: str) -> int:
        return self.web.get("/probe", headers={"Authorization": f"Bearer {access_token}"}).status_code


# ── the checks ──────────────────────────────────────────────────────────────────────────────────────────────────────


def lives_for_minutes(server: Server) -> None:
    """3: the default lifetime is ten days."""
    answer = server.ask().get_json()
    claims = segments(answer["access_token"])[1]
    assert answer["expires_in"] <= 300
    assert claims["exp"] - claims["iat"] == answer["expires_in"]


def signs_with_the_one_active_key(server: Server) -> None:
    """4: a key set signs with a random key."""
    assert len({segments(server.access_token())[0]["kid"] for _ in range(24)}) == 1


def refuses_a_token_without_typ(server: Server) -> None:
    """5: the validator accepts a token that does not say what it is."""
    header, claims = segments(server.access_token())
    assert server.call(server.sign({name: header[name] for name in header if name != "typ"}, claims)) == 401


def refuses_a_token_bound_to_its_senders_key(server: Server) -> None:
    """5: the validator ignores `cnf`, so that a DPoP-bound token works for whoever stole it."""
    header, claims = segments(server.access_token())
    assert server.call(server.sign(header, {**claims, "cnf": {"jkt": "x" * 43}})) == 401


def survives_bytes_that_are_no_text(server: Server) -> None:
    """7: bad UTF-8 in Basic is a 500."""
    for raw in (b"\xff\xfe:secret", b"cli_\xc3\x28:secret", b"caf\xe9:secret"):
        header = "Basic " + base64.b64encode(raw).decode()
        answer = server.web.post("/oauth/token", data={}, headers={"Authorization": header})
        assert answer.status_code < 500
    form = {"grant_type": "client_credentials"}
    answer = server.web.post("/oauth/token", data=form, headers={"Authorization": "Basic \xe9\xff"})
    assert answer.status_code == 401
    for raw in (b"\xff\xfe:secret", b"caf\xe9:secret"):
        answer = server.web.post(
            "/oauth/token", data=form, headers={"Authorization": "Basic " + base64.b64encode(raw).decode()}
        )
        assert answer.status_code == 401


def survives_nul_in_the_client_id(server: Server) -> None:
    """7: NUL in client_id is a 500, from the database."""
    for client_id in ("cli_\0", server.client_id + "%00"):
        headers = {"Authorization": basic(client_id, server.client_secret)}
        answer = server.web.post("/oauth/token", data={"grant_type": "client_credentials"}, headers=headers)
        assert answer.status_code == 401


def refuses_parameters_in_the_query_string(server: Server) -> None:
    """8: parameters are accepted from the query string, where access logs keep them."""
    answer = server.web.post("/oauth/token?grant_type=client_credentials", data={}, headers=server.basic)
    assert (answer.status_code, answer.get_json().get("error")) == (400, "invalid_request")


def refuses_two_methods_of_client_authentication(server: Server) -> None:
    """8: two authentication methods at once are accepted."""
    for other in ("client_secret", "client_assertion", "client_assertion_type"):
        answer = server.ask(**{other: server.client_secret})
        assert (answer.status_code, answer.get_json().get("error")) == (400, "invalid_request")


def refuses_a_parameter_that_is_given_twice(server: Server) -> None:
    """RFC 6749, section 3.2: which of the two counts is nobody's to guess."""
    body = "grant_type=client_credentials&scope=settle&scope=exchange"
    headers = {**server.basic, "Content-Type": "application/x-www-form-urlencoded"}
    assert server.web.post("/oauth/token", data=body, headers=headers).status_code == 400


def tells_nobody_which_clients_exist(server: Server) -> None:
    """8: unknown client and wrong secret are distinguishable."""

    def refused(client_id: str, client_secret: str) -> tuple[int, bytes, list[tuple[str, str]]]:
        headers = {"Authorization": basic(client_id, client_secret)}
        answer = server.web.post("/oauth/token", data={"grant_type": "client_credentials"}, headers=headers)
        return answer.status_code, answer.data, sorted(answer.headers.items())

    wrong = refused(server.client_id, "scrip_test_" + "x" * 43)
    assert wrong[0] == 401
    assert refused(new_id("cli"), server.client_secret) == wrong


def refuses_a_scope_that_is_not_held(server: Server) -> None:
    """10: what is not held is silently left out."""
    answer = server.ask(scope="settle issue")
    assert (answer.status_code, answer.get_json().get("error")) == (400, "invalid_scope")


def gives_all_scopes_when_none_is_named(server: Server) -> None:
    """A request without scope gets all of the client's scopes; by Authlib's own example it gets none."""
    assert server.ask().get_json().get("scope") == "exchange settle refund bill"


def logs_no_access_token(server: Server) -> None:
    """12: its logger writes access tokens at DEBUG."""
    lines: list[str] = []
    handler = logging.Handler(logging.DEBUG)
    handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]
    root = logging.getLogger()
    before = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    try:
        logging.getLogger("a.control").debug("control")
        access_token = server.access_token()
    finally:
        root.removeHandler(handler)
        root.setLevel(before)
    assert "control" in lines
    assert not [line for line in lines if access_token in line or server.client_secret in line]


def lets_a_client_give_its_access_token_up(server: Server) -> None:
    """6: revocation of a JWT is always refused."""
    answer = server.web.post("/oauth/revoke", data={"token": server.access_token()}, headers=server.basic)
    assert answer.status_code == 200, answer.data


def survives_an_unknown_token_at_revocation(server: Server) -> None:
    """6: an unknown token is a 500."""
    for token in ("unknown", "a.b.c", "é", server.access_token()[:-8] + "A" * 8):
        assert server.web.post("/oauth/revoke", data={"token": token}, headers=server.basic).status_code == 200


def binds_the_access_token_to_a_proof(server: Server) -> None:
    """13: there is no DPoP on the server's side, so that a client which proves possession gets a bearer token."""
    headers = {**server.basic, "DPoP": Prover().prove("POST", "/oauth/token")}
    answer = server.web.post("/oauth/token", data={"grant_type": "client_credentials"}, headers=headers)
    assert answer.get_json()["token_type"] == "DPoP"


CHECKS: list[Callable[[Server], None]] = [
    lives_for_minutes,
    signs_with_the_one_active_key,
    refuses_a_token_without_typ,
    refuses_a_token_bound_to_its_senders_key,
    survives_bytes_that_are_no_text,
    survives_nul_in_the_client_id,
    refuses_parameters_in_the_query_string,
    refuses_two_methods_of_client_authentication,
    refuses_a_parameter_that_is_given_twice,
    tells_nobody_which_clients_exist,
    refuses_a_scope_that_is_not_held,
    gives_all_scopes_when_none_is_named,
    logs_no_access_token,
    lets_a_client_give_its_access_token_up,
    survives_an_unknown_token_at_revocation,
    binds_the_access_token_to_a_proof,
]


@pytest.mark.parametrize("check", CHECKS)
def test_our_server_avoids_the_pitfall(check: Callable[[Server], None], our_server: Server) -> None:
    check(our_server)


@pytest.mark.parametrize("check", CHECKS)
def test_stock_authlib_falls_into_it(check: Callable[[Server], None], stock_server: Server) -> None:
    """A check that passes here no longer proves anything."""
    with pytest.raises(AssertionError):
        check(stock_server)


def test_both_servers_take_a_good_access_token(our_server: Server, stock_server: Server) -> None:
    """The refusals above are not refusals of everything."""
    assert our_server.call(our_server.access_token()) == 200
    header, claims = segments(stock_server.access_token())
    assert stock_server.call(stock_server.sign(header, {**claims, "scope": "settle"})) == 200


def test_access_tokens_are_stored_nowhere(our_server: Server, statements: list[str]) -> None:
    """11: a column for them would be too short, and a treasure. A request for one is counted; nothing else is added."""
    our_server.ask()  # the first of all makes the keys
    statements.clear()
    access_token = our_server.access_token()
    assert our_server.call(access_token) == 200
    assert statements
    inserted = {table for each in statements for table in re.findall(r"INSERT INTO (\w+)", each)}
    assert inserted <= {"request_limit"}


# ── the two servers ─────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def our_server(bookshop: Party) -> Server:
    flask = Flask("ours")
    flask.url_map.converters["id"] = IdConverter
    flask.register_blueprint(blueprint)
    flask.add_url_rule("/probe", view_func=requires("settle")(lambda: "ok"), endpoint="probe")
    flask.register_error_handler(InvalidAccessToken, lambda _error: ("", HTTPStatus.UNAUTHORIZED))

    def sign(header: dict[str, Any], claims: dict[str, Any]) -> str:
        pair = next(key.pair for key in keys._read_keys() if key.kid == header["kid"])
        return jwt.encode(header, claims, pair, default_type=None)

    return Server(flask.test_client(), bookshop.client.client_id, bookshop.client.client_secret, sign)


@pytest.fixture
def stock_server(bookshop: Party) -> Iterator[Server]:
    """Authlib as its documentation puts it together, over our table of clients."""
    pairs = KeySet([ECKey.generate_key("P-256", {"use": "sig"}, auto_kid=True) for _ in range(4)])
    flask = Flask("stock")
    server = AuthorizationServer(flask, _query_client(bookshop), lambda _token, _request: None)
    server.register_grant(ClientCredentialsGrant)
    server.register_token_generator("default", _StockGenerator(pairs))
    server.register_endpoint(_StockRevocation(pairs))
    protector = ResourceProtector()
    protector.register_token_validator(_StockValidator(pairs))
    flask.add_url_rule("/oauth/token", view_func=server.create_token_response, methods=["POST"], endpoint="token")
    flask.add_url_rule("/probe", view_func=protector(["settle"])(lambda: "ok"), endpoint="probe")
    revoke = partial(server.create_endpoint_response, "revocation")
    flask.add_url_rule("/oauth/revoke", view_func=revoke, methods=["POST"], endpoint="revoke")

    def sign(header: dict[str, Any], claims: dict[str, Any]) -> str:
        pair = pairs.get_by_kid(header["kid"])
        return jwt.encode(header, {**claims, "scope": "settle"}, pair, default_type=None)

    silenced = [logging.getLogger(name) for name in logging.root.manager.loggerDict if name.startswith("authlib")]
    before = [(logger, logger.level, logger.disabled) for logger in silenced]
    for logger in silenced:
        logger.setLevel(logging.NOTSET)
        logger.disabled = False
    yield Server(flask.test_client(), bookshop.client.client_id, bookshop.client.client_secret, sign)
    for logger, level, disabled in before:
        logger.setLevel(level)
        logger.disabled = disabled


def _query_client(party: Party) -> Callable[[str], "_StockClient | None"]:
    def query_client(client_id: str) -> "_StockClient | None":
        with transaction() as db:
            found = db.scalars(select(ClientRow.id).where(ClientRow.id == client_id)).first()
        return _StockClient(found, party.client.client_secret) if found else None

    return query_client


class _StockClient(ClientMixin):  # type: ignore[misc]
    """The example of ClientMixin's documentation."""

    def __init__(self, client_id: str, client_secret: str) -> None:
        self.client_id, self.client_secret = client_id, client_secret

    def get_client_id(self) -> str:
        return self.client_id

    def get_allowed_scope(self, scope: str | None) -> str:
        return " ".join(each for each in (scope or "").split() if each in ("exchange", "settle", "refund", "bill"))

    def check_client_secret(self, client_secret: str) -> bool:
        return client_secret == self.client_secret

    def check_endpoint_auth_method(self, method: str, _endpoint: str) -> bool:
        return method == "client_secret_basic"

    def check_grant_type(self, grant_type: str) -> bool:
        return grant_type == "client_credentials"


class _StockGenerator(JWTBearerTokenGenerator):  # type: ignore[misc]
    def __init__(self, pairs: KeySet) -> None:
        super().__init__(settings().public_url, alg="ES256")
        self.pairs = pairs

    def get_jwks(self) -> KeySet:
        return self.pairs

    def get_audiences(self, *_about: object, **_more: object) -> str:
        return settings().public_url


class _StockRevocation(JWTRevocationEndpoint):  # type: ignore[misc]
    def __init__(self, pairs: KeySet) -> None:
        super().__init__(issuer=settings().public_url)
        self.pairs = pairs

    def get_jwks(self) -> KeySet:
        return self.pairs


class _StockValidator(JWTBearerTokenValidator):  # type: ignore[misc]
    def __init__(self, pairs: KeySet) -> None:
        super().__init__(issuer=settings().public_url, resource_server=settings().public_url)
        self.pairs = pairs

    def get_jwks(self) -> KeySet:
        return self.pairs
