"""The pool: a connection that the server has ended costs nobody an error, and a statement is prepared once."""

import select

import pytest
from sqlalchemy import NullPool, create_engine, text
from sqlalchemy.exc import DBAPIError

from app.config import Settings
from app.db.embedded import EmbeddedPostgres
from app.db.engine import engine
from app.db.transaction import transaction
from app.errors import Busy, NotFound


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


@pytest.mark.parametrize("fails_by", [NotFound, DBAPIError], ids=["refused", "the database said no"])
def test_what_is_prepared_stays_when_a_transaction_is_rolled_back(
    own_database: Settings, fails_by: type[Exception]
) -> None:
    """Else whoever sends wrong codes has everybody's statements parsed and planned anew."""
    prepared = "SELECT name FROM pg_prepared_statements WHERE statement LIKE '%kept_by_all%'"
    with transaction() as db:
        for number in range(10):
            db.execute(text("SELECT :number + 2 AS kept_by_all"), {"number": number})
        before = db.exec_driver_sql(prepared).scalars().all()
    with pytest.raises(fails_by), transaction() as db:
        db.execute(text("CREATE TEMPORARY TABLE undone (number int)"))
        if fails_by is NotFound:
            raise NotFound
        db.execute(text("SELECT 1 / 0"))
    with transaction() as db:
        assert db.exec_driver_sql("SELECT to_regclass('undone')").scalar_one() is None, "it was rolled back"
        db.execute(text("SELECT :number + 2 AS kept_by_all"), {"number": 1})
        assert len(before) == 1
        assert db.exec_driver_sql(prepared).scalars().all() == before


def test_a_connection_that_breaks_before_it_is_rolled_back_is_replaced(
    own_database: Settings, server: EmbeddedPostgres
) -> None:
    before = backend()
    with pytest.raises(Busy), transaction() as db:
        end_all(server)
        db.execute(text("SELECT 1"))
    with pytest.raises(NotFound), transaction() as db:
        end_all(server)
        raise NotFound
    assert backend() != before
