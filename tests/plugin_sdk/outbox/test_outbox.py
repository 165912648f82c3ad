"""Each outbox does what every outbox must, and has what is its own: the store's transaction, a file for its owner."""

import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import Engine, MetaData, create_mock_engine
from sqlalchemy.dialects import mysql
from sqlalchemy.schema import CreateTable

from scrip_sdk.outbox import Outbox, settle_later
from scrip_sdk.outbox.sql import SqlOutbox, _insert, _row_of, outbox_table
from scrip_sdk.outbox.sqlite import SqliteOutbox
from tests.plugin_sdk.outbox.conftest import sql_outbox
from tests.plugin_sdk.outbox_contract import CHECKS, NOW, gbp, payment, settle


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_the_contract(check: Callable[[Outbox], None], outbox: Outbox) -> None:
    check(outbox)


def test_an_instruction_stands_exactly_if_the_order_does(store_postgres: Engine) -> None:
    """Also after one of the same key was there already, which must not spoil the store's transaction."""
    outbox = sql_outbox(store_postgres)
    with pytest.raises(ZeroDivisionError), store_postgres.begin() as connection:
        SqlOutbox(connection, outbox.table).add(settle(1))
        raise ZeroDivisionError
    assert outbox.list() == []
    with store_postgres.begin() as connection:
        SqlOutbox(connection, outbox.table).add(settle(1))
        SqlOutbox(connection, outbox.table).add(settle(1))
        assert outbox.claim(NOW, limit=1, lease_s=60) == []
        SqlOutbox(connection, outbox.table).add(settle(2))
    assert len(outbox.list()) == 2
    store_postgres.dispose()


def test_the_file_is_its_owners_alone(tmp_path: Path) -> None:
    outbox = SqliteOutbox(tmp_path / "outbox.db")
    outbox.add(settle(1))
    with outbox._open() as db:  # the files beside it are there while it is open
        db.execute("SELECT * FROM instruction").fetchall()
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert modes["outbox.db"] == 0o600
    assert set(modes.values()) == {0o600}
    assert len(modes) == 3


def test_a_mysql_database_is_spoken_to_in_its_own_words() -> None:
    """None is at hand here: what is sent is read, and not run."""
    table = outbox_table(MetaData())
    made = str(CreateTable(table).compile(dialect=mysql.dialect()))
    assert "`key` VARCHAR(255) CHARACTER SET ascii COLLATE ascii_bin NOT NULL" in made
    assert "due_at DATETIME(6) NOT NULL" in made
    added = str(_insert("mysql", table, _row_of(settle(1))).compile(dialect=mysql.dialect()))
    assert "ON DUPLICATE KEY UPDATE `key` = " in added


def test_a_database_that_can_have_no_outbox_is_refused_when_the_shop_starts() -> None:
    engine = create_mock_engine("mssql://", lambda *_: None)
    with pytest.raises(ValueError, match="no outbox for mssql: postgresql"):
        SqlOutbox(engine, outbox_table(MetaData()))  # type: ignore[arg-type]  # it has a dialect, and no driver


def test_an_instruction_that_the_service_could_only_refuse_is_refused_at_once() -> None:
    for minor in (0, -1):
        with pytest.raises(ValueError, match="above zero"):
            settle_later(payment(1), gbp(minor), order_reference="order-1")
    for order in ("", "x" * 201):
        with pytest.raises(ValueError, match="order reference"):
            settle_later(payment(1), gbp(1), order_reference=order)
