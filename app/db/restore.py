"""Restore: a backup, read to its end and found genuine, into an empty database, in one transaction."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from psycopg import Connection
from pyrage.x25519 import Identity

from app.db.backup import Manifest, act_as_owner, count_rows
from app.db.client_programs import Program, find_program, running
from app.db.migrate import newest_version
from app.db.sealed_file import BackupError, Progress, Say, Sink, read_identities, unseal

#: Far more than a manifest has.
LINE_LIMIT_BYTES = 1_000_000

BEFORE_ANYTHING_RUNS = """\
Before a worker or the service runs on this copy: what it was made from must have stopped for good, or both send letters
and take codes. What happened since the backup is undone here, and letters that waited go out again: docs/backups.md"""


def restore(
    url: str, path: Path, identity: Path, *, programs: str | None, say: Say, prepare: Callable[[], None] = lambda: None
) -> Manifest:
    """Restores a backup into the empty database of the URL, the migrator's, or nothing at all.

    `prepare` makes that database, once the file has proved whole. The rows of every table are counted again.
    Raises BackupError with advice.
    """
    identities = read_identities(identity)
    say(f"Reading {path} to its end …")
    manifest = read_manifest(path, identities, Progress(say))
    if manifest.schema > newest_version():
        raise BackupError(f"{path} is of schema {manifest.schema}, newer than this release: restore with a newer one")
    prepare()
    with act_as_owner(url) as db:
        _refuse_what_is_not_empty(db)
        least = max(manifest.major, db.info.server_version // 10_000)
        program = find_program("pg_restore", least=least, folder=programs)
        say(f"Restoring the database of {manifest.taken_at}, {sum(manifest.rows.values())} rows …")
        db.commit()
        _pour(path, identities, program, url, Progress(say))
        _compare(db, manifest)
        db.commit()
        db.autocommit = True
        db.execute("ANALYZE")  # statistics are no part of a backup, and the audit would take for ever without
    return manifest


def read_manifest(path: Path, identities: Sequence[Identity], progress: Progress) -> Manifest:
    """Reads the whole file, so that nothing of one that was cut short or altered ever reaches a database."""
    first = _FirstLine(progress)
    unseal(path, first, identities)
    try:
        return Manifest.read(first.line)
    except ValueError as error:
        raise BackupError(f"{path} can be read, but is no backup of Scrip's: {error}") from None


def _pour(path: Path, identities: Sequence[Identity], program: Program, url: str, progress: Progress) -> None:
    """pg_restore commits at the end only, and is killed when the file turns out bad after all."""
    with running(program, url, "--single-transaction", "--exit-on-error", feeds=True) as pouring:
        if pouring.process.stdin is None:
            raise AssertionError("pg_restore reads from a pipe")
        try:
            unseal(path, _AfterFirstLine(pouring.process.stdin, progress), identities)
            pouring.process.stdin.close()
        except BrokenPipeError:
            pass  # it ended early, and has said why
        pouring.finish()


def _refuse_what_is_not_empty(db: Connection[Any]) -> None:
    found = db.execute(_OBJECTS).fetchone()
    if found is not None:
        raise BackupError(f"the database {db.info.dbname} is not empty, it has {found[0]}: restore into a new one")


def _compare(db: Connection[Any], manifest: Manifest) -> None:
    """What the snapshot had when it was taken, and what is there now."""
    restored = count_rows(db)
    different = {name for name in {*restored, *manifest.rows} if restored.get(name) != manifest.rows.get(name)}
    if different:
        raise BackupError(
            f"the number of rows differs from the backup's in {', '.join(sorted(different))}: "
            f"the database {db.info.dbname} holds what was restored; drop it, and start no service on it"
        )


class _FirstLine:
    """Keeps the first line, and lets the rest go by."""

    def __init__(self, progress: Progress) -> None:
        self.line, self._progress = b"", progress

    def write(self, part: bytes) -> int:
        self._progress.add(len(part))
        if not self.line.endswith(b"\n") and len(self.line) < LINE_LIMIT_BYTES:
            self.line += part[: part.find(b"\n") + 1] or part
        return len(part)


class _AfterFirstLine:
    """Passes on what follows the first line."""

    def __init__(self, sink: Sink, progress: Progress) -> None:
        self._sink, self._progress, self._begun = sink, progress, False

    def write(self, part: bytes) -> int:
        rest = part if self._begun else part.partition(b"\n")[2]
        self._begun = self._begun or b"\n" in part
        self._sink.write(rest)
        self._progress.add(len(rest))
        return len(part)


_OBJECTS = """
    SELECT relname FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
    WHERE nspname !~ '^pg_' AND nspname <> 'information_schema' AND relkind <> 'i'
    UNION ALL
    SELECT proname FROM pg_proc JOIN pg_namespace ON pg_namespace.oid = pronamespace
    WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'
    LIMIT 1
"""
