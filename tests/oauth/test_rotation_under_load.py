"""Signing keys and secrets change hands while machines call: not one request fails."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from sqlalchemy import NullPool, create_engine, make_url

from app.config import Settings
from app.oauth.clients import NewClient, add_client
from app.oauth.keys import ensure_keys
from app.redemption.store import add_store
from tests.oauth.conftest import basic, segments
from tests.service import ROOT, environment, served

pytestmark = pytest.mark.slow

CALLERS = 2
#: Between a caller's rounds: without it they take all of a machine for as long as the test runs, and show no more.
PAUSE_S = 0.05
UNKNOWN = "/v1/payments/pay_01hzzzzzzzzzzzzzzzzzzzzzzz"
SERVED_BY = "tests.oauth.quick_refresh_wsgi:app"


@dataclass
class Seen:
    """What the callers got: every failure, and which keys signed their tokens."""

    failures: list[object] = field(default_factory=list)
    kids: dict[str, None] = field(default_factory=dict)
    calls: int = 0


def send(port: int, method: str, path: str, authorization: str, form: str | None = None) -> tuple[int, Any]:
    with closing(HTTPConnection("127.0.0.1", port, timeout=30)) as web:
        headers = {"Authorization": authorization}
        headers |= {"Content-Type": "application/x-www-form-urlencoded"} if form else {}
        web.request(method, path, form, headers)
        answer = web.getresponse()
        return answer.status, json.loads(answer.read() or b"null")


def call(port: int, credentials: Callable[[], NewClient], seen: Seen, stop: Event) -> None:
    """Asks for a token and uses it, over and over."""
    while not stop.wait(PAUSE_S):
        known = credentials()
        authorization = basic(known.client_id, known.client_secret)
        status, token = send(port, "POST", "/oauth/token", authorization, "grant_type=client_credentials")
        if status != 200:
            seen.failures.append((status, token))
            continue
        seen.kids[segments(token["access_token"])[0]["kid"]] = None
        for _ in range(3):
            status, problem = send(port, "GET", UNKNOWN, f"Bearer {token['access_token']}")
            if status != 404:
                seen.failures.append((status, problem))
        seen.calls += 4


@contextmanager
def load(port: int, credentials: Callable[[], NewClient]) -> Iterator[Seen]:
    seen, stop = Seen(), Event()
    with ThreadPoolExecutor(CALLERS) as pool:
        callers = [pool.submit(call, port, credentials, seen, stop) for _ in range(CALLERS)]
        try:
            yield seen
        finally:
            stop.set()
    for caller in callers:
        caller.result()


def scrip(settings: Settings, keys_dir: Path, port: int, *arguments: str) -> str:
    command = [sys.executable, "-P", "-m", "app.cli", *arguments]
    env = environment(settings, keys_dir, port)
    return subprocess.run(command, env=env, cwd=ROOT, check=True, capture_output=True, text=True).stdout


def publish_long_ago(urls: dict[str, str], settings: Settings) -> None:
    """The next keys were published six minutes before they could be: in life, they wait for so long."""
    url = make_url(urls["admin"]).set(database=make_url(settings.database_url).database)
    engine = create_engine(url, poolclass=NullPool)
    with engine.begin() as admin:
        admin.exec_driver_sql("UPDATE signing_key SET created_at = created_at - interval '1 hour' WHERE state = 'next'")


def test_keys_rotate_under_load_without_a_failed_request(
    own_database: Settings, urls: dict[str, str], keys_dir: Path, tmp_path: Path
) -> None:
    ensure_keys()
    store = add_store("Bookshop", mode="test")
    known = add_client(name="erp", mode="test", store_id=store.id, scopes=["settle"])
    with served(own_database, keys_dir, tmp_path / "log", wsgi=SERVED_BY) as port, load(port, lambda: known) as seen:
        for rotation in range(2):
            time.sleep(1.5)  # every process has read the keys again: in life the wait before a key signs sees to that
            publish_long_ago(urls, own_database)
            assert scrip(own_database, keys_dir, port, "keys", "rotate-signing").count("signs from") == 2
            until = time.monotonic() + 20
            while len(seen.kids) < rotation + 2 and time.monotonic() < until:
                time.sleep(0.1)
        time.sleep(1)
    assert seen.failures == []
    assert len(seen.kids) == 3, "each of the three keys has signed"
    assert seen.calls > 50


def test_a_secret_changes_under_load_without_a_failed_request(
    own_database: Settings, keys_dir: Path, tmp_path: Path
) -> None:
    """By the client itself: it asks for another, goes over to it, and retires the one before."""
    ensure_keys()
    store = add_store("Bookshop", mode="test")
    current = add_client(name="erp", mode="test", store_id=store.id, scopes=["settle", "client.manage"])

    def manage(port: int, method: str, path: str) -> Any:
        authorization = basic(current.client_id, current.client_secret)
        status, answer = send(port, method, f"/oauth/clients/me/secrets{path}", authorization)
        assert status in (201, 204), answer
        return answer

    with served(own_database, keys_dir, tmp_path / "log") as port, load(port, lambda: current) as seen:
        for _ in range(5):
            before, made = current, manage(port, "POST", "")
            current = NewClient(made["client_id"], made["client_secret"], made["id"])
            time.sleep(0.3)  # whoever read the one before has used it by now
            manage(port, "DELETE", f"/{before.secret_id}")
    assert seen.failures == []
    assert seen.calls > 50
