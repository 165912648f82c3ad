"""The instruments themselves: the proxy does to answers what it is told, and the search finds codes that stay."""

import base64
import json
import secrets
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPResponse
from pathlib import Path
from typing import Any

import pytest

from tests.plugin_sdk.stores.fault_proxy import FaultProxy
from tests.plugin_sdk.stores.service import Store, assert_books_balance
from tests.plugin_sdk.stores.store_process import Database, end_in_order, run_python, store_environment
from tests.plugin_sdk.stores.traces import Traces

PAYMENTS, SETTLEMENTS = "/v1/payments", "/v1/payments/*/settlements"
ORDER = "order-1"


@dataclass
class Shop:
    """A store's machine that knows nothing of retries: it asks once, through the proxy."""

    port: int
    access_token: str

    def ask(self, path: str, body: dict[str, Any], key: str, *, timeout: float = 10) -> tuple[int, dict[str, Any]]:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        headers = {
            "Authorization": f"Bearer {self.access_token}",
            "Content-Type": "application/json",
            "Idempotency-Key": key,
        }
        try:
            connection.request("POST", path, json.dumps(body), headers)
            answer: HTTPResponse = connection.getresponse()
            return answer.status, json.loads(answer.read())
        finally:
            connection.close()

    def exchange(self, code: str, key: str = "exchange-1") -> tuple[int, dict[str, Any]]:
        return self.ask(PAYMENTS, {"code": code, "order_reference": ORDER}, key)

    def settle(self, payment_id: str, key: str = "settle-1") -> tuple[int, dict[str, Any]]:
        body = {"amount": {"amount_minor": 3_000, "currency": "GBP"}}
        return self.ask(f"{PAYMENTS}/{payment_id}/settlements", body, key)


@pytest.fixture
def shop(store: Store, faults: FaultProxy) -> Shop:
    pair = f"{store.credentials.client_id}:{store.credentials.client_secret}".encode()
    connection = HTTPConnection("127.0.0.1", faults.port, timeout=10)
    headers = {
        "Authorization": "Basic " + base64.b64encode(pair).decode(),
        "Content-Type": "application/x-www-form-urlencoded",
    }
    connection.request("POST", "/oauth/token", "grant_type=client_credentials", headers)
    token = json.loads(connection.getresponse().read())["access_token"]
    connection.close()
    return Shop(faults.port, token)


def test_what_no_rule_names_passes_and_is_noted_without_its_body(store: Store, shop: Shop, faults: FaultProxy) -> None:
    card = store.card()
    status, payment = shop.exchange(card.code)
    assert (status, payment["state"]) == (201, "held")
    assert [(one.method, one.path, one.fault, one.status) for one in faults.seen("POST", PAYMENTS)] == [
        ("POST", PAYMENTS, None, 201)
    ]
    assert card.code not in repr(faults.passed)


def test_a_lost_answer_is_of_work_that_was_done(store: Store, shop: Shop, faults: FaultProxy) -> None:
    _, payment = shop.exchange(store.card().code)
    faults.lose("POST", SETTLEMENTS, times=2)
    for _ in range(2):
        with pytest.raises((OSError, HTTPException)):
            shop.settle(payment["id"])
        assert store.settlements(payment["id"]) == [3_000]
    assert shop.settle(payment["id"])[0] == 201
    assert store.settlements(payment["id"]) == [3_000]
    assert_books_balance(store)


def test_a_dropped_request_was_never_heard(store: Store, shop: Shop, faults: FaultProxy) -> None:
    _, payment = shop.exchange(store.card().code)
    faults.drop("POST", SETTLEMENTS)
    with pytest.raises((OSError, HTTPException)):
        shop.settle(payment["id"])
    assert store.settlements(payment["id"]) == []


def test_what_goes_twice_is_heard_twice_at_once(store: Store, shop: Shop, faults: FaultProxy) -> None:
    """The service sees two requests: under one key it does them once, and a key of each would be another matter."""
    _, payment = shop.exchange(store.card().code)
    rule = faults.twice("POST", SETTLEMENTS)
    before = store.service.log.read_text().count("/settlements")
    assert shop.settle(payment["id"])[0] == 201
    assert rule.met == 1 and store.settlements(payment["id"]) == [3_000]
    for _ in range(100):
        if store.service.log.read_text().count("/settlements") == before + 2:
            break
        time.sleep(0.05)
    else:
        pytest.fail("the service heard of it once")


def test_a_refusal_in_the_services_place_says_when_to_come_back(store: Store, shop: Shop, faults: FaultProxy) -> None:
    _, payment = shop.exchange(store.card().code)
    faults.refuse("POST", SETTLEMENTS, retry_after_s=7)
    status, problem = shop.settle(payment["id"])
    assert (status, problem["slug"]) == (503, "busy")
    assert store.settlements(payment["id"]) == [] and shop.settle(payment["id"])[0] == 201


def test_a_slow_answer_comes_after_who_asked_has_left(store: Store, shop: Shop, faults: FaultProxy) -> None:
    _, payment = shop.exchange(store.card().code)
    faults.slow("POST", SETTLEMENTS, seconds=0.6)
    body = {"amount": {"amount_minor": 3_000, "currency": "GBP"}}
    with pytest.raises(TimeoutError):
        shop.ask(f"{PAYMENTS}/{payment['id']}/settlements", body, "settle-1", timeout=0.3)
    assert store.settlements(payment["id"]) == [3_000]


def test_while_it_is_down_connections_are_refused_and_open_ones_break(store: Store, faults: FaultProxy) -> None:
    kept = HTTPConnection("127.0.0.1", faults.port, timeout=10)
    kept.request("GET", "/healthz")
    kept.getresponse().read()
    with faults.away():
        with pytest.raises((OSError, HTTPException)):
            kept.request("GET", "/healthz")
            kept.getresponse()
        with pytest.raises(ConnectionRefusedError):
            HTTPConnection("127.0.0.1", faults.port, timeout=10).request("GET", "/healthz")
    kept.close()
    again = HTTPConnection("127.0.0.1", faults.port, timeout=10)
    again.request("GET", "/healthz")
    assert again.getresponse().status == 200
    again.close()


def test_many_at_once_meet_a_rule_as_often_as_it_says(store: Store, faults: FaultProxy) -> None:
    rule = faults.refuse("GET", "/healthz", times=5)
    statuses: list[int] = []

    def ask() -> None:
        connection = HTTPConnection("127.0.0.1", faults.port, timeout=20)
        connection.request("GET", "/healthz")
        statuses.append(connection.getresponse().status)
        connection.close()

    threads = [threading.Thread(target=ask) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (statuses.count(503), statuses.count(200), rule.met) == (5, 7, 5)


def test_the_search_finds_a_code_wherever_it_stays(own_store_database: Database, tmp_path: Path) -> None:
    """`assert_finds` plants one in each place; here one is left in a single place each, and must be reported."""
    code = "S5FR-5EZY-B8FS-5CWB"
    log = tmp_path / "store.log"
    log.write_text("nothing")
    traces = Traces(own_store_database, files=[log])
    traces.assert_without(code)
    log.write_text(f"POST /basket code={code.lower()}")
    with pytest.raises(AssertionError, match="small letters"):
        traces.assert_without(code)
    log.write_text("nothing")
    traces.saw(f"http://shop/?card={code.replace('-', '')}")
    with pytest.raises(AssertionError, match="address"):
        traces.assert_without(code)


def test_a_django_session_is_unpacked_before_it_is_searched(tmp_path: Path) -> None:
    code = f"S5FR-5EZY-B8FS-{secrets.token_hex(2).upper()}"
    program = (
        "from django.conf import settings; settings.configure(SECRET_KEY='x' * 50)\n"
        "import sys; from django.core import signing\n"
        "print(signing.dumps({'cards': [sys.argv[1]] * 20}, compress=True))"
    )
    packed = run_python(["-c", program, code], env=store_environment(), cwd=tmp_path).stdout
    assert code not in packed
    kept = tmp_path / "sessions"
    kept.write_text(packed)
    assert Traces(files=[kept]).search({"code": code})


def test_a_program_that_has_hardly_begun_ends_in_order() -> None:
    late = "import signal, sys, time; time.sleep(.3); signal.signal(15, lambda *_: sys.exit(0)); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", late]) as process:
        assert end_in_order(process) == 0
    with subprocess.Popen([sys.executable, "-c", "import sys; sys.exit(3)"]) as process:
        assert end_in_order(process) == 3, "it ends by itself"
