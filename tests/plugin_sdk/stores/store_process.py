"""Stores as they run: programs of `.venv-stores` or of another environment, each on a database of its own."""

import os
import secrets
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, NullPool, create_engine, make_url, text

from app.db.embedded import EmbeddedPostgres
from tests.service import ROOT, free_port

STORES = ".venv-stores"
PATIENCE_S = 120


@dataclass(frozen=True)
class Database:
    """A store's own database and role on the embedded server."""

    name: str
    user: str
    password: str = field(repr=False)
    host: str = ""

    @property
    def url(self) -> str:
        """As SQLAlchemy wants it."""
        made = make_url("postgresql+psycopg://").set(username=self.user, password=self.password, database=self.name)
        return made.set(query={"host": self.host}).render_as_string(hide_password=False)

    @property
    def environment(self) -> dict[str, str]:
        """As libpq and so a store's settings read it; the host is a folder with a socket."""
        return {"PGHOST": self.host, "PGUSER": self.user, "PGPASSWORD": self.password, "PGDATABASE": self.name}

    def engine(self) -> Engine:
        """For tests that look into it."""
        return create_engine(self.url, poolclass=NullPool)

    def rows(self, query: str, **values: Any) -> list[Any]:
        """What it says."""
        with self.engine().connect() as db:
            return list(db.execute(text(query), values))

    def run(self, statement: str, **values: Any) -> None:
        """Changes something in it."""
        with self.engine().begin() as db:
            db.execute(text(statement), values)


@contextmanager
def store_database(server: EmbeddedPostgres, template: "str | None" = None) -> Iterator[Database]:
    """A fresh database, empty or a copy of another store's, which is gone at the end."""
    name = f"store_{secrets.token_hex(4)}"
    database = Database(name, name, secrets.token_hex(8), str(server.socket_folder))
    admin = create_engine(server.admin_url, isolation_level="AUTOCOMMIT", poolclass=NullPool)
    with admin.connect() as db:
        db.execute(text(f"CREATE ROLE {name} LOGIN PASSWORD '{database.password}'"))
        db.execute(text(f"CREATE DATABASE {name} OWNER {name}" + (f" TEMPLATE {template}" if template else "")))
    try:
        yield database
    finally:
        with admin.connect() as db:
            db.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
            db.execute(text(f"DROP ROLE {name}"))


@dataclass
class StoreProcess:
    """A store that listens on a port; `log` has all that it says."""

    port: int
    log: Path
    process: "subprocess.Popen[bytes]"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def stop(self) -> None:
        """Ends it in order."""
        self.process.terminate()
        self.process.wait(PATIENCE_S)

    def kill_workers(self) -> None:
        """Ends the workers at once; others come in their place."""
        for worker in Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split():
            os.kill(int(worker), 9)

    def kill(self) -> None:
        """Ends it and its workers at once, as a power cut would."""
        os.killpg(self.process.pid, 9)
        self.process.wait(PATIENCE_S)


def stores_python(venv: str = STORES) -> str:
    """The Python of the example stores, or of another store. Without it the test is skipped, but never in CI."""
    python = ROOT / venv / "bin" / "python"
    if not python.exists():
        if os.environ.get("CI") == "true":
            pytest.fail(f"{venv} is missing: CI makes it")
        pytest.skip(f"{venv} is not set up")
    return str(python)


def store_environment(*more: Mapping[str, str]) -> dict[str, str]:
    """What a store's program starts with: the SDK on its path, and nothing of this process's own."""
    made = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT / "plugin_sdk"),
        "PYTHONUNBUFFERED": "1",
        "LC_ALL": "C.UTF-8",
    }
    for each in more:
        made.update(each)
    return made


def run_python(
    arguments: Sequence[str], *, env: Mapping[str, str], cwd: Path, patience_s: float = PATIENCE_S, check: bool = True
) -> "subprocess.CompletedProcess[str]":
    """Runs a program of the store's to its end, `manage.py` say; what it printed is shown where it fails."""
    done = subprocess.run(
        [stores_python(), *arguments],
        env=dict(env),
        cwd=cwd,
        timeout=patience_s,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert not check or done.returncode == 0, f"{arguments} ended with {done.returncode}:\n{done.stdout[-20_000:]}"
    return done


@contextmanager
def running_store(
    wsgi: str,
    *,
    env: Mapping[str, str],
    cwd: Path,
    log: Path,
    health: str = "/",
    workers: int = 2,
    threads: int = 4,
    port: "int | None" = None,
    options: Sequence[str] = (),
    venv: str = STORES,
) -> Iterator[StoreProcess]:
    """A store on gunicorn, until the block ends. Any answer below 500 to `health` means that it is there."""
    port = port or free_port()
    command = [
        stores_python(venv),
        "-m",
        "gunicorn",
        "-b",
        f"127.0.0.1:{port}",
        "--workers",
        str(workers),
        "--threads",
        str(threads),
        *options,
        wsgi,
    ]
    with running_program(command, env=env, cwd=cwd, log=log, health=health, port=port) as store:
        yield store


@contextmanager
def running_program(
    command: Sequence[str], *, env: Mapping[str, str], cwd: Path, log: Path, health: str, port: int
) -> Iterator[StoreProcess]:
    """A store's server that listens on this port, until the block ends; see `running_store`."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            command,
            env=dict(env),
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    store = StoreProcess(port, log, process)
    try:
        _wait_until_healthy(store, health)
        yield store
    finally:
        if process.poll() is None:
            store.stop()


def end_in_order(process: "subprocess.Popen[bytes]", patience_s: float = PATIENCE_S) -> int:
    """Tells a program that ends in order when it is told to so, once it listens to that; returns its exit code."""
    until = time.monotonic() + patience_s
    while process.poll() is None and not _catches(process.pid, signal.SIGTERM):
        assert time.monotonic() < until, "it never came to listen"
        time.sleep(0.02)
    process.terminate()
    return process.wait(patience_s)


def _catches(pid: int, number: int) -> bool:
    """Whether the process has a handler for this signal (proc(5), `SigCgt`)."""
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return bool(int(status["SigCgt"], 16) >> (number - 1) & 1)


def _wait_until_healthy(store: StoreProcess, path: str) -> None:
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until and store.process.poll() is None:
        connection = HTTPConnection("127.0.0.1", store.port, timeout=20)
        try:
            connection.request("GET", path)
            if connection.getresponse().status < 500:
                return
        except (OSError, HTTPException):
            time.sleep(0.05)
        finally:
            connection.close()
    raise AssertionError(f"the store did not come up:\n{store.log.read_text()[-20_000:]}")
