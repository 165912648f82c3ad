"""`python -m scrip_sdk`: a store without a framework runs its outbox and its bill from the command line."""

import json
import os
import secrets
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import MetaData, create_engine

from app.billing.work import work_off
from app.db.embedded import EmbeddedPostgres
from scrip_sdk.__main__ import main
from scrip_sdk.outbox import refund_later, settle_later
from scrip_sdk.outbox.sql import SqlOutbox, outbox_table
from scrip_sdk.outbox.sqlite import SqliteOutbox
from tests.plugin_sdk.logging_state import logging_stays
from tests.plugin_sdk.outbox_contract import payment
from tests.plugin_sdk.stores.fault_proxy import FaultProxy
from tests.plugin_sdk.stores.keeping import Till, client_of, gbp
from tests.plugin_sdk.stores.service import Store
from tests.service import ROOT

PATIENCE_S = 60


@pytest.fixture
def till(store: Store, faults: FaultProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Till]:
    monkeypatch.setenv("SCRIP_OUTBOX", f"sqlite:///{tmp_path / 'outbox.db'}")
    for name, value in store.environment.items():
        monkeypatch.setenv(name, value)
    with client_of(store) as client, logging_stays():
        yield Till(store, client, SqliteOutbox(tmp_path / "outbox.db"))


def test_a_month_from_the_first_order_to_the_bill(
    till: Till, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Two orders, a refund, one that is given up, looked at and set going again; the bill is as the books are."""
    first, second = till.sell(3_000, order="order-1"), till.sell(1_250, order="=order-2")
    wrong = till.sell(5_001, order="order-3")
    till.outbox.add(refund_later(first.payment_id, gbp(500), order_reference="order-1", part="r1"))
    till.outbox.add(settle_later(payment(9), gbp(900), order_reference="order-9", due_at=till.now().replace(year=2999)))
    assert main(["deliver", "--once"]) == 1
    assert "3 done, 0 put off, 1 given up; 1 waiting and 1 dead in all" in capsys.readouterr().err
    assert main(["outbox", "list", "--state", "dead"]) == 0
    listed = capsys.readouterr().out
    assert listed.startswith(f"{wrong.id} dead settle 50.01 GBP {wrong.payment_id} order-3 tries 1 amount-over-hold")
    assert main(["outbox", "retry", wrong.id]) == 0
    assert f"{wrong.id} pending settle" in capsys.readouterr().out
    assert main(["outbox", "retry", first.id]) == 1
    assert "no instruction that is not done" in capsys.readouterr().err
    assert main(["deliver"]) == 1

    month = f"{datetime.now(UTC):%Y-%m}"
    capsys.readouterr()
    assert main(["bill", "--month", month]) == 0
    out, said = capsys.readouterr()
    assert out.splitlines() == [
        "payment_id,order_reference,amount,currency,amount_minor,state",
        f"{first.payment_id},order-1,25.00,GBP,2500,settled",
        f"{second.payment_id},'=order-2,12.50,GBP,1250,settled",
        f"{payment(9)},order-9,9.00,GBP,900,pending",
    ]
    assert "2 payments, 37.50 GBP" in said
    assert "not billed: 1 payments still pending, 9.00 GBP" in said
    assert "not billed: 1 dead" in said
    assert till.store.owed_minor() == 3_750
    file = tmp_path / "bill.json"
    assert main(["bill", "--month", month, "--format", "json", "--reference", "bill-7", "-o", str(file)]) == 0
    bill = json.loads(file.read_text())
    assert (bill["reference"], [line["amount"]["amount_minor"] for line in bill["lines"]]) == ("bill-7", [2_500, 1_250])
    assert [path.name for path in tmp_path.glob("*bill*")] == ["bill.json"]
    capsys.readouterr()
    for _ in range(2):
        assert main(["bill", "--month", month, "--submit"]) == 0
        out, _ = capsys.readouterr()
        bill_id = out.split()[0]
    work_off(bill_id)
    sent = till.client.get_bill(bill_id)
    assert (sent.state, sent.lines, sent.matched_lines, sent.wrong_lines) == ("matched", 2, 2, 0), "as the books are"


def test_a_table_of_the_stores_database_will_do(
    till: Till, server: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, metadata = create_engine(server.admin_url), MetaData()
    table = outbox_table(metadata, f"outbox_{secrets.token_hex(4)}")
    metadata.create_all(engine)
    till.outbox = SqlOutbox(engine, table)
    one = till.sell()
    monkeypatch.setenv("SCRIP_OUTBOX", server.admin_url)
    assert main(["deliver", "--table", table.name]) == 0
    assert till.row(one).state == "done"
    assert main(["deliver", "--table", "no_such_table"]) == 2
    metadata.drop_all(engine)
    engine.dispose()


def test_while_the_service_is_away_it_says_so(
    till: Till, faults: FaultProxy, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scrip_sdk.budget.Budget.__init__.__defaults__", (0.3, 0.6, 0.9))
    till.sell()
    with faults.away():
        assert main(["deliver", "--once"]) == 75
    assert "the service is away" in capsys.readouterr().err


def test_a_loop_delivers_what_comes_and_ends_when_it_is_told_to(till: Till, tmp_path: Path) -> None:
    """Its secret comes from a file, as containers have it, and is not among what it writes. A database that is not as
    it should be for a while is waited for."""
    rename_column(tmp_path, "due_at", "away")
    log = tmp_path / "log"
    secret = till.outbox.path.with_name("secret")  # type: ignore[attr-defined]
    secret.write_text(f"{till.store.credentials.client_secret}\n")
    environ = {**os.environ, "SCRIP_CLIENT_SECRET_FILE": str(secret), "PYTHONPATH": str(ROOT / "plugin_sdk")}
    del environ["SCRIP_CLIENT_SECRET"]
    with log.open("wb") as output:
        command = [sys.executable, "-m", "scrip_sdk", "deliver", "--every", "0.05"]
        loop = subprocess.Popen(command, env=environ, stderr=output)
    try:
        until = time.monotonic() + PATIENCE_S
        while "database is away (OperationalError)" not in log.read_text() and time.monotonic() < until:
            assert loop.poll() is None, log.read_text()
            time.sleep(0.02)
        rename_column(tmp_path, "away", "due_at")
        orders = [till.sell(order=f"order-{number}") for number in range(2)]
        until = time.monotonic() + PATIENCE_S
        while till.outbox.counts().pending and time.monotonic() < until:
            time.sleep(0.02)
        loop.send_signal(signal.SIGTERM)
        assert loop.wait(PATIENCE_S) == 0
    finally:
        loop.kill()
    said = log.read_text()
    assert [till.row(one).state for one in orders] == ["done", "done"]
    assert "done" in said
    assert till.store.credentials.client_secret not in said


def rename_column(folder: Path, column: str, name: str) -> None:
    with closing(sqlite3.connect(folder / "outbox.db")) as db:
        db.execute(f"ALTER TABLE instruction RENAME COLUMN {column} TO {name}")


def test_a_database_that_is_locked_is_no_traceback(
    till: Till, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scrip_sdk.outbox.sqlite.BUSY_S", 0.05)
    with closing(sqlite3.connect(tmp_path / "outbox.db", isolation_level=None)) as db:
        db.execute("BEGIN IMMEDIATE")
        assert main(["deliver", "--once"]) == 75
    assert "the outbox's database is away: OperationalError" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "unset", "said"),
    [
        (["deliver"], "SCRIP_URL", "SCRIP_URL must be set"),
        (["deliver"], "SCRIP_CLIENT_SECRET", "SCRIP_CLIENT_SECRET must be set"),
        (["deliver"], "SCRIP_OUTBOX", "must name the outbox"),
        (["deliver", "--every", "0"], "", "above zero"),
        (["deliver", "--outbox", "sqlite:////nowhere/outbox.db"], "", "there is no file"),
        (["deliver", "--outbox", "postgresql+psycopg://shop:topsecret@127.0.0.1:1/shop"], "", "cannot be used"),
        (["deliver", "--outbox", "nonsense://x"], "", "cannot be used"),
        (["bill", "--month", "October"], "", "no month"),
    ],
)
def test_whoever_calls_it_wrongly_is_told_how(
    till: Till,
    arguments: list[str],
    unset: str,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if unset:
        monkeypatch.delenv(unset)
    assert main(arguments) == 2
    told = capsys.readouterr().err
    assert said in told
    assert "topsecret" not in told
    assert "Traceback" not in told


def test_the_help_names_settings_and_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in ([], ["deliver"], ["bill"], ["outbox", "list"], ["outbox", "retry"]):
        with pytest.raises(SystemExit) as ended:
            main([*arguments, "--help"])
        assert ended.value.code == 0
        said = capsys.readouterr().out
        assert "SCRIP_CLIENT_SECRET_FILE" in said
        assert "75 the service is away" in said


def test_an_order_reference_moves_no_cursor(till: Till, capsys: pytest.CaptureFixture[str]) -> None:
    till.outbox.add(settle_later(payment(1), gbp(1), order_reference="order\x1b[2J\n№1"))
    assert main(["outbox", "list"]) == 0
    out = capsys.readouterr().out
    assert "order\\x1b[2J\\x0a№1" in out
    assert out.count("\n") == 1
