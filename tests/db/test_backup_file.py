"""A backup is whole or it is not there; what is not whole, not ours or not for us restores nothing."""

import os
import re
import resource
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner

from app.cli import DatabaseAway, scrip
from app.db import restore
from app.db.backup import Manifest
from app.db.client_programs import find_program
from app.db.embedded import EmbeddedPostgres
from app.db.sealed_file import BackupError, Progress, make_identity, read_identities, read_recipients, seal
from app.processes import wait_until
from tests.db.conftest import empty_place, place_called
from tests.db.keeping import Keeper, Place, quietly
from tests.service import ROOT, free_port

#: Of one encrypted part, as age cuts what it seals.
PART_BYTES = 64 * 1024 + 16
PATIENCE_S = 60


@pytest.fixture
def keeper(urls: dict[str, str], tmp_path: Path) -> Keeper:
    """Who backs up the template of the tests' databases, in which nothing ever happens."""
    (tmp_path / "backups").mkdir()
    recipient = make_identity(tmp_path / "identity")
    return Keeper(place_called("scrip_template", urls), tmp_path / "backups", tmp_path / "identity", recipient)


@pytest.fixture(scope="module")
def place(server: EmbeddedPostgres, urls: dict[str, str]) -> Iterator[Place]:
    """Where nothing is ever restored to."""
    with empty_place(server, urls) as made:
        yield made


@pytest.fixture
def kept(keeper: Keeper) -> Path:
    """A backup of several encrypted parts."""
    path = keeper.back_up().path
    assert path.stat().st_size > PART_BYTES
    return path


def refused(keeper: Keeper, place: Place, content: bytes, *, because: str = "not a whole backup") -> None:
    """Restored, this content is refused, and the database stays empty."""
    bad = keeper.folder / "bad.age"
    bad.write_bytes(content)
    with pytest.raises(BackupError, match=because):
        keeper.restore(bad, place)
    assert place.is_empty()


# ── reading ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_file_cut_short_anywhere_restores_nothing(keeper: Keeper, place: Place, kept: Path) -> None:
    whole = kept.read_bytes()
    start = whole.index(b"\n---") + 1
    first_part = whole.index(b"\n", start) + 1 + 16 + PART_BYTES
    for length in (0, 1, 20, start, first_part - 1, first_part, first_part + 1, len(whole) // 2, len(whole) - 1):
        refused(keeper, place, whole[:length])


def test_a_file_with_one_bit_altered_anywhere_restores_nothing(keeper: Keeper, place: Place, kept: Path) -> None:
    whole = kept.read_bytes()
    start = whole.index(b"\n---") + 1
    for position in (3, start + 10, start + 60, len(whole) // 3, len(whole) // 2, len(whole) - 1):
        refused(keeper, place, whole[:position] + bytes([whole[position] ^ 4]) + whole[position + 1 :])
    refused(keeper, place, whole + b"\n")


def test_a_file_that_turns_bad_after_it_was_read_restores_nothing_either(
    keeper: Keeper, place: Place, kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The planted fault: without the first reading, bad parts are found while pg_restore is at work."""
    whole = kept.read_bytes()
    manifest = restore.read_manifest(kept, read_identities(keeper.identity), Progress(quietly))
    monkeypatch.setattr(restore, "read_manifest", lambda *_: manifest)
    for length in (len(whole) - 1, len(whole) - len(whole) % PART_BYTES, len(whole) // 2):
        refused(keeper, place, whole[:length])


def test_another_identity_cannot_read_it(keeper: Keeper, place: Place, kept: Path, tmp_path: Path) -> None:
    make_identity(tmp_path / "another")
    with pytest.raises(BackupError, match="made for another recipient"):
        keeper.restore(kept, place, identity=tmp_path / "another")
    assert place.is_empty()


@pytest.mark.parametrize(
    ("content", "mode", "because"),
    [
        ("AGE-SECRET-KEY-1NONSENSE\n", 0o400, "must hold lines of AGE-SECRET-KEY"),
        ("# a remark\n", 0o400, "holds no identity"),
        ("# a remark\n", 0o440, "can be read by others"),
    ],
)
def test_a_file_that_is_no_identity_is_refused(tmp_path: Path, content: str, mode: int, because: str) -> None:
    path = tmp_path / "identity"
    path.write_text(content)
    path.chmod(mode)
    with pytest.raises(BackupError, match=because):
        read_identities(path)


def test_sealed_for_us_by_whoever_knows_the_recipient_it_still_must_be_a_backup(
    keeper: Keeper, place: Place, tmp_path: Path
) -> None:
    newer = Manifest("2026-11-27T12:00:00Z", "9999", 18, {}).line()
    for content, because in ((b"SELECT 1;\n" * 9, "no backup of Scrip's"), (newer, "newer than this release")):
        (tmp_path / "plain").write_bytes(content)
        with (tmp_path / "plain").open("rb") as source, (tmp_path / "sealed").open("wb") as sink:
            seal(source, sink, read_recipients([keeper.recipient]))
        refused(keeper, place, (tmp_path / "sealed").read_bytes(), because=because)


def test_a_database_that_holds_anything_is_left_alone(keeper: Keeper, kept: Path) -> None:
    before = keeper.source.ask("SELECT count(*) FROM event")
    with pytest.raises(BackupError, match=r"is not empty, it has \w+: restore into a new one"):
        keeper.restore(kept, keeper.source)
    assert keeper.source.ask("SELECT count(*) FROM event") == before


# ── writing ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_only_its_owner_reads_it_and_nothing_is_overwritten(keeper: Keeper, kept: Path) -> None:
    before = kept.read_bytes()
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert stat.S_IMODE(keeper.identity.stat().st_mode) == 0o400
    with pytest.raises(BackupError, match="nothing is overwritten"):
        keeper.back_up(kept.name)
    (keeper.folder / "dangling").symlink_to("nowhere")
    with pytest.raises(BackupError, match="nothing is overwritten"):
        keeper.back_up("dangling")
    (keeper.folder / "busy.part").touch()
    with pytest.raises(BackupError, match="is being written, or what wrote it was killed"):
        keeper.back_up("busy")
    assert kept.read_bytes() == before
    assert names(keeper) == {kept.name, "dangling", "busy.part"}


def test_in_a_folder_it_is_named_by_the_time(keeper: Keeper) -> None:
    path = keeper.back_up("").path
    assert re.fullmatch(r"scrip-\d{8}T\d{6}Z\.age", path.name)


@pytest.mark.parametrize("recipients", [[], ["age1nonsense"], ["AGE-SECRET-KEY-1"]])
def test_without_a_good_recipient_there_is_no_backup(recipients: list[str]) -> None:
    with pytest.raises(BackupError, match="recipient"):
        read_recipients(recipients)


def test_a_full_disk_leaves_nothing(keeper: Keeper) -> None:
    with largest_file(20_000), pytest.raises(BackupError, match="cannot be written: File too large; nothing is left"):
        keeper.back_up()
    assert names(keeper) == set()


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """No process that is started meanwhile, nor this one, can write a larger file."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def names(keeper: Keeper) -> set[str]:
    return {path.name for path in keeper.folder.iterdir()}


# ── PostgreSQL's programs ───────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def program(tmp_path: Path) -> Callable[[str], str]:
    """Makes a folder whose pg_dump is of this version and does this, given the real one's path."""

    def make(does: str, version: str = "18.4") -> str:
        real = find_program("pg_dump", least=18, folder=None).path
        path = tmp_path / "bin" / "pg_dump"
        path.parent.mkdir(exist_ok=True)
        says = f'[ "$1" = --version ] && {{ echo "pg_dump (PostgreSQL) {version}"; exit; }}'
        path.write_text(f"#!/bin/sh\n{says}\nreal={real}\n{does}\n")
        path.chmod(0o755)
        return str(path.parent)

    return make


def test_an_older_pg_dump_is_passed_over_and_refused_when_it_is_all_there_is(
    keeper: Keeper, program: Callable[[str, str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = program("exit 1", "17.5")
    with pytest.raises(BackupError, match=r"of PostgreSQL 18 or newer is needed, and there is .* of version 17"):
        keeper.back_up(programs=folder)
    monkeypatch.setenv("PATH", folder + os.pathsep + os.environ["PATH"])
    assert keeper.back_up().path.exists()


def test_a_folder_without_the_programs_is_named(keeper: Keeper, tmp_path: Path) -> None:
    with pytest.raises(BackupError, match=r"is needed, and there is none: .* POSTGRES_BIN"):
        keeper.back_up(programs=str(tmp_path))
    assert names(keeper) == set()


def test_a_dump_that_fails_half_way_leaves_nothing_and_says_why(keeper: Keeper, program: Callable[[str], str]) -> None:
    folder = program('"$real" "$@" | head -c 30000; echo "pg_dump: error: the cable was pulled" >&2; exit 1')
    with pytest.raises(BackupError, match="pg_dump failed: the cable was pulled"):
        keeper.back_up(programs=folder)
    assert names(keeper) == set()


def test_no_password_stands_where_other_processes_could_read_it(
    keeper: Keeper, program: Callable[[str], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_MIGRATE_URL", keeper.source.urls["migrator"])
    monkeypatch.setenv("PGAPPNAME", "planted")
    keeper.back_up(programs=program(f'cat /proc/$$/cmdline /proc/$$/environ >{tmp_path}/seen; exec "$real" "$@"'))
    seen = (tmp_path / "seen").read_text()
    assert "user=scrip_migrator" in seen and "PGAPPNAME=planted" in seen, "both are looked at"
    assert "migrator-pw" not in seen


# ── the command ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_command_says_what_is_in_it_and_what_must_be_kept_apart(keeper: Keeper) -> None:
    environment = {"DATABASE_MIGRATE_URL": keeper.source.urls["migrator"], "BACKUP_RECIPIENTS": keeper.recipient}
    run = CliRunner().invoke(scrip, ["backup", str(keeper.folder / "it")], env=environment)
    assert run.exit_code == 0, (run.output, run.exception)
    assert "0 cards, 0 transfers, 1 rows in " in run.output
    assert "Without pepper.keys no code can be exchanged" in run.output
    assert "whoever has both has everything" in run.output


def test_a_database_that_is_away_or_lets_nobody_in_is_said(keeper: Keeper) -> None:
    for url in (f"postgresql+psycopg://scrip_migrator:x@127.0.0.1:{free_port()}/scrip", _wrong_password(keeper)):
        arguments = ["backup", str(keeper.folder / "it"), "--recipient", keeper.recipient]
        run = CliRunner().invoke(scrip, arguments, env={"DATABASE_MIGRATE_URL": url})
        assert isinstance(run.exception, DatabaseAway)
    assert names(keeper) == set()


def test_the_reader_cannot_back_up(keeper: Keeper) -> None:
    arguments = ["backup", str(keeper.folder / "it"), "--recipient", keeper.recipient]
    run = CliRunner().invoke(scrip, arguments, env={"DATABASE_MIGRATE_URL": keeper.source.urls["reader"]})
    assert str(run.exception) == "scrip_reader may not act as scrip_owner: this needs the migrator's URL"


@pytest.mark.parametrize(("signum", "left"), [(signal.SIGTERM, set()), (signal.SIGKILL, {"it.part"})])
def test_ended_or_killed_on_the_way_it_leaves_nothing_that_looks_whole(
    keeper: Keeper, program: Callable[[str], str], signum: signal.Signals, left: set[str]
) -> None:
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
        "DATABASE_MIGRATE_URL": keeper.source.urls["migrator"],
        "POSTGRES_BIN": program("while head -c 20000 /dev/zero; do sleep 0.05; done"),
    }
    command = [sys.executable, "-m", "app.cli", "backup", str(keeper.folder / "it"), "--recipient", keeper.recipient]
    draft = keeper.folder / "it.part"
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE) as process:
        assert wait_until(lambda: draft.exists() and draft.stat().st_size > 100_000, PATIENCE_S)
        process.send_signal(signum)
        assert process.wait(PATIENCE_S) != 0
    assert names(keeper) == left


def _wrong_password(keeper: Keeper) -> str:
    return keeper.source.urls["migrator"].replace("migrator-pw", "guess")
