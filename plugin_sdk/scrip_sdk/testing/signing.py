"""Balance tokens of the fake: really signed where joserfc is installed, else of the right shape and good nowhere."""

from __future__ import annotations

import base64
import json
from datetime import datetime
from importlib.util import find_spec
from typing import Any

from scrip_sdk.testing.ledger import FakePayment

#: The extra `keys`.
CAN_SIGN = find_spec("joserfc") is not None


class Signer:
    """A key pair of its own for each fake."""

    def __init__(self, issuer: str) -> None:
        self.issuer = issuer
        self._key: Any = None
        if CAN_SIGN:
            from joserfc.jwk import ECKey

            self._key = ECKey.generate_key("P-256", {"use": "sig", "alg": "ES256"}, auto_kid=True)

    @property
    def jwks(self) -> dict[str, Any]:
        """The public half, as `/.well-known/jwks.json` shows it."""
        return {"keys": [] if self._key is None else [self._key.as_dict(private=False)]}

    def sign(self, payment: FakePayment, now: datetime) -> str:
        """The balance token of an open payment."""
        claims = {
            "iss": self.issuer,
            "aud": payment.store_id,
            "sub": payment.id,
            "iat": int(now.timestamp()),
            "exp": int(payment.expires_at.timestamp()),
            "balance_minor": payment.balance_minor,
            "currency": payment.card.currency,
        }
        header = {"typ": "scrip-balance+jwt", "alg": "ES256"}
        if self._key is None:
            return ".".join(_base64(json.dumps(part).encode()) for part in (header, claims)) + "." + _base64(bytes(64))
        from joserfc import jwt

        return jwt.encode({**header, "kid": self._key.kid}, claims, self._key, algorithms=["ES256"])


def _base64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
