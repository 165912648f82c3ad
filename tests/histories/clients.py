"""Concurrent clients of a few cards: each sends, notes when and what was answered, and sends again when cut off."""

import itertools
import json
import random
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from typing import Any, cast

from app.errors import Busy
from app.redemption.store import add_store
from tests.api import JSON, Api, Machine, store_machine
from tests.histories.drawing import Drawing, Known
from tests.histories.faults import CUT_ONE_IN, CuttingCrowd, Faults
from tests.histories.record import History, Issued, Names, Operation, Value
from tests.histories.requests import ISSUER, Request, Requests
from tests.world import forgive_all, key_of

PATIENCE_S = 30
#: So many cards are open to the clients at once: few, so that they meet.
CARDS_AT_ONCE = 2
#: A client that knows no outcome asks again, so often at most; one in ten goes away instead.
TRIES, GOES_AWAY = 8, 0.1
AMOUNT = 5_000


class Tokens:
    """An access token for each party, renewed well before it is over."""

    RENEWED_S = 120

    def __init__(self, api: Api, names: Names) -> None:
        gameshop = add_store("Gameshop", mode="test")
        stores = {"bookshop": api.world.bookshop, "toyshop": api.world.toyshop, "gameshop": gameshop.id}
        for name, store_id in stores.items():
            names.known[store_id] = name
        self._machines: Mapping[str, Machine] = {
            ISSUER: api.acme,
            "bookshop": api.bookshop,
            "toyshop": api.toyshop,
            "gameshop": store_machine(api.acme.client, gameshop.id, mode="test"),
        }
        self._made = {name: (time.monotonic(), machine.authorization) for name, machine in self._machines.items()}

    def of(self, party: str) -> dict[str, str]:
        made_at, header = self._made[party]
        if time.monotonic() > made_at + self.RENEWED_S:
            with suppress(Busy):  # its key is read from the database now and then
                self._made[party] = (time.monotonic(), self._machines[party].authorization)
        return header


@dataclass(frozen=True)
class Answer:
    status: int
    replayed: bool
    request_id: str
    body: Any


@dataclass
class Crowd:
    """The clients of one history, what they know, and what is recorded of them."""

    port: int
    api: Api
    seed: int
    operations: int
    cards: int
    faults: Faults | None

    def __post_init__(self) -> None:
        self.names = Names()
        self.tokens = Tokens(self.api, self.names)
        self.known = [self._issue() for _ in range(self.cards)]
        starts = {one.name: Issued(AMOUNT, self.names.of("l", key_of(one.links[0])[0])) for one in self.known}
        self.history = History(self.seed, starts, [])
        #: Answers that no client should ever get.
        self.bugs: list[str] = []
        self._numbers = itertools.count()

    def work(self, clients: int) -> History:
        """All clients at once until all operations were drawn; then every card and payment is read, without faults."""
        cutter = CuttingCrowd(self.port, random.Random(f"cuts {self.seed}"))
        with cutter.running():
            workers = [Client(self, f"client{n}", cutter.port if self.faults else None) for n in range(clients)]
            failed = _run_all(workers)
        if failed:
            raise failed[0]
        Client(self, "last", None).read_all()
        return self.history

    def next_card(self, dice: random.Random) -> Known | None:
        """One of the few that are open now; None when all operations were drawn. Faults strike here."""
        number = next(self._numbers)
        if number >= self.operations:
            return None
        if self.faults:
            self.faults.strike(number)
        first = number * max(1, self.cards - CARDS_AT_ONCE + 1) // self.operations
        return self.known[min(first + dice.randrange(CARDS_AT_ONCE), self.cards - 1)]

    def _issue(self) -> Known:
        card = self.api.world.issue(AMOUNT)
        assert card.claim_link is not None
        return Known(self.names.of("card", card.id), card.id, [card.claim_link])


class Client(threading.Thread):
    """One browser, and one machine that works for every store and for the issuer."""

    def __init__(self, crowd: Crowd, name: str, cutting_port: int | None) -> None:
        super().__init__(name=name, daemon=True)
        self._crowd, self._cutting_port = crowd, cutting_port
        self._dice = random.Random(f"{name} {crowd.seed}")
        self._drawing = Drawing(self._dice, crowd.names, name)
        self._requests = Requests(crowd.names)
        self.failed: Exception | None = None

    def run(self) -> None:
        try:
            while (known := self._crowd.next_card(self._dice)) is not None:
                self._ask_until_known(known, self._drawing.draw(known))
        except Exception as error:  # whoever started the thread raises it
            self.failed = error

    def read_all(self) -> None:
        """The card first: it may be held by a payment that nobody has heard of."""
        for known in self._crowd.known:
            self._ask_until_known(known, self._requests.read_card(known.card_id), goes_away=0)
            for store, payment_id in known.payments:
                self._ask_until_known(known, self._requests.read_payment(payment_id, store), goes_away=0)

    def _ask_until_known(self, known: Known, request: Request, *, goes_away: float = GOES_AWAY) -> None:
        for _ in range(TRIES):
            if self._ask(known, request) or self._dice.random() < goes_away:
                return
        assert goes_away, f"no answer to {request.verb} although nothing goes wrong any more"

    def _ask(self, known: Known, request: Request) -> bool:
        """Records one try; returns whether its outcome is known."""
        if request.key is not None:
            known.sent.append(request)
        invoked_ns = time.monotonic_ns()
        answer = self._send(request)
        returned_ns = time.monotonic_ns()
        if answer is not None and answer.status in (403, 429):  # it was not looked at: all come from one address
            with suppress(Busy):
                forgive_all()
            return True
        if answer is not None and answer.status >= 500 and answer.status != 503:
            self._crowd.bugs.append(f"{answer.status} to {request.verb}: {answer.body}")
        told = self._told(request, answer)
        if told is not None or request.body is not None:  # a look without an answer was nothing
            self._crowd.history.operations.append(
                Operation(
                    card=known.name,
                    client=self.name,
                    verb=request.verb,
                    asked=request.asked,
                    key=request.key,
                    invoked_ns=invoked_ns,
                    returned_ns=None if told is None else returned_ns,
                    answer=told,
                    request_id=answer.request_id if answer else None,
                )
            )
        if answer is not None and told is not None and "refused" not in told:
            known.learn(request, told, answer.body)
        return told is not None

    def _told(self, request: Request, answer: Answer | None) -> Mapping[str, Value] | None:
        if answer is None:
            return None
        return self._requests.told(request.verb, answer.status, answer.body, replayed=answer.replayed)

    def _send(self, request: Request) -> Answer | None:
        """None when the connection was cut."""
        is_doomed = self._cutting_port and request.body is not None and self._dice.randrange(CUT_ONE_IN) == 0
        port = cast(int, self._cutting_port) if is_doomed else self._crowd.port
        headers = {**JSON, **(self._crowd.tokens.of(request.party) if request.party else {}), "Connection": "close"}
        if request.key is not None:
            headers["Idempotency-Key"] = request.key
        connection = HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
        try:
            content = None if request.body is None else json.dumps(request.body)
            connection.request("GET" if content is None else "POST", request.path, content, headers)
            answer = connection.getresponse()
            replayed, request_id = answer.headers["Idempotent-Replayed"] == "true", answer.headers["X-Request-Id"]
            return Answer(answer.status, replayed, request_id, json.loads(answer.read()))
        except (HTTPException, OSError, ValueError):
            return None
        finally:
            connection.close()


def _run_all(clients: Sequence[Client]) -> list[Exception]:
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    return [client.failed for client in clients if client.failed is not None]
