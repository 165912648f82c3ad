"""What a client can ask of a card: the request, the same in names, and its answer in names."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from tests.api import money
from tests.histories.record import Names, Value
from tests.world import key_of

ISSUER = "acme"


@dataclass(frozen=True)
class Request:
    """One to send, as often as it takes: `asked` says the same as `path` and `body`, in names. No body: a GET."""

    verb: str
    party: str
    path: str
    asked: Mapping[str, Value]
    body: Mapping[str, Any] | None = field(repr=False)
    key: str | None = None


class Requests:
    """Makes requests, and knows the names of what is in them."""

    def __init__(self, names: Names) -> None:
        self.names = names

    def claim(self, claim_url: str, nonce: str) -> Request:
        link_id, key = key_of(claim_url)
        asked = {"link": self.names.of("l", link_id), "browser": self.names.of("b", nonce)}
        self.names.of("secret", key)
        return Request("claim", "", f"/claim/{link_id}", asked, {"key": key, "nonce": nonce})

    def reissue(self, card_id: str, key: str) -> Request:
        return Request("reissue", ISSUER, f"/v1/cards/{card_id}/reissue", {}, {"deliver": "link"}, key)

    def read_card(self, card_id: str) -> Request:
        return Request("read_card", ISSUER, f"/v1/cards/{card_id}", {}, None)

    def exchange(
        self, code: str, store: str, key: str, *, shopper: str | None, order: str, amount: int | None
    ) -> Request:
        asked = {"code": self.names.of("c", code), "store": store, "shopper": shopper, "order": order, "amount": amount}
        body: dict[str, Any] = {"code": code, "order_reference": order}
        if shopper is not None:
            body["shopper"] = {"key_hash": shopper}
        if amount is not None:
            body["amount"] = money(amount)
        return Request("exchange", store, "/v1/payments", asked, body, key)

    def read_payment(self, payment_id: str, store: str) -> Request:
        return Request("read_payment", store, f"/v1/payments/{payment_id}", self._asked(payment_id, store), None)

    def confirm(self, payment_id: str, store: str, key: str, *, order: str, amount: int | None) -> Request:
        body = {"order_reference": order, **({} if amount is None else {"amount": money(amount)})}
        asked = {"order": order, "amount": amount}
        return self._on_payment("confirm", payment_id, store, key, asked, body)

    def settle(self, payment_id: str, store: str, key: str, *, amount: int, final: bool, order: str | None) -> Request:
        body = {"amount": money(amount), "final": final, **({} if order is None else {"order_reference": order})}
        asked = {"amount": amount, "final": final, "order": order}
        return self._on_payment("settle", payment_id, store, key, asked, body)

    def void(self, payment_id: str, store: str, key: str) -> Request:
        return self._on_payment("void", payment_id, store, key, {}, {})

    def extend(self, payment_id: str, store: str, key: str, *, hold_ttl_s: int) -> Request:
        body = {"hold_ttl_s": hold_ttl_s}
        return self._on_payment("extend", payment_id, store, key, body, body)

    def refund(self, payment_id: str, store: str, key: str, *, amount: int) -> Request:
        return self._on_payment("refund", payment_id, store, key, {"amount": amount}, {"amount": money(amount)})

    def _on_payment(
        self,
        verb: str,
        payment_id: str,
        store: str,
        key: str,
        asked: Mapping[str, Value],
        body: Mapping[str, Any],
    ) -> Request:
        path = f"/v1/payments/{payment_id}/{PATHS.get(verb, verb)}"
        return Request(verb, store, path, {**self._asked(payment_id, store), **asked}, body, key)

    def _asked(self, payment_id: str, store: str) -> dict[str, Value]:
        return {"payment": self.names.of("p", payment_id), "store": store}

    # ── answers ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def told(self, verb: str, status: int, body: Any, *, replayed: bool) -> dict[str, Value] | None:
        """The answer in names; None for what does not say whether it was done."""
        if status >= 500:
            return None
        if status >= 400:
            return {"refused": body["slug"]}
        told = self._claimed(body) if verb == "claim" else self._card(body) if verb in ON_CARDS else {}
        if verb in TAKEN:
            told = {name: body[theirs]["amount_minor"] for name, theirs in TAKEN[verb].items()}
        if verb not in ON_CARDS:
            told |= self._payment(body.get("payment", body))
        if verb == "exchange":
            told["opened"] = status == 201
        if verb == "reissue":
            told["shown"] = body["claim_link"] is not None
        return told if verb in UNKEYED else told | {"replayed": replayed}

    def _claimed(self, body: Any) -> dict[str, Value]:
        return {"code": self.names.of("c", body["code"]), "balance": body["balance"]["amount_minor"]}

    def _card(self, body: Any) -> dict[str, Value]:
        reached: Any = body["reached_through"] or dict.fromkeys(("kind", "id", "state", "store_id"))
        return {
            "state": body["state"],
            "balance": body["balance"]["amount_minor"],
            "reached": reached["kind"],
            "reached_id": reached["id"] and self.names.of(KINDS[reached["kind"]], reached["id"]),
            "reached_state": reached["state"],
            "store": reached["store_id"] and self.names.known[reached["store_id"]],
        }

    def _payment(self, body: Any) -> dict[str, Value]:
        amounts = ("balance", "held", "settled", "released", "refunded")
        return {
            "id": self.names.of("p", body["id"]),
            "state": body["state"],
            "confirmed": body["confirmed"],
            "order": body["order_reference"],
            **{name: body[name]["amount_minor"] for name in amounts},
        }


def changed(request: Request, field_name: str, value: int) -> Request:
    """The same but for one amount: other content under the same key."""
    body = {**(request.body or {}), field_name: money(value)}
    return replace(request, body=body, asked={**request.asked, field_name: value})


#: How what reaches a card is named; a code's ID is not the code.
KINDS = {"link": "l", "code": "d", "payment": "p"}
PATHS = {"settle": "settlements", "refund": "refunds"}
ON_CARDS = frozenset({"claim", "reissue", "read_card"})
UNKEYED = frozenset({"claim", "read_card", "read_payment"})
#: Amounts that only these answers have: our name for each, and the service's.
TAKEN = {"settle": {"took": "settled", "freed": "released", "left": "remaining"}, "refund": {"amount": "amount"}}
