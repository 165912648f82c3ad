"""`scrip audit` is clean after all that the verbs do, and says so as a command."""

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, create_engine, event, make_url

from app.config import Settings
from app.db.embedded import EmbeddedPostgres
from app.db.transaction import transaction
from app.ledger import audit as auditing
from app.ledger.audit import CHECKS, audit
from app.ledger.check import Check
from app.redemption.refund import refund_payment
from tests.world import World, gbp, make_world, reference


def findings() -> dict[str, int]:
    with transaction() as db:
        return {check.name: count for check, count, _ in audit(db) if count}


@pytest.fixture
def superuser(own_database: Settings, server: EmbeddedPostgres) -> Iterator[Engine]:
    """A hand that no trigger and no constraint stops."""
    name = make_url(own_database.database_url).database
    engine = create_engine(make_url(server.admin_url).set(database=name))
    yield engine
    engine.dispose()


@pytest.fixture
def walked(own_database: Settings) -> World:
    """A world in which cards are waiting, claimed, held, settled in part, spent, and refunded."""
    world = make_world()
    world.issue()
    world.code()
    world.payment()
    in_part = world.payment().payment
    world.settle(in_part.id, 1_000, final=False)
    whole = world.payment().payment
    world.settle(whole.id, 5_000)
    returned = world.payment().payment
    world.settle(returned.id, 3_000)
    refund_payment(returned.id, gbp(500), store_id=world.bookshop, reference=reference(world.bookshop))
    return world


def test_the_books_balance_after_every_verb(walked: World) -> None:
    assert findings() == {}


def run_audit(settings: Settings) -> "subprocess.CompletedProcess[str]":
    environment = os.environ | {"DATABASE_URL": settings.database_url}
    environment.pop("DATABASE_READER_URL", None)
    return subprocess.run(
        [sys.executable, "-m", "app.cli", "audit"], env=environment, capture_output=True, text=True, check=False
    )


def test_the_command_says_what_it_checked_and_exits_1_on_a_difference(
    own_database: Settings, superuser: Engine, walked: World
) -> None:
    clean = run_audit(own_database)
    assert (clean.returncode, clean.stdout.count("ok  ")) == (0, len(CHECKS)), clean.stderr
    assert "The books balance." in clean.stdout
    with superuser.connect() as db:
        db.exec_driver_sql("SET session_replication_role = replica")
        db.exec_driver_sql("UPDATE account SET balance_minor = balance_minor + 1 WHERE kind = 'card'")
        db.commit()
    wrong = run_audit(own_database)
    assert wrong.returncode == 1
    assert "FAIL every card's balance is the sum of its transfers" in wrong.stdout


def test_sessions_share_the_checks_of_a_large_audit_and_see_the_same(
    superuser: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    query = "SELECT pg_current_snapshot()::text, concat(pg_backend_pid(), pg_sleep(0.05))"
    monkeypatch.setattr(auditing, "CHECKS", [Check(f"look {number}", query) for number in range(8)])
    # Somebody writes between the first session's first look and the second's.
    event.listen(superuser, "after_cursor_execute", lambda _, __, sent, *___: "export" in sent and make_world())
    told = [
        (check.name, *((one.subject, one.wrong) for one in found))
        for check, _, found in auditing.audit_in_sessions(superuser)
    ]
    assert [name for name, _ in told] == [f"look {number}" for number in range(8)]
    assert len({snapshot for _, (snapshot, _) in told}) == 1
    assert len({backend for _, (_, backend) in told}) == auditing.SESSIONS
