"""A client with a private key: it signs who it is (RFC 7523), and proves a key with each request (RFC 9449).

Needs the extra `keys`.
"""

import base64
import hashlib
import secrets
import time
from typing import Any

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey, RSAKey
from joserfc.jws import JWSRegistry

#: How long an assertion is good, in seconds; clocks may differ by 15.
ASSERTION_S = 60

AnyKey = ECKey | OKPKey | RSAKey


class Signer:
    """Signs a client's assertions with its private key, and DPoP proofs with a key pair that was made for this object.

    `private_key`: PEM, or a JWK as dict; P-256 signs by ES256, Ed25519 by EdDSA, RSA by PS256. A JWK's `kid` is sent.
    Raises ValueError for what is no such key.
    """

    def __init__(self, private_key: str | bytes | dict[str, Any]) -> None:
        found, self._kid = _read_key(private_key), private_key.get("kid") if isinstance(private_key, dict) else None
        del private_key  # a report of the error may show the variables of this frame
        if found is None:
            raise ValueError("private_key must be the private half of a P-256, Ed25519 or RSA key, as PEM or as a JWK")
        self._key, self._algorithm = found
        self._pair = ECKey.generate_key("P-256")
        self._public = self._pair.as_dict(private=False)

    def __repr__(self) -> str:
        return "Signer(…)"

    def assertion(self, client_id: str, issuer: str) -> str:
        """A fresh statement of who asks, good once."""
        claims = {"iss": client_id, "sub": client_id, "aud": issuer, "jti": secrets.token_urlsafe(24)}
        header = {"alg": self._algorithm} | ({} if self._kid is None else {"kid": self._kid})
        return _sign(header, {**claims, "exp": int(time.time()) + ASSERTION_S}, self._key)

    def proof(self, method: str, url: str, *, nonce: str | None, access_token: str | None) -> str:
        """A fresh proof for one request (RFC 9449, 4.2)."""
        claims: dict[str, Any] = {"htm": method, "htu": url, "iat": int(time.time()), "jti": secrets.token_urlsafe(24)}
        if nonce is not None:
            claims["nonce"] = nonce
        if access_token is not None:
            digest = hashlib.sha256(access_token.encode("ascii")).digest()
            claims["ath"] = base64.urlsafe_b64encode(digest).decode("ascii").rstrip("=")
        return _sign({"typ": "dpop+jwt", "alg": "ES256", "jwk": self._public}, claims, self._pair)


def _sign(header: dict[str, Any], claims: dict[str, Any], key: AnyKey) -> str:
    """The library checks headers by those that it knows for JWTs, and `jwk` is not one of them."""
    registry = JWSRegistry(algorithms=[header["alg"]], strict_check_header=False)
    return jwt.encode(header, claims, key, registry=registry)


def _read_key(given: str | bytes | dict[str, Any]) -> tuple[AnyKey, str] | None:
    """The key with the algorithm that it signs by (docs/oauth.md); None for what is none of the three kinds."""
    kinds: tuple[tuple[type[Any], str, str | None], ...] = (
        (ECKey, "ES256", "P-256"),
        (OKPKey, "EdDSA", "Ed25519"),
        (RSAKey, "PS256", None),
    )
    for kind, algorithm, curve in kinds:
        try:
            key = kind.import_key(given)
        except (JoseError, ValueError, TypeError, KeyError, AttributeError):
            continue  # another kind of key; which of them it is, is found by trying
        if key.is_private and (curve is None or key.as_dict(private=False)["crv"] == curve):
            return key, algorithm
    return None
