"""A database that takes connections and says nothing: every request is refused soon, and none waits for the others."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any

import pytest
from flask import Flask

from app import config
from app.db.engine import NOTICING, engine
from app.errors import Busy
from app.oauth import keys
from tests.api import assert_problem
from tests.at_once import at_once, split

THREADS = 8


class SilentDatabase:
    """Takes connections on loopback, and never answers; `seen` are those who tried."""

    def __init__(self) -> None:
        self.seen: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)

    @property
    def url(self) -> str:
        return f"postgresql+psycopg://scrip_service:pw@127.0.0.1:{self._listener.getsockname()[1]}/scrip"

    @contextmanager
    def listening(self) -> Iterator["SilentDatabase"]:
        thread = threading.Thread(target=self._accept)
        thread.start()
        try:
            yield self
        finally:
            self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            thread.join()
            for client in self.seen:
                client.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                self.seen.append(self._listener.accept()[0])


@pytest.fixture
def silent(database: config.Settings) -> Iterator[SilentDatabase]:
    with SilentDatabase().listening() as silent:
        config.use(replace(database, database_url=silent.url, database_pool_size=10))
        keys.forget_keys()
        yield silent
        engine().dispose()
        config.use(database)
        keys.forget_keys()


def test_threads_that_need_the_keys_do_not_wait_for_each_other_one_by_one(silent: SilentDatabase) -> None:
    """With each of them trying in turn the last would wait for as many times the patience of connecting."""
    answers, refusals = split(at_once([keys.jwks] * THREADS))
    assert answers == []
    assert all(isinstance(refusal, Busy) for refusal in refusals)
    assert len(silent.seen) < THREADS


def test_every_request_is_refused_with_a_time_to_come_back(app: Flask, silent: SilentDatabase) -> None:
    began = time.monotonic()
    answer = app.test_client().get("/healthz")
    assert_problem(answer, 503, "busy")
    assert int(answer.headers["Retry-After"]) >= 1
    assert time.monotonic() - began < 10 * NOTICING["connect_timeout"]


def test_a_connection_notices_that_nobody_is_there_any_more(database: config.Settings) -> None:
    """Else a request would wait a quarter of an hour for a machine that fell off the network."""
    with engine().connect() as db:
        driver: Any = db.connection.dbapi_connection
        agreed = driver.info.get_parameters()
    assert {name: agreed[name] for name in NOTICING} == {name: str(value) for name, value in NOTICING.items()}
