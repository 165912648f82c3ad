"""Introspection (RFC 7662): a party that was shown an access token of its own asks whether it is good."""

from typing import Any

from authlib.oauth2 import OAuth2Error
from flask import Response, jsonify, request

from app.config import settings
from app.errors import InvalidAccessToken
from app.oauth import endpoint
from app.oauth.access_token import read_claims
from app.oauth.client_authentication import identify_client
from app.oauth.refused import is_refused
from app.oauth.sender import token_type

PATH = "/oauth/introspect"
SCOPE = "introspect"
#: What is told of a good one. Whose it is and in which mode, its party knows.
TOLD = ("iss", "aud", "sub", "client_id", "scope", "jti", "iat", "exp", "cnf", "authorization_details")


class MayNotIntrospect(OAuth2Error):  # type: ignore[misc]
    """The client may not introspect."""

    error = "unauthorized_client"
    description = f"The client does not hold the scope {SCOPE}."
    status_code = 403


def answer_introspection_request() -> Response:
    """200 with `active`, and with what the access token says where that is true; or an error as in RFC 6749, 5.2."""
    return endpoint.answered(_answer)


def _answer() -> Response:
    parameters = endpoint.read_form("token")
    client = identify_client(request.headers.get("Authorization"), parameters)
    if SCOPE not in client.scopes:
        raise MayNotIntrospect()
    answer = jsonify(_introspect(parameters["token"], party_id=client.party_id))
    answer.headers.update(endpoint.NO_STORE)
    return answer


def _introspect(text: str, *, party_id: str) -> dict[str, Any]:
    """Another party's, an expired, a revoked and an unknown one are all the same: not active (section 2.2)."""
    try:
        claims = read_claims(text)
    except InvalidAccessToken:
        return {"active": False}
    is_unbound = settings().fapi_only and "cnf" not in claims
    if is_unbound or claims["party"] != party_id or is_refused(client_id=claims["client_id"], jti=claims["jti"]):
        return {"active": False}
    told = {name: claims[name] for name in TOLD if name in claims}
    return {"active": True, "token_type": token_type(claims.get("cnf")), **told}
