"""The database's disk is full: every verb is refused for now, nothing is lost, and with space it goes on by itself."""

import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass

import pytest
from flask import Flask
from psycopg import errors as postgres
from sqlalchemy import Connection, NullPool, create_engine, text
from sqlalchemy.exc import OperationalError
from werkzeug.test import TestResponse

from app import config
from app.db import transaction as transactions
from app.db.embedded import EmbeddedPostgres
from app.db.engine import engine
from app.oauth.keys import forget_keys
from app.processes import wait_until
from app.secrecy import random_secret
from tests.api import Api, api_of, assert_problem, nothing_changes
from tests.faults.own_server import own_server, settings_on
from tests.faults.small_disk import SmallDisk, can_mount, small_disk
from tests.faults.verbs import VERBS, use_up
from tests.web.fresh import Request
from tests.world import assert_audit_is_clean, make_world

#: No autovacuum, which would find space in pages that were filled on purpose.
SETTINGS = {"fsync": "off", "autovacuum": "off"}
PATIENCE_S = 60

#: Rows as small as they get: where none of them fits, nothing does.
FILLERS = (
    "INSERT INTO request (party_id, reference, operation, target_id, content_hmac, answer, created_at) "
    "VALUES ('', :key, '', '', '', '{}', clock_timestamp())",
    "INSERT INTO event (id, at, kind, actor, facts) VALUES (:key, clock_timestamp(), '', '', '{}')",
)
ROWS_OF_A_PAGE = 250


@dataclass(frozen=True)
class Small:
    """A service whose database has a small disk for its tables and another for its write-ahead log."""

    api: Api
    server: EmbeddedPostgres
    tables: SmallDisk
    log: SmallDisk


@pytest.fixture(scope="module")
def small(database: config.Settings, app: Flask) -> Iterator[Small]:
    if not can_mount():
        if os.environ.get("CI") == "true":
            pytest.fail("this process may not mount a small disk: CI does as root")
        pytest.skip("this process may not mount a small disk")
    with (
        own_server(SETTINGS) as server,
        small_disk(server.folder / "data" / "base", spare_mib=16) as tables,
        small_disk(server.folder / "data" / "pg_wal", spare_mib=40) as log,
        server,
    ):
        config.use(settings_on(server, database))
        forget_keys()
        yield Small(api_of(app.test_client(), make_world()), server, tables, log)
        engine().dispose()
        config.use(database)
        forget_keys()


class Prepared:
    """A request on objects that were made for it while there was room."""

    def __init__(self, api: Api, make: Callable[[Api], Request]) -> None:
        self.name, self.api = make.__name__, api
        self.path, self.body, self.status = make(api)
        self._key = random_secret()

    def send(self) -> TestResponse:
        return self.api.machine(self.path).post(self.path, self.body, key=self._key)

    def succeed(self) -> TestResponse:
        answer = self.send()
        assert answer.status_code == self.status, (self.name, answer.text)
        return answer


@pytest.mark.slow
def test_no_room_for_rows(small: Small) -> None:
    acknowledged = [Prepared(small.api, make) for make in VERBS]
    answers = [request.succeed().get_json() for request in acknowledged]
    check_no_room_for_rows(small)
    for request, answer in zip(acknowledged, answers, strict=True):
        if not request.path.startswith("/claim/"):
            again = request.succeed()
            assert again.headers["Idempotent-Replayed"] == "true", request.name
            assert again.get_json().get("id") == answer.get("id"), request.name


def check_no_room_for_rows(small: Small) -> None:
    """Refused while the disk is full, with reads as ever; carried out once when it is not."""
    requests = [Prepared(small.api, make) for make in VERBS]
    card, payment = f"/v1/cards/{small.api.world.issue().id}", f"/v1/payments/{small.api.world.payment().payment.id}"
    small.tables.fill()
    try:
        fill_pages()
        with nothing_changes():
            for request in requests:
                assert_refused_for_now(request)
            assert small.api.acme.get(card).status_code == 200
            assert small.api.bookshop.get(payment).status_code == 200
    finally:
        small.tables.free()
    check_once(small.api, requests)


def fill_pages() -> None:
    """Takes the room that the tables' last pages have: a full disk stops those only who need another page."""
    with engine().connect().execution_options(isolation_level="AUTOCOMMIT") as db:
        for filler in FILLERS:
            for _ in range(ROWS_OF_A_PAGE):
                fitted = False
                with suppress(OperationalError):
                    db.execute(text(filler), {"key": secrets.token_hex(4)})
                    fitted = True
            assert not fitted, filler


def assert_refused_for_now(request: Prepared) -> None:
    answer = request.send()
    assert answer.status_code == 503, (request.name, answer.text)
    assert_problem(answer, 503, "busy")
    assert int(answer.headers["Retry-After"]) >= 1


def check_once(api: Api, requests: list[Prepared]) -> None:
    """Each is carried out now, has one effect, and leaves its card good to the end."""
    for request in requests:
        answer = request.succeed()
        assert "Idempotent-Replayed" not in answer.headers, request.name
        use_up(api, request.path, answer.get_json())
    assert_audit_is_clean()


def test_a_full_disk_that_is_taken_for_a_bug_is_noticed(small: Small, monkeypatch: pytest.MonkeyPatch) -> None:
    away = tuple(kind for kind in transactions.AWAY if kind is not postgres.DiskFull)
    monkeypatch.setattr(transactions, "AWAY", away)
    with pytest.raises(AssertionError, match="internal-error"):
        check_no_room_for_rows(small)


@pytest.mark.slow
def test_no_room_for_the_log(small: Small) -> None:
    """The server ends, or restarts on what was left of the log. With room it has all that was acknowledged."""
    requests = [Prepared(small.api, make) for make in VERBS]
    small.log.fill()
    try:
        done, refused = split(small, requests)
        assert refused, "it goes on with a full log?"
        assert wait_until(lambda: small.server.pid is None or answers(small.server), PATIENCE_S)
    finally:
        small.log.free()
        if small.server.pid is None:
            small.server.start()
    check_once(small.api, refused)
    for request in done:
        if not request.path.startswith("/claim/"):
            assert request.succeed().headers["Idempotent-Replayed"] == "true", request.name
    assert_audit_is_clean()


def split(small: Small, requests: list[Prepared]) -> tuple[list[Prepared], list[Prepared]]:
    """Those that were carried out while there was a segment of the log left, and those that were refused."""
    done: list[Prepared] = []
    refused: list[Prepared] = []
    for request in requests:
        use_next_segment(small.server)
        answer = request.send()
        if answer.status_code == request.status:
            done.append(request)
        else:
            assert_problem(answer, 503, "busy")
            refused.append(request)
    return done, refused


def use_next_segment(server: EmbeddedPostgres) -> None:
    """While the server runs."""
    with suppress(OperationalError), as_admin(server) as db:
        db.exec_driver_sql("SELECT pg_switch_wal()")


def answers(server: EmbeddedPostgres) -> bool:
    """Whether it takes connections, and is not just about to end."""
    with suppress(OperationalError), as_admin(server) as db:
        return bool(db.exec_driver_sql("SELECT true").scalar())
    return False


def as_admin(server: EmbeddedPostgres) -> Connection:
    return create_engine(server.admin_url, isolation_level="AUTOCOMMIT", poolclass=NullPool).connect()
