"""A deliverer may be killed at any moment, by kill -9: nothing is lost, and nothing is settled twice."""

import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import MetaData, create_engine

from app.db.embedded import EmbeddedPostgres
from scrip_sdk.outbox import LEASE_S, Outbox
from scrip_sdk.outbox.sql import SqlOutbox, outbox_table
from scrip_sdk.outbox.sqlite import SqliteOutbox
from tests.plugin_sdk.stores import killed_deliverer
from tests.plugin_sdk.stores.fault_proxy import FaultProxy
from tests.plugin_sdk.stores.keeping import Till, client_of
from tests.plugin_sdk.stores.service import Store, assert_books_balance
from tests.service import ROOT

SETTLEMENTS = "/v1/payments/*/settlements"
PATIENCE_S = 60


class Deliverers:
    """Processes that deliver from one outbox."""

    def __init__(self, store: Store, url: str, table: str) -> None:
        self.table = table
        self.environ = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "plugin_sdk")]),
            **store.environment,
            "SCRIP_OUTBOX": url,
        }

    def start(self, moment: str, ahead_s: float) -> "subprocess.Popen[bytes]":
        command = [sys.executable, killed_deliverer.__file__, moment, str(ahead_s), self.table]
        return subprocess.Popen(command, env=self.environ)


@pytest.fixture(params=["SQLite", "PostgreSQL"])
def till(
    request: pytest.FixtureRequest, store: Store, faults: FaultProxy, tmp_path: Path
) -> Iterator[tuple[Till, Deliverers]]:
    with client_of(store) as client:
        if request.param == "SQLite":
            file: Outbox = SqliteOutbox(tmp_path / "outbox.db")
            yield Till(store, client, file), Deliverers(store, f"sqlite:///{tmp_path / 'outbox.db'}", "-")
            return
        server: EmbeddedPostgres = request.getfixturevalue("server")
        engine, metadata = create_engine(server.admin_url), MetaData()
        table = outbox_table(metadata, f"outbox_{secrets.token_hex(4)}")
        metadata.create_all(engine)
        yield Till(store, client, SqlOutbox(engine, table)), Deliverers(store, server.admin_url, table.name)
        metadata.drop_all(engine)
        engine.dispose()


def test_killed_at_any_moment_it_settles_each_order_once(till: tuple[Till, Deliverers], faults: FaultProxy) -> None:
    """One after the other is killed: before it sent, after it was answered, after it wrote, and while it waited."""
    store, deliverers = till
    orders = [store.sell(order=f"order-{number}") for number in range(4)]
    for number, moment in enumerate(("claimed", "answered", "written")):
        killed = deliverers.start(moment, number * (LEASE_S + 1))
        assert killed.wait(PATIENCE_S) == -signal.SIGKILL, moment
    waiting = faults.slow("POST", SETTLEMENTS, seconds=1.5)
    killed = deliverers.start("never", 3 * (LEASE_S + 1))
    until = time.monotonic() + PATIENCE_S
    while waiting.met == 0 and time.monotonic() < until:
        time.sleep(0.01)
    killed.kill()
    assert killed.wait(PATIENCE_S) == -signal.SIGKILL
    assert store.outbox.counts().pending > 0
    assert deliverers.start("never", 4 * (LEASE_S + 1)).wait(PATIENCE_S) == 0
    assert store.outbox.counts().pending == 0
    assert max(store.row(one).tries for one in orders) > 1, "no one was ever claimed again"
    for one in orders:
        assert store.row(one).state == "done"
        assert store.store.settlements(one.payment_id) == [3_000]
    assert_books_balance(store.store)


def test_until_its_lease_is_over_a_killed_ones_instruction_waits(till: tuple[Till, Deliverers]) -> None:
    store, deliverers = till
    one = store.sell()
    assert deliverers.start("claimed", 0).wait(PATIENCE_S) == -signal.SIGKILL
    assert store.deliver().sent == 0
    store.wait(seconds=LEASE_S + 1)
    assert store.deliver().done == 1
    assert store.store.settlements(one.payment_id) == [3_000]
