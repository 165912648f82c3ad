"""Answers that are lost after the commit, again and again: one effect, and the caller finds out which."""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any

import pytest

from app import config
from app.secrecy import random_secret
from tests.api import JSON, Api, api_of
from tests.cutting_proxy import Cut, CuttingProxy
from tests.faults.conftest import Run, Running, Tell
from tests.faults.verbs import Effects, claim_link, effects_of
from tests.test_cut_connections import Answer, ask, shape
from tests.web import fresh
from tests.web.fresh import Request
from tests.world import assert_audit_is_clean

Make = Callable[[Api], Request]

#: How many answers are lost for each verb; `./run faults --cuts` sets it.
CUTS = int(os.environ.get("SCRIP_FAULTS_CUTS", "20"))
#: Clients at once, each with a proxy of its own.
LANES = 4
WAYS: tuple[Cut, ...] = ("answer", "half answer")
VERBS: tuple[Make, ...] = (
    claim_link,
    fresh.exchange_code,
    fresh.confirm_payment,
    fresh.settle_payment,
    fresh.void_payment,
    fresh.refund_payment,
)
#: What a payment says of itself.
STANDS = ("state", "confirmed", "order_reference", "held", "settled", "released", "refunded", "expires_at")


@pytest.mark.slow
def test_an_answer_lost_after_the_commit(own_database: config.Settings, run: Run, tell: Tell) -> None:
    with run(own_database) as service, lanes_to(service) as lanes:
        for make in VERBS:
            check_lost_answers(lanes, make, CUTS)
            tell(f"{make.__name__}: {CUTS} answers lost, each request had one effect")
        assert_audit_is_clean()


@pytest.mark.slow
def test_without_a_memory_of_requests_it_is_noticed(own_database: config.Settings, run: Run) -> None:
    """See tests/faults/forgetful_wsgi.py."""
    with run(own_database, wsgi="forgetful_wsgi") as service, lanes_to(service) as lanes:
        for make in VERBS:
            with pytest.raises(AssertionError, match=make.__name__):
                check_lost_answers(lanes, make, 1)


@contextmanager
def lanes_to(service: Running) -> Iterator[list["Lane"]]:
    """Clients that work side by side, each through a proxy of its own."""
    with ExitStack() as proxies:
        yield [Lane(service, proxies.enter_context(CuttingProxy(service.port).running())) for _ in range(LANES)]


def check_lost_answers(lanes: list["Lane"], make: Make, cuts: int) -> None:
    """As many requests, each on a card of its own, whose first answers are lost: sent again they are as if heard."""
    heard = lanes[0].hear(make)
    ways = [WAYS[n % len(WAYS)] for n in range(cuts)]

    def take_share(n: int) -> None:
        for way in ways[n::LANES]:
            lanes[n].check(make, way, heard)

    with ThreadPoolExecutor(LANES) as pool:
        list(pool.map(take_share, range(LANES)))


@dataclass(frozen=True)
class Outcome:
    """What a caller was told at last, and what became of the card; all that is each request's own left out."""

    replayed: bool
    told: Any
    effects: Effects


class Lane:
    """A client that waits for each answer before it asks again."""

    def __init__(self, service: Running, proxy: CuttingProxy) -> None:
        self._api = api_of(service.api.acme.client.application.test_client(), service.api.world)
        self._proxy = proxy

    def hear(self, make: Make) -> Outcome:
        """Nothing is cut. A claim's repeat draws another code, so a lost claim is as one that was made twice."""
        return self._send(make, ["pass"] * (2 if make is claim_link else 1))

    def check(self, make: Make, cut: Cut, heard: Outcome) -> None:
        outcome = self._send(make, [cut, "pass"])
        assert outcome == replace(heard, replayed=make is not claim_link), (make.__name__, cut)

    def _send(self, make: Make, cuts: list[Cut]) -> Outcome:
        path, body, status = make(self._api)
        key = random_secret()
        authorization = {} if path.startswith("/claim/") else self._api.machine(path).authorization
        headers = {**JSON, **authorization, "Idempotency-Key": key}
        for cut in cuts:
            self._proxy.cuts = [cut]
            answer = ask(self._proxy.port, path, body, headers)
            assert (answer is None) == (cut != "pass"), make.__name__
        assert answer is not None and answer.status == status, (make.__name__, answer)
        effects = effects_of(path, answer.body, key)
        self._check_told(path, answer)
        return Outcome(answer.replayed, shape(answer.body), effects)

    def _check_told(self, path: str, answer: Answer) -> None:
        """The code in the answer is the one that is good; the payment in it is as it stands."""
        if path.startswith("/claim/"):
            assert self._api.world.exchange(answer.body["code"]).opened
            return
        told = answer.body.get("payment", answer.body)
        seen = self._api.bookshop.get(f"/v1/payments/{told['id']}").get_json()
        assert {name: seen[name] for name in STANDS} == {name: told[name] for name in STANDS}
