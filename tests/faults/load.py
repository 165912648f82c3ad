"""Clients that live card after card through the service, keep every answer, and find out what they were not told."""

import json
import random
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from typing import Any

from app.jobs.items import patiently
from app.secrecy import random_secret
from tests.api import JSON, Machine, money
from tests.faults.conftest import Running
from tests.web.bodies import card_body, exchange_body
from tests.web.test_idempotency import without_secrets
from tests.world import key_of

PATIENCE_S = 120
#: So often a client does not come back after an answer was lost, until the end.
GIVES_UP = 0.5


@dataclass
class Asked:
    """A request, and the answer to it as far as one was heard."""

    path: str
    body: dict[str, Any]
    status: int
    key: str = field(default_factory=random_secret)
    answer: Any = None
    tries: int = 0


class GaveUp(Exception):
    """The client does not know what became of its request."""


class Client:
    """One card after another, from issue to refund; every request is kept in `asked`."""

    def __init__(self, service: Running, seed: int) -> None:
        self._service, self._random = service, random.Random(seed)
        self.asked: list[Asked] = []

    @property
    def heard(self) -> int:
        return sum(asked.answer is not None for asked in self.asked)

    def live(self, stop: threading.Event) -> None:
        """Until told to stop."""
        while not stop.is_set():
            try:
                self._live_a_card()
            except GaveUp:
                continue

    def find_out(self) -> None:
        """What was not heard is asked again; what was heard stands, and is told again."""
        for asked in self.asked:
            if asked.answer is None:
                self._send_until_answered(asked)
            if not asked.path.startswith("/claim/"):
                again = Asked(asked.path, asked.body, asked.status, key=asked.key)
                self._send_until_answered(again)
                assert without_secrets(again.answer) == without_secrets(asked.answer), (asked, again)

    def _live_a_card(self) -> None:
        card = self._ask("/v1/cards", card_body(self._service.api.world.programme_id, deliver="link"), 201)
        # A link is shown once: whoever missed the answer asks for another.
        link = (
            card["claim_link"] or self._ask(f"/v1/cards/{card['id']}/reissue", {"deliver": "link"}, 200)["claim_link"]
        )
        if link is None:
            return
        link_id, key = key_of(link)
        code = self._ask(f"/claim/{link_id}", {"key": key, "nonce": random_secret()}, 200)["code"]
        # Of a try that nobody could give back, as the database died, a count stays: each card is another shopper's.
        body = exchange_body(code, hold_ttl_s=1_800, shopper={"key_hash": random_secret()})
        payment = f"/v1/payments/{self._ask('/v1/payments', body, 201)['id']}"
        if self._random.random() < 0.3:
            self._ask(f"{payment}/void", {}, 200)
            return
        self._ask(f"{payment}/confirm", {"order_reference": "order-1"}, 200)
        self._ask(f"{payment}/settlements", {"amount": money(1_000), "final": False}, 201)
        self._ask(f"{payment}/settlements", {"amount": money(2_000)}, 201)
        self._ask(f"{payment}/refunds", {"amount": money(500)}, 201)

    def _ask(self, path: str, body: dict[str, Any], status: int) -> Any:
        asked = Asked(path, body, status)
        self.asked.append(asked)
        is_for_now = path.startswith("/claim/")  # a browser may come again for ten minutes
        if not self._send(asked) and not is_for_now and self._random.random() < GIVES_UP:
            raise GaveUp
        self._send_until_answered(asked)
        return asked.answer

    def _send_until_answered(self, asked: Asked) -> None:
        until = time.monotonic() + PATIENCE_S
        while asked.answer is None and not self._send(asked):
            assert time.monotonic() < until, f"no answer in {PATIENCE_S} s to {asked.path}"
            time.sleep(0.1)

    def _send(self, asked: Asked) -> bool:
        """Whether an answer came; that the service is busy is none. Any other refusal is a failure: all is in order."""
        asked.tries += 1
        connection = HTTPConnection("127.0.0.1", self._service.port, timeout=30)
        try:
            connection.request("POST", asked.path, json.dumps(asked.body), self._headers(asked))
            answer = connection.getresponse()
            told = json.loads(answer.read())
        except (HTTPException, OSError):
            return False
        finally:
            connection.close()
        if answer.status == 503:
            assert told["slug"] == "busy", told
            return False
        assert answer.status == asked.status, (asked.path, answer.status, told, asked.tries)
        asked.answer = told
        return True

    def _headers(self, asked: Asked) -> dict[str, str]:
        if asked.path.startswith("/claim/"):
            return JSON
        machine: Machine = self._service.api.machine(asked.path)
        token = patiently(lambda: machine.access_token, for_s=PATIENCE_S)
        return {**JSON, "Authorization": f"Bearer {token}", "Idempotency-Key": asked.key}


def effects_wanted(clients: list[Client]) -> Counter[str]:
    """How many rows the requests of all clients must have made, each once."""
    asked = [asked for client in clients for asked in client.asked]
    wanted: Counter[str] = Counter()
    for one in asked:
        table = {"cards": "card", "payments": "payment", "settlements": "settlement", "refunds": "refund"}
        wanted[table.get(one.path.rpartition("/")[2], "other")] += 1
    del wanted["other"]
    wanted["taken"] = sum(one.body["amount"]["amount_minor"] for one in asked if one.path.endswith("/settlements"))
    wanted["given back"] = sum(one.body["amount"]["amount_minor"] for one in asked if one.path.endswith("/refunds"))
    return wanted
