"""The fake service's API of payments: who asks, the shape, the repeat, one verb, the answer."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from scrip_sdk.code import read_code
from scrip_sdk.money import Money
from scrip_sdk.testing.books import Asker, Books
from scrip_sdk.testing.ledger import FakePayment, new_id
from scrip_sdk.testing.parties import AccessToken, Parties
from scrip_sdk.testing.refusals import NOTHING_HERE, Refused
from scrip_sdk.testing.shapes import BODIES, read_body
from scrip_sdk.testing.waiting import Waiting
from scrip_sdk.testing.wire import Answer, Asked, as_json

_PAYMENT = r"/v1/payments/(pay_[0-7][0-9a-z]{25})"
#: Method, path, verb, the scopes of which one will do.
ROUTES = (
    ("POST", re.compile("/v1/payments"), "exchange", ("exchange",)),
    ("GET", re.compile(_PAYMENT), "get", ("exchange", "settle", "refund", "bill")),
    ("POST", re.compile(_PAYMENT + "/confirm"), "confirm", ("settle",)),
    ("POST", re.compile(_PAYMENT + "/settlements"), "settle", ("settle",)),
    ("POST", re.compile(_PAYMENT + "/void"), "void", ("settle",)),
    ("POST", re.compile(_PAYMENT + "/extend"), "extend", ("settle",)),
    ("POST", re.compile(_PAYMENT + "/refunds"), "refund", ("refund",)),
)
#: Two requests that differ only in these are the same.
_SECRET_FIELDS = ("code", "code_token")
_VISIBLE = re.compile(r"[!-~]{1,255}")


@dataclass(frozen=True)
class Kept:
    """A request that was carried out, and what it was answered."""

    verb: str
    payment_id: str
    content: str
    status: int
    body: Any


class PaymentsApi:
    """All operations under `/v1/payments`."""

    def __init__(self, books: Books, parties: Parties, sign: Callable[[FakePayment], str | None]) -> None:
        self.books, self.parties, self._sign = books, parties, sign
        self.waiting = Waiting()
        self._kept: dict[tuple[str, str], Kept] = {}

    def answer(self, asked: Asked) -> Answer:
        """Raises Refused."""
        verb, payment_id, scopes = self._route(asked)
        token = self.parties.authorise(asked.header("authorization"), self.books.now(), scopes, payment_id)
        store_id = token.client.store_id
        if verb == "get":
            return as_json(200, self.shown(self.books.payment_of(payment_id, store_id)))
        fields, body = read_body(asked.header("content-type"), asked.body, BODIES[verb])
        key = _key_of(asked)
        content = {name: value for name, value in body.items() if name not in _SECRET_FIELDS}
        canonical = json.dumps(content, sort_keys=True)
        if verb != "exchange":
            self.books.payment_of(payment_id, store_id)  # somebody else's is not found, whatever came under this key
        elif fields["code"] is not None and read_code(fields["code"]) is None:
            raise Refused("code-mistyped")
        if (kept := self._kept.get((store_id, key))) is not None:
            if (kept.verb, kept.payment_id, kept.content) != (verb, payment_id, canonical):
                raise Refused("reference-reused")
            return as_json(kept.status, kept.body, Idempotent_Replayed="true")
        status, answer = self._carry_out(verb, payment_id, token, fields)
        self._kept[store_id, key] = Kept(verb, payment_id, canonical, status, answer)
        return as_json(status, answer)

    def verb_of(self, asked: Asked) -> tuple[str, str] | None:
        """The verb and the payment's ID of a request, where it is one of this API."""
        try:
            return self._route(asked)[:2]
        except Refused:
            return None

    def shown(self, payment: FakePayment) -> dict[str, Any]:
        """A payment as its store sees it."""
        amounts = ("balance", "held", "settled", "released", "refunded")
        return {
            "id": payment.id,
            "state": payment.state,
            "confirmed": payment.confirmed,
            "order_reference": payment.order_reference,
            **{name: _money(payment.money(getattr(payment, f"{name}_minor"))) for name in amounts},
            "created_at": _time(payment.created_at),
            "expires_at": _time(payment.expires_at),
            "balance_token": self._sign(payment) if payment.state == "held" else None,
        }

    def _route(self, asked: Asked) -> tuple[str, str, tuple[str, ...]]:
        allowed = []
        for method, path, verb, scopes in ROUTES:
            if found := path.fullmatch(asked.path):
                if method == asked.method:
                    return verb, (found.groups() or ("",))[0], scopes
                allowed.append(method)
        if allowed:
            raise Refused("method-not-allowed", "The method is not allowed for the requested URL.")
        raise Refused("nothing-here", NOTHING_HERE)

    def _carry_out(
        self, verb: str, payment_id: str, token: AccessToken, fields: dict[str, Any]
    ) -> tuple[int, dict[str, Any]]:
        if verb == "exchange":
            return self._exchange(token.client.store_id, fields)
        books = self.books
        payment = books.payment_of(payment_id, token.client.store_id)
        if verb == "confirm":
            books.confirm(payment, fields["order_reference"], fields["amount"])
        elif verb == "void":
            books.void(payment)
        elif verb == "extend":
            books.extend(payment, fields["hold_ttl_s"])
        elif verb == "settle":
            return self._settle(payment, fields)
        else:
            books.refund(payment, fields["amount"])
            return 201, {"id": new_id("ref"), "amount": _money(fields["amount"]), "payment": self.shown(payment)}
        return 200, self.shown(payment)

    def _exchange(self, store_id: str, fields: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        shopper_key = (fields["shopper"] or {}).get("key_hash")
        asker = Asker(store_id, shopper_key, fields["order_reference"])
        terms = (fields["amount"], fields["hold_ttl_s"])
        if fields["code_token"] is not None:
            payment, opened = self.books.exchange_token(fields["code_token"], asker, *terms)
        else:
            now = self.books.now()
            self.waiting.check(store_id, shopper_key, now)
            try:
                card, code = self.books.find(read_code(fields["code"]) or "", asker)
            except Refused:
                self.waiting.note_wrong(store_id, shopper_key, now)
                raise
            payment, opened = self.books.exchange(card, code, asker, *terms)
            self.waiting.note_right(store_id, shopper_key, now)
        return 201 if opened else 200, self.shown(payment)

    def _settle(self, payment: FakePayment, fields: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        amount, final = fields["amount"], fields["final"] is not False
        released, held = self.books.settle(payment, amount, final=final, order_reference=fields["order_reference"])
        settlement = {
            "id": new_id("set"),
            "settled": _money(amount),
            "released": _money(payment.money(released)),
            "remaining": _money(payment.money(held)),
            "payment": self.shown(payment),
        }
        return 201, settlement


def _key_of(asked: Asked) -> str:
    key = asked.headers.get("idempotency-key")
    if key is None:
        raise Refused("idempotency-key-missing")
    if not _VISIBLE.fullmatch(key):
        raise Refused("idempotency-key-invalid")
    return key


def _money(money: Money) -> dict[str, Any]:
    return {"amount_minor": money.amount_minor, "currency": money.currency}


def _time(at: datetime) -> str:
    return at.astimezone(timezone.utc).isoformat()
