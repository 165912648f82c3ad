"""Outboxes of each kind that the SDK brings for stores without Django."""

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, MetaData, create_engine

from app.db.embedded import EmbeddedPostgres
from scrip_sdk.outbox import Outbox
from scrip_sdk.outbox.sql import SqlOutbox, outbox_table
from scrip_sdk.outbox.sqlite import SqliteOutbox

KINDS = ("sqlite", "sql on SQLite", "sql on PostgreSQL")


@pytest.fixture(params=KINDS)
def outbox(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Outbox]:
    """An empty one."""
    if request.param == "sqlite":
        yield SqliteOutbox(tmp_path / "outbox.db")
        return
    if request.param == "sql on SQLite":
        engine = create_engine(f"sqlite:///{tmp_path / 'store.db'}", connect_args={"timeout": 20})
    else:
        engine = request.getfixturevalue("store_postgres")
    yield sql_outbox(engine)
    engine.dispose()


@pytest.fixture
def store_postgres(server: EmbeddedPostgres) -> Engine:
    """The store's own database, on PostgreSQL."""
    return create_engine(server.admin_url, pool_size=10)


def sql_outbox(engine: Engine) -> SqlOutbox:
    """In a table of its own."""
    metadata = MetaData()
    table = outbox_table(metadata, f"outbox_{secrets.token_hex(4)}")
    metadata.create_all(engine)
    return SqlOutbox(engine, table)
