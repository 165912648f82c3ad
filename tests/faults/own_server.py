"""A PostgreSQL for one test alone, with roles and schema, that may be killed, filled and started again."""

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from app import config
from app.db.embedded import EmbeddedPostgres
from app.db.migrate import bootstrap, upgrade


@contextmanager
def own_server(settings: Mapping[str, str]) -> Iterator[EmbeddedPostgres]:
    """Yields it stopped; its address stays the same however often it is started."""
    with tempfile.TemporaryDirectory(prefix="scrip-test-") as folder:
        server = EmbeddedPostgres(Path(folder), settings=settings)
        with server:
            migrate_url = server.url("scrip", user="scrip_migrator", password="migrator-pw")
            bootstrap(server.admin_url, migrate_url=migrate_url, service_url=service_url(server))
            upgrade(migrate_url)
        yield server


def service_url(server: EmbeddedPostgres) -> str:
    return server.url("scrip", user="scrip_service", password="service-pw")


def settings_on(server: EmbeddedPostgres, settings: config.Settings) -> config.Settings:
    """The same settings, on this server."""
    return replace(settings, database_url=service_url(server))
