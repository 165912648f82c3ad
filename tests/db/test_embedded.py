"""The embedded PostgreSQL is private, survives kills, ends its leftovers, and refuses what it cannot serve."""

import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from app.db import embedded
from app.db.embedded import UNSAFE_BUT_FAST, EmbeddedPostgres
from app.db.embedded_install import SHARED, EmbeddedError, install
from app.processes import is_alive, open_log, start_child, wait_until


@pytest.fixture
def place() -> Iterator[Path]:
    """An empty folder that PostgreSQL's account can reach, which pytest's own are not for root."""
    path = Path(tempfile.mkdtemp(prefix="scrip-test-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@pytest.fixture(scope="module")
def made() -> Iterator[Path]:
    """A cluster that was made and stopped, to copy: making one is the slow part."""
    path = Path(tempfile.mkdtemp(prefix="scrip-test-"))
    path.chmod(0o755)
    with EmbeddedPostgres(path / "pg", settings=UNSAFE_BUT_FAST) as server:
        ask(server, "CREATE TABLE note AS SELECT 'kept' AS text")
    yield path / "pg"
    shutil.rmtree(path)


@pytest.fixture
def folder(place: Path, made: Path) -> Path:
    """A copy of that cluster."""
    subprocess.run(["cp", "-a", made, place / "pg"], check=True)
    return place / "pg"


def ask(server: EmbeddedPostgres, question: str) -> list[tuple[object, ...]]:
    """Asks as the superuser."""
    with psycopg.connect(server.admin_url.replace("+psycopg", "")) as db:
        cursor = db.execute(question)
        return cursor.fetchall() if cursor.description else []


def fast(folder: Path) -> EmbeddedPostgres:
    return EmbeddedPostgres(folder, settings=UNSAFE_BUT_FAST)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_nobody_is_trusted_and_nothing_listens_but_a_private_socket(folder: Path) -> None:
    with fast(folder) as server:
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(server.url("postgres", user="postgres", password="guess").replace("+psycopg", ""))
        assert ask(server, "SELECT DISTINCT auth_method FROM pg_hba_file_rules") == [("scram-sha-256",)]
        assert ask(server, "SHOW listen_addresses") == [("",)]
        assert mode(server.socket_folder) == 0o700
        assert mode(folder / "password") == mode(folder / "log") == 0o600
        assert mode(folder / "data") == 0o700
        assert mode(folder) == (0o711 if os.geteuid() == 0 else 0o700)


def test_text_is_utf8_in_a_locale_that_no_machine_changes(folder: Path) -> None:
    with fast(folder) as server:
        question = "SELECT datlocprovider, datlocale, pg_encoding_to_char(encoding) FROM pg_database"
        assert set(ask(server, question)) == {("b", "C.UTF-8", "UTF8")}
        assert ask(server, "SELECT 18 = current_setting('server_version_num')::int / 10000") == [(True,)]


def test_settings_reach_the_server_and_fsync_is_on_unless_asked_otherwise(folder: Path) -> None:
    with fast(folder) as server:
        assert ask(server, "SHOW fsync") == [("off",)]
    with EmbeddedPostgres(folder) as server:
        assert ask(server, "SHOW fsync") == [("on",)]


def test_a_second_start_finds_the_data_and_the_password(folder: Path) -> None:
    with fast(folder) as server:
        assert ask(server, "SELECT text FROM note") == [("kept",)]
        password = server.password
    with fast(folder) as server:
        assert server.password == password
        assert ask(server, "SELECT text FROM note") == [("kept",)]


def test_a_killed_server_starts_again_with_its_data(folder: Path) -> None:
    with EmbeddedPostgres(folder) as server:
        ask(server, "INSERT INTO note VALUES ('late')")
        assert server.pid is not None
        os.kill(server.pid, signal.SIGKILL)
        assert wait_until(lambda: server.pid is None, 5)
        server.start()
        assert ask(server, "SELECT count(*) FROM note") == [(2,)]


def test_a_server_dies_with_its_killed_parent_and_the_next_start_works(folder: Path) -> None:
    script = (
        "import sys, time; from pathlib import Path; from app.db.embedded import EmbeddedPostgres\n"
        "server = EmbeddedPostgres(Path(sys.argv[1])); server.start(); print(server.pid, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", script, folder], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        parent.kill()
    with fast(folder) as server:
        assert not is_alive(pid)
        assert ask(server, "SELECT text FROM note") == [("kept",)]


def test_a_start_ends_the_server_that_a_killed_one_left(folder: Path) -> None:
    server = fast(folder)
    with server:
        assert server.pid is not None
        arguments = Path(f"/proc/{server.pid}/cmdline").read_text().split("\0")[:-1]
    with open_log(folder / "log") as log:
        left = start_child(arguments, log=log, env={}, cwd=Path("/"), account=install().account)
    assert wait_until(lambda: "ready" in read(folder / "data" / "postmaster.pid"), 5)
    with server:
        assert left.wait(5) == 0
        assert ask(server, "SELECT text FROM note") == [("kept",)]


def test_a_process_that_merely_bears_the_noted_number_is_left_alone(folder: Path) -> None:
    note = folder / "data" / "postmaster.pid"
    note.write_text(f"{os.getpid()}\n{folder / 'data'}\n")
    install().give(note)
    with fast(folder) as server:
        assert ask(server, "SELECT text FROM note") == [("kept",)]


@pytest.mark.parametrize("name", ["n" * 120, "a, b", "50% für Sam"])
def test_a_path_too_long_or_too_odd_for_a_socket_works(place: Path, made: Path, name: str) -> None:
    folder = place / name / "pg"
    folder.parent.mkdir()
    subprocess.run(["cp", "-a", made, folder], check=True)
    with fast(folder) as server:
        assert ask(server, "SELECT text FROM note") == [("kept",)]
        short = server.socket_folder
        assert short.parent == Path("/tmp")
        assert mode(short) == 0o700
    assert not short.exists()


def test_an_interrupted_making_of_the_cluster_leaves_nothing_that_is_taken_for_one(place: Path) -> None:
    half_done = place / "pg" / "new-abc" / "data"
    half_done.mkdir(parents=True)
    (half_done / "PG_VERSION").write_text("18\n")
    with fast(place / "pg") as server:
        assert ask(server, "SELECT 1") == [(1,)]
    assert not half_done.exists()
    assert not list((place / "pg").glob("new-*"))


def test_a_folder_in_use_is_refused_and_says_by_whom(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "LOCK_PATIENCE_S", 0.1)
    with fast(folder), pytest.raises(EmbeddedError, match=f"in use by process {os.getpid()}"):
        fast(folder).start()


def test_data_of_another_major_version_is_refused(folder: Path) -> None:
    (folder / "data" / "PG_VERSION").write_text("17\n")
    with pytest.raises(EmbeddedError, match="made by PostgreSQL 17"):
        fast(folder).start()


def test_a_server_that_does_not_start_says_what_its_log_says(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "CRASH_PATIENCE_S", 0.1)
    with pytest.raises(EmbeddedError, match="unrecognized configuration parameter"):
        EmbeddedPostgres(folder, settings={"no_such_setting": "1"}).start()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs the server as somebody else")
def test_as_root_a_folder_that_the_account_cannot_traverse_is_refused_with_advice(place: Path) -> None:
    private = place / "private"
    private.mkdir(mode=0o700)
    with pytest.raises(EmbeddedError, match=rf"cannot traverse {private}\.\nChoose a folder"):
        fast(private / "pg").start()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root copies the binaries")
def test_as_root_the_server_is_a_copy_that_only_root_can_change_and_runs_as_an_account_of_its_own(folder: Path) -> None:
    with fast(folder) as server:
        assert Path(f"/proc/{server.pid}").stat().st_uid not in (0, 65534)
        assert Path(f"/proc/{server.pid}/exe").readlink().is_relative_to(SHARED)
    assert all(path.lstat().st_uid == 0 for path in SHARED.glob("pg-*/**/*"))
    assert not any(mode(path) & 0o022 for path in SHARED.glob("pg-*/**/*") if not path.is_symlink())


def read(path: Path) -> str:
    try:
        return path.read_text()
    except FileNotFoundError:
        return ""
