"""The migrated database is the one that the models describe: columns, keys, checks and indexes, to the letter."""

from collections.abc import Iterator
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import CheckConstraint, Connection, NullPool, create_engine, make_url, text

from app.config import Settings
from app.db.base import Base

#: What Alembic keeps for itself, and what the database fills in by itself.
NOT_OURS = {"schema_version"}


@pytest.fixture
def admin(own_database: Settings, urls: dict[str, str]) -> Iterator[Connection]:
    """A migrated database as the superuser sees it; whatever a test does to it is undone."""
    name = make_url(own_database.database_url).database
    engine = create_engine(make_url(urls["admin"]).set(database=name), poolclass=NullPool)
    with engine.connect() as db:
        yield db
        db.rollback()


def test_alembic_finds_no_difference(admin: Connection) -> None:
    options = {"version_table": "schema_version", "compare_type": True, "compare_server_default": False}
    context = MigrationContext.configure(admin, opts=options)
    assert compare_metadata(context, Base.metadata) == []


def test_every_check_of_the_models_is_in_the_database_and_no_other(admin: Connection) -> None:
    query = "SELECT conname FROM pg_constraint WHERE contype = 'c' AND connamespace = 'public'::regnamespace"
    modelled = {
        str(constraint.name)
        for table in Base.metadata.tables.values()
        for constraint in table.constraints
        if isinstance(constraint, CheckConstraint)
    }
    assert set(admin.scalars(text(query))) == modelled


def test_a_database_made_from_the_models_is_the_same_to_the_letter(admin: Connection) -> None:
    """Alembic compares neither the text of checks nor the conditions of partial indexes; PostgreSQL spells them out."""
    migrated = described(admin, "public")
    admin.exec_driver_sql("CREATE SCHEMA modelled")
    admin.exec_driver_sql("SET LOCAL search_path TO modelled")
    Base.metadata.create_all(admin)
    assert described(admin, "modelled") == migrated
    assert len(migrated) > 200


def test_a_planted_difference_is_found(admin: Connection) -> None:
    before = described(admin, "public")
    admin.exec_driver_sql("ALTER TABLE payment DROP CONSTRAINT payment_refunded")
    admin.exec_driver_sql("ALTER TABLE payment ADD CONSTRAINT payment_refunded CHECK (0 <= refunded_minor)")
    admin.exec_driver_sql("DROP INDEX payment_one_held")
    admin.exec_driver_sql("CREATE UNIQUE INDEX payment_one_held ON payment (card_id)")
    changed = {name for name, *_ in before ^ described(admin, "public")}
    assert changed == {"payment.payment_refunded", "payment.payment_one_held"}


def described(db: Connection, schema: str) -> set[tuple[Any, ...]]:
    """Every column, constraint and index of a schema, as PostgreSQL spells it."""
    return {
        (name, spelt.replace(f"{schema}.", ""))
        for query in (COLUMNS, CONSTRAINTS, INDEXES)
        for name, spelt in db.execute(text(query), {"schema": schema})
        if name.partition(".")[0] not in NOT_OURS
    }


COLUMNS = """
    SELECT relname || '.' || attname, format_type(atttypid, atttypmod) || ' ' || coalesce(collname, '') || ' '
        || attnotnull || ' ' || coalesce(pg_get_expr(adbin, adrelid), '')
    FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
    LEFT JOIN pg_collation ON pg_collation.oid = attcollation
    LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
    WHERE relnamespace = CAST(:schema AS regnamespace) AND relkind = 'r' AND attnum > 0 AND NOT attisdropped
"""
CONSTRAINTS = """
    SELECT conrelid::regclass::name || '.' || conname, pg_get_constraintdef(oid) FROM pg_constraint
    WHERE connamespace = CAST(:schema AS regnamespace) AND contype <> 'n'
"""
INDEXES = """
    SELECT tablename || '.' || indexname, indexdef FROM pg_indexes WHERE schemaname = :schema
"""
