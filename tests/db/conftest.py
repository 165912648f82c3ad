"""Databases to back up, and to restore to."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import make_url

from app.config import Settings
from app.db.embedded import EmbeddedPostgres
from app.db.migrate import bootstrap, libpq
from app.db.sealed_file import make_identity
from tests.db.keeping import Keeper, Place


def place_called(name: str, urls: dict[str, str]) -> Place:
    return Place({role: make_url(url).set(database=name).render_as_string(False) for role, url in urls.items()})


@pytest.fixture
def keeper(own_database: Settings, urls: dict[str, str], tmp_path: Path) -> Keeper:
    """Who backs up the test's own database."""
    folder = tmp_path / "backups"
    folder.mkdir()
    source = place_called(make_url(own_database.database_url).database or "", urls)
    return Keeper(source, folder, tmp_path / "identity", make_identity(tmp_path / "identity"))


@contextmanager
def empty_place(server: EmbeddedPostgres, urls: dict[str, str]) -> Iterator[Place]:
    """A database that belongs to the owner and is empty, until the block ends."""
    name = f"scrip_{secrets.token_hex(4)}"
    made = place_called(name, urls)
    of = made.urls
    bootstrap(server.admin_url, migrate_url=of["migrator"], service_url=of["service"], reader_url=of["reader"])
    yield made
    with psycopg.connect(libpq(server.admin_url), autocommit=True) as db:
        db.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


@pytest.fixture
def place(server: EmbeddedPostgres, urls: dict[str, str]) -> Iterator[Place]:
    """Where one test restores to."""
    with empty_place(server, urls) as made:
        yield made
