"""A benchmark's server: migrated, with URLs by role, and open to a hand that no trigger and no foreign key stops."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from psycopg import Connection, connect
from sqlalchemy import make_url

from app.db.embedded import EmbeddedPostgres
from app.db.migrate import bootstrap, libpq, upgrade

SESSION = (
    "-c session_replication_role=replica -c synchronous_commit=off -c jit=off "
    "-c work_mem=256MB -c maintenance_work_mem=256MB"
)
#: These fire in replica mode too; but a filled account has its balance already.
TRIGGERS = (("transfer", "transfer_moves_balances"), ("account", "account_starts_at_nothing"))


def migrated(server: EmbeddedPostgres) -> dict[str, str]:
    """Makes roles and schema; returns the URLs of `migrator`, `service`, `reader`, and `admin`, the superuser's."""
    roles = ("migrator", "service", "reader")
    urls = {role: server.url("scrip", user=f"scrip_{role}", password=f"{role}-pw") for role in roles}
    bootstrap(server.admin_url, migrate_url=urls["migrator"], service_url=urls["service"], reader_url=urls["reader"])
    upgrade(urls["migrator"])
    urls["admin"] = make_url(server.admin_url).set(database="scrip").render_as_string(hide_password=False)
    return urls


def connected(admin_url: str) -> Connection[Any]:
    """A session, each statement for itself, in which what is inserted is taken as it is."""
    return connect(libpq(admin_url), autocommit=True, options=SESSION)


@contextmanager
def filling(admin_url: str) -> Iterator[Connection[Any]]:
    """Such a session, with the balances' triggers off meanwhile for every other too."""
    with connected(admin_url) as db:
        for table, trigger in TRIGGERS:
            db.execute(f"ALTER TABLE {table} DISABLE TRIGGER {trigger}".encode())
        yield db
        for table, trigger in TRIGGERS:
            db.execute(f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER {trigger}".encode())
