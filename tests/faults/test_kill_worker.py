"""A web worker killed between any two database calls of any verb: sent again, the request has one effect."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from app import config
from app.secrecy import random_secret
from tests.api import JSON, Api
from tests.faults import verbs
from tests.faults.conftest import Run, Running, Tell
from tests.faults.fuse import HEADER
from tests.faults.verbs import MORE_VERBS, VERBS, Effects, effects_of, use_up
from tests.test_cut_connections import Answer, ask, shape
from tests.web import fresh
from tests.web.fresh import Request
from tests.world import assert_audit_is_clean, forgive_all

Make = Callable[[Api], Request]

#: In the long form every card is used up to its end; else one that was killed before the effect and one after, for each
#: verb: the others are in the same states, as their answers and their rows say.
LONG = bool(os.environ.get("SCRIP_FAULTS_LONG"))
TRIES = 10


@pytest.mark.slow
def test_a_worker_killed_at_any_database_call_of_any_verb(own_database: config.Settings, run: Run, tell: Tell) -> None:
    with run(own_database, wsgi="killed_wsgi") as service:
        for make in (*VERBS, *MORE_VERBS) if LONG else VERBS:
            kills = check_every_place(service, make)
            tell(f"{make.__name__}: killed at {kills} places")
            assert kills >= 5, make
        assert_audit_is_clean()


@pytest.mark.slow
def test_what_is_torn_or_forgotten_is_noticed(own_database: config.Settings, run: Run) -> None:
    """See tests/faults/torn_wsgi.py."""
    with run(own_database, wsgi="torn_wsgi") as service:
        for make in (fresh.refund_payment, verbs.claim_link):
            with pytest.raises(AssertionError, match=make.__name__):
                check_every_place(service, make)


def check_every_place(service: Running, make: Make) -> int:
    """Kills at each call that the verb makes; returns at how many."""
    alone, used_up = Alone(service, make), set()
    for place in alone.places:
        asked = check_place(service, make, place, alone)
        if LONG or place.has_effect not in used_up:
            used_up.add(place.has_effect)
            use_up(service.api, asked.path, asked.answer.body)
    return len(alone.places)


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


class Asked:
    """One request, sent again and again under the same key, and what it has done."""

    def __init__(self, service: Running, make: Make) -> None:
        self.path, self.body, self.status = make(service.api)
        self._name, self._service = make.__name__, service
        self.is_claim = self.path.startswith("/claim/")
        authorization = {} if self.is_claim else service.api.machine(self.path).authorization
        self._key = random_secret()
        self._headers = {**JSON, **authorization, "Idempotency-Key": self._key}
        self.answer: Answer

    def send(self, place: str | None = None) -> Answer:
        """Again while the service is busy: the dead one's transaction may not have ended yet."""
        tries = (self._ask({HEADER: place} if place else {}) for _ in range(TRIES))
        answer = next((answer for answer in tries if answer is None or answer.status != 503), None)
        assert answer is not None and answer.status == self.status, (self._name, answer)
        self.answer = answer
        return answer

    def send_and_lose(self, place: str) -> bool:
        """Whether the worker died over it."""
        return self._ask({HEADER: place}) is None

    def effects(self) -> Effects:
        return effects_of(self.path, self.answer.body, self._key)

    def _ask(self, more: dict[str, str]) -> Answer | None:
        return ask(self._service.port, self.path, self.body, {**self._headers, **more})


class Alone:
    """The same verb with nothing in its way: its calls, its answer, and its effects; a claim's repeat has some more."""

    def __init__(self, service: Running, make: Make) -> None:
        asked = Asked(service, make)
        self.places = list(places_in(asked.send("count").headers[HEADER].split(",")))
        self.shape = shape(asked.answer.body)
        once = asked.effects()
        asked.send()
        self.effects = {False: once, True: asked.effects()}
        assert asked.is_claim or self.effects[True] == once, make.__name__


def check_place(service: Running, make: Make, place: Place, alone: Alone) -> Asked:
    forgive_all()  # a try that nobody is left to give back counts as wrong
    asked, where = Asked(service, make), (make.__name__, place)
    assert asked.send_and_lose(place.name), where
    answer = asked.send()
    assert shape(answer.body) == alone.shape, (where, answer)
    assert answer.replayed == (place.has_effect and not asked.is_claim), where
    assert asked.effects() == alone.effects[place.has_effect], where
    return asked
