"""Pushed authorization requests (RFC 9126): a store says on its own connection what its shopper will be asked for."""

import re
from collections.abc import Mapping

from authlib.oauth2.rfc6749 import (
    InvalidRequestError,
    InvalidScopeError,
    UnauthorizedClientError,
    UnsupportedResponseTypeError,
)
from flask import Response, jsonify, request
from sqlalchemy import select

from app.db.transaction import transaction
from app.errors import InvalidDpopProof
from app.oauth import dpop, endpoint
from app.oauth.authorization_request import URI_TTL, Pushed, store_request
from app.oauth.client_authentication import identify_client
from app.oauth.clients import Client
from app.oauth.models import Client as ClientRow
from app.oauth.schemas import InvalidAuthorizationDetails, read_details
from app.oauth.scopes import granted_scopes

PATH = "/oauth/par"
RESPONSE_TYPE, RESPONSE_MODE = "code", "query"
CHALLENGE_METHOD = "S256"
#: What a client must hold to have a code exchanged for it.
NEEDED_SCOPE = "exchange"
LONGEST_STATE = 512
#: SHA-256 in base64url, without padding (RFC 7636, section 4.2).
_CHALLENGE = re.compile(r"[A-Za-z0-9_-]{43}")


def answer_pushed_request() -> Response:
    """201 with a `request_uri` that lives for five minutes, or an error as in RFC 9126, section 2.3."""
    return endpoint.answered(_answer)


def _answer() -> Response:
    parameters = endpoint.read_form("response_type", json_in=("authorization_details",))
    proof = dpop.read_proof()  # who must make it again with a nonce of ours has not spent an assertion by then
    client = identify_client(request.headers.get("Authorization"), parameters)
    request_uri = store_request(client, _read(parameters, client, proof))
    answer = jsonify(request_uri=request_uri, expires_in=int(URI_TTL.total_seconds()))
    answer.status_code = 201
    answer.headers.update(endpoint.NO_STORE)
    return answer


def _read(parameters: Mapping[str, str], client: Client, proof: dpop.Proof | None) -> Pushed:
    """What the client asks for, when all of it is right.

    Raises UnauthorizedClientError for a client that may not ask holders, InvalidRequestError, InvalidScopeError,
    UnsupportedResponseTypeError, InvalidAuthorizationDetails, InvalidDpopProof, Busy.
    """
    if client.party_kind != "store" or NEEDED_SCOPE not in client.scopes:
        raise UnauthorizedClientError(f"Only a store's client with the scope {NEEDED_SCOPE} may push a request.")
    if {"request", "request_uri"} & set(parameters):
        raise InvalidRequestError("Push the parameters themselves, no request object and no request_uri.")
    if parameters["response_type"] != RESPONSE_TYPE:
        raise UnsupportedResponseTypeError(RESPONSE_TYPE)
    if parameters.get("response_mode", RESPONSE_MODE) != RESPONSE_MODE:
        raise InvalidRequestError(f"The only response_mode is {RESPONSE_MODE}.")
    if len(parameters.get("state", "")) > LONGEST_STATE:
        raise InvalidRequestError(f"The state has {LONGEST_STATE} characters at most.")
    if granted_scopes(parameters.get("scope"), held=client.scopes) is None:
        raise InvalidScopeError("The client does not hold all of the scopes that it asks for.")
    if "authorization_details" not in parameters:
        raise InvalidAuthorizationDetails("The parameter authorization_details is missing.")
    return Pushed(
        redirect_uri=_redirect_uri(parameters, client),
        state=parameters.get("state"),
        scope=parameters.get("scope"),
        code_challenge=_code_challenge(parameters),
        dpop_jkt=_dpop_jkt(parameters, proof),
        wanted=read_details(parameters["authorization_details"]),
    )


def _redirect_uri(parameters: Mapping[str, str], client: Client) -> str:
    """Always given, even by a client that has registered one alone, and equal to a registered one as a text."""
    redirect_uri = parameters.get("redirect_uri")
    with transaction() as db:
        registered = db.scalars(select(ClientRow.redirect_uris).where(ClientRow.id == client.client_id)).one()
    if redirect_uri not in registered:
        raise InvalidRequestError("The redirect_uri is not one of those that the client has registered.")
    return str(redirect_uri)


def _dpop_jkt(parameters: Mapping[str, str], proof: dpop.Proof | None) -> str | None:
    """The key that the authorization code is bound to (RFC 9449, section 10): named, or proven by this request."""
    named = parameters.get("dpop_jkt")
    if named is not None and not _CHALLENGE.fullmatch(named):
        raise InvalidRequestError("The dpop_jkt is the SHA-256 thumbprint of a key, in base64url.")
    if proof is None:
        return named
    if named not in (None, proof.thumbprint):
        raise InvalidDpopProof("The proof is by another key than dpop_jkt names.")
    dpop.spend_proof(proof)
    return proof.thumbprint


def _code_challenge(parameters: Mapping[str, str]) -> str:
    """RFC 7636 leaves PKCE to the client, and takes a request without a method for `plain`: both are refused here."""
    challenge = parameters.get("code_challenge", "")
    if parameters.get("code_challenge_method") != CHALLENGE_METHOD or not _CHALLENGE.fullmatch(challenge):
        raise InvalidRequestError(f"PKCE is required: a code_challenge and code_challenge_method={CHALLENGE_METHOD}.")
    return challenge
