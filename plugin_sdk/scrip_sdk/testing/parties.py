"""Who calls the fake service: stores, their clients with a secret, and the access tokens that these were given."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from urllib.parse import unquote_plus

from scrip_sdk.testing.ledger import new_id
from scrip_sdk.testing.refusals import Refused

#: A store's, in the service's order.
SCOPES = ("exchange", "settle", "refund", "bill", "guard.read")
TOKEN_S, SHORT_TOKEN_S = 300, 120


@dataclass
class FakeClient:
    """A store's machine: what it presents, what it may do, and where it may have its shoppers sent back to."""

    store_id: str
    scopes: tuple[str, ...] = SCOPES
    redirect_uris: list[str] = field(default_factory=list)
    client_id: str = field(default_factory=lambda: new_id("cli"))
    client_secret: str = field(default_factory=lambda: secrets.token_urlsafe(32), repr=False)


@dataclass
class AccessToken:
    """What an access token is good for: a client's scopes, and where a holder's approval made it, one payment."""

    id: str
    client: FakeClient
    scopes: tuple[str, ...]
    expires_at: datetime
    payment_id: str | None = None


class OAuthError(Exception):
    """An error as RFC 6749, section 5.2, words it."""

    def __init__(self, error: str, description: str, *, status: int = 400) -> None:
        super().__init__(error)
        self.error, self.description, self.status = error, description, status


class Parties:
    """All clients of the fake service and their live access tokens, of which only digests are kept."""

    def __init__(self) -> None:
        self.clients: dict[str, FakeClient] = {}
        self._tokens: dict[str, AccessToken] = {}

    def add(self, client: FakeClient) -> FakeClient:
        """From now on this client is known."""
        self.clients[client.client_id] = client
        return client

    def lend(
        self, client: FakeClient, asked: str | None, now: datetime, *, payment_id: str | None = None
    ) -> tuple[str, AccessToken, int]:
        """An access token, what it is good for, and for how many seconds. Raises OAuthError `invalid_scope`."""
        wanted = client.scopes if asked is None else tuple(asked.split(" "))
        if not set(wanted) <= set(client.scopes):
            raise OAuthError("invalid_scope", "The client does not hold all of the scopes that it asks for.")
        lifetime_s = SHORT_TOKEN_S if asked is not None and "refund" in wanted else TOKEN_S
        scopes = tuple(scope for scope in client.scopes if scope in wanted)
        text = secrets.token_urlsafe(32)
        token = AccessToken(new_id("at"), client, scopes, now + timedelta(seconds=lifetime_s), payment_id)
        self._tokens[_digest(text)] = token
        return text, token, lifetime_s

    def revoke(self, text: str) -> None:
        """This access token is refused from now on."""
        self._tokens.pop(_digest(text), None)

    def revoke_by_id(self, token_id: str | None) -> None:
        """The same where only its ID was kept."""
        self._tokens = {digest: token for digest, token in self._tokens.items() if token.id != token_id}

    def revoke_all(self) -> None:
        """Every access token is refused from now on, as after a change of signing keys."""
        self._tokens.clear()

    def authorise(self, authorization: str, now: datetime, scopes: Iterable[str], payment_id: str) -> AccessToken:
        """Whose access token this is, where it has one of the scopes, and is not for another payment alone.

        Raises Refused `invalid-access-token`, `insufficient-scope`.
        """
        scheme, _, text = authorization.partition(" ")
        if scheme.lower() not in ("bearer", "dpop") or not text:
            detail = "The access token is missing: send Authorization: Bearer (or DPoP) and the token."
            raise Refused("invalid-access-token", detail)
        token = self._tokens.get(_digest(text.strip(" ")))
        if token is None:
            raise Refused("invalid-access-token")
        if token.expires_at <= now:
            raise Refused("invalid-access-token", "The access token has expired.")
        wanted = " ".join(scopes)
        if not set(scopes) & set(token.scopes):
            raise Refused("insufficient-scope", scope=wanted)
        if token.payment_id not in (None, payment_id):
            raise Refused("insufficient-scope", "The access token is for one payment alone.", scope=wanted)
        return token

    def identify(self, authorization: str) -> FakeClient:
        """The client behind HTTP Basic, each part form-encoded (RFC 6749, section 2.3.1). Raises OAuthError."""
        refused = OAuthError("invalid_client", "Client authentication failed.", status=401)
        scheme, _, encoded = authorization.partition(" ")
        if scheme.lower() != "basic":
            raise refused
        try:
            text = base64.b64decode(encoded.strip(" "), validate=True).decode()
        except (UnicodeError, binascii.Error):
            raise refused from None
        client_id, colon, client_secret = text.partition(":")
        client = self.clients.get(unquote_plus(client_id))
        presented = unquote_plus(client_secret).encode()
        if not colon or client is None or not hmac.compare_digest(presented, client.client_secret.encode()):
            raise refused
        return client


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
