"""The database as the last guard: what each role may do, and what it is refused."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from psycopg import errors
from sqlalchemy import make_url

from app.db.migrate import is_current, upgrade
from tests.api import digests
from tests.world import make_world

BOOKS = ("transfer", "event")
KEYS = ("authorization_request", "claim_key", "client_secret", "code_token", "signing_key")


@contextmanager
def role(urls: dict[str, str], name: str) -> Iterator[psycopg.Connection[Any]]:
    """A connection of one role, whose work is undone at the end."""
    url = make_url(urls[name]).set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(url) as db:
        yield db
        db.rollback()


def refused(db: psycopg.Connection[Any], statement: str) -> None:
    """The statement is refused for want of a right, whatever else is wrong with it."""
    with pytest.raises(errors.InsufficientPrivilege):
        db.execute(statement)
    db.rollback()


@pytest.fixture(scope="module")
def card_id(database: object) -> str:
    """A card with movements and events."""
    world = make_world()
    payment = world.payment().payment
    world.settle(payment.id, 3_000)
    return world.card_of(payment.id).id


TOUCHING_THE_BOOKS = [
    statement.format(table=table)
    for table in BOOKS
    for statement in (
        "UPDATE {table} SET kind = kind",
        "UPDATE {table} SET at = at WHERE false",
        "DELETE FROM {table}",
        "DELETE FROM {table} WHERE false",
        "TRUNCATE {table}",
        "TRUNCATE {table} CASCADE",
        "ALTER TABLE {table} DISABLE TRIGGER ALL",
        "ALTER TABLE {table} DISABLE TRIGGER USER",
        "ALTER TABLE {table} ADD COLUMN x text",
        "DROP TABLE {table}",
        "SELECT 1 FROM {table} FOR UPDATE",
        "CREATE RULE quiet AS ON INSERT TO {table} DO INSTEAD NOTHING",
        "CREATE TRIGGER mine BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION refuse_change()",
    )
]

#: What the service may not do besides.
OUT_OF_BOUNDS = [
    "INSERT INTO transfer (id, kind, debit_id, credit_id, amount_minor, currency, mode, card_id, at, recorded_at) "
    "VALUES ('x', 'issue', 'x', 'y', 1, 'GBP', 'test', 'x', now(), '2000-01-01')",
    "INSERT INTO transfer SELECT * FROM transfer",
    "UPDATE account SET balance_minor = 1000000",
    "UPDATE account SET balance_minor = balance_minor WHERE false",
    "UPDATE account SET owner_id = owner_id",
    "DELETE FROM account",
    "INSERT INTO account (id, kind, owner_id, currency, mode, balance_minor) "
    "VALUES ('x', 'card', 'x', 'GBP', 'test', 5)",
    "SELECT apply_transfer()",
    "CREATE OR REPLACE FUNCTION apply_transfer() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
    "DROP FUNCTION balance_of(text)",
    "ALTER FUNCTION balance_of(text) SECURITY DEFINER",
    "DROP TRIGGER transfer_moves_balances ON transfer",
    "CREATE TABLE mine (x int)",
    "CREATE TEMPORARY TABLE mine (x int)",
    "CREATE SCHEMA mine",
    "CREATE FUNCTION mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "CREATE ROLE mine",
    "ALTER ROLE scrip_service SUPERUSER",
    "ALTER TABLE card DROP CONSTRAINT card_state",
    "DROP INDEX claim_link_one_waiting",
    "SET ROLE scrip_owner",
    "SET ROLE scrip_migrator",
    "SET SESSION AUTHORIZATION scrip_owner",
    "SET session_replication_role = replica",
    "UPDATE issuer SET mode = 'live'",
    "UPDATE store SET mode = 'live'",
    "UPDATE programme SET card_max_minor = 100000000",
    "DELETE FROM programme_store",
    "UPDATE settlement SET amount_minor = 1",
    "DELETE FROM settlement",
    "UPDATE refund SET amount_minor = 1",
    "DELETE FROM refund",
    "UPDATE card SET issued_minor = issued_minor",
    "UPDATE card SET account_id = account_id",
    "UPDATE payment SET hold_minor = hold_minor",
    "UPDATE payment SET card_id = card_id",
    "UPDATE payment SET store_id = store_id",
    "UPDATE code SET card_id = card_id",
    "UPDATE client SET store_id = store_id",
    "UPDATE authorization_request SET amount_minor = amount_minor",
    "UPDATE authorization_request SET redirect_uri = redirect_uri",
    "UPDATE authorization_request SET client_id = client_id",
    "UPDATE client_secret SET secret_hash = secret_hash",
    "UPDATE request SET content_hmac = content_hmac",
    "DELETE FROM card",
    "DELETE FROM payment",
    "DELETE FROM code",
    "DELETE FROM card_key",
    "DELETE FROM letter",
    "DELETE FROM client",
    "UPDATE code_token SET expires_at = expires_at",
    "UPDATE code_token SET store_id = store_id",
    "DELETE FROM issuing_limit",
    "UPDATE issuing_limit SET subject_id = subject_id",
    "DELETE FROM issuing_limit_request",
    "UPDATE issuing_limit_request SET requested_by = 'operator:bob'",
    "UPDATE issuing_limit_request SET limit_minor = limit_minor + 1",
    "INSERT INTO issuing_limit_request (id, state, decided_by) VALUES ('x', 'approved', 'operator:bob')",
    "DELETE FROM client_secret",
    "DELETE FROM signing_key",
    "UPDATE claim_key SET link_id = link_id",
    "UPDATE alarm SET rule = rule",
    "UPDATE alarm SET party_id = party_id",
    "UPDATE alarm_message SET channel = channel",
    "DELETE FROM alarm_look",
    "UPDATE payable SET amount_minor = 1",
    "DELETE FROM payable",
    "UPDATE payout SET amount_minor = 1",
    "UPDATE payout SET end_to_end_id = end_to_end_id",
    "UPDATE payment_run SET drafted_by = 'operator:bob'",
    "INSERT INTO payment_run (id, mode, drafted_by, drafted_at, state) VALUES ('x', 'live', 'x', now(), 'released')",
    "INSERT INTO payout (id, state, sent_at) VALUES ('x', 'in_transit', now())",
    "INSERT INTO entry (id, state, decided_by) VALUES ('x', 'booked', 'operator:bob')",
    "UPDATE entry SET proposed_by = 'operator:bob'",
    "UPDATE entry SET amount_minor = 1",
    "DELETE FROM payout_payable",
    "DELETE FROM closed_month",
    "DELETE FROM account_snapshot",
    "UPDATE schema_version SET version_num = '9999'",
    "SELECT pg_read_file('/etc/passwd')",
    "COPY card TO PROGRAM 'cat'",
    "COPY card FROM '/etc/passwd'",
    "SELECT rolpassword FROM pg_authid",
]  # fmt: skip


@pytest.mark.parametrize("statement", [*TOUCHING_THE_BOOKS, *OUT_OF_BOUNDS])
def test_the_service_is_refused(urls: dict[str, str], card_id: str, statement: str) -> None:
    with role(urls, "service") as db:
        refused(db, statement)


def test_the_service_reads_all_that_it_writes(urls: dict[str, str], card_id: str) -> None:
    """And nothing of what it was refused above had any effect."""
    with role(urls, "service") as db:
        for table in digests():
            assert db.execute(f"SELECT count(*) FROM {table}".encode()).fetchone() is not None
        found = db.execute("SELECT balance_minor FROM account WHERE owner_id = %s", [card_id]).fetchone()
        assert found == (2_000,)


def test_a_card_account_starts_at_nothing(urls: dict[str, str]) -> None:
    with role(urls, "service") as db:
        db.execute(
            "INSERT INTO account (id, kind, owner_id, currency, mode) VALUES ('x:card:GBP', 'card', 'x', 'GBP', 'test')"
        )
        assert db.execute("SELECT balance_minor FROM account WHERE id = 'x:card:GBP'").fetchone() == (0,)


def test_a_movement_that_a_card_has_not_the_money_for_is_refused(urls: dict[str, str], card_id: str) -> None:
    """Whatever the service believes: the check stands behind its own decision."""
    with role(urls, "service") as db:
        card = db.execute("SELECT id FROM account WHERE owner_id = %s", [card_id]).fetchone()
        owed = db.execute("SELECT credit_id FROM transfer WHERE card_id = %s AND kind = 'settle'", [card_id]).fetchone()
        assert card is not None and owed is not None
        with pytest.raises(errors.CheckViolation, match="account_balance_not_negative"):
            db.execute(
                "INSERT INTO transfer"
                " (id, kind, debit_id, credit_id, amount_minor, currency, mode, card_id, payment_id, at)"
                " SELECT 'tra_x', 'settle', %s, %s, 2001, 'GBP', 'test', card_id, id, now()"
                " FROM payment WHERE card_id = %s",
                [card[0], owed[0], card_id],
            )


@pytest.mark.parametrize("table", BOOKS)
@pytest.mark.parametrize("replication_role", ["origin", "replica"])
def test_not_even_the_superuser_changes_the_books_by_a_plain_statement(
    urls: dict[str, str], card_id: str, table: str, replication_role: str
) -> None:
    """Replica mode skips ordinary triggers; these always fire. To get past them takes DDL, which is no slip."""
    with role(urls, "admin") as db:
        for statement in (f"UPDATE {table} SET kind = 'x'", f"DELETE FROM {table}", f"TRUNCATE {table} CASCADE"):
            db.execute(f"SET session_replication_role = {replication_role}".encode())
            refused(db, statement)


def test_balances_move_in_replica_mode_too(urls: dict[str, str], card_id: str) -> None:
    with role(urls, "admin") as db:
        db.execute("SET session_replication_role = replica")
        db.execute("UPDATE payment SET refunded_minor = 500 WHERE card_id = %s", [card_id])
        db.execute(
            "INSERT INTO transfer"
            " (id, kind, debit_id, credit_id, amount_minor, currency, mode, card_id, payment_id, at)"
            " SELECT 'tra_x', 'refund', credit_id, debit_id, 500, currency, mode, card_id, payment_id, now()"
            " FROM transfer WHERE card_id = %s AND kind = 'settle'",
            [card_id],
        )
        found = db.execute("SELECT balance_minor FROM account WHERE owner_id = %s", [card_id]).fetchone()
        assert found == (2_500,)


def test_the_reader_reads_all_but_hashes_of_keys_and_changes_nothing(urls: dict[str, str], card_id: str) -> None:
    changes = ("INSERT INTO {} DEFAULT VALUES", "DELETE FROM {}", "TRUNCATE {}", "SELECT 1 FROM {} FOR SHARE")
    with role(urls, "reader") as db:
        for table in digests():
            for change in changes:
                refused(db, change.format(table))
            if table in KEYS:
                refused(db, f"SELECT 1 FROM {table}")
            else:
                columns = db.execute(f"SELECT * FROM {table} LIMIT 1".encode()).description
                assert columns is not None
                refused(db, f"UPDATE {table} SET {columns[0].name} = {columns[0].name}")
        for statement in ("SET ROLE scrip_service", "SET ROLE scrip_owner", "CREATE TABLE mine (x int)"):
            refused(db, statement)


def test_the_migrator_migrates_and_a_second_time_changes_nothing(urls: dict[str, str]) -> None:
    assert is_current(urls["service"])
    upgrade(urls["migrator"])
    assert is_current(urls["service"])
    with role(urls, "migrator") as db:
        db.execute("SET LOCAL ROLE scrip_owner")
        db.execute("CREATE TABLE planted (x int)")
        db.execute("ALTER TABLE card ADD COLUMN planted text")


def test_the_migrator_is_no_superuser(urls: dict[str, str]) -> None:
    with role(urls, "migrator") as db:
        for statement in (
            "SET session_replication_role = replica",
            "CREATE ROLE mine",
            "SELECT rolname FROM pg_authid",
        ):
            refused(db, statement)


def test_nobody_else_has_a_right_to_anything(urls: dict[str, str]) -> None:
    """PUBLIC may neither connect, nor create, nor read; the owner cannot log in, nobody passes over row security."""
    with role(urls, "admin") as db:
        granted = db.execute(
            "SELECT relname FROM pg_class, aclexplode(relacl)"
            " WHERE grantee = 0 AND relnamespace = 'public'::regnamespace"
        ).fetchall()
        assert granted == []
        may = "SELECT has_database_privilege(0::oid, current_database(), 'CONNECT, TEMPORARY, CREATE')"
        assert db.execute(may).fetchone() == (False,)
        assert db.execute("SELECT has_schema_privilege(0::oid, 'public', 'CREATE')").fetchone() == (False,)
        roles = db.execute(
            "SELECT rolname, rolcanlogin, rolsuper OR rolcreatedb OR rolcreaterole OR rolbypassrls OR rolreplication"
            " FROM pg_roles WHERE rolname LIKE 'scrip%' ORDER BY rolname"
        ).fetchall()
    assert roles == [
        ("scrip_migrator", True, False),
        ("scrip_owner", False, False),
        ("scrip_reader", True, False),
        ("scrip_service", True, False),
    ]
