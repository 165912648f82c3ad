"""The fake service with its switches: what a store's own tests plug into a client, break, move on in time, and ask."""

from __future__ import annotations

import json
import os
import threading
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any
from unittest.mock import patch
from urllib.parse import parse_qsl, urlsplit

from scrip_sdk.budget import Budget
from scrip_sdk.client import Client, _Open
from scrip_sdk.code import read_code
from scrip_sdk.money import Money
from scrip_sdk.testing.books import Asker
from scrip_sdk.testing.codes import draw_code, grouped, read_magic
from scrip_sdk.testing.ledger import FakeCard, FakePayment, Letter, new_id, sums_that_differ
from scrip_sdk.testing.parties import SCOPES, FakeClient
from scrip_sdk.testing.plugged_in import PluggedIn
from scrip_sdk.testing.refusals import REFUSALS, Refused
from scrip_sdk.testing.server import served
from scrip_sdk.testing.service import Service
from scrip_sdk.testing.wire import Answer, AnswerLost, Asked, Unreachable, as_oauth_error, as_problem
from scrip_sdk.wire import Wire

if TYPE_CHECKING:
    from scrip_sdk.aio import AsyncClient

#: Where the fake is as long as it is plugged in without a socket.
PLUGGED_IN_URL = "https://scrip.test"
#: Of the clients that the fake makes; a store that waits for longer can be told so.
SHORT = Budget(connect_s=0.5, read_s=1.0, total_s=3.0)
_OTHER_VERBS = {"/v1/bills": "bill", "/oauth/token": "token", "/oauth/par": "par", "/oauth/authorize": "authorize"}


@dataclass(frozen=True)
class Call:
    """A request that reached the fake: the verb, the payment where one is named, its Idempotency-Key, and the status of
    the answer, 0 where none came. `replayed`: it was answered before."""

    verb: str
    payment_id: str
    key: str
    status: int
    replayed: bool


@dataclass
class _Fault:
    """What becomes of the next calls of a verb (any, where it is None)."""

    times: int
    verb: str | None
    slug: str | None = None
    retry_after_s: int | None = None
    facts: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0


class FakeScrip:
    """A service of one's own: one store, `store_id`, with one client that holds all scopes and has a secret.

    It answers what the service answers, for any code of `scrip_sdk.testing` (see the table there) and for those that
    `issue` gives. Time runs as usual, and `advance` moves it on. Thread-safe.
    """

    def __init__(self, url: str = PLUGGED_IN_URL, *, redirect_uris: Sequence[str] = (), slow_s: float = 0.5) -> None:
        """`redirect_uris`: where the hosted checkout may send shoppers back to. `slow_s`: how long SLOW takes."""
        self.slow_s = slow_s
        self.calls: list[Call] = []
        self._ahead, self._is_down, self._seen = timedelta(), False, set[str]()
        self._faults: dict[str, list[_Fault]] = defaultdict(list)
        self._lock = threading.RLock()
        self._service = Service(url, self.now)
        made = self.add_client(new_id("str"), redirect_uris=redirect_uris)
        self.store_id, self.client_id, self.client_secret = made.store_id, made.client_id, made.client_secret

    # ── what is asked of it ─────────────────────────────────────────────────────────────────────────────────────────

    @property
    def url(self) -> str:
        """Its address, which is its issuer too."""
        return self._service.issuer

    def handle(self, asked: Asked) -> Answer:
        """The answer to one request, wherever it came from. Raises Unreachable, AnswerLost."""
        with self._lock:
            verb, payment_id = self._named(asked)
            code, magic_kind = self._magic_of(asked) if verb == "exchange" else ("", "")
            is_first = code not in self._seen
            self._seen.add(code)
            if self._is_down or magic_kind == "down" or self._take("drop", verb):
                self._note(asked, verb, payment_id, None)
                raise Unreachable
            answer = self._refused(asked, verb, magic_kind, is_first=is_first) or self._service.answer(asked)
            if self._take("repeat", verb):
                self._note(asked, verb, payment_id, answer)
                answer = self._service.answer(asked)
            is_lost = magic_kind == "lost answer" or (magic_kind == "lost once" and is_first)
            if self._take("lose", verb) or (is_lost and answer.status < 300):
                self._note(asked, verb, payment_id, None)
                raise AnswerLost
            late = self._take("delay", verb)
            answer.delay_s = late.seconds if late else self.slow_s if magic_kind == "slow" else 0.0
            self._note(asked, verb, payment_id, answer)
            return answer

    # ── time and faults ─────────────────────────────────────────────────────────────────────────────────────────────

    def now(self) -> datetime:
        """The fake's time, in UTC."""
        return datetime.now(timezone.utc) + self._ahead

    def advance(self, seconds: float) -> None:
        """Moves the fake's time on: holds expire, access tokens too."""
        with self._lock:
            self._ahead += timedelta(seconds=seconds)

    def went_down(self) -> None:
        """No request reaches it from now on."""
        self._is_down = True

    def came_back(self) -> None:
        """It answers again, and knows everything that it knew."""
        self._is_down = False

    def lose_answer(self, times: int = 1, *, verb: str | None = None) -> None:
        """The next `times` calls (of this verb) are carried out, and no answer comes."""
        self._faults["lose"].append(_Fault(times, verb))

    def drop(self, times: int = 1, *, verb: str | None = None) -> None:
        """The next `times` calls (of this verb) do not reach it, and nothing is done."""
        self._faults["drop"].append(_Fault(times, verb))

    def repeat(self, times: int = 1, *, verb: str | None = None) -> None:
        """The next `times` calls (of this verb) come in twice; the second answer is given."""
        self._faults["repeat"].append(_Fault(times, verb))

    def delay(self, seconds: float, times: int = 1, *, verb: str | None = None) -> None:
        """The next `times` calls (of this verb) are carried out at once, and answered so many seconds later."""
        self._faults["delay"].append(_Fault(times, verb, seconds=seconds))

    def forget_faults(self) -> None:
        """What was still to be lost, dropped, repeated, delayed or refused is answered as usual."""
        self._faults.clear()

    def refuse(
        self, slug: str, times: int = 1, *, verb: str | None = None, retry_after_s: int | None = None, **facts: Any
    ) -> None:
        """The next `times` calls (of this verb) are answered with this slug, and nothing is done.

        Raises KeyError for a slug that the service does not have.
        """
        REFUSALS[slug]
        if slug in ("busy", "try-later"):
            retry_after_s = retry_after_s or 1
        self._faults["refuse"].append(_Fault(times, verb, slug, retry_after_s, facts))

    def revoke_access_tokens(self) -> None:
        """Every access token is refused from now on; another can be had."""
        self._service.parties.revoke_all()

    # ── parties, cards, shoppers ────────────────────────────────────────────────────────────────────────────────────

    def add_client(
        self, store_id: str | None = None, *, scopes: Sequence[str] = SCOPES, redirect_uris: Sequence[str] = ()
    ) -> FakeClient:
        """Another client of a store, by default of this one; its ID and secret are what the answer says."""
        made = FakeClient(store_id or self.store_id, tuple(scopes), list(redirect_uris))
        with self._lock:
            return self._service.parties.add(made)

    def add_store(self, *, scopes: Sequence[str] = SCOPES, redirect_uris: Sequence[str] = ()) -> FakeClient:
        """Another store, by a client of its own."""
        return self.add_client(new_id("str"), scopes=scopes, redirect_uris=redirect_uris)

    def limit_refunds(self, limit: Money) -> None:
        """The store refunds at most so much in 24 hours."""
        self._service.books.refund_limits[self.store_id, limit.currency] = limit.amount_minor

    def issue(self, amount: str, currency: str = "GBP") -> str:
        """The code of a new card, drawn at random."""
        with self._lock:
            code = draw_code()
            self._service.books.issue(Money.of(amount, currency), code)
            return grouped(code)

    def claim(self, payment_id: str) -> str:
        """The holder of a payment's card opens the newest letter, and is shown a fresh code.

        Raises LookupError where no link waits, KeyError for an unknown payment.
        """
        with self._lock:
            return grouped(self._service.books.claim(self._service.books.payments[payment_id].card))

    def code_token(
        self, code: str, *, order_reference: str, amount: Money, shopper_key: str | None = None, store_id: str = ""
    ) -> str:
        """What the field in the store's page gets for this code. Raises Refused."""
        with self._lock:
            asker = Asker(store_id or self.store_id, shopper_key, order_reference)
            return self._service.make_code_token(code, asker, amount)

    def approve(self, url: str, code: str) -> str:
        """The shopper follows the address of `start_checkout`, types this code and says yes; the address back.

        Raises Refused where the page would say no, LookupError for an address that is not good (any more).
        """
        with self._lock:
            self._service.authorization.release_due()
            return self._service.authorization.approve(self._opened(url), code)

    def deny(self, url: str) -> str:
        """The shopper follows the address of `start_checkout` and goes back; the address back. Raises LookupError."""
        with self._lock:
            self._service.authorization.release_due()
            return self._service.authorization.deny(self._opened(url))

    # ── what it knows ───────────────────────────────────────────────────────────────────────────────────────────────

    def payment(self, payment_id: str) -> FakePayment:
        """A payment as it stands at this moment. Raises KeyError."""
        with self._lock:
            found = self._service.books.payments[payment_id]
            self._service.books.close_due(found.card)
            return found

    @property
    def payments(self) -> list[FakePayment]:
        """All payments, the oldest first."""
        return [self.payment(payment_id) for payment_id in list(self._service.books.payments)]

    @property
    def letters(self) -> list[Letter]:
        """What holders were told, the oldest first: what was taken, released, refunded, and reissued."""
        with self._lock:
            for card in self._service.books.cards:
                self._service.books.close_due(card)
            return list(self._service.books.letters)

    def card(self, payment_id: str) -> FakeCard:
        """The card of a payment. Raises KeyError."""
        return self.payment(payment_id).card

    def called(self, verb: str) -> list[Call]:
        """The calls of one verb, in order: `exchange`, `settle`, `token`, …"""
        return [call for call in self.calls if call.verb == verb]

    def assert_sums_agree(self, *, settled: Money | None = None) -> None:
        """Every sum of the books agrees; with `settled`, the store is owed exactly so much in that currency.

        Raises AssertionError, which names each sum that does not.
        """
        with self._lock:
            differing = sums_that_differ(self._service.books.cards)
            payments = list(self._service.books.payments.values())
        if settled is not None:
            owed = sum(
                payment.settled_minor - payment.refunded_minor
                for payment in payments
                if payment.store_id == self.store_id and payment.card.currency == settled.currency
            )
            if owed != settled.amount_minor:
                differing.append(f"the store is owed {Money(owed, settled.currency)}, not {settled}")
        if differing:
            raise AssertionError("; ".join(differing))

    # ── how it is reached ───────────────────────────────────────────────────────────────────────────────────────────

    def client(self, **options: Any) -> Client:
        """A client of this store that talks to the fake without a socket; `options` are Client's.

        Its budget is shorter than usual, so that a test that waits for no answer does not wait for long.
        """
        options.setdefault("budget", SHORT)
        made = Client(self.url, self.client_id, self.client_secret, **options)
        made._by_process[os.getpid()] = _Open(PluggedIn(self))  # type: ignore[arg-type]
        return made

    def async_client(self, **options: Any) -> AsyncClient:
        """The same for AsyncClient; needs the extra `async`."""
        from scrip_sdk.aio import AsyncClient

        options.setdefault("budget", SHORT)
        made = AsyncClient(self.url, self.client_id, self.client_secret, **options)
        vars(made)["_send"] = PluggedIn(self).send_async
        return made

    @contextmanager
    def plugged_in(self) -> Iterator[FakeScrip]:
        """Inside, every Client of this process whose `base_url` is the fake's talks to it without a socket: for stores
        that make their client by themselves, out of their settings. Those made before have their connections already.
        """

        def wire(origin: str, **options: Any) -> PluggedIn | Wire:
            return PluggedIn(self) if origin == self.url else Wire(origin, **options)

        with patch("scrip_sdk.client.Wire", wire):
            yield self

    @contextmanager
    def served(self, port: int = 0) -> Iterator[str]:
        """Answers on 127.0.0.1 until the block ends, on a free port unless one is named; yields its address, which is
        its `url` and its issuer from then on."""
        with served(self, port) as url:
            yield url

    def moved_to(self, url: str) -> None:
        """From now on this is its address and its issuer."""
        self._service.moved_to(url)

    # ── inside ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def _opened(self, url: str) -> Any:
        query = dict(parse_qsl(urlsplit(url).query))
        return self._service.authorization.open(query.get("client_id", ""), query.get("request_uri", ""))

    def _named(self, asked: Asked) -> tuple[str, str]:
        return self._service.api.verb_of(asked) or (_OTHER_VERBS.get(asked.path, asked.path), "")

    def _magic_of(self, asked: Asked) -> tuple[str, str]:
        """The code in an exchange, if it is one for tests, and what it says."""
        try:
            typed = json.loads(asked.body)["code"]
        except (ValueError, KeyError, TypeError):
            return "", ""
        code = read_code(typed) if isinstance(typed, str) else None
        magic = read_magic(code) if code else None
        return (code, magic.kind) if code and magic else ("", "")

    def _refused(self, asked: Asked, verb: str, magic_kind: str, *, is_first: bool) -> Answer | None:
        refused = None
        if (fault := self._take("refuse", verb)) and fault.slug:
            refused = Refused(fault.slug, retry_after_s=fault.retry_after_s, **fault.facts)
        elif magic_kind == "try later":
            refused = Refused("try-later", retry_after_s=30)
        elif magic_kind == "busy once" and is_first:
            refused = Refused("busy", retry_after_s=1)
        if refused is None:
            return None
        return as_oauth_error(refused) if asked.path.startswith("/oauth/") else as_problem(refused)

    def _take(self, kind: str, verb: str) -> _Fault | None:
        for fault in self._faults[kind]:
            if fault.times > 0 and fault.verb in (None, verb):
                fault.times -= 1
                return fault
        return None

    def _note(self, asked: Asked, verb: str, payment_id: str, answer: Answer | None) -> None:
        status, replayed = (0, False) if answer is None else (answer.status, _is_replay(answer))
        self.calls.append(Call(verb, payment_id, asked.header("idempotency-key"), status, replayed))


def _is_replay(answer: Answer) -> bool:
    return answer.headers.get("Idempotent-Replayed") == "true"
