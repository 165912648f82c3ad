"""Somebody who keeps backups, and an empty place to restore them to."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from sqlalchemy import NullPool, create_engine

from app.db.backup import Backup, Manifest, back_up
from app.db.migrate import libpq
from app.db.restore import restore
from app.ledger.audit import audit


def quietly(text: str) -> None:
    """Nobody is there to be told."""


@dataclass(frozen=True)
class Place:
    """A database, by the URLs of the roles."""

    urls: dict[str, str]

    def ask(self, query: str, role: str = "admin") -> list[Any]:
        with psycopg.connect(libpq(self.urls[role])) as db:
            return db.execute(query.encode()).fetchall()

    def is_empty(self) -> bool:
        return not self.ask("SELECT 1 FROM pg_class WHERE relnamespace = 'public'::regnamespace")

    def findings(self) -> dict[str, int]:
        """What the audit finds, as the reader."""
        asking = create_engine(self.urls["reader"], isolation_level="REPEATABLE READ", poolclass=NullPool)
        with asking.begin() as db:
            return {check.name: count for check, count, _ in audit(db) if count}


@dataclass(frozen=True)
class Keeper:
    """Makes backups of one place, and has the identity that reads them."""

    source: Place
    folder: Path
    identity: Path
    recipient: str

    def back_up(self, name: str = "kept.age", *, programs: str | None = None) -> Backup:
        url = self.source.urls["migrator"]
        return back_up(url, self.folder / name, [self.recipient], programs=programs, say=quietly)

    def restore(self, path: Path, place: Place, *, identity: Path | None = None) -> Manifest:
        return restore(place.urls["migrator"], path, identity or self.identity, programs=None, say=quietly)
