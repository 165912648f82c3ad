"""The token endpoint (RFC 6749, section 3.2): a client's credentials become an access token."""

import logging
from typing import cast

from authlib.integrations.flask_oauth2 import AuthorizationServer
from authlib.oauth2 import OAuth2Error
from authlib.oauth2.rfc6749 import (
    ClientCredentialsGrant,
    InvalidScopeError,
    OAuth2Request,
)
from authlib.oauth2.rfc6749.requests import BasicOAuth2Payload
from flask import Response, request

from app.config import settings
from app.oauth import dpop, endpoint
from app.oauth.access_token import make_access_token
from app.oauth.authorization_code_grant import CODE_GRANT_TYPE, CodeGrant
from app.oauth.client_authentication import identify_client
from app.oauth.clients import Client
from app.oauth.schemas import InvalidAuthorizationDetails
from app.oauth.scopes import granted_scopes, ttl_s
from app.oauth.sender import confirmation_for, token_type

PATH = "/oauth/token"
GRANT_TYPE = "client_credentials"
GRANT_TYPES = (GRANT_TYPE, CODE_GRANT_TYPE)


def answer_token_request() -> Response:
    """The answer to the request at hand: 200 with an access token, or an error as in RFC 6749, section 5.2."""
    return endpoint.answered(lambda: cast(Response, _server.create_token_response()))


class _Request(OAuth2Request):  # type: ignore[misc]
    """A token request whose parameters come from the body alone, each of them once."""

    def __init__(self, parameters: dict[str, str]) -> None:
        # Our own address, not what the Host header or a proxy says.
        super().__init__("POST", settings().public_url + PATH, headers=request.headers)
        self.payload = BasicOAuth2Payload(parameters)

    @property
    def form(self) -> dict[str, str]:
        parameters: dict[str, str] = self.payload.data
        return parameters


class _RequestingClient:
    """A client as Authlib wants to see it, and the proof that came with its request."""

    def __init__(self, client: Client, proof: dpop.Proof | None) -> None:
        self.client = client
        self.proof = proof

    def check_grant_type(self, grant_type: str) -> bool:
        return grant_type in GRANT_TYPES


class _Server(AuthorizationServer):  # type: ignore[misc]
    """Authlib's server, which picks the grant and words the answers; requests, clients and tokens are ours to judge."""

    def create_oauth2_request(self, _request: object) -> _Request:
        parameters = endpoint.read_form("grant_type")
        if "authorization_details" in parameters:  # ignored, they would be answered with more than was asked for
            raise InvalidAuthorizationDetails("They belong into the pushed authorization request.")
        return _Request(parameters)

    def authenticate_client(self, asked: _Request, methods: object, *_endpoint: str) -> _RequestingClient:
        """The proof is read first: who must make it again with a nonce of ours has not spent an assertion by then."""
        proof = dpop.read_proof()
        return _RequestingClient(identify_client(asked.headers.get("Authorization"), asked.form), proof)

    def handle_error_response(self, _asked: object, error: OAuth2Error) -> Response:
        """All errors are answered, and counted, in one place."""
        raise error

    def save_token(self, token: object, asked: object) -> None:
        """Access tokens are stored nowhere."""


def _generate(*, client: _RequestingClient, scope: str | None, **_unused: object) -> dict[str, object]:
    """What RFC 6749, section 5.1, wants of a success. Authlib's own generators lend tokens for ten days."""
    scopes = granted_scopes(scope, held=client.client.scopes)
    if scopes is None:
        raise InvalidScopeError("The client does not hold all of the scopes that it asks for.")
    lifetime_s, confirmation = ttl_s(scopes, named=scope is not None), confirmation_for(client.client, client.proof)
    return {
        "access_token": make_access_token(client.client, scopes, lifetime_s=lifetime_s, confirmation=confirmation),
        "token_type": token_type(confirmation),
        "expires_in": lifetime_s,
        "scope": " ".join(scopes),
    }


def _silence_authlib() -> None:
    """Authlib writes access tokens at DEBUG; whatever the log level is, its loggers say nothing."""
    for name in ("authlib", *(name for name in logging.root.manager.loggerDict if name.startswith("authlib."))):
        logger = logging.getLogger(name)
        logger.setLevel(logging.WARNING)
        logger.disabled = True


_server = _Server()
_server.register_token_generator(GRANT_TYPE, _generate)
_server.register_grant(ClientCredentialsGrant)
_server.register_grant(CodeGrant)
_silence_authlib()
