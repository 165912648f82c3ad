"""Redis counts as well as PostgreSQL does; a storage that is away limits nobody, breaks nothing, and is told of."""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from structlog.testing import capture_logs

from app import config
from app.config import settings
from app.guard import request_limits
from app.ids import new_id
from app.secrecy import random_secret
from tests.service import FAR_LIMITS, free_port

CLAIM = f"/claim/{new_id('link')}"


@contextmanager
def counting_in(url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Requests are counted there, and an address has two in an hour."""
    before = settings()
    config.use(replace(before, limits=replace(FAR_LIMITS, storage_url=url, per_address="2/hour")))
    monkeypatch.setattr(request_limits, "_asked_again_s", 0.0)
    monkeypatch.setattr(request_limits, "_said_again_s", 0.0)
    request_limits.use_storage()
    try:
        yield
    finally:
        config.use(before)
        request_limits.use_storage()
        request_limits._refused.clear()


@pytest.fixture(scope="module")
def redis_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """A real Redis."""
    program = shutil.which("redis-server")
    if program is None:
        if os.environ.get("CI") == "true":
            pytest.fail("redis-server is missing: CI installs it")
        pytest.skip("redis-server is not installed")
    port, folder = free_port(), tmp_path_factory.mktemp("redis")
    with (folder / "log").open("wb") as log:
        command = [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
        process = subprocess.Popen(command, stdout=log)
    _wait_until_ready(folder / "log")
    yield port
    process.terminate()
    process.wait(10)


def _wait_until_ready(log: Path) -> None:
    until = time.monotonic() + 30
    while "Ready to accept connections" not in log.read_text():
        assert time.monotonic() < until, log.read_text()
        time.sleep(0.02)


def come(client: FlaskClient, address: str) -> int:
    return client.get(CLAIM, environ_base={"REMOTE_ADDR": address}).status_code


def test_redis_counts_too(redis_port: int, client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    with counting_in(f"redis://127.0.0.1:{redis_port}", monkeypatch):
        answers = [client.get(CLAIM, environ_base={"REMOTE_ADDR": "192.0.2.9"}) for _ in range(4)]
        assert [answer.status_code for answer in answers] == [200, 200, 429, 429]
        assert answers[0].headers["RateLimit"].startswith('"address";r=1;')
        assert 3_590 <= int(answers[2].headers["Retry-After"]) <= 3_601
        assert come(client, "192.0.2.10") == 200


def test_of_many_requests_at_once_redis_lets_exactly_the_limit_through(
    redis_port: int, monkeypatch: pytest.MonkeyPatch, database: config.Settings
) -> None:
    with counting_in(f"redis://127.0.0.1:{redis_port}", monkeypatch):
        limit, key = request_limits._read("40/hour"), random_secret()
        with ThreadPoolExecutor(16) as pool:
            tried = [pool.submit(request_limits.limiter.limiter.hit, limit, key, "address") for _ in range(100)]
        assert sum(each.result() for each in tried) == 40


@pytest.mark.parametrize("scheme", ["redis", "valkey"])
def test_a_storage_that_is_away_limits_nobody_and_is_told_of_once(
    scheme: str, client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(request_limits, "AWAY_S", 0.0)
    with counting_in(f"{scheme}://127.0.0.1:{free_port()}", monkeypatch), capture_logs() as logged:
        assert [come(client, "192.0.2.9") for _ in range(4)] == [200] * 4
    assert [line["event"] for line in logged if line["log_level"] == "warning"] == [
        "requests are not limited: their storage is away"
    ]


def test_while_the_database_is_away_what_needs_none_is_answered_and_the_rest_is_busy(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    with counting_in("pg://", monkeypatch):
        away = f"postgresql+psycopg://scrip_service:x@127.0.0.1:{free_port()}/x"
        config.use(replace(settings(), database_url=away))
        assert come(client, "192.0.2.20") == 200
        key = {"key": random_secret(), "nonce": random_secret()}
        asked = client.post(CLAIM, json=key, environ_base={"REMOTE_ADDR": "192.0.2.20"})
        assert (asked.status_code, asked.get_json()["slug"]) == (503, "busy")
