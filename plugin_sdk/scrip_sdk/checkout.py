"""Hosted checkout: the shopper types the code at the service's page and comes back with a payment (docs/checkout.md).

The store sees no code. What has to be remembered until the shopper comes back stands in his own session: any mutable
mapping that keeps texts and dicts of texts, as every web framework has one.
"""

import base64
import hashlib
import hmac
import json
import re
import secrets
import time
from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from scrip_sdk.budget import Deadline
from scrip_sdk.calls import Call, oauth
from scrip_sdk.client import Client
from scrip_sdk.errors import RequestRejected, ScripError, ServiceUnavailable
from scrip_sdk.money import Money
from scrip_sdk.payment import NotUnderstood
from scrip_sdk.shopper import Shopper

if TYPE_CHECKING:  # it needs the extra `async`
    from scrip_sdk.aio import AsyncClient

Session = MutableMapping[str, Any]

#: Under this name they stand in the session.
SESSION_KEY = "scrip_checkouts"
#: A shopper may have several tabs; the oldest gives way, so that the session stays small.
MOST_PENDING = 5
#: The service's page is good for half an hour after it was opened, within five minutes (docs/checkout.md).
PENDING_S = 45 * 60

_PAYMENT_ID = re.compile(r"pay_[0-9a-z]{26}")
_REQUEST_URI = re.compile(r"urn:ietf:params:oauth:request_uri:[A-Za-z0-9_-]{20,200}")


class CheckoutDeclined(ScripError):
    """The shopper went back without paying, or had no code that was accepted. Offer the other ways to pay."""

    usual_slug = "access_denied"
    sentence = "The shopper did not pay with a gift card."


class CheckoutUnknown(ScripError):
    """This session has not begun this checkout, or it has come back already. Show the cart; nothing was redeemed."""

    usual_slug = "unknown_checkout"
    sentence = "This checkout was not begun in this session, or has come back before."


@dataclass(frozen=True)
class Approved:
    """What the holder said yes to: a payment that holds `amount`, which may be less than was asked for."""

    payment_id: str
    amount: Money
    order: str


def start_checkout(
    client: Client,
    *,
    order: str,
    amount: Money,
    return_url: str,
    session: Session,
    shopper: Shopper | None = None,
) -> str:
    """The address of the service's page to send the shopper to, with 303.

    `amount`: the most that is taken. `return_url`: exactly as it is registered for the client. Nothing is held yet.
    Raises ScripError: ServiceUnavailable, NotAllowed, RequestRejected (an amount of nothing, an unregistered address).
    """
    pending = _Pending.fresh(order, amount, return_url)
    request_uri = client.ask(_push(pending, shopper))
    return _begun(client.service.issuer, client.service.client_id, request_uri, pending, session)


def finish_checkout(
    client: Client, query: Mapping[str, str], session: Session, *, deadline: Deadline | None = None
) -> Approved:
    """What the shopper came back with: `query` is that of the address. Confirm and settle the payment as any other.

    `deadline`: where other calls follow, and all of them share their time. Each checkout comes back once. Raises
    CheckoutDeclined, CheckoutUnknown, PaymentClosed (later than a minute: the card is free again, let the shopper start
    again); ServiceUnavailable when the answer was lost: start another checkout for the same order and shopper, whose
    code leads to the same payment. Raises ScripError.
    """
    pending, code = _came_back(client.service.issuer, query, session)
    return client.ask(_redeem(pending, code), deadline)


async def start_checkout_async(
    client: "AsyncClient",
    *,
    order: str,
    amount: Money,
    return_url: str,
    session: Session,
    shopper: Shopper | None = None,
) -> str:
    """start_checkout, with await."""
    pending = _Pending.fresh(order, amount, return_url)
    request_uri = await client.ask(_push(pending, shopper))
    return _begun(client.service.issuer, client.service.client_id, request_uri, pending, session)


async def finish_checkout_async(
    client: "AsyncClient", query: Mapping[str, str], session: Session, *, deadline: Deadline | None = None
) -> Approved:
    """finish_checkout, with await."""
    pending, code = _came_back(client.service.issuer, query, session)
    return await client.ask(_redeem(pending, code), deadline)


# ── what is remembered ──────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class _Pending:
    """A checkout that has not come back. `verifier` (RFC 7636) is worth nothing without the code and the client's own
    credentials, so that a session in a cookie may keep it."""

    state: str = field(repr=False)
    verifier: str = field(repr=False)
    order: str
    amount: Money
    return_url: str
    begun_at: int

    @classmethod
    def fresh(cls, order: str, amount: Money, return_url: str) -> "_Pending":
        state, verifier = secrets.token_urlsafe(24), secrets.token_urlsafe(32)
        return cls(state, verifier, order, amount, return_url, int(time.time()))

    @classmethod
    def read(cls, kept: Any) -> "_Pending | None":
        """None for what an older release, or somebody else, has left there."""
        try:
            state, verifier, order, amount_minor, currency, return_url, begun_at = kept
            return cls(state, verifier, order, Money(amount_minor, currency), return_url, int(begun_at))
        except (TypeError, ValueError):
            return None

    @property
    def kept(self) -> list[Any]:
        """As JSON can keep it."""
        amount = self.amount
        return [
            self.state,
            self.verifier,
            self.order,
            amount.amount_minor,
            amount.currency,
            self.return_url,
            self.begun_at,
        ]


def _pending_in(session: Session) -> list[_Pending]:
    kept = session.get(SESSION_KEY)
    found = [_Pending.read(each) for each in kept] if isinstance(kept, list) else []
    oldest = time.time() - PENDING_S
    return [each for each in found if each is not None and each.begun_at >= oldest]


def _keep(session: Session, pending: list[_Pending]) -> None:
    """As a new list: frameworks notice that a session has changed by what is assigned to it."""
    session[SESSION_KEY] = [each.kept for each in pending[-MOST_PENDING:]]


# ── there ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def _push(pending: _Pending, shopper: Shopper | None) -> Call[str]:
    """RFC 9126, with RFC 9396's details and RFC 7636's challenge. Raises RequestRejected."""
    if pending.amount.amount_minor <= 0:
        raise RequestRejected(detail="A checkout is for an amount above zero.")
    challenge = base64.urlsafe_b64encode(hashlib.sha256(pending.verifier.encode("ascii")).digest())
    details: dict[str, Any] = {
        "type": "giftcard_payment",
        "actions": ["settle"],
        "instructed_amount": _decimal(pending.amount),
        "order": pending.order,
    }
    if shopper is not None:
        details["shopper"] = {"key_hash": shopper.key_hash}
    fields = {
        "response_type": "code",
        "redirect_uri": pending.return_url,
        "state": pending.state,
        "code_challenge": challenge.rstrip(b"=").decode("ascii"),
        "code_challenge_method": "S256",
        "authorization_details": json.dumps([details]),
    }
    # A proof would bind the authorization code to the key pair of this very process, and the shopper may come back to
    # another; the code is bound to the client and to the verifier in any case.
    return replace(oauth("/oauth/par", fields, _read_request_uri, repeats=True), is_proven=False)


def _begun(issuer: str, client_id: str, request_uri: str, pending: _Pending, session: Session) -> str:
    _keep(session, [*_pending_in(session), pending])
    return f"{issuer}/oauth/authorize?{urlencode({'client_id': client_id, 'request_uri': request_uri})}"


def _read_request_uri(answer: Mapping[str, Any]) -> str:
    request_uri = answer.get("request_uri")
    if not isinstance(request_uri, str) or not _REQUEST_URI.fullmatch(request_uri):
        raise NotUnderstood("request_uri")
    return request_uri


# ── and back ────────────────────────────────────────────────────────────────────────────────────────────────────────


def _came_back(issuer: str, query: Mapping[str, str], session: Session) -> tuple[_Pending, str]:
    """The checkout of this session that came back, which is forgotten by that, and its authorization code.

    Raises CheckoutUnknown, CheckoutDeclined, ScripError for another error of OAuth's.
    """
    state = query.get("state", "")
    all_pending = _pending_in(session)
    found = None
    for each in all_pending:  # all of them, so that the time tells nothing
        if hmac.compare_digest(each.state.encode(), state.encode("utf-8", "surrogatepass")):
            found = each
    if found is None:
        raise CheckoutUnknown()
    _keep(session, [each for each in all_pending if each is not found])
    if query.get("iss") != issuer:  # RFC 9207: somebody else's answer, mixed up on purpose
        raise CheckoutUnknown("wrong_issuer")
    error, code = query.get("error"), query.get("code")
    if error == "access_denied":
        raise CheckoutDeclined()
    if error is not None or not code:
        raise ServiceUnavailable("server_error", detail="The checkout came back with an error.")
    return found, code


def _redeem(pending: _Pending, code: str) -> Call[Approved]:
    """RFC 6749, 4.1.3. A code is good once, so it is not sent again when it may have arrived: nobody could tell
    whether a thief or the store came second, and the access token of the first would be revoked."""
    fields = {
        "grant_type": "authorization_code",
        "code": code,
        "code_verifier": pending.verifier,
        "redirect_uri": pending.return_url,
    }
    return oauth("/oauth/token", fields, _reader_of(pending), repeats=False)


def _reader_of(pending: _Pending) -> Callable[[Mapping[str, Any]], Approved]:
    def read(answer: Mapping[str, Any]) -> Approved:
        """The payment, for the order and for no more than was asked for. Raises NotUnderstood."""
        try:
            (details,) = answer["authorization_details"]
            approved, payment_id = details["approved_amount"], details["payment_id"]
            amount = Money.of(approved["amount"], approved["currency"])
            is_ours = details["order"] == pending.order and _PAYMENT_ID.fullmatch(payment_id) is not None
        except (KeyError, TypeError, ValueError):
            raise NotUnderstood("authorization_details") from None
        if not is_ours or amount.currency != pending.amount.currency or amount > pending.amount:
            raise NotUnderstood("authorization_details")
        return Approved(payment_id, amount, pending.order)

    return read


def _decimal(amount: Money) -> dict[str, str]:
    """A text with all decimals of the currency, and no other way to write it."""
    return {"currency": amount.currency, "amount": f"{amount.decimal:f}"}
