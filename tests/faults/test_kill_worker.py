"""A web worker killed between any two database calls of any verb: sent again, the request has one effect."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from app import config
from app.secrecy import random_secret
from tests.api import JSON, Api, digests
from tests.faults import verbs
from tests.faults.conftest import Run, Running, Tell, assert_clean
from tests.faults.fuse import HEADER
from tests.faults.verbs import VERBS, card_of, use_up
from tests.test_cut_connections import Answer, ask, shape
from tests.web import fresh
from tests.web.fresh import Request

Make = Callable[[Api], Request]

#: Whether every card is used up to its end; else one that was killed before the effect and one after, for each verb:
#: the others are in the same states, as their answers and what they added to the tables say.
EVERYWHERE = bool(os.environ.get("SCRIP_FAULTS_LONG"))

#: A holder's repeat of a claim that had taken effect: the first code is dead, and another stands in its place.
ANOTHER_CODE = {"code": 1, "event": 1}


@pytest.mark.slow
def test_a_worker_killed_at_any_database_call_of_any_verb(own_database: config.Settings, run: Run, tell: Tell) -> None:
    with run(own_database, wsgi="killed_wsgi") as service:
        for make in VERBS:
            kills = check_every_place(service, make)
            tell(f"{make.__name__}: killed at {kills} places")
            assert kills >= 5, make


@pytest.mark.slow
@pytest.mark.parametrize("make", [fresh.refund_payment, verbs.claim_link])
def test_what_is_torn_or_forgotten_is_noticed(own_database: config.Settings, run: Run, make: Make) -> None:
    """See tests/faults/torn_wsgi.py."""
    with run(own_database, wsgi="torn_wsgi") as service, pytest.raises(AssertionError):
        check_every_place(service, make)


def check_every_place(service: Running, make: Make) -> int:
    """Kills at each call that the verb makes; returns at how many."""
    dry = Asked(service, make(service.api))
    places = list(places_in(dry.send("count").headers[HEADER].split(",")))
    used_up: set[bool] = set()
    for place in places:
        asked = check_place(service, make, place, alone=dry)
        if EVERYWHERE or place.has_effect not in used_up:
            used_up.add(place.has_effect)
            use_up(service.api, card_of(service.api, asked.path, asked.answer.body), asked.answer.body)
    assert_clean()
    return len(places)


@dataclass(frozen=True)
class Place:
    """Where a worker dies, and whether its request has taken effect by then."""

    name: str
    has_effect: bool


def places_in(calls: list[str]) -> Iterator[Place]:
    """Before each call, and for a commit also when it was sent and nobody hears that it is done."""
    writes = [n for n, call in enumerate(calls) if call == "write"]
    decisive = calls.index("commit", writes[-1])
    for n, call in enumerate(calls):
        yield Place(f"{n}", n > decisive)
        if call == "commit":
            yield Place(f"{n} sent", n >= decisive)


def check_place(service: Running, make: Make, place: Place, *, alone: "Asked") -> "Asked":
    asked, where = Asked(service, make(service.api)), (make.__name__, place)
    assert asked.send_and_lose(place.name), where
    answer = asked.send()
    assert (answer.status, shape(answer.body)) == (alone.status, shape(alone.answer.body)), (where, answer)
    is_claim = asked.path.startswith("/claim/")
    assert answer.replayed == (place.has_effect and not is_claim), where
    grown = dict(alone.grown)
    if place.has_effect and "code" in answer.body:
        grown = {table: count + ANOTHER_CODE.get(table, 0) for table, count in grown.items()}
    assert asked.grown == grown, (where, asked.grown)
    return asked


class Asked:
    """One request, sent again and again under the same key; its answer, and what it added to each table."""

    def __init__(self, service: Running, request: Request) -> None:
        self.path, self.body, self.status = request
        self._port = service.port
        authorization = {} if self.path.startswith("/claim/") else service.api.machine(self.path).authorization
        self._headers = {**JSON, **authorization, "Idempotency-Key": random_secret()}
        self._before = digests()
        self.answer: Answer

    def send(self, place: str | None = None) -> Answer:
        answer = self._ask({HEADER: place} if place else {})
        assert answer is not None
        self.answer, after = answer, digests()
        self.grown = {
            table: count - self._before[table][0]
            for table, (count, _) in after.items()
            if after[table] != self._before[table]
        }
        return answer

    def send_and_lose(self, place: str) -> bool:
        """Whether the worker died over it."""
        return self._ask({HEADER: place}) is None

    def _ask(self, more: dict[str, str]) -> Answer | None:
        return ask(self._port, self.path, self.body, {**self._headers, **more})
