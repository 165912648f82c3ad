"""Revocation (RFC 7009): a client gives an access token up before its time, because it may have leaked."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from authlib.oauth2 import OAuth2Error
from flask import Response, request

from app import clock
from app.db.transaction import transaction
from app.errors import InvalidAccessToken
from app.oauth import endpoint, keys
from app.oauth.access_token import read_claims
from app.oauth.client_authentication import identify_client
from app.oauth.refused import revoke_token

PATH = "/oauth/revoke"


class ForeignToken(OAuth2Error):  # type: ignore[misc]
    """RFC 7009, section 2.1: only the client that it was issued to may revoke a token."""

    error = "invalid_grant"
    description = "The token was issued to another client."


def answer_revocation_request() -> Response:
    """200 when the token is worth nothing from now on, an unknown one too; or an error as in RFC 6749, section 5.2."""
    return endpoint.answered(_answer)


def _answer() -> Response:
    parameters = endpoint.read_form("token")
    client = identify_client(request.headers.get("Authorization"), parameters)
    _revoke(parameters["token"], client_id=client.client_id)
    return Response(status=200, headers=endpoint.NO_STORE)


def _revoke(token: str, *, client_id: str) -> None:
    """Expired ones and what is no access token at all are worth nothing already. Raises ForeignToken, Busy."""
    claims = _claims_of(token)
    if claims is None:
        return
    if claims["client_id"] != client_id:
        raise ForeignToken()
    expires_at = datetime.fromtimestamp(claims["exp"], UTC)
    with transaction() as db:
        revoke_token(db, claims["jti"], client_id=client_id, expires_at=expires_at, at=clock.now(db))


def _claims_of(token: str) -> Mapping[str, Any] | None:
    """What is not good by the keys that this process remembers may be by those that another has just made."""
    for _ in range(2):
        try:
            return read_claims(token)
        except InvalidAccessToken:
            keys.forget_keys()
    return None
