"""Sender-constrained access tokens: bound to a key by `cnf` (RFC 7800), and good only for who proves to hold it."""

from collections.abc import Mapping
from typing import Any

from app.config import settings
from app.errors import InvalidAccessToken, InvalidDpopProof
from app.oauth import dpop, mutual_tls
from app.oauth.certificate import thumbprint
from app.oauth.clients import Client

#: By DPoP (RFC 9449, section 6.1) or by a client certificate (RFC 8705, section 3.1).
JKT, X5T = "jkt", "x5t#S256"
Confirmation = Mapping[str, str]


def confirmation_for(client: Client, proof: dpop.Proof | None) -> Confirmation | None:
    """What the access token that this request asks for is bound to, and spends its proof; None for a bearer token.

    A proof binds, whatever the tier; without one a client of tier fapi is bound to the certificate that it presented.
    Raises InvalidDpopProof (that tier has no bearer tokens, and a proof is good once), Busy.
    """
    if proof is not None:
        dpop.spend_proof(proof)
        return {JKT: proof.thumbprint}
    if client.tier == "basic":
        return None
    certificate = mutual_tls.presented_certificate()
    if certificate is None:
        raise InvalidDpopProof("Access tokens of this client are bound to a key: send a DPoP proof with the request.")
    return {X5T: thumbprint(certificate)}


def token_type(confirmation: Confirmation | None) -> str:
    """How the access token is sent: as DPoP, or else as Bearer (a certificate is presented beside it)."""
    return "DPoP" if confirmation and JKT in confirmation else "Bearer"


def check_sender(claims: Mapping[str, Any], *, scheme: str, access_token: str) -> None:
    """Refuses who does not hold the key that the access token is bound to, and a scheme that is not the token's.

    Raises InvalidAccessToken, InvalidDpopProof, UseDpopNonce, Busy.
    """
    confirmation = claims.get("cnf")
    if scheme.lower() != token_type(confirmation).lower():
        raise InvalidAccessToken("The access token is bound to a key, or is not: send it as its token_type says.")
    if confirmation is None:
        if settings().fapi_only:
            raise InvalidAccessToken("Access tokens that are not bound to a key are not taken here.")
    elif JKT in confirmation:
        proof = dpop.read_proof(access_token)
        if proof is None:
            raise InvalidDpopProof("The access token is bound to a key: send a DPoP proof with it.")
        if proof.thumbprint != confirmation[JKT]:
            raise InvalidAccessToken("The access token is bound to another key than the proof's.")
        dpop.spend_proof(proof)
    else:
        certificate = mutual_tls.presented_certificate()
        if certificate is None or thumbprint(certificate) != confirmation[X5T]:
            raise InvalidAccessToken("The access token is bound to another certificate than the one presented.")


def is_confirmation(value: object) -> bool:
    """Whether a `cnf` claim is one that we write, and can check."""
    if not isinstance(value, dict) or len(value) != 1:
        return False
    return set(value) <= {JKT, X5T} and all(isinstance(digest, str) for digest in value.values())
