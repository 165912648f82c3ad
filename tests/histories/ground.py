"""Where histories happen: the service as it runs, on a database of its own, and one history after another."""

import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from flask import Flask
from sqlalchemy import NullPool, create_engine, make_url

from app import config
from app.db.embedded import temporary_postgres
from app.db.engine import engine
from app.db.migrate import bootstrap, upgrade
from app.factory import create_app
from app.key_files import make_key_files
from app.ledger.audit import audit
from tests.api import api_of
from tests.histories.clients import Crowd
from tests.histories.faults import Faults
from tests.histories.judge import Judgement, judge
from tests.histories.record import History
from tests.service import FAR_LIMITS, real_keys, served
from tests.world import ROOMY, make_world


@dataclass(frozen=True)
class Ground:
    """The service's port and log, its database as the superuser sees it, and the same service in this process."""

    port: int
    log: Path
    admin_url: str
    app: Flask


@dataclass
class Outcome:
    """One history, and all that is wrong with it."""

    history: History
    judgement: Judgement
    wrong: list[str]
    struck: Counter[str]
    names: dict[str, str] = field(repr=False)


@contextmanager
def serving(
    settings: config.Settings, keys_dir: Path, admin_url: str, log: Path, *, wsgi: str = "wsgi:app"
) -> Iterator[Ground]:
    """The service over an existing database; this process has its origin and keys, so that its codes are theirs."""
    with served(settings, keys_dir, log, wsgi=wsgi) as port:
        ours = replace(settings, public_url=f"http://127.0.0.1:{port}", keys=config.read_keys(real_keys(keys_dir)))
        config.use(ours)
        database = make_url(settings.database_url).database
        admin = make_url(admin_url).set(database=database).render_as_string(hide_password=False)
        yield Ground(port, log, admin, create_app(ours))


@contextmanager
def own_ground() -> Iterator[Ground]:
    """All of it made afresh, outside of any test."""
    with tempfile.TemporaryDirectory(prefix="scrip-histories-") as folder, temporary_postgres() as server:
        urls = {role: server.url("scrip", user=f"scrip_{role}", password=f"{role}-pw") for role in ROLES}
        bootstrap(
            server.admin_url, migrate_url=urls["migrator"], service_url=urls["service"], reader_url=urls["reader"]
        )
        upgrade(urls["migrator"])
        keys_dir = Path(folder, "keys")
        make_key_files(keys_dir, config.Argon2Cost())
        settings = config.Settings(
            database_url=urls["service"],
            public_url="http://127.0.0.1:8000",
            keys=config.read_keys(keys_dir),
            smtp=config.Smtp("127.0.0.1", 25, "none", "cards@scrip.example"),
            issuing=ROOMY,
            limits=FAR_LIMITS,
        )
        config.use(settings)
        with serving(settings, keys_dir, server.admin_url, Path(folder, "log")) as ground:
            yield ground
        engine().dispose()


ROLES = ("migrator", "service", "reader")


def run_history(
    ground: Ground, *, seed: int, operations: int, cards: int, clients: int, with_faults: bool = True
) -> Outcome:
    """One history on cards and parties of its own; then it is judged, and so are the books and the service's log."""
    faults = Faults(seed, operations, port=ground.port, admin_url=ground.admin_url) if with_faults else None
    api = api_of(ground.app.test_client(), make_world())
    crowd = Crowd(ground.port, api, seed, operations, cards, faults)
    history = crowd.work(clients)
    judgement = judge(history)
    wrong = [*judgement.wrong, *crowd.bugs, *_differences(ground), *_logged(ground, judgement)]
    return Outcome(history, judgement, wrong, faults.struck if faults else Counter(), crowd.names.known)


def _differences(ground: Ground) -> list[str]:
    """What `scrip audit` finds."""
    with create_engine(ground.admin_url, isolation_level="REPEATABLE READ", poolclass=NullPool).begin() as db:
        return [f"audit: {one.check}: {one.subject}: {one.wrong}" for _, _, found in audit(db) for one in found]


def _logged(ground: Ground, judgement: Judgement) -> list[str]:
    """Bugs in the service's log, and what it says of the requests that fit nowhere."""
    wanted = ['"event": "bug"', *(one.request_id for one in judgement.stuck if one.request_id)]
    return [f"log: {line}" for line in ground.log.read_text().splitlines() if any(word in line for word in wanted)]
