"""Whoever matches, refunds, dies or bills the same meanwhile: each settlement is billed once, as it would be alone."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, NullPool, create_engine, event, make_url
from sqlalchemy.exc import IntegrityError

from app import config
from app.billing import match
from app.billing.match import match_bill
from app.billing.work import work_off
from app.db.embedded import EmbeddedPostgres
from app.db.engine import engine
from app.processes import wait_until
from tests.at_once import at_once, split
from tests.billing.bills import given_bill, matched, outcomes, paid_minor, taken
from tests.billing.test_match import NOBODYS, RECEIVED, bill, refund, settled
from tests.service import real_keys
from tests.world import World, make_world, rows

PATIENCE_S = 30.0


def test_one_bill_that_two_workers_match_at_once_is_matched_once(world: World) -> None:
    pays = [settled(world) for _ in range(3)]
    made = bill(world, *((pay, 3_000) for pay in pays), (NOBODYS, 1))
    results, refusals = split(at_once([lambda: match_bill(made)] * 4))
    assert (sorted(results), refusals) == ([False, False, False, True], [])
    assert list(outcomes(made).values()) == ["matched", "matched", "matched", "unknown_payment"]
    assert paid_minor(made) == 9_000
    assert len(rows("SELECT 1 FROM event WHERE kind = 'bill_matched' AND facts ->> 'bill_id' = :id", id=made)) == 1


def test_of_two_bills_at_once_that_name_the_same_payments_each_is_in_one(world: World) -> None:
    """The other says in which."""
    pays = [settled(world) for _ in range(3)]
    bills = [bill(world, *((pay, 3_000) for pay in pays)) for _ in range(3)]
    results, refusals = split(at_once([lambda one=one: work_off(one) for one in bills]))  # type: ignore[misc]
    assert (len(results), refusals) == (3, [])
    (winner,) = (one for one in bills if taken(one))
    assert set(outcomes(winner).values()) == {"matched"}
    for loser in set(bills) - {winner}:
        found = rows("SELECT kind, other_bill_id FROM bill_break WHERE bill_id = :id", id=loser)
        assert {(row.kind, row.other_bill_id) for row in found} == {("already_billed", winner)}


def test_without_the_stores_lock_the_database_itself_refuses_the_second(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The planted fault: both see the payment unbilled. The primary key lets one of them in."""
    pay = settled(world)
    bills = [bill(world, (pay, 3_000)) for _ in range(2)]
    both_see = threading.Barrier(2)
    monkeypatch.setattr(match, "lock_bills_of", lambda *_: None)
    monkeypatch.setattr(match, "together", lambda *_: time.sleep(0.2))  # neither has committed when the other looks
    with meeting(both_see):
        outcome = at_once([lambda one=one: match_bill(one) for one in bills])  # type: ignore[misc]
    assert {type(each) for each in outcome} == {bool, IntegrityError}
    assert sum(len(taken(one)) for one in bills) == 1


@contextmanager
def meeting(barrier: threading.Barrier) -> Iterator[None]:
    """Whoever is about to decide on lines waits for the other."""

    def meet(_db: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if "INSERT INTO bill_break" in statement:
            barrier.wait(PATIENCE_S)

    event.listen(engine(), "before_cursor_execute", meet)
    try:
        yield
    finally:
        event.remove(engine(), "before_cursor_execute", meet)


@contextmanager
def once_before(part: str, act: Callable[[], None]) -> Iterator[None]:
    """Does something in the middle of whatever comes to a statement with this part."""
    todo = [act]

    def see(_db: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if part in statement and todo:
            todo.pop()()

    event.listen(engine(), "before_cursor_execute", see)
    try:
        yield
    finally:
        event.remove(engine(), "before_cursor_execute", see)
    assert not todo


@pytest.mark.parametrize("many_lines", [0, 10**9])
@pytest.mark.parametrize("part", ["INSERT INTO bill_break", "FROM refund AS m JOIN card", "UPDATE bill SET state"])
def test_a_refund_and_a_settle_in_the_middle_change_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch, part: str, many_lines: int
) -> None:
    """They come after the bill did, and so with the next one: the same as if they had come after matching."""
    monkeypatch.setattr("app.billing.match.MANY_LINES", many_lines)
    one, two, early = settled(world), settled(world), settled(world)
    matched(bill(world, (early, 3_000)))
    made = bill(world, (one, 3_000), (two, 2_999))

    def meanwhile() -> None:
        for pay in (one, two, early):
            refund(world, pay, 500, at=RECEIVED)

    with once_before(part, meanwhile):
        assert matched(made) == {1: "matched", 2: "amount_under"}
    assert list(taken(made).values()) == [(1, 3_000)]
    following = given_bill(
        world.bookshop, [(two, 2_500)], period="2026-12", received_at=RECEIVED.replace(month=12, day=20)
    )
    assert matched(following) == {0: "credit", 1: "matched"}
    assert paid_minor(following) == 2_500 - 2 * 500


def test_a_worker_that_is_killed_in_the_middle_leaves_the_bill_as_it_was(
    own_database: config.Settings, server: EmbeddedPostgres, keys_dir: Path
) -> None:
    """All is written but not committed when it dies; the next worker does the whole again, to the same outcome."""
    world = make_world()
    pays = [settled(world) for _ in range(3)]
    made = bill(world, *((pay, 3_000) for pay in pays), (pays[0], 3_000), (NOBODYS, 1))
    admin = make_url(server.admin_url).set(database=make_url(own_database.database_url).database)
    with create_engine(admin, poolclass=NullPool).begin() as db:
        db.exec_driver_sql("LOCK TABLE event IN EXCLUSIVE MODE")  # the last that it writes
        with worker_process(keys_dir, own_database) as process:
            assert wait_until(lambda: waits_for_event(db), PATIENCE_S)
            os.kill(process.pid, signal.SIGKILL)
            process.wait(PATIENCE_S)
    work_off(made)
    assert list(outcomes(made).values()) == ["matched", "matched", "matched", "duplicate_line", "unknown_payment"]
    assert paid_minor(made) == 9_000


def waits_for_event(db: Connection) -> bool:
    query = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'event'::regclass"
    return bool(db.exec_driver_sql(query).scalar_one() == 1)


@contextmanager
def worker_process(keys_dir: Path, settings: config.Settings) -> Iterator[subprocess.Popen[bytes]]:
    environment = {
        **os.environ,
        "DATABASE_URL": settings.database_url,
        "PUBLIC_URL": "http://127.0.0.1:8000",
        "KEYS_DIR": str(real_keys(keys_dir)),
        "SMTP_HOST": "127.0.0.1",
        "SMTP_TLS": "none",
        "MAIL_FROM": "cards@scrip.example",
    }
    process = subprocess.Popen([sys.executable, "-m", "tests.billing.worker_process"], env=environment)
    try:
        yield process
    finally:
        process.kill()
        process.wait()
