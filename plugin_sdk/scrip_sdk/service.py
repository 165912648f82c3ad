"""The service as one client knows it: where it is, who asks, and what has been learnt from it so far."""

import base64
import random
from collections.abc import Callable
from dataclasses import replace
from ipaddress import ip_address
from typing import Protocol
from urllib.parse import quote_plus, urlencode, urlsplit

from scrip_sdk import __version__
from scrip_sdk.budget import Budget
from scrip_sdk.calls import FORM, JSON, Answer, Call
from scrip_sdk.tokens import RETRIED_AFTER_S, AccessToken

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


class Signs(Protocol):
    """What a client with a private key can do: see signing.py."""

    def assertion(self, client_id: str, issuer: str) -> str: ...

    def proof(self, method: str, url: str, *, nonce: str | None, access_token: str | None) -> str: ...


class Service:
    """Address and credentials, which stay; access token and DPoP nonce, which change.

    One object serves many threads: each attribute that changes is replaced whole, and a stale one is found out by the
    service's next answer. `origin`: scheme, host and port, without a slash. `issuer`: the name that it goes by.
    """

    def __init__(
        self,
        base_url: str,
        client_id: str,
        client_secret: str | None = None,
        *,
        signer: Signs | None = None,
        budget: Budget | None = None,
        scopes: tuple[str, ...] | None = None,
        issuer: str | None = None,
        draw: Callable[[], float] = random.random,
    ) -> None:
        """Raises ValueError: an address that is not https (but on this machine), or not exactly one credential."""
        if (client_secret is None) == (signer is None):
            raise ValueError("a client has either a client_secret or a private_key")
        self.origin = read_origin(base_url)
        self.issuer = self.origin if issuer is None else read_origin(issuer)
        self.client_id = client_id
        self.budget = budget or Budget()
        self.scopes = scopes
        self.draw = draw
        self.access_token: AccessToken | None = None
        self._client_secret = client_secret
        self._signer = signer
        self._nonce: str | None = None

    def __repr__(self) -> str:
        return f"{self.origin!r}, {self.client_id!r}"

    @property
    def scheme(self) -> str:
        """How its access tokens are sent."""
        return "Bearer" if self._signer is None else "DPoP"

    def headers_and_body(self, call: Call[object], token: AccessToken | None) -> tuple[dict[str, str], bytes]:
        """What is sent, with the access token, the client's own credentials, or neither."""
        headers = {"Accept": JSON, "Accept-Encoding": "identity", "User-Agent": f"scrip-sdk/{__version__}"}
        body = call.body
        if body:
            headers["Content-Type"] = call.content_type
        if call.key is not None:
            headers["Idempotency-Key"] = call.key
        if call.shown == "nothing":
            return headers, body
        if token is not None:
            headers["Authorization"] = f"{token.scheme} {token.text}"
        elif self._client_secret is not None:
            headers["Authorization"] = f"Basic {_basic(self.client_id, self._client_secret)}"
        elif self._signer is not None:
            assert call.content_type == FORM
            assertion = self._signer.assertion(self.client_id, self.issuer)
            said = {"client_id": self.client_id, "client_assertion_type": ASSERTION_TYPE, "client_assertion": assertion}
            body = body + b"&" + urlencode(said).encode("ascii")
        if self._signer is not None and call.is_proven:
            headers["DPoP"] = self._signer.proof(
                call.method,
                self.issuer + call.path,
                nonce=self._nonce,
                access_token=None if token is None else token.text,
            )
        return headers, body

    def learn(self, answer: Answer) -> bool:
        """Keeps the nonce that an answer brings; whether the request was refused for want of it (RFC 9449, 8 and 9)."""
        if self._signer is None or not (nonce := answer.headers.get("dpop-nonce")):
            return False
        self._nonce = nonce
        asks = answer.slug == "use-dpop-nonce" or answer.oauth_error == "use_dpop_nonce"
        return answer.status in (400, 401) and asks

    def put_off_renewal(self, now: float) -> None:
        """An early renewal failed: the token at hand is used on, and nobody tries again for a while."""
        if self.access_token is not None:
            self.access_token = replace(self.access_token, renewed_at=now + RETRIED_AFTER_S)


def read_origin(url: str) -> str:
    """The origin of an address that may be trusted with codes: https, or http on this very machine.

    Raises ValueError for everything else, and for more than an origin.
    """
    parts = urlsplit(url)
    host = parts.hostname
    bare = parts.path in ("", "/") and not parts.query and not parts.fragment and "@" not in parts.netloc
    if not host or not bare or not host.isascii() or not all("!" <= character <= "~" for character in url):
        raise ValueError("base_url must be an origin, as https://cards.example")
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(host)):
        raise ValueError("base_url must begin with https: codes are never sent in clear")
    shown = f"[{host}]" if ":" in host else host
    usual = {"https": 443, "http": 80}[parts.scheme]
    return f"{parts.scheme}://{shown}" + ("" if parts.port in (None, usual) else f":{parts.port}")


def is_loopback(host: str) -> bool:
    """Whether the host is this machine, by its name or address."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _basic(client_id: str, client_secret: str) -> str:
    """RFC 6749, 2.3.1: both are form-encoded first."""
    pair = f"{quote_plus(client_id)}:{quote_plus(client_secret)}"
    return base64.b64encode(pair.encode("ascii")).decode("ascii")
