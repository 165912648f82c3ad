"""Whoever takes over a role of the database: what is refused, what the rights are to the letter, and what is left."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg import Connection
from sqlalchemy import make_url

from app.config import Settings
from tests.db.attempts import (
    NOT_EVEN_FOR_THE_OWNER,
    NOT_FOR_LOGINS,
    NOT_FOR_MIGRATOR,
    NOT_FOR_SERVICE,
    allowed,
)
from tests.db.test_roles import role
from tests.world import make_world

ATTEMPTS = {
    "service": NOT_FOR_LOGINS + NOT_FOR_SERVICE,
    "reader": NOT_FOR_LOGINS + NOT_FOR_SERVICE,
    "migrator": NOT_FOR_LOGINS + NOT_FOR_MIGRATOR,
}


@pytest.fixture(scope="module")
def moved(database: Settings) -> None:
    """Something to change: a card with movements and events."""
    world = make_world()
    world.settle(world.payment().payment.id, 3_000)


@pytest.fixture
def own_urls(own_database: Settings, urls: dict[str, str]) -> dict[str, str]:
    """URLs by role of a database of its own, which a superuser may damage."""
    name = make_url(own_database.database_url).database
    make_world().issue()
    return {who: make_url(url).set(database=name).render_as_string(hide_password=False) for who, url in urls.items()}


@pytest.mark.parametrize("who", ATTEMPTS)
def test_whoever_logs_in_is_refused(urls: dict[str, str], moved: None, who: str) -> None:
    with role(urls, "admin"), role(urls, who) as db:
        assert allowed(db, ATTEMPTS[who]) == []


def test_as_the_owner_the_migrator_meets_the_triggers(urls: dict[str, str], moved: None) -> None:
    with role(urls, "migrator") as db:
        db.execute("SET ROLE scrip_owner")
        db.commit()
        assert allowed(db, NOT_EVEN_FOR_THE_OWNER, "is append-only") == []


# ── the rights to the letter: no list of attempts is ever complete ─────────────────────────────────────────────────


BOOKS = ("account", "closed_month", "event", "payable", "transfer")
INSERTED = {
    "account": "id kind owner_id currency mode",
    "closed_month": "mode month closed_by",
    "event": "id at kind actor request_id card_id payment_id facts",
    "transfer": "id kind debit_id credit_id amount_minor currency mode card_id payment_id document_id at",
}
#: Inserted as whole rows.
WHOLE = ("payable",)
#: Who may do what to which column; "" stands for the whole table. Beside the owner, that is all.
RIGHTS = {
    *((f"scrip_{who}", "SELECT", table, "") for who in ("service", "reader") for table in BOOKS),
    *(("scrip_service", "INSERT", table, "") for table in WHOLE),
    *(("scrip_service", "INSERT", table, name) for table, names in INSERTED.items() for name in names.split()),
}

TABLE_RIGHTS = """
SELECT coalesce(grantee::regrole::text, 'PUBLIC'), privilege_type, relname, name FROM (
    SELECT relname, '' AS name, relacl AS acl, relowner FROM pg_class WHERE relnamespace = 'public'::regnamespace
    UNION ALL
    SELECT relname, attname, attacl, relowner FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
    WHERE relnamespace = 'public'::regnamespace AND attacl IS NOT NULL
) AS objects, aclexplode(acl) WHERE relname = ANY (%s) AND grantee <> relowner
"""
#: What runs with its owner's rights, and where it looks for names; and who may do what to functions.
DEFINERS = "SELECT proname, array_to_string(proconfig, ' ') FROM pg_proc WHERE prosecdef ORDER BY proname"
EXECUTORS = """
SELECT proname, coalesce(nullif(grantee::regrole::text, '-'), 'PUBLIC') FROM pg_proc
JOIN aclexplode(coalesce(proacl, acldefault('f', proowner))) ON true
WHERE pronamespace = 'public'::regnamespace AND grantee <> proowner
"""
MEMBERS = """
SELECT roleid::regrole::text, member::regrole::text, inherit_option, set_option, admin_option FROM pg_auth_members
WHERE member::regrole::text LIKE 'scrip%'
"""


def rights(db: Connection[Any]) -> set[tuple[Any, ...]]:
    return set(db.execute(TABLE_RIGHTS, [list(BOOKS)]))


def test_the_service_may_read_and_add_to_the_books_and_nobody_may_more(urls: dict[str, str]) -> None:
    with role(urls, "admin") as db:
        assert rights(db) == RIGHTS


def test_one_function_runs_as_the_owner_and_nobody_calls_it(urls: dict[str, str]) -> None:
    """It looks for names in schemas where nobody else can make any, and last in the temporary one."""
    with role(urls, "admin") as db:
        assert db.execute(DEFINERS).fetchall() == [("apply_transfer", "search_path=pg_catalog, public, pg_temp")]
        assert "apply_transfer" not in {name for name, _ in db.execute(EXECUTORS)}


def test_only_the_migrator_may_become_the_owner_and_only_by_saying_so(urls: dict[str, str]) -> None:
    with role(urls, "admin") as db:
        assert db.execute(MEMBERS).fetchall() == [("scrip_owner", "scrip_migrator", False, True, False)]
        assert db.execute("SELECT 1 FROM pg_default_acl").fetchall() == []


GIVING_AWAY = [
    "GRANT UPDATE ON transfer TO scrip_service",
    "GRANT ALL ON ALL TABLES IN SCHEMA public TO scrip_service WITH GRANT OPTION",
    "GRANT SELECT, INSERT ON transfer TO PUBLIC",
    "GRANT INSERT (id, kind) ON transfer TO scrip_reader",
    "REVOKE ALL ON event FROM scrip_reader",
]


@pytest.mark.parametrize("statement", GIVING_AWAY)
def test_what_the_service_may_it_cannot_give_away(urls: dict[str, str], statement: str) -> None:
    """PostgreSQL refuses some of these with a mere warning, so it is the effect that counts."""
    with role(urls, "service") as db:
        try:
            db.execute(statement.encode())
        except psycopg.errors.InsufficientPrivilege:
            db.rollback()
        assert rights(db) == RIGHTS


HOSTILE = [
    "SET search_path = pg_temp, public",
    "SET search_path = ''",
    "SET default_transaction_isolation = 'serializable'",
    "SET plpgsql.variable_conflict = 'use_column'",
    "SET constraint_exclusion = on",
]

SETTLE = """
INSERT INTO public.transfer (id, kind, debit_id, credit_id, amount_minor, currency, mode, card_id, payment_id, at)
SELECT 'tra_x', 'settle', card_id || ':card:GBP', store_id || ':owed:GBP', 3000, 'GBP', mode, card_id, id, now()
FROM public.payment WHERE id = %s
"""
LEFT = "SELECT balance_minor FROM public.account a JOIN public.transfer t ON t.debit_id = a.id WHERE t.id = 'tra_x'"


@pytest.mark.parametrize("setting", HOSTILE)
def test_no_setting_of_the_service_changes_what_a_movement_does(urls: dict[str, str], setting: str) -> None:
    payment = make_world().payment().payment
    with role(urls, "service") as db:
        try:
            db.execute(setting.encode())
        except psycopg.errors.InsufficientPrivilege:
            db.rollback()
        db.execute(
            "UPDATE public.payment SET settled_minor = 3000, released_minor = 2000, held_minor = 0, state = 'settled',"
            " ended_at = now() WHERE id = %s",
            [payment.id],
        )
        db.execute(SETTLE, [payment.id])
        assert db.execute(LEFT).fetchone() == (2_000,)


# ── planted: a right too much, a guard that sleeps ──────────────────────────────────────────────────────────────────


@pytest.fixture
def superuser(own_urls: dict[str, str]) -> Iterator[Connection[Any]]:
    url = make_url(own_urls["admin"]).set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(url, autocommit=True) as db:
        yield db


@pytest.mark.parametrize(
    "right", ["UPDATE ON transfer", "UPDATE (balance_minor) ON account", "DELETE ON event", "TRIGGER ON transfer"]
)
def test_a_right_too_much_is_noticed(own_urls: dict[str, str], superuser: Connection[Any], right: str) -> None:
    """Though the triggers may still refuse what it allows."""
    superuser.execute(f"GRANT {right} TO scrip_service".encode())
    assert rights(superuser) != RIGHTS
    with role(own_urls, "service") as db:
        assert allowed(db, ATTEMPTS["service"]) != []


@pytest.mark.parametrize("table", ["transfer", "event"])
def test_a_trigger_that_was_disabled_is_noticed(
    own_urls: dict[str, str], superuser: Connection[Any], table: str
) -> None:
    superuser.execute(f"ALTER TABLE {table} DISABLE TRIGGER {table}_append_only".encode())
    with role(own_urls, "migrator") as db:
        db.execute("SET ROLE scrip_owner")
        db.commit()
        let_through = allowed(db, NOT_EVEN_FOR_THE_OWNER, "is append-only")
    assert [one for one in let_through if one.endswith("done")] != []


def test_a_function_that_others_may_replace_is_noticed(own_urls: dict[str, str], superuser: Connection[Any]) -> None:
    superuser.execute("GRANT CREATE ON SCHEMA public TO scrip_service")
    with role(own_urls, "service") as db:
        assert any(one.startswith("CREATE TABLE public.mine") for one in allowed(db, NOT_FOR_LOGINS))
