"""The pool: a connection that the server has ended costs nobody an error, and a statement is prepared once."""

import select

import pytest
from sqlalchemy import NullPool, create_engine, text

from app.config import Settings
from app.db.embedded import EmbeddedPostgres
from app.db.engine import engine
from app.db.transaction import transaction


def backend() -> int:
    """The server's process behind the pool's one idle connection."""
    with transaction() as db:
        found: int = db.execute(text("SELECT pg_backend_pid()")).scalar_one()
        return found


def end_all(server: EmbeddedPostgres) -> None:
    admin = create_engine(server.admin_url, isolation_level="AUTOCOMMIT", poolclass=NullPool)
    ended = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = 'scrip_service'"
    with admin.connect() as db:
        assert all(db.exec_driver_sql(ended).scalars())


def test_an_idle_connection_that_the_server_ended_costs_nobody_an_error(
    own_database: Settings, server: EmbeddedPostgres
) -> None:
    before = backend()
    assert backend() == before, "it is kept while it is good"
    end_all(server)
    assert backend() != before


def test_a_connection_that_is_ended_as_soon_as_it_is_made_is_no_bug(
    own_database: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every connection looks ended here, as each can always be written to."""
    engine().dispose()
    monkeypatch.setattr(select, "POLLIN", select.POLLOUT)
    assert backend() != backend()


def test_a_statement_is_prepared_once_whatever_the_amounts(own_database: Settings) -> None:
    with transaction() as db:
        for amount_minor in [1, 40_000, 5_000_000_000] * 10:
            db.execute(text("SELECT :amount_minor + 1 AS one_more"), {"amount_minor": amount_minor})
        prepared = "SELECT statement FROM pg_prepared_statements WHERE statement LIKE '%one_more%'"
        assert len(db.exec_driver_sql(prepared).all()) == 1
