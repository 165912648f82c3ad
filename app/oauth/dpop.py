"""DPoP (RFC 9449): with each request its sender proves that it holds the key which its access token is bound to."""

import hashlib
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

from flask import Response, g, request

from app import clock
from app.config import settings
from app.db.time import current_time
from app.db.transaction import transaction
from app.errors import InvalidDpopProof, InvalidRequest, UseDpopNonce
from app.oauth.client_jwt import SKEW, ClientJwt, read_jwt
from app.oauth.client_keys import AnyKey, find_key, read_jwks
from app.oauth.spent import spend
from app.secrecy import keyed_hash, keyed_hashes, same, to_text

HEADER, NONCE_HEADER = "DPoP", "DPoP-Nonce"
TYPS = frozenset({"dpop+jwt"})
#: So long a proof is good after it was made, and a nonce after it was given out.
LIFE = timedelta(minutes=5)
#: A sender gets another nonce with the answer when its own has less than this to live.
RENEWED_BEFORE = timedelta(minutes=2)

_PORTS = {"https": 443, "http": 80}


@dataclass(frozen=True, slots=True)
class Proof:
    """A good proof, with the thumbprint (RFC 7638) of its key. It counts once it is spent."""

    thumbprint: str
    jti: str


def read_proof(access_token: str | None = None) -> Proof | None:
    """This request's DPoP proof; None where it brings none.

    The proof is for this request alone: its method, its address by our own name, its access token where it has one, a
    nonce of ours. Raises InvalidDpopProof, UseDpopNonce, Busy.
    """
    texts = request.headers.getlist(HEADER)
    if not texts:
        return None
    proof = read_jwt(texts[0], typs=TYPS)
    if len(texts) > 1 or proof is None:
        raise InvalidDpopProof("Send one proof: a JWT of type dpop+jwt, signed by ES256, EdDSA or PS256.")
    key = _key_in(proof)
    if not proof.is_signed_by(key):
        raise InvalidDpopProof("The proof is not signed by the key that it names.")
    _check_purpose(proof, access_token)
    _check_nonce(proof)
    return Proof(key.thumbprint(), proof.jti)


def spend_proof(proof: Proof) -> None:
    """Uses the proof up, in every process at once. Raises InvalidDpopProof where that was done before, Busy."""
    with transaction() as db:
        if not spend(db, proof.thumbprint, proof.jti, until=clock.now(db) + 2 * LIFE):
            raise InvalidDpopProof("The proof was used before: make another for each request.")


def make_nonce() -> str:
    """A nonce (RFC 9449, section 8) that every process knows as ours without keeping it: when it was made, signed."""
    made_at = str(int(current_time().timestamp()))
    return f"{made_at}.{to_text(keyed_hash(settings().keys.hashing, 'dpop-nonce', made_at))}"


def hand_out_nonce(answer: Response) -> Response:
    """Adds the nonce that this request's sender needs next, if it needs one."""
    if (nonce := g.get("dpop_nonce")) is not None:
        answer.headers[NONCE_HEADER] = nonce
    return answer


def _key_in(proof: ClientJwt) -> AnyKey:
    try:
        jwks = read_jwks({"keys": [proof.header.get("jwk")]})
    except InvalidRequest as error:
        raise InvalidDpopProof(f"The key in the proof's header: {error.detail}") from error
    key = find_key(jwks, kid=None, algorithm=proof.algorithm)
    if key is None:
        raise InvalidDpopProof("The key in the proof's header does not sign by its algorithm.")
    return key


def _check_purpose(proof: ClientJwt, access_token: str | None) -> None:
    claims = proof.claims
    if claims.get("htm") != request.method or not _is_here(claims.get("htu")):
        raise InvalidDpopProof("The proof is for another request: see htm and htu.")
    if access_token is not None and claims.get("ath") != _digest(access_token):
        raise InvalidDpopProof("The proof is for another access token: see ath.")


def _is_here(htu: Any) -> bool:
    """Whether that is this request's address by the name that the service goes by, whatever Host and proxies say."""
    if not isinstance(htu, str):
        return False
    try:
        said, own = urlsplit(htu), urlsplit(settings().public_url)
        places = [(url.scheme, url.hostname, url.port or _PORTS.get(url.scheme)) for url in (said, own)]
    except ValueError:
        return False
    return places[0] == places[1] and said.path == request.path


def _check_nonce(proof: ClientJwt) -> None:
    """What is wrong about time is told by a fresh nonce, so that an honest sender's next try succeeds."""
    now, made_at = current_time(), _age_of(proof.claims.get("nonce"))
    if made_at is None or not made_at <= now.timestamp() + SKEW.total_seconds():
        made_at = 0
    left_s = made_at + LIFE.total_seconds() - now.timestamp()
    if left_s < RENEWED_BEFORE.total_seconds():
        g.dpop_nonce = make_nonce()
    if left_s <= 0:
        raise UseDpopNonce()
    try:
        issued_at = proof.time("iat")
    except ValueError:
        issued_at = None
    if issued_at is None or not now - LIFE < issued_at <= now + SKEW:
        raise InvalidDpopProof("The proof was not made now: see iat, and the clock of your machine.")


def _age_of(nonce: Any) -> int | None:
    """When it was made, where it is one of ours."""
    made_at, _, mark = nonce.partition(".") if isinstance(nonce, str) else ("", "", "")
    if not (made_at.isascii() and made_at.isdecimal() and len(made_at) <= 12 and mark.isascii()):
        return None
    good = (to_text(each) for each in keyed_hashes(settings().keys.hashing, "dpop-nonce", made_at))
    return int(made_at) if any(same(mark.encode(), each.encode()) for each in good) else None


def _digest(access_token: str) -> str:
    return to_text(hashlib.sha256(access_token.encode()).digest())
