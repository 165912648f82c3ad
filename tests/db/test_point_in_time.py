"""The streaming archive, by the commands of docs/backups.md as they stand there: any moment comes back."""

import os
import re
import shutil
import signal
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import psycopg
import pytest

from app import config
from app.db.embedded import EmbeddedPostgres, temporary_postgres
from app.db.embedded_install import client_programs, install
from app.db.engine import engine
from app.db.migrate import bootstrap, libpq, upgrade
from app.db.sealed_file import make_identity
from app.oauth.keys import forget_keys
from app.processes import run_as, wait_until
from tests.db.keeping import Place
from tests.service import ROOT
from tests.world import make_world

PATIENCE_S = 60
#: Nothing is synced, but a commit that was acknowledged survives a killed server.
FAST = {"fsync": "off", "full_page_writes": "off"}


@pytest.fixture(scope="module", autouse=True)
def _age() -> None:
    """The commands need age. Without it the test is skipped, but never in CI."""
    if shutil.which("age") is None:
        if os.environ.get("CI") == "true":
            pytest.fail("age is missing: CI installs it")
        pytest.skip("age is not installed")


@dataclass(frozen=True)
class Archive:
    """Where base backups and segments go, with the page's scripts in their place."""

    folder: Path
    scripts: Path
    environment: Mapping[str, str]

    def run(self, name: str, *arguments: str | Path) -> None:
        """Runs a script as PostgreSQL's account."""
        command = ["/bin/bash", self.scripts / name, *arguments]
        status, said = run_as(install().account, command, env=self.environment)
        assert status == 0, said

    def has(self, segment: str) -> bool:
        return (self.folder / f"{segment}.age").exists()


@pytest.fixture
def archive() -> Iterator[Archive]:
    """A folder of the archive and one of scripts, both PostgreSQL's."""
    place = Path(tempfile.mkdtemp(prefix="scrip-test-"))
    place.chmod(0o755)
    folder, scripts = place / "archive", place / "scripts"
    for made in (folder, scripts):
        made.mkdir()
    recipient = make_identity(scripts / "identity")
    _write_scripts(scripts, {"recipient": recipient, "archive": str(folder), "identity": str(scripts / "identity")})
    install().give(folder, scripts, *scripts.iterdir())
    path = f"{client_programs()}:/usr/bin:/bin"
    yield Archive(folder, scripts, {"PATH": path, "PGPASSFILE": str(scripts / "pgpass")})
    shutil.rmtree(place)


def _write_scripts(folder: Path, chosen: Mapping[str, str]) -> None:
    """Each script of the page, with our own values for its first lines."""
    for script in re.findall(r"^```sh\n(#!.*?)^```", (ROOT / "docs" / "backups.md").read_text(), re.M | re.S):
        name = re.search(r"^# (scrip-[a-z-]+)", script, re.M)
        assert name is not None
        for word, value in chosen.items():
            script = re.sub(rf"^{word}=.*$", f"{word}={value}", script, flags=re.M)
        (folder / name[1]).write_text(script)
        (folder / name[1]).chmod(0o755)


@pytest.mark.slow
def test_any_moment_comes_back_from_a_base_backup_and_the_sealed_segments(
    archive: Archive, database: config.Settings
) -> None:
    settings = {**FAST, "archive_mode": "on", "archive_command": f"{archive.scripts / 'scrip-archive'} %p %f"}
    try:
        with temporary_postgres(settings=settings) as server:
            place = _ready(server)
            config.use(replace(database, database_url=place.urls["service"]))
            forget_keys()
            world = make_world()
            held = world.payment().payment
            _base_backup(archive, server)
            world.settle(held.id, 1_000, final=False)
            (between,) = place.ask("SELECT clock_timestamp()::text")[0]
            world.settle(held.id, 2_000, final=False)
            _archive_all(archive, place)
            world.settle(held.id, 500, final=False)
            engine().dispose()
            _lose(server)
    finally:
        config.use(database)
        forget_keys()

    assert _recovered(archive, server.password, between) == [(1_000,)], "the first settlement, not the second"
    assert _recovered(archive, server.password, "") == [(3_000,)], "all that was archived, and not what came after"


def _ready(server: EmbeddedPostgres) -> Place:
    """A database of ours on a fresh server, and a role that may replicate."""
    place = _place_on(server)
    of = place.urls
    bootstrap(server.admin_url, migrate_url=of["migrator"], service_url=of["service"], reader_url=of["reader"])
    upgrade(of["migrator"])
    with psycopg.connect(libpq(server.admin_url)) as db:
        db.execute("CREATE ROLE archiver LOGIN REPLICATION PASSWORD 'archiver-pw'")
    return place


def _place_on(server: EmbeddedPostgres) -> Place:
    roles = ("migrator", "service", "reader")
    urls = {role: server.url("scrip", user=f"scrip_{role}", password=f"{role}-pw") for role in roles}
    return Place({**urls, "admin": server.url("scrip", user="postgres", password=server.password)})


def _base_backup(archive: Archive, server: EmbeddedPostgres) -> None:
    script = archive.scripts / "scrip-base-backup"
    script.write_text(script.read_text().replace("host=db.example", f"host={server.socket_folder}"))
    passwords = archive.scripts / "pgpass"
    passwords.write_text("*:*:*:archiver:archiver-pw\n")
    passwords.chmod(0o600)
    install().give(passwords)
    archive.run(script.name)


def _archive_all(archive: Archive, place: Place) -> None:
    """What `archive_timeout` does when nobody waits."""
    ((segment,),) = place.ask("SELECT pg_walfile_name(pg_switch_wal())")
    assert wait_until(lambda: archive.has(segment), PATIENCE_S), place.ask("SELECT * FROM pg_stat_archiver")


def _lose(server: EmbeddedPostgres) -> None:
    """Ends it at once, without the last segment that a shutdown in order would archive: the disk is gone."""
    assert server.pid is not None
    os.kill(server.pid, signal.SIGQUIT)
    assert wait_until(lambda: server.pid is None, PATIENCE_S)


def _recovered(archive: Archive, password: str, moment: str) -> list[tuple[int]]:
    """What was settled by a moment, on a server that was recovered to it and balances."""
    (base,) = archive.folder.glob("base-*.age")
    with tempfile.TemporaryDirectory(prefix="scrip-test-") as name:
        server = EmbeddedPostgres(Path(name) / "pg", settings=FAST)
        server.folder.mkdir(mode=0o711)
        (server.folder / "password").write_text(password)
        (server.folder / "data").mkdir(mode=0o700)
        Path(name).chmod(0o711)
        install().give(server.folder / "data")
        archive.run("scrip-recover", server.folder / "data", base, moment)
        with server:
            place = _place_on(server)
            assert wait_until(lambda: place.ask("SELECT pg_is_in_recovery()") == [(False,)], PATIENCE_S)
            assert place.findings() == {}
            return place.ask("SELECT settled_minor FROM payment")
