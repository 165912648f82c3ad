"""Back up: one snapshot of the whole database, taken while the service runs, sealed for whoever may restore it.

The sealed file holds a line of JSON, the manifest, and then pg_dump's archive. Without Scrip it is restored by
`age --decrypt | tail --lines=+2 | pg_restore`.
"""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from psycopg import Connection, IsolationLevel, connect, sql
from psycopg.errors import InsufficientPrivilege, UndefinedTable

from app.db.client_programs import Program, find_program, running
from app.db.migrate import OWNER, libpq
from app.db.sealed_file import BackupError, Progress, Say, Source, draft_of, read_recipients, seal

#: A migration that runs meanwhile is waited for, but not for ever.
LOCK_PATIENCE_S = 60

WITHOUT_KEYS = """\
Not in it: the key files of KEYS_DIR. Without pepper.keys no code can be exchanged, without personal.keys no letter can
be sent, without hashing.keys no link opens. Keep them apart from it: whoever has both has everything."""


@dataclass(frozen=True)
class Manifest:
    """What a backup says of itself. `rows` by table; `major` is of the pg_dump that wrote the archive."""

    taken_at: str
    schema: str
    major: int
    rows: Mapping[str, int]

    def line(self) -> bytes:
        """As it stands before the archive."""
        return json.dumps({"scrip_backup": 1, **asdict(self)}).encode() + b"\n"

    @classmethod
    def read(cls, line: bytes) -> Self:
        """Raises ValueError for anything that `line` did not write."""
        try:
            said = json.loads(line)
            if said.pop("scrip_backup") != 1:
                raise ValueError("made by another release")
            return cls(**said)
        except (AttributeError, KeyError, TypeError, UnicodeDecodeError) as error:
            raise ValueError("no manifest") from error


@dataclass(frozen=True)
class Backup:
    """A backup that was made."""

    path: Path
    size: int
    took_s: float
    manifest: Manifest


def back_up(url: str, target: Path, recipients: Sequence[str], *, programs: str | None, say: Say) -> Backup:
    """Writes the whole database as of one moment to `target`, or to a file named by the time if that is a folder.

    `url`: of the migrator, who acts as the owner; `programs`: the folder of pg_dump, where it is not found by itself.
    Raises BackupError with advice; then there is no file.
    """
    began, keys = time.monotonic(), read_recipients(recipients)
    if target.is_dir():
        target /= f"scrip-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.age"
    with draft_of(target) as file, _snapshot(url) as (db, snapshot):
        program = find_program("pg_dump", least=db.info.server_version // 10_000, folder=programs)
        manifest = _manifest(db, program)
        with running(program, url, *_dump_arguments(snapshot)) as dump:
            if dump.process.stdout is None:
                raise AssertionError("pg_dump writes to a pipe")
            seal(_Spoken(manifest.line(), dump.process.stdout, say), file, keys)
            dump.finish()
    return Backup(target, target.stat().st_size, time.monotonic() - began, manifest)


def count_rows(db: Connection[Any]) -> dict[str, int]:
    """How many rows each table has, in the transaction's snapshot."""
    names = db.execute("SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace")
    count = sql.SQL("SELECT count(*) FROM public.{}")
    return {name: _number(db, count.format(sql.Identifier(name))) for (name,) in sorted(names.fetchall())}


@contextmanager
def act_as_owner(url: str) -> Iterator[Connection[Any]]:
    """A connection by the migrator's URL that acts as the owner, however long it takes."""
    with connect(libpq(url)) as db:
        db.execute("SET statement_timeout = 0")
        db.execute("SET idle_in_transaction_session_timeout = 0")
        try:
            db.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(OWNER)))
        except InsufficientPrivilege:
            raise BackupError(f"{db.info.user} may not act as {OWNER}: this needs the migrator's URL") from None
        db.commit()
        yield db


@contextmanager
def _snapshot(url: str) -> Iterator[tuple[Connection[Any], str]]:
    """A transaction that sees one moment of everything, and a name by which pg_dump sees the same."""
    with act_as_owner(url) as db:
        db.isolation_level, db.read_only = IsolationLevel.REPEATABLE_READ, True
        row = db.execute("SELECT pg_export_snapshot()").fetchone()
        yield db, row[0] if row else ""


def _manifest(db: Connection[Any], program: Program) -> Manifest:
    try:
        row = db.execute("SELECT version_num, date_trunc('second', now()) FROM public.schema_version").fetchone()
    except UndefinedTable:
        raise BackupError(f"{db.info.dbname} is not a database of Scrip's: it has no schema") from None
    schema, taken_at = row or ("", datetime.now(UTC))
    return Manifest(f"{taken_at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}", schema, program.major, count_rows(db))


def _dump_arguments(snapshot: str) -> list[str]:
    return ["--format=custom", f"--snapshot={snapshot}", f"--lock-wait-timeout={LOCK_PATIENCE_S}s"]


class _Spoken:
    """The manifest, then what pg_dump writes; says now and then how far it is."""

    def __init__(self, manifest: bytes, archive: Source, say: Say) -> None:
        self._first, self._archive, self._progress = manifest, archive, Progress(say)

    def read(self, size: int = -1) -> bytes:
        part = self._first[:size] or self._archive.read(size)
        self._first = self._first[size:]
        self._progress.add(len(part))
        return part


def _number(db: Connection[Any], query: sql.Composed) -> int:
    row = db.execute(query).fetchone()
    return int(row[0]) if row else 0
