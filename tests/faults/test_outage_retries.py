"""Many stores retry through an outage of the database: little more is asked than is wanted, and it is soon over.

The long form: `SCRIP_OUTAGE_S=30 SCRIP_CLIENTS=200 ./run test tests/faults/test_outage_retries.py -s`; it prints what
it measured, and `SCRIP_SEED=…` repeats its draws. *Amplification* is the number of requests that reached the service,
by its own log, divided by the number of operations that the stores wanted, both between the beginning of the outage
and the moment when nothing is left of what was wanted before its end. *Recovery* is how long after the end that is.
Each store wants six operations during the outage, at random times: an exchange first, then settlements in parts.
"""

import json
import os
import random
import secrets
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from app import config
from app.db import away
from app.db.embedded import EmbeddedPostgres, temporary_postgres
from app.db.engine import engine
from app.db.migrate import bootstrap, upgrade
from app.oauth.access_token import make_access_token
from app.oauth.clients import add_client, authenticate_client
from app.oauth.keys import forget_keys
from app.oauth.scopes import PARTY_SCOPES
from tests.api import money
from tests.faults.asking import Answer, ask
from tests.faults.post import differences, eventually
from tests.faults.retrying_client import Operation, Policy, Store, careful, impatient, obedient
from tests.service import real_keys, served
from tests.world import World, make_world, rows

OUTAGE_S = float(os.environ.get("SCRIP_OUTAGE_S", "6"))
CLIENTS = int(os.environ.get("SCRIP_CLIENTS", "40"))
SEED = int(os.environ.get("SCRIP_SEED", "0")) or secrets.randbits(32)
IS_LONG = "SCRIP_OUTAGE_S" in os.environ
BEFORE_S, AFTER_S = 2, 4
MOST_AMPLIFICATION = 2
#: No store pauses for longer, so that all are back by then. How soon the backlog is done as well depends on what else
#: the machine does, so only the long form measures it against this.
MOST_RECOVERY_S = 10
BOOKS = """SELECT count(DISTINCT payment.id) AS payments, count(settlement.id) AS parts, sum(amount_minor) AS pence
    FROM payment LEFT JOIN settlement ON settlement.payment_id = payment.id WHERE payment.store_id = :store_id"""
PASSWORD = "planted-database-password"


@dataclass(frozen=True)
class Service:
    """The service as it runs, on a database that can be taken away."""

    port: int
    log: Path
    database: EmbeddedPostgres


@pytest.fixture(scope="module")
def service(database: config.Settings, keys_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with temporary_postgres() as server:
        urls = {role: server.url("scrip", user=f"scrip_{role}", password=PASSWORD) for role in ("migrator", "service")}
        bootstrap(server.admin_url, migrate_url=urls["migrator"], service_url=urls["service"])
        upgrade(urls["migrator"])
        chosen = replace(database, database_url=urls["service"], keys=config.read_keys(real_keys(keys_dir)))
        log = tmp_path_factory.mktemp("outage") / "gunicorn.log"
        with served(chosen, keys_dir, log) as port:
            config.use(replace(chosen, public_url=f"http://127.0.0.1:{port}"))
            forget_keys()
            yield Service(port, log, server)
            engine().dispose()
        config.use(database)
        forget_keys()


@dataclass(frozen=True)
class Group:
    """Stores of one policy, which share an OAuth client, by which the log knows them."""

    client_id: str
    stores: list[Store]

    @property
    def operations(self) -> list[Operation]:
        return [operation for store in self.stores for operation in store.operations]


@dataclass(frozen=True)
class Outage:
    """When it was, by time.monotonic() and by the wall clock that the log has."""

    began_s: float
    ended_s: float
    began_at: datetime


@pytest.mark.slow
def test_many_stores_retry_through_an_outage(service: Service) -> None:
    tell(f"seed {SEED}: {CLIENTS} stores, {OUTAGE_S:g} s")
    world = make_world()
    groups = {policy: make_group(service, world, policy, CLIENTS // 2) for policy in (careful, obedient)}
    outage = run_through(service, list(groups.values()), OUTAGE_S)
    everything = [operation for group in groups.values() for operation in group.operations]
    recovery_s = normal_at(everything, outage) - outage.ended_s
    tell(f"back to normal after {recovery_s:.1f} s")
    for policy, group in groups.items():
        amplification = amplification_of(group, service, outage)
        tell(f"{policy.__name__}: amplification {amplification:.2f}")
        assert amplification <= MOST_AMPLIFICATION, policy.__name__
    assert max(pause_s for group in groups.values() for store in group.stores for pause_s in store.pauses_s) <= 10
    assert recovery_s <= MOST_RECOVERY_S or not IS_LONG
    check_every_operation_was_done_once(everything, world)
    check_the_log(service)


@pytest.mark.slow
def test_stores_that_do_not_back_off_are_noticed(service: Service) -> None:
    world = make_world()
    group = make_group(service, world, impatient, 6)
    outage = run_through(service, [group], 3, least_failures=40)
    assert amplification_of(group, service, outage) > MOST_AMPLIFICATION
    check_every_operation_was_done_once(group.operations, world)


@pytest.mark.parametrize("draw", [0, 0.5, 0.999])
def test_callers_are_told_to_wait_longer_and_longer_but_never_too_long(draw: float) -> None:
    waits = [away.wait_s(away_for_s, draw) for away_for_s in (0, 1, 2, 4, 8, 16, 10_000)]
    assert waits == sorted(waits)
    assert 1 <= waits[0] <= 2
    assert 5 <= waits[-1] <= 8
    assert waits[-1] == waits[4]


# ── the outage ──────────────────────────────────────────────────────────────────────────────────────────────────────


def make_group(service: Service, world: World, policy: Policy, many: int) -> Group:
    """Stores that each hold a code to exchange; their access token outlives the test."""
    made = add_client(name=policy.__name__, mode="test", store_id=world.bookshop, scopes=PARTY_SCOPES["store"])
    known = authenticate_client(made.client_id, made.client_secret)
    assert known is not None
    access_token = make_access_token(known, known.scopes)
    return Group(
        made.client_id,
        [Store(service.port, access_token, policy, random.Random(f"{SEED} {number}")) for number in range(many)],
    )


def run_through(service: Service, groups: list[Group], outage_s: float, *, least_failures: int = 0) -> Outage:
    """A little calm, the outage, a little calm; returns when all stores have all that they want.

    The outage goes on until each store has failed so often, however busy this machine is.
    """
    stores = [store for group in groups for store in group.stores]
    world = make_world()
    codes = [world.code().code for _ in stores]
    every_s = outage_s / 6
    whole_s = BEFORE_S + outage_s + AFTER_S
    begun_at_s = time.monotonic() + 0.5
    threads = []
    for number, (store, code) in enumerate(zip(stores, codes, strict=True)):
        times_s = sorted(store.draws.uniform(0, whole_s) for _ in range(round(whole_s / every_s)))
        asked = (begun_at_s, times_s, partial(wanted, code, f"order-{number}"))
        threads.append(threading.Thread(target=store.run, args=asked))
    for thread in threads:
        thread.start()
    outage = take_away(
        service,
        begun_at_s + BEFORE_S,
        outage_s,
        is_enough=lambda: all(len(store.pauses_s) >= least_failures for store in stores),
    )
    for thread in threads:
        thread.join(300)
        assert not thread.is_alive(), "a store never got through"
    return outage


def wanted(code: str, order: str, first: Answer | None) -> tuple[str, dict[str, Any]]:
    """What a store wants: its customer's code exchanged, then a penny at a time."""
    if first is None:
        return "/v1/payments", {"code": code, "order_reference": order}
    assert first.status == 201, first.body
    return f"/v1/payments/{first.body['id']}/settlements", {"amount": money(1), "final": False}


def take_away(service: Service, from_s: float, for_s: float, is_enough: Callable[[], bool]) -> Outage:
    """Stops the database for so long and until it is enough; the service goes on answering, that it is busy."""
    time.sleep(max(0.0, from_s - time.monotonic()))
    began_at = datetime.now(UTC)
    service.database.stop()
    began_s = time.monotonic()
    health = ask(service.port, "GET", "/healthz")
    assert (health.status, health.body["slug"]) == (503, "busy")
    time.sleep(max(0.0, began_s + for_s - time.monotonic()))
    eventually(is_enough, "all stores have failed often enough", within_s=120)
    service.database.start()
    return Outage(began_s, time.monotonic(), began_at)


# ── what must hold ──────────────────────────────────────────────────────────────────────────────────────────────────


def normal_at(operations: list[Operation], outage: Outage) -> float:
    """When the last of what was wanted before the end of the outage was done."""
    return max(operation.done_at_s for operation in operations if operation.wanted_at_s < outage.ended_s)


def amplification_of(group: Group, service: Service, outage: Outage) -> float:
    """Requests that reached the service, by its log, for each operation wanted; see the module's sentence."""
    until_s = normal_at(group.operations, outage)
    until = outage.began_at.timestamp() + until_s - outage.began_s
    reached = [
        line
        for line in lines_of(service.log)
        if line["event"] == "request" and line["actor"] == group.client_id
        and outage.began_at.timestamp() <= datetime.fromisoformat(line["timestamp"]).timestamp() <= until
    ]  # fmt: skip
    asked = [operation for operation in group.operations if outage.began_s <= operation.wanted_at_s <= until_s]
    return len(reached) / len(asked)


def check_every_operation_was_done_once(operations: list[Operation], world: World) -> None:
    """Each was answered well, and the books have each of them once."""
    answers = [operation.answer for operation in operations if operation.answer is not None]
    assert Counter(answer.status for answer in answers) == {201: len(operations)}
    settled = [operation for operation in operations if "settlements" in operation.path]
    [books] = rows(BOOKS, store_id=world.bookshop)
    assert (books.payments, books.parts, books.pence) == (len(operations) - len(settled), len(settled), len(settled))
    assert len({answer.body["id"] for answer in answers}) == len(operations)
    assert differences() == []


def check_the_log(service: Service) -> None:
    """One line for each refused request, soon after it was asked; no trace, no password."""
    refused = [line for line in lines_of(service.log) if line.get("status") == 503]
    assert len({line["request_id"] for line in refused}) == len(refused) > 0
    slowest_ms = max(line["took_ms"] for line in refused)
    tell(f"{len(refused)} requests were refused, the slowest after {slowest_ms:.0f} ms")
    assert slowest_ms < 30_000
    others = {line["event"] for line in lines_of(service.log)} - {"request"}
    assert not any("trace" in line for line in lines_of(service.log)), others
    assert PASSWORD not in service.log.read_text()


def tell(words: str) -> None:
    sys.stderr.write(words + "\n")


def lines_of(log: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
