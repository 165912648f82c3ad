"""Roles and schema: what an operator runs before the service starts."""

from pathlib import Path

from psycopg import Connection, connect, sql
from psycopg.conninfo import make_conninfo
from psycopg.errors import UndefinedTable
from sqlalchemy import make_url

from app.config import SERVICE_ROLE

MIGRATIONS = Path(__file__).resolve().parents[2] / "migrations"
OWNER, MIGRATOR, SERVICE, READER = "scrip_owner", "scrip_migrator", SERVICE_ROLE, "scrip_reader"


def bootstrap(admin_url: str, *, migrate_url: str, service_url: str, reader_url: str | None = None) -> None:
    """Makes the cluster-wide roles, their passwords as in the URLs, and the database that the URLs name.

    Run again, it sets the passwords anew and changes nothing else. Raises ValueError when a URL names another role.
    """
    logins = {MIGRATOR: migrate_url, SERVICE: service_url, READER: reader_url}
    for role, url in logins.items():
        if url and make_url(url).username != role:
            raise ValueError(f"the URL for {role} names another role")
    database = make_url(migrate_url).database or "scrip"
    with connect(libpq(admin_url), autocommit=True) as admin:
        _make_role(admin, OWNER, None)
        for role, url in logins.items():
            _make_role(admin, role, make_url(url).password if url else None)
        # The migrator acts as the owner only when it says so.
        owning = sql.SQL("GRANT {} TO {} WITH INHERIT FALSE, SET TRUE, ADMIN FALSE")
        admin.execute(owning.format(sql.Identifier(OWNER), sql.Identifier(MIGRATOR)))
        if not admin.execute("SELECT 1 FROM pg_database WHERE datname = %s", [database]).fetchone():
            admin.execute(
                sql.SQL("CREATE DATABASE {} OWNER {} TEMPLATE template0 ENCODING 'UTF8'").format(
                    sql.Identifier(database), sql.Identifier(OWNER)
                )
            )
        admin.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(sql.Identifier(database)))
        for role in logins:
            admin.execute(
                sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(sql.Identifier(database), sql.Identifier(role))
            )


def upgrade(migrate_url: str) -> None:
    """Brings the schema to the newest version; the migrator acts as the owner."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["url"] = migrate_url
    command.upgrade(config, "head")


def is_current(url: str) -> bool:
    """Whether the schema is the one that this release needs."""
    with connect(libpq(url)) as db:
        try:
            row = db.execute("SELECT version_num FROM schema_version").fetchone()
        except UndefinedTable:
            return False
    return row is not None and row[0] == newest_version()


def newest_version() -> str:
    """The schema that this release needs."""
    return max(path.name.partition("_")[0] for path in (MIGRATIONS / "versions").glob("[0-9]*.py"))


def _make_role(admin: Connection, role: str, password: str | None) -> None:
    """A role that can log in only if it has a password, and owns, creates and bypasses nothing."""
    if not admin.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [role]).fetchone():
        admin.execute(sql.SQL("CREATE ROLE {}").format(sql.Identifier(role)))
    login: sql.Composable = sql.SQL("NOLOGIN PASSWORD NULL")
    if password:  # hashed here, so that no server log can hold it
        verifier = admin.pgconn.encrypt_password(password.encode(), role.encode(), b"scram-sha-256").decode()
        login = sql.SQL("LOGIN PASSWORD {}").format(sql.Literal(verifier))
    limits = sql.SQL("ALTER ROLE {} NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS ").format(sql.Identifier(role))
    admin.execute(limits + login)


def libpq(url: str) -> str:
    """A SQLAlchemy URL in libpq's words."""
    made = make_url(url)
    _, words = made.get_dialect()().create_connect_args(made)
    return make_conninfo("", **words)
