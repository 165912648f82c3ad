"""Balance tokens, verified offline (docs/balance-token.md). Needs the extra `keys`.

A balance token says what a card was worth when its code was exchanged. Show it; before money matters, ask the service.
"""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from joserfc import jws, jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from scrip_sdk.calls import Call
from scrip_sdk.client import Client
from scrip_sdk.errors import ScripError
from scrip_sdk.money import Money
from scrip_sdk.payment import NotUnderstood

JWKS_PATH = "/.well-known/jwks.json"
TYPE, ALGORITHM = "scrip-balance+jwt", "ES256"
#: The service lets its keys be kept for so long, in seconds; for an unknown key they are fetched sooner, but not often.
KEPT_S, FETCHED_AGAIN_AFTER_S = 300, 30


class BalanceTokenRefused(ValueError):
    """The balance token is not one of the service's for this store, or its time is over."""


@dataclass(frozen=True)
class Balance:
    """What the card behind a payment was worth at `issued_at`; the payment was to be held until `expires_at`."""

    payment_id: str
    balance: Money
    issued_at: datetime
    expires_at: datetime


class Jwks:
    """The service's public keys, fetched when they are needed and kept for five minutes; many threads share it.

    While the service is away, those from before are used on.
    """

    def __init__(self, client: Client, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.issuer = client.service.issuer
        self._client, self._clock = client, clock
        self._lock = threading.Lock()
        self._keys: dict[str, Any] | None = None
        self._fetched_at = 0.0

    def keys(self, kid: object) -> dict[str, Any]:
        """A set with this key in it, if there is one. Raises ServiceUnavailable: it was never reached."""
        if self._is_fresh(kid):
            assert self._keys is not None
            return self._keys
        with self._lock:
            if not self._is_fresh(kid):
                try:
                    self._keys = self._client.ask(jwks_call())
                except ScripError:
                    if self._keys is None:
                        raise
                self._fetched_at = self._clock()
            assert self._keys is not None
            return self._keys

    def _is_fresh(self, kid: object) -> bool:
        if self._keys is None:
            return False
        known = any(key.get("kid") == kid for key in self._keys["keys"])
        return self._clock() - self._fetched_at < (KEPT_S if known else FETCHED_AGAIN_AFTER_S)


def jwks_call() -> Call[dict[str, Any]]:
    """Asks for the public keys; no credentials are shown."""
    return Call("GET", JWKS_PATH, _read_jwks, shown="nothing")


def verify_balance_token(
    token: str,
    jwks: "Jwks | Mapping[str, Any]",
    store_id: str,
    *,
    payment_id: str | None = None,
    issuer: str | None = None,
) -> Balance:
    """What the token says, if it is good for this store, and for the payment where one is named.

    `jwks`: a Jwks, or a JWK Set, beside which `issuer` names the service. Raises BalanceTokenRefused; ValueError where
    the issuer is missing; ServiceUnavailable where a Jwks has no keys yet.
    """
    issuer = jwks.issuer if isinstance(jwks, Jwks) else issuer
    if issuer is None:
        raise ValueError("beside a JWK Set, name the issuer: the service's origin")
    try:
        header = jws.extract_compact(token.encode("ascii")).headers()
        keys = jwks.keys(header.get("kid")) if isinstance(jwks, Jwks) else jwks
        if header.get("typ") != TYPE or not any(key.get("kid") == header.get("kid") for key in keys["keys"]):
            raise ValueError("another kind of token, or another key")
        decoded = jwt.decode(token, KeySet.import_key_set({"keys": list(keys["keys"])}), algorithms=[ALGORITHM])
        wanted = {"iss": issuer, "aud": store_id} | ({} if payment_id is None else {"sub": payment_id})
        rules: dict[str, Any] = {name: {"essential": True, "value": value} for name, value in wanted.items()}
        jwt.JWTClaimsRegistry(exp={"essential": True}, **rules).validate(decoded.claims)
        return _read_balance(decoded.claims)
    except (JoseError, ValueError, TypeError, KeyError, AttributeError, OverflowError):
        raise BalanceTokenRefused("the balance token is not good here") from None


def _read_balance(claims: Mapping[str, Any]) -> Balance:
    return Balance(
        payment_id=str(claims["sub"]),
        balance=Money(claims["balance_minor"], claims["currency"]),
        issued_at=datetime.fromtimestamp(claims["iat"], timezone.utc),
        expires_at=datetime.fromtimestamp(claims["exp"], timezone.utc),
    )


def _read_jwks(answer: Mapping[str, Any]) -> dict[str, Any]:
    keys = answer.get("keys")
    if not isinstance(keys, list) or not all(isinstance(key, dict) for key in keys):
        raise NotUnderstood("keys")
    return {"keys": keys}
