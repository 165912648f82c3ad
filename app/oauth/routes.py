"""OAuth over HTTP: where tokens are made, judged and given up, a client's own affairs, and the two public documents."""

from authlib.oauth2 import OAuth2Error
from flask import Blueprint, Response, jsonify, request
from werkzeug.exceptions import UnsupportedMediaType

from app.errors import InsufficientScope, InvalidAccessToken, TryLater
from app.guard.request_limits import count_unproven
from app.ids import SecretId
from app.oauth import (
    client_secrets,
    dpop,
    endpoint,
    introspection,
    keys,
    metadata,
    pushed_authorization,
    revocation,
    schemas,
    token_endpoint,
)
from app.oauth.bearer import caller, requires
from app.oauth.client_authentication import identify_client
from app.oauth.clients import read_client, replace_keys
from app.oauth.key_ring import JWKS_MAX_AGE_S
from app.web.arguments import body_json
from app.web.problems import answer_refusal

blueprint = Blueprint("oauth", __name__)
blueprint.after_app_request(dpop.hand_out_nonce)
blueprint.before_request(count_unproven)

OWN = "/oauth/clients/me"
MANAGE = "client.manage"
#: Where a refusal is worded as RFC 6749, section 5.2, has it.
PROTOCOL = (token_endpoint.PATH, pushed_authorization.PATH, revocation.PATH, introspection.PATH)
JWK_SET = "application/jwk-set+json"

#: A store's page may verify a balance token in the browser, so anyone's script may read these.
PUBLIC = {"Cache-Control": f"public, max-age={JWKS_MAX_AGE_S}", "Access-Control-Allow-Origin": "*"}


@blueprint.errorhandler(TryLater)
def answer_limited(refusal: TryLater) -> Response:
    """Who asks too often is refused before any view: at the protocol's endpoints in its own words."""
    return endpoint.answer_later(refusal) if request.path in PROTOCOL else answer_refusal(refusal)


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


@blueprint.post(introspection.PATH)
def introspect_access_token() -> Response:
    """Whether an access token of one's own party is good."""
    return introspection.answer_introspection_request()


@blueprint.get(OWN)
def show_own_client() -> Response:
    """The client that asks: what it is registered as, and what of its credentials is in use."""
    client_id = _proven_client()
    return jsonify(schemas.dump_client(read_client(client_id), client_secrets.list_secrets(client_id)))


@blueprint.post(f"{OWN}/secrets")
def add_own_secret() -> Response:
    """Another secret, shown this once."""
    answer = jsonify(schemas.dump_new_secret(client_secrets.add_secret(_proven_client())))
    answer.status_code = 201
    return answer


@blueprint.delete(f"{OWN}/secrets/<id(sec):secret_id>")
def retire_own_secret(secret_id: SecretId) -> Response:
    """The end of a secret."""
    client_secrets.retire_secret(_proven_client(), secret_id)
    return Response(status=204)


@blueprint.put(f"{OWN}/jwks")
def replace_own_keys() -> Response:
    """Other public keys, in place of all that there were."""
    client_id = _proven_client()
    if request.mimetype not in ("application/json", JWK_SET):
        raise UnsupportedMediaType(f"Send application/json or {JWK_SET}.")
    return jsonify(kids=list(replace_keys(client_id, body_json())))


@blueprint.get(metadata.PATH)
def show_metadata() -> Response:
    """What this server can do."""
    return _public(metadata.server_metadata())


@blueprint.get(metadata.JWKS_PATH)
def show_jwks() -> Response:
    """The public halves of our signing keys."""
    return _public(keys.jwks())


def _proven_client() -> str:
    """Whose affairs they are: who proves it by the client's secret, or by an access token that is bound to a key.

    A bearer token that was stolen must not become a secret of the thief's own. Raises InvalidAccessToken,
    InvalidDpopProof, UseDpopNonce, InsufficientScope, Busy.
    """
    authorization = request.headers.get("Authorization", "")
    if not authorization.lower().startswith("basic "):
        who = requires(MANAGE)(caller)()
        if not who.holds_key:
            raise InsufficientScope("Prove it by the client's secret, or by an access token that is bound to a key.")
        return who.client_id
    try:
        client = identify_client(authorization, {})
    except OAuth2Error as error:
        raise InvalidAccessToken("The client's ID and secret are not accepted.") from error
    if MANAGE not in client.scopes:
        raise InsufficientScope(scope=MANAGE)
    return client.client_id


def _public(document: object) -> Response:
    answer = jsonify(document)
    answer.headers.update(PUBLIC)
    return answer
