"""Hosted checkout at the fake: pushed requests (RFC 9126, 9396), the holder's yes or no, and authorization codes.

An approval that its store does not fetch within a minute is released, as at the service.
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from scrip_sdk.code import read_code
from scrip_sdk.money import MINOR_DIGITS, Money
from scrip_sdk.testing.books import Asker, Books
from scrip_sdk.testing.ledger import FakeCard, FakePayment
from scrip_sdk.testing.parties import SCOPES, FakeClient, OAuthError, Parties
from scrip_sdk.testing.refusals import Refused

URI_PREFIX = "urn:ietf:params:oauth:request_uri:"
URI_S, PAGE_S, CODE_S, TRIES = 300, 1_800, 60, 5
_CHALLENGE = re.compile(r"[A-Za-z0-9_-]{43}")
_VERIFIER = re.compile(r"[A-Za-z0-9._~-]{43,128}")
_KEY_HASH = re.compile(r"[!-~]{8,128}")
_NOT_GOOD = "The authorization code is not good, or not with this redirect_uri and code_verifier."


@dataclass
class PushedRequest:
    """What a store asks a holder for, and what became of it."""

    uri: str
    client: FakeClient
    redirect_uri: str
    state: str | None
    scope: str | None
    challenge: str
    asked: dict[str, Any]
    amount: Money
    asker: Asker
    expires_at: datetime
    standing: str = "pushed"
    tries: int = 0
    code: str | None = None
    code_until: datetime | None = None
    payment: FakePayment | None = None
    opened_payment: bool = False
    token_id: str | None = None


class Authorization:
    """All pushed requests of one fake service."""

    def __init__(self, books: Books, parties: Parties, issuer: str) -> None:
        self.books, self.parties, self.issuer = books, parties, issuer
        self.requests: list[PushedRequest] = []

    # ── the store ───────────────────────────────────────────────────────────────────────────────────────────────────

    def push(self, form: dict[str, str], client: FakeClient) -> dict[str, Any]:
        """`request_uri` and `expires_in`. Raises OAuthError."""
        if "exchange" not in client.scopes:
            raise OAuthError("unauthorized_client", "Only a store's client with the scope exchange may push a request.")
        _check_parameters(form, client)
        asked, amount = _read_details(form.get("authorization_details"))
        shopper_key = (asked.get("shopper") or {}).get("key_hash")
        made = PushedRequest(
            uri=URI_PREFIX + secrets.token_urlsafe(32),
            client=client,
            redirect_uri=form["redirect_uri"],
            state=form.get("state"),
            scope=form.get("scope"),
            challenge=form["code_challenge"],
            asked=asked,
            amount=amount,
            asker=Asker(client.store_id, shopper_key, asked["order"]),
            expires_at=self.books.now() + timedelta(seconds=URI_S),
        )
        self.requests.append(made)
        return {"request_uri": made.uri, "expires_in": URI_S}

    def redeem(self, form: dict[str, str], client: FakeClient) -> dict[str, Any]:
        """An access token for the payment that was approved (RFC 9396, section 7). Raises OAuthError."""
        code, verifier = form.get("code"), form.get("code_verifier", "")
        if code is None or not _VERIFIER.fullmatch(verifier):
            needed = "The parameters code and code_verifier are needed: PKCE is required."
            raise OAuthError("invalid_request", needed)
        digest = urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
        found = next((each for each in self.requests if each.code == code and each.client is client), None)
        if found is None or digest != found.challenge or form.get("redirect_uri") != found.redirect_uri:
            raise OAuthError("invalid_grant", _NOT_GOOD)
        if found.standing == "redeemed":
            self.parties.revoke_by_id(found.token_id)  # two have the code: who of them is the store, nobody can say
        if found.standing != "approved" or found.payment is None:
            raise OAuthError("invalid_grant", _NOT_GOOD)
        payment = found.payment
        text, token, lifetime_s = self.parties.lend(client, found.scope, self.books.now(), payment_id=payment.id)
        found.standing, found.token_id = "redeemed", token.id
        approved = Money(payment.held_minor, found.amount.currency)
        details = {**found.asked, "payment_id": payment.id, "approved_amount": _decimal(approved)}
        return {
            "access_token": text,
            "token_type": "Bearer",
            "expires_in": lifetime_s,
            "scope": " ".join(token.scopes),
            "authorization_details": [details],
        }

    # ── the holder ──────────────────────────────────────────────────────────────────────────────────────────────────

    def open(self, client_id: str, request_uri: str) -> PushedRequest:
        """The request that a browser comes with. Raises LookupError."""
        found = next((each for each in self.requests if each.uri == request_uri), None)
        if found is None or found.client.client_id != client_id or found.expires_at <= self.books.now():
            raise LookupError("there is no such payment request, or its time is over")
        if found.standing == "pushed":
            found.standing, found.expires_at = "opened", self.books.now() + timedelta(seconds=PAGE_S)
        return found

    def deny(self, request: PushedRequest) -> str:
        """The holder goes back without paying; the address back at the store."""
        if request.standing == "approved":
            self._release(request)
        if request.standing != "redeemed":
            request.standing = "cancelled"
        return self._back(request, error="access_denied")

    def approve(self, request: PushedRequest, typed: str) -> str:
        """The holder types a code, and says yes to whatever its card can give; the address back at the store.

        Raises Refused `code-mistyped`, `code-not-accepted`, `currency-mismatch`, `payment-closed` for a request that is
        over or a card that the store holds for something else.
        """
        if (text := read_code(typed)) is None:
            raise Refused("code-mistyped")
        if request.standing not in ("opened", "approved"):
            raise Refused("payment-closed", "This payment request is over.", state=request.standing)
        if request.standing == "opened":
            request.tries += 1
            try:
                self._hold(request, text)
            except Refused as refused:
                if refused.slug != "code-not-accepted":
                    request.tries -= 1
                elif request.tries >= TRIES:
                    request.standing = "exhausted"
                raise
            request.standing = "approved"
            request.code_until = self.books.now() + timedelta(seconds=CODE_S)
        request.code = secrets.token_urlsafe(32)  # approved already: another for the one that may be lost
        return self._back(request, code=request.code)

    def release_due(self) -> None:
        """Voids what was approved and not fetched within its minute."""
        now = self.books.now()
        for request in self.requests:
            if request.standing == "approved" and request.code_until is not None and request.code_until <= now:
                self._release(request)
                request.standing = "released"

    def _hold(self, request: PushedRequest, code_text: str) -> None:
        if code_text in self.books.codes:
            self._take_over(request, self.books.codes[code_text][0])
        card, code = self.books.find(code_text, request.asker)
        if card.currency != request.amount.currency:
            detail = f"The card is in {card.currency}, not {request.amount.currency}."
            raise Refused("currency-mismatch", detail)
        held = card.payment
        if held is not None and (
            held.order_reference != request.asker.order_reference or held.held_minor > request.amount.amount_minor
        ):
            raise Refused("payment-closed", "The store holds this card for something else.", state="held")
        request.payment, request.opened_payment = self.books.exchange(
            card, code, request.asker, request.amount, None, provisional=True
        )

    def _take_over(self, request: PushedRequest, card: FakeCard) -> None:
        """An earlier approval of the same shopper that no store has fetched gives way."""
        for earlier in self.requests:
            is_unfetched = earlier.standing == "approved" and earlier.payment is not None
            if is_unfetched and earlier.payment is card.payment and earlier.asker.is_same_shopper(request.asker):
                self._release(earlier)
                earlier.standing = "released"

    def _release(self, request: PushedRequest) -> None:
        """A payment that the store has asked for in another way stays the store's."""
        payment = request.payment
        if payment is not None and request.opened_payment and payment.provisional and payment.state == "held":
            self.books.void(payment)

    def _back(self, request: PushedRequest, **answer: str) -> str:
        state = {} if request.state is None else {"state": request.state}
        joined = "&" if "?" in request.redirect_uri else "?"
        return request.redirect_uri + joined + urlencode({**answer, **state, "iss": self.issuer})


def _check_parameters(form: dict[str, str], client: FakeClient) -> None:
    if {"request", "request_uri"} & set(form):
        raise OAuthError("invalid_request", "Push the parameters themselves, no request object and no request_uri.")
    if form["response_type"] != "code":
        raise OAuthError("unsupported_response_type", "The only response_type is code.")
    if form.get("response_mode", "query") != "query" or len(form.get("state", "")) > 512:
        raise OAuthError("invalid_request", "The response_mode is query, and the state has 512 characters at most.")
    if not set(form.get("scope", client.scopes[0]).split(" ")) <= set(client.scopes) & set(SCOPES):
        raise OAuthError("invalid_scope", "The client does not hold all of the scopes that it asks for.")
    if form.get("redirect_uri") not in client.redirect_uris:
        unknown = "The redirect_uri is not one of those that the client has registered."
        raise OAuthError("invalid_request", unknown)
    if form.get("code_challenge_method") != "S256" or not _CHALLENGE.fullmatch(form.get("code_challenge", "")):
        needed = "PKCE is required: a code_challenge and code_challenge_method=S256."
        raise OAuthError("invalid_request", needed)


def _read_details(text: str | None) -> tuple[dict[str, Any], Money]:
    """One object of the one type, with nothing unknown. Raises OAuthError `invalid_authorization_details`."""
    wrong = OAuthError("invalid_authorization_details", "authorization_details: not as this server knows it.")
    try:
        (asked,) = json.loads(text or "")
        wanted = asked["instructed_amount"]
        order, shopper = asked["order"], asked.get("shopper")
        if (
            set(asked) - {"shopper"} != {"type", "actions", "instructed_amount", "order"}
            or (asked["type"], asked["actions"]) != ("giftcard_payment", ["settle"])
            or set(wanted) != {"currency", "amount"}
            or not 1 <= len(order) <= 200
            or not order.isprintable()
            or (shopper is not None and (set(shopper) != {"key_hash"} or not _KEY_HASH.fullmatch(shopper["key_hash"])))
            or wanted["currency"] not in MINOR_DIGITS
        ):
            raise wrong
        amount = Money.of(wanted["amount"], wanted["currency"])
    except (ValueError, TypeError, KeyError, AttributeError):
        raise wrong from None
    if amount.amount_minor <= 0 or _decimal(amount)["amount"] != wanted["amount"]:
        raise wrong
    return asked, amount


def _decimal(amount: Money) -> dict[str, str]:
    return {"currency": amount.currency, "amount": f"{amount.decimal:f}"}
