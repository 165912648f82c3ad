"""`scrip audit` is clean after all that the verbs do, and names what a superuser's hand has changed."""

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, create_engine, make_url

from app.config import Settings
from app.db.embedded import EmbeddedPostgres
from app.db.transaction import transaction
from app.ledger.audit import audit
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


CORRUPTIONS = [
    "UPDATE transfer SET amount_minor = amount_minor + 1 WHERE kind = 'settle'",
    "DELETE FROM transfer WHERE kind = 'refund'",
    "DELETE FROM transfer WHERE kind = 'issue' AND id = (SELECT min(id) FROM transfer)",
    "UPDATE transfer SET debit_id = credit_id, credit_id = debit_id WHERE kind = 'issue'",
    "UPDATE account SET balance_minor = balance_minor + 1 WHERE id = (SELECT min(id) FROM account WHERE kind = 'card')",
    "UPDATE payment SET settled_minor = settled_minor + 1, released_minor = 1999 WHERE released_minor = 2000",
    "UPDATE payment SET refunded_minor = refunded_minor + 1 WHERE refunded_minor > 0",
    "UPDATE payment SET held_minor = held_minor + 9000, hold_minor = hold_minor + 9000 WHERE state = 'held'",
    "UPDATE settlement SET amount_minor = amount_minor - 1",
    "DELETE FROM refund",
    "UPDATE code SET hash = sha256('x') WHERE id = (SELECT min(id) FROM code WHERE state = 'dead')",
    "UPDATE code SET state = 'live' WHERE id = (SELECT min(id) FROM code WHERE state = 'dead')",
    "UPDATE claim_link SET state = 'waiting' WHERE id = (SELECT min(id) FROM claim_link WHERE state = 'opened')",
    "UPDATE payment SET state = 'held' WHERE id = (SELECT min(id) FROM payment WHERE state = 'settled')",
    "UPDATE card_key SET link_id = NULL WHERE link_id IS NOT NULL",
    "UPDATE card_key SET payment_id = NULL WHERE payment_id IS NOT NULL",
    "DELETE FROM card_key WHERE payment_id IS NOT NULL",
    "UPDATE card SET state = 'spent' WHERE state = 'active'",
    "UPDATE card SET state = 'active' WHERE state = 'spent'",
    "UPDATE card SET issued_minor = issued_minor + 1",
    "UPDATE transfer SET mode = 'live' WHERE kind = 'settle'",
]


def test_every_corruption_is_named(superuser: Engine, walked: World) -> None:
    """Each by a superuser whom no trigger, constraint or index stops, and rolled back after the audit has looked."""
    unnoticed = [corruption for corruption in CORRUPTIONS if not _findings_after(superuser, corruption)]
    assert unnoticed == []


def _findings_after(superuser: Engine, corruption: str) -> dict[str, int]:
    with superuser.connect() as db:
        db.exec_driver_sql("SET session_replication_role = replica")
        for row in db.exec_driver_sql(_CHECKS).all():
            db.exec_driver_sql(f'ALTER TABLE "{row.table_name}" DROP CONSTRAINT "{row.conname}"')
        for index in ("payment_one_held", "code_one_not_dead", "claim_link_one_waiting"):
            db.exec_driver_sql(f"DROP INDEX {index}")
        for table in ("transfer", "event"):
            db.exec_driver_sql(f"ALTER TABLE {table} DISABLE TRIGGER ALL")
        assert db.exec_driver_sql(corruption).rowcount > 0, f"did nothing: {corruption}"
        found = {check.name: count for check, count, _ in audit(db) if count}
        db.rollback()
    return found


_CHECKS = """
SELECT conrelid::regclass::text AS table_name, conname FROM pg_constraint
WHERE contype = 'c' AND connamespace = 'public'::regnamespace
"""


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
    assert (clean.returncode, clean.stdout.count("ok  ")) == (0, 14), clean.stderr
    assert "The books balance." in clean.stdout
    with superuser.connect() as db:
        db.exec_driver_sql("SET session_replication_role = replica")
        db.exec_driver_sql("UPDATE account SET balance_minor = balance_minor + 1 WHERE kind = 'card'")
        db.commit()
    wrong = run_audit(own_database)
    assert wrong.returncode == 1
    assert "FAIL every card's balance is the sum of its transfers" in wrong.stdout
