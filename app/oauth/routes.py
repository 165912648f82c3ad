"""OAuth over HTTP: where tokens are made and given up, and the two public documents."""

from flask import Blueprint, Response, jsonify

from app.oauth import keys, metadata, pushed_authorization, revocation, token_endpoint
from app.oauth.key_ring import JWKS_MAX_AGE_S

blueprint = Blueprint("oauth", __name__)

#: A store's page may verify a balance token in the browser, so anyone's script may read these.
PUBLIC = {"Cache-Control": f"public, max-age={JWKS_MAX_AGE_S}", "Access-Control-Allow-Origin": "*"}


@blueprint.post(token_endpoint.PATH)
def issue_access_token() -> Response:
    """An access token for a client's credentials."""
    return token_endpoint.answer_token_request()


@blueprint.post(pushed_authorization.PATH)
def push_authorization_request() -> Response:
    """A store's authorization request, before its shopper is sent to it."""
    return pushed_authorization.answer_pushed_request()


@blueprint.post(revocation.PATH)
def revoke_access_token() -> Response:
    """The end of an access token before its time."""
    return revocation.answer_revocation_request()


@blueprint.get(metadata.PATH)
def show_metadata() -> Response:
    """What this server can do."""
    return _public(metadata.server_metadata())


@blueprint.get(metadata.JWKS_PATH)
def show_jwks() -> Response:
    """The public halves of our signing keys."""
    return _public(keys.jwks())


def _public(document: object) -> Response:
    answer = jsonify(document)
    answer.headers.update(PUBLIC)
    return answer
