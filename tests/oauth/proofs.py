"""What a sender proves by DPoP (RFC 9449): good proofs, and every kind of bad one."""

import base64
import hashlib
import time
from dataclasses import dataclass, field
from typing import Any

from flask.testing import FlaskClient
from joserfc import jwt
from joserfc.jwk import ECKey
from joserfc.jws import JWSRegistry
from werkzeug.test import TestResponse

from app.config import settings
from app.oauth.client_keys import AnyKey
from app.oauth.dpop import make_nonce
from app.secrecy import random_secret


@dataclass(frozen=True)
class Prover:
    """A key, and proofs by it."""

    pair: AnyKey = field(default_factory=lambda: ECKey.generate_key("P-256"))
    algorithm: str = "ES256"

    def prove(
        self,
        method: str,
        path: str,
        *,
        access_token: str | None = None,
        header: dict[str, Any] | None = None,
        key: Any = None,
        **claims: Any,
    ) -> str:
        """A good proof for this request but for what is given; `...` leaves a claim or a header out."""
        now = int(time.time())
        said = {"htm": method, "htu": settings().public_url + path, "iat": now, "jti": random_secret()}
        said |= {"nonce": make_nonce()} | ({"ath": digest(access_token)} if access_token else {}) | claims
        head = {"typ": "dpop+jwt", "alg": self.algorithm, "jwk": self.pair.as_dict(private=False)} | (header or {})
        lenient = JWSRegistry(algorithms=[head["alg"]], strict_check_header=False)
        return jwt.encode(_without_left_out(head), _without_left_out(said), key or self.pair, registry=lenient)

    def call(
        self, web: FlaskClient, path: str, access_token: str, *, scheme: str = "DPoP", **more: Any
    ) -> TestResponse:
        """A GET with an access token and a proof; `more` alters the proof."""
        proof = self.prove("GET", path, access_token=access_token, **more)
        return web.get(path, headers={"Authorization": f"{scheme} {access_token}", "DPoP": proof})


def digest(access_token: str) -> str:
    """`ath` (section 4.2)."""
    return base64.urlsafe_b64encode(hashlib.sha256(access_token.encode()).digest()).decode().rstrip("=")


def _without_left_out(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not ...}
