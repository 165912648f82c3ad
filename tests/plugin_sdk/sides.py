"""The fake service and the real one side by side: the same requests to both, and what either answers, comparable."""

import base64
import json
import re
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from flask import Flask

from app import clock, money
from app.db.transaction import transaction
from app.errors import Refusal
from app.issuance.links import draw_claim_key
from app.oauth.clients import NewClient, add_client
from app.redemption.code_token import make_code_token
from app.redemption.refund_limit import limit_refunds
from app.redemption.rules import Asker
from app.secrecy import random_secret
from scrip_sdk.money import Money
from scrip_sdk.testing import FakeScrip
from scrip_sdk.testing.parties import SCOPES
from scrip_sdk.testing.refusals import Refused
from scrip_sdk.testing.wire import Asked
from tests.checkout.shop import Pushed, Shopper
from tests.world import make_world, rows, visitor

CALLBACK = "https://bookshop.example/paid?shop=1"
#: What of an answer's headers a store goes by.
HEADERS = ("content-type", "retry-after", "idempotent-replayed", "www-authenticate", "cache-control")
ID = re.compile(r"\b(pay|set|ref|str|cli|card|bill)_[0-9a-z]{26}\b")


@dataclass(frozen=True)
class Heard:
    """An answer as it came: header names in small letters."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def slug(self) -> str:
        return str(self.json.get("slug") or self.json.get("error"))


@dataclass
class Side:
    """One of the two. `heard` is all that it said, but for what cannot be the same: names, signatures, the time."""

    heard: list[Any] = field(default_factory=list)
    _names: dict[str, str] = field(default_factory=dict)

    # ── the same on both sides ──────────────────────────────────────────────────────────────────────────────────────

    def post(self, path: str, body: object, *, key: str | None = None, **more: Any) -> Heard:
        """Posts JSON under this Idempotency-Key, or a fresh one, as the store's client with all scopes."""
        return self.send("POST", path, json.dumps(body).encode(), key=key or random_secret(), **more)

    def send(
        self,
        method: str,
        path: str,
        raw: bytes = b"",
        *,
        key: str | None = None,
        who: str = "store",
        scope: str | None = None,
        content_type: str = "application/json",
        authorization: str | None = None,
    ) -> Heard:
        """Sends anything as one of the clients, with an access token for these scopes."""
        if authorization is None:
            granted = self.grant(who, grant_type="client_credentials", **({"scope": scope} if scope else {}))
            authorization = f"Bearer {granted.json['access_token']}"
        headers = {"authorization": authorization, "content-type": content_type}
        if key is not None:
            headers["idempotency-key"] = key
        return self.noted(self.http(method, path, {name: value for name, value in headers.items() if value}, raw))

    def grant(self, who: str = "store", **form: str) -> Heard:
        """Asks the token endpoint as one of the clients; not noted."""
        return self.form("/oauth/token", who, **form)

    def form(self, path: str, who: str, **form: str) -> Heard:
        """Posts a form as one of the clients; not noted."""
        client_id, client_secret = self.client(who)
        pair = base64.b64encode(f"{client_id}:{client_secret}".encode()).decode()
        headers = {"authorization": f"Basic {pair}", "content-type": "application/x-www-form-urlencoded"}
        return self.http("POST", path, headers, urlencode(form).encode())

    def exchange(self, code: str, *, key: str | None = None, who: str = "store", **more: Any) -> Heard:
        return self.post("/v1/payments", {"code": code, "order_reference": "order-1", **more}, key=key, who=who)

    def payment(self, amount_minor: int = 5_000, **more: Any) -> str:
        """The ID of an open payment on a fresh card."""
        return str(self.exchange(self.code(amount_minor), **more).json["id"])

    def verb(self, verb: str, payment_id: str, *, key: str | None = None, who: str = "store", **body: Any) -> Heard:
        return self.post(f"/v1/payments/{payment_id}/{verb}", body, key=key, who=who)

    def settle(self, payment_id: str, amount_minor: int, **more: Any) -> Heard:
        return self.verb("settlements", payment_id, amount=gbp(amount_minor), **more)

    def get(self, payment_id: str, **more: Any) -> Heard:
        return self.send("GET", f"/v1/payments/{payment_id}", **more)

    def noted(self, answer: Heard) -> Heard:
        shown = {name: answer.headers[name] for name in HEADERS if name in answer.headers}
        self.heard.append((answer.status, shown, self._plain(json.loads(answer.body or b"null"))))
        return answer

    def note(self, *facts: Any) -> None:
        self.heard.append(self._plain(list(facts)))

    def _plain(self, value: Any, name: str = "") -> Any:
        if isinstance(value, dict) and value.get("errors"):  # the sentences are each library's own
            pointers = sorted({error["pointer"] for error in value["errors"]})
            return self._plain({**value, "errors": None, "detail": None}) | {"errors": pointers}
        if isinstance(value, dict):
            return {each: self._plain(inner, each) for each, inner in sorted(value.items())}
        if isinstance(value, list | tuple):
            return [self._plain(inner) for inner in value]
        if name in ("instance", "balance_token", "access_token", "request_uri", "code_token"):
            return bool(value)
        if name in ("as_of", "received_at", "read_at", "matched_at") and value is not None:
            return bool(value)
        if name in ("created_at", "expires_at"):
            return round((datetime.fromisoformat(value) - self.now()).total_seconds() / 20)
        if isinstance(value, str):
            return ID.sub(lambda found: self._named(found[0]), value)
        return value

    def _named(self, identifier: str) -> str:
        kind = identifier.partition("_")[0]
        return self._names.setdefault(identifier, f"{kind}-{len(self._names)}")

    # ── each in its way ─────────────────────────────────────────────────────────────────────────────────────────────

    def http(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Heard:
        raise NotImplementedError

    def client(self, who: str) -> tuple[str, str]:
        raise NotImplementedError

    def code(self, amount_minor: int = 5_000) -> str:
        raise NotImplementedError

    def code_token(self, code: str, amount_minor: int, *, order: str, shopper_key: str | None = None) -> str:
        """Raises Refusal or Refused: their slug is noted."""
        raise NotImplementedError

    def claim(self, payment_id: str) -> str:
        raise NotImplementedError

    def approve(self, pushed: Pushed, code: str) -> str:
        raise NotImplementedError

    def deny(self, pushed: Pushed) -> str:
        raise NotImplementedError

    def letters(self, payment_id: str) -> list[str]:
        raise NotImplementedError

    def card_state(self, payment_id: str) -> tuple[int, bool]:
        """Its balance, and whether a link waits to be opened."""
        raise NotImplementedError

    def limit_refunds(self, amount_minor: int) -> None:
        raise NotImplementedError

    def advance(self, seconds: float) -> None:
        raise NotImplementedError

    def release_due(self) -> None:
        """What the worker does: approvals that nobody fetched, holds that are over."""

    def now(self) -> datetime:
        raise NotImplementedError


def gbp(amount_minor: int) -> dict[str, Any]:
    return {"amount_minor": amount_minor, "currency": "GBP"}


#: By name what each client of the store, and of another store, may do.
CLIENTS = {"store": SCOPES, "other": SCOPES, "only exchange": ("exchange",), "only bill": ("bill",)}


class FakeSide(Side):
    """The fake, without a socket."""

    def __init__(self) -> None:
        super().__init__()
        self.fake = FakeScrip("http://127.0.0.1:8000", redirect_uris=[CALLBACK])
        self._clients = {
            "store": (self.fake.client_id, self.fake.client_secret),
            **{name: self._add(name, scopes) for name, scopes in CLIENTS.items() if name != "store"},
        }

    def _add(self, name: str, scopes: tuple[str, ...]) -> tuple[str, str]:
        made = self.fake.add_store() if name == "other" else self.fake.add_client(scopes=scopes)
        return made.client_id, made.client_secret

    def http(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Heard:
        path, _, query = path.partition("?")
        answer = self.fake.handle(Asked(method, path, query, headers, body))
        return Heard(answer.status, {name.lower(): value for name, value in answer.headers.items()}, answer.body)

    def client(self, who: str) -> tuple[str, str]:
        return self._clients[who]

    def code(self, amount_minor: int = 5_000) -> str:
        return self.fake.issue(f"{Money(amount_minor, 'GBP').decimal}")

    def code_token(self, code: str, amount_minor: int, *, order: str, shopper_key: str | None = None) -> str:
        amount = Money(amount_minor, "GBP")
        try:
            return self.fake.code_token(code, order_reference=order, amount=amount, shopper_key=shopper_key)
        except Refused as refused:
            self.note(refused.slug)
            return ""

    def claim(self, payment_id: str) -> str:
        return self.fake.claim(payment_id)

    def approve(self, pushed: Pushed, code: str) -> str:
        return self.fake.approve(f"/oauth/authorize?{urlencode(pushed.query)}", code)

    def deny(self, pushed: Pushed) -> str:
        return self.fake.deny(f"/oauth/authorize?{urlencode(pushed.query)}")

    def letters(self, payment_id: str) -> list[str]:
        card_id = self.fake.card(payment_id).id
        return [f"{letter.kind} {letter.has_link}" for letter in self.fake.letters if letter.card_id == card_id]

    def card_state(self, payment_id: str) -> tuple[int, bool]:
        card = self.fake.card(payment_id)
        return card.balance_minor, card.has_link

    def limit_refunds(self, amount_minor: int) -> None:
        self.fake.limit_refunds(Money(amount_minor, "GBP"))

    def advance(self, seconds: float) -> None:
        self.fake.advance(seconds)

    def now(self) -> datetime:
        return self.fake.now()


class RealSide(Side):
    """The service in this process, on the real database; its clock is moved by `app.clock.ahead`."""

    def __init__(self, app: Flask, moved: ExitStack) -> None:
        super().__init__()
        self.app, self.web, self._moved = app, app.test_client(), moved
        self.world = make_world()
        self._clients = {
            name: self._add(self.world.toyshop if name == "other" else self.world.bookshop, scopes)
            for name, scopes in CLIENTS.items()
        }

    def _add(self, store_id: str, scopes: tuple[str, ...]) -> NewClient:
        return add_client(name="shop", mode="test", store_id=store_id, scopes=scopes, redirect_uris=[CALLBACK])

    def http(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Heard:
        answer = self.web.open(path, method=method, headers=headers, data=body)
        return Heard(answer.status_code, {name.lower(): value for name, value in answer.headers}, answer.data)

    def client(self, who: str) -> tuple[str, str]:
        return self._clients[who].client_id, self._clients[who].client_secret

    def code(self, amount_minor: int = 5_000) -> str:
        return self.world.code(amount_minor).code

    def code_token(self, code: str, amount_minor: int, *, order: str, shopper_key: str | None = None) -> str:
        asker = Asker(self.world.bookshop, "test", shopper_key, order)
        try:
            return make_code_token(code, asker=asker, amount=money.Money(amount_minor, "GBP"), who=visitor())
        except Refusal as refusal:
            self.note(refusal.slug)
            return ""

    def claim(self, payment_id: str) -> str:
        link_id = self._key_of(payment_id).link_id
        with transaction() as db:
            claim_link = draw_claim_key(db, link_id, clock.now(db))
        return self.world.claim(claim_link).code

    def approve(self, pushed: Pushed, code: str) -> str:
        return str(self._shopper(pushed, "code", code=code).headers["Location"])

    def deny(self, pushed: Pushed) -> str:
        return str(self._shopper(pushed, "cancel").headers["Location"])

    def _shopper(self, pushed: Pushed, action: str, **fields: str) -> Any:
        answer = Shopper(self.app.test_client()).decide(pushed, action, **fields)
        assert answer.status_code == 303, answer.text
        return answer

    def letters(self, payment_id: str) -> list[str]:
        query = """SELECT letter.kind, letter.link_id IS NOT NULL AS has_link FROM letter
                   JOIN payment USING (card_id) WHERE payment.id = :id ORDER BY letter.id"""
        return [f"{row.kind} {row.has_link}" for row in rows(query, id=payment_id)]

    def card_state(self, payment_id: str) -> tuple[int, bool]:
        key = self._key_of(payment_id)
        return self.world.card(key.card_id).balance.amount_minor, key.link_id is not None

    def _key_of(self, payment_id: str) -> Any:
        query = "SELECT card_id, link_id FROM card_key JOIN payment USING (card_id) WHERE payment.id = :id"
        return rows(query, id=payment_id)[0]

    def limit_refunds(self, amount_minor: int) -> None:
        limit_refunds(self.world.bookshop, "GBP", amount_minor)

    def advance(self, seconds: float) -> None:
        self._moved.enter_context(clock.ahead(timedelta(seconds=seconds)))

    def release_due(self) -> None:
        from app.billing.work import work_on_bills
        from app.checkout.release import release_abandoned
        from app.redemption.expire import expire_due

        while release_abandoned() or expire_due() or work_on_bills():
            pass

    def now(self) -> datetime:
        return clock.here().astimezone(UTC)
