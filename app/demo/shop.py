"""The shop of `./run demo --store`: another party's program on its own libraries, which knows the service by HTTP.

It runs from `.venv-stores`, with a database and a role of its own on the demo's server.
"""

import hashlib
import os
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

from app.db.embedded import EmbeddedPostgres
from app.demo.answers import wait_for_answer
from app.demo.children import Child, Children
from app.demo.folder import ROOT, DataFolder, DemoError
from app.demo.sockets import LOOPBACK, Sockets, port_of

HERE = ROOT / "plugin_sdk" / "examples" / "oscar_shop"
PYTHON = ROOT / ".venv-stores" / "bin" / "python"
DATABASE = "bookshop"
STATE = "shop.json"
PREPARE_PATIENCE_S = 120.0
STAFF, BOOK = "staff@bookshop.example", "Night Trains"


@dataclass(frozen=True)
class Shop:
    """Where the shop is, and who may see its back office."""

    url: str
    book: str
    staff: str
    password: str


def start_shop(
    folder: DataFolder,
    children: Children,
    database: EmbeddedPostgres,
    sockets: Sockets,
    store: dict[str, str],
    say: Callable[[str], None],
) -> Shop | None:
    """Starts the shop and what delivers its instructions, and returns once it answers; None where none was asked for.

    `store` has the credentials of its client. They, and the password of its database, travel by environment, never on
    a command line. Raises DemoError.
    """
    if sockets.store is None or sockets.store_url is None:
        return None
    if not PYTHON.exists():
        raise DemoError("the shop's environment is missing: start with `./run demo --store`, which sets it up")
    kept = folder.read(STATE) or {name: secrets.token_urlsafe(24) for name in ("secret_key", "database", "staff")}
    folder.write(STATE, kept)
    environment = _environment(folder, database, sockets, store, kept)

    def run_by_shop(name: str, *arguments: str, pass_fds: Sequence[int] = ()) -> Child:
        return Child(name, arguments, environment, pass_fds, python=str(PYTHON), cwd=HERE)

    if kept.get("release") != (release := _release()):
        say("Preparing the shop …")
        _make_database(database, kept["database"])
        for name, command in (("shop-tables", ["migrate", "--run-syncdb"]), ("shop-seed", ["seed_shop"])):
            children.run(run_by_shop(name, "manage.py", *command), patience_s=PREPARE_PATIENCE_S)
        folder.write(STATE, kept | {"release": release})
    fd = sockets.store.fileno()
    gunicorn = (
        "-m",
        "gunicorn",
        f"--bind=fd://{fd}",
        "--workers=2",
        "--threads=4",
        "--graceful-timeout=2",
        "--no-control-socket",
        "--preload",
    )
    children.start(run_by_shop("shop", *gunicorn, "shop.wsgi", pass_fds=[fd]))
    children.start(run_by_shop("shop-deliver", "manage.py", "scrip_deliver", "--every", "2"))
    wait_for_answer(port_of(sockets.store), "/catalogue/", children.refuse_deaths, name="shop")
    return Shop(sockets.store_url, BOOK, STAFF, kept["staff"])


def _make_database(database: EmbeddedPostgres, password: str) -> None:
    """An empty database whose role owns it, and reaches nothing of the service's. What was there is gone."""
    name = sql.Identifier(DATABASE)
    with psycopg.connect(_plain(database.admin_url), autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(name))
        connection.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(name))
        connection.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(name, sql.Literal(password)))
        connection.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(name, name))
        connection.execute(sql.SQL("REVOKE CONNECT ON DATABASE {} FROM PUBLIC").format(name))


def _environment(
    folder: DataFolder, database: EmbeddedPostgres, sockets: Sockets, store: dict[str, str], kept: dict[str, Any]
) -> dict[str, str]:
    """What the shop is told, and nothing of the caller's that could steer it."""
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": os.environ.get("HOME", "/"),
        "PYTHONPATH": f"{ROOT / 'plugin_sdk'}:{HERE}",
        "PYTHONUTF8": "1",
        "DJANGO_SETTINGS_MODULE": "shop.settings",
        "DATABASE_URL": _plain(database.url(DATABASE, user=DATABASE, password=kept["database"])),
        "SCRIP_URL": sockets.base_url,
        "SCRIP_CLIENT_ID": store["client_id"],
        "SCRIP_CLIENT_SECRET": store["client_secret"],
        "SHOP_SECRET_KEY": kept["secret_key"],
        "SHOP_STAFF_PASSWORD": kept["staff"],
        "SHOP_MEDIA": str(folder.private("shop-media")),
        "SHOP_TABLES_AT_ONCE": "yes",
        "SHOP_SMTP": f"{LOOPBACK}:{port_of(sockets.mail)}",
    }


def _plain(url: str) -> str:
    """As others than SQLAlchemy read it."""
    return url.replace("postgresql+psycopg://", "postgresql://", 1)


def _release() -> str:
    """What the shop's database was prepared for: its libraries, and the tables of this checkout."""
    digest = hashlib.sha256((ROOT / "plugin_sdk" / "requirements-stores.lock").read_bytes())
    for path in sorted((ROOT / "plugin_sdk").rglob("migrations/*.py")):
        digest.update(path.name.encode() + path.read_bytes())
    digest.update((HERE / "shop" / "management" / "commands" / "seed_shop.py").read_bytes())
    return digest.hexdigest()
