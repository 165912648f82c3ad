"""What every test stands on: a real PostgreSQL with the real roles, cheap Argon2, and a small world of parties."""

import gc
import os
import secrets
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient
from playwright.sync_api import Browser, sync_playwright
from sqlalchemy import NullPool, create_engine, make_url

from app import config
from app.db.embedded import EmbeddedPostgres, temporary_postgres
from app.db.engine import engine
from app.db.migrate import bootstrap, upgrade
from app.factory import create_app
from app.guard import request_limits
from app.key_files import make_key_files
from app.oauth.keys import forget_keys
from tests.service import FAR_LIMITS
from tests.world import ROOMY, World, forgive_all, make_world

#: Far below what `from_env` accepts: only this module can name it.
CHEAP = config.Argon2Cost(memory_kib=64, time_cost=1)
#: Nothing that calls home, and no sandbox, which containers do not have.
CHROMIUM_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
#: The same engine without a desktop browser around it opens a page with a quarter of the work.
CHROMIUM = shutil.which("chromium-headless-shell") or shutil.which("chromium")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that take long come first, or else a process would be left alone with one at the end."""
    long = {item.path for item in items for marker in ("slow", "browser") if item.get_closest_marker(marker)}
    items.sort(key=lambda item: item.path not in long)


def pytest_collection_finish() -> None:
    """The collector of garbage leaves alone what is loaded by now, which is much and stays."""
    gc.freeze()


@pytest.fixture(autouse=True)
def fresh_loggers() -> None:
    """A logger keeps the processors of its first use: whatever test came first, what this one logs can be captured."""
    for name, module in list(sys.modules.items()):
        if name.startswith("app.") and hasattr(module, "log"):
            vars(module.log).pop("bind", None)


@pytest.fixture(autouse=True)
def nobody_was_wrong(request: pytest.FixtureRequest) -> None:
    """All tests come from one address, and many from one store: what was wrong in one delays no other."""
    if "database" in request.fixturenames:
        request.getfixturevalue("database")
        forgive_all()


@pytest.fixture(scope="session")
def server() -> Iterator[EmbeddedPostgres]:
    """An embedded PostgreSQL for the whole run; it forgets everything at the end."""
    with temporary_postgres() as server:
        yield server


@pytest.fixture(scope="session")
def urls(server: EmbeddedPostgres) -> dict[str, str]:
    """URLs by role, with roles and schema in place."""
    made = {
        role: server.url("scrip", user=f"scrip_{role}", password=f"{role}-pw")
        for role in ("migrator", "service", "reader")
    }
    made["admin"] = str(make_url(server.admin_url).set(database="scrip").render_as_string(hide_password=False))
    bootstrap(server.admin_url, migrate_url=made["migrator"], service_url=made["service"], reader_url=made["reader"])
    upgrade(made["migrator"])
    admin = create_engine(server.admin_url, isolation_level="AUTOCOMMIT", poolclass=NullPool)
    with admin.connect() as connection:
        connection.exec_driver_sql("CREATE DATABASE scrip_template TEMPLATE scrip")
    return made


@pytest.fixture(scope="session")
def keys_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of fresh key files."""
    folder = tmp_path_factory.mktemp("keys")
    make_key_files(folder, CHEAP)
    return folder


@pytest.fixture(scope="session")
def database(urls: dict[str, str], keys_dir: Path) -> config.Settings:
    """The process's settings, on the real database. The cheap Argon2 is below what `from_env` would accept."""
    settings = config.Settings(
        database_url=urls["service"],
        public_url="http://127.0.0.1:8000",
        keys=config.read_keys(keys_dir),
        smtp=config.Smtp("127.0.0.1", 25, "none", "cards@scrip.example"),
        argon2=CHEAP,
        issuing=ROOMY,
        limits=FAR_LIMITS,
        database_pool_size=60,
        captcha_cost=20,
    )
    config.use(settings)
    request_limits.use_storage()
    return settings


@pytest.fixture
def own_database(
    database: config.Settings, server: EmbeddedPostgres, urls: dict[str, str]
) -> Iterator[config.Settings]:
    """A fresh database for one test, which may break it or count everything in it."""
    with fresh_database(database, server, urls) as settings:
        yield settings


@contextmanager
def fresh_database(
    database: config.Settings, server: EmbeddedPostgres, urls: dict[str, str]
) -> Iterator[config.Settings]:
    """The process's settings on a fresh database, which is gone at the end."""
    name = f"scrip_{secrets.token_hex(4)}"
    url = make_url(urls["service"]).set(database=name).render_as_string(hide_password=False)
    settings = replace(database, database_url=url)
    admin = create_engine(server.admin_url, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name} TEMPLATE scrip_template STRATEGY FILE_COPY")
    config.use(settings)
    forget_keys()
    try:
        yield settings
    finally:
        engine().dispose()
        config.use(database)
        forget_keys()
        with admin.connect() as connection:
            connection.exec_driver_sql(f"DROP DATABASE {name} WITH (FORCE)")
    admin.dispose()


@pytest.fixture
def world(database: config.Settings) -> World:
    """An issuer with a programme, and two stores."""
    return make_world()


@pytest.fixture(scope="session")
def chromium() -> str:
    """The browser's path. Without one the test is skipped, but never in CI."""
    if CHROMIUM is None:
        if os.environ.get("CI") == "true":
            pytest.fail("Chromium is missing: CI installs it")
        pytest.skip("Chromium is not installed")
    return CHROMIUM


@pytest.fixture(scope="session")
def app(database: config.Settings) -> Flask:
    """The whole service in this process."""
    made = create_app(database)
    made.testing = False  # a bug must be answered as in production
    return made


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    """A browser or machine without a network between."""
    return app.test_client()


@pytest.fixture(scope="session")
def browser(chromium: str) -> Iterator[Browser]:
    """One headless Chromium for all tests; each test has contexts of its own."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=list(CHROMIUM_FLAGS))
        yield browser
        browser.close()
