"""What is abused: a server and database of its own, the service with two workers, its worker, issuer and stores."""

import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path

import click
from prometheus_client import CollectorRegistry
from prometheus_client.multiprocess import MultiProcessCollector
from psycopg import Connection

from app import config
from app.db.embedded import temporary_postgres
from app.factory import wire
from app.ids import IssuerId, ProgrammeId, StoreId
from app.issuance.holder_data import HolderData
from app.issuance.issue import issue_card
from app.issuance.issuer import add_issuer
from app.issuance.programme import ProgrammeTerms, create_programme
from app.key_files import make_key_files
from app.oauth.clients import add_client
from app.oauth.keys import ensure_keys
from app.oauth.scopes import PARTY_SCOPES
from app.redemption.store import add_store, set_origins
from bench.population import populate
from bench.server import connected, migrated
from tests.service import ROOT, environment, real_keys, served
from tests.world import ROOMY, TERMS, gbp, reference

AMOUNT = 2_000
#: A browser's work is not what is measured, and it is done on the same processors here.
CAPTCHA_COST = 20
CHEAP = config.Argon2Cost(memory_kib=64, time_cost=1)


@dataclass(frozen=True, slots=True)
class Shop:
    """A store with what its server holds."""

    store_id: StoreId
    client_id: str
    client_secret: str = field(repr=False)
    redirect_uri: str


@dataclass(frozen=True, slots=True)
class Ground:
    """The service as it runs, on `port`, with stores and the issuer whose cards they take."""

    port: int
    admin_url: str = field(repr=False)
    metrics_dir: Path
    issuer_id: IssuerId
    programme_id: ProgrammeId
    shops: tuple[Shop, ...]

    def links(self, many: int) -> list[str]:
        """Claim links of fresh cards."""
        return [self.issue(self.issuer_id, self.programme_id) for _ in range(many)]

    @staticmethod
    def issue(issuer_id: IssuerId, programme_id: ProgrammeId) -> str:
        """One, of any issuer's programme."""
        card = issue_card(
            programme_id,
            gbp(AMOUNT),
            issuer_id=issuer_id,
            client_id=f"cli_of_{issuer_id}",
            holder=HolderData("sam@holder.example", "Sam"),
            deliver="link",
            reference=reference(issuer_id),
        )
        assert card.claim_link is not None
        return card.claim_link

    def database(self) -> Connection[tuple[object, ...]]:
        """A superuser's session."""
        return connected(self.admin_url)

    def forgive_all(self) -> None:
        """Nobody has been wrong yet."""
        with self.database() as db:
            db.execute("DELETE FROM guard_count")

    def counted(self, name: str, **labels: str) -> float:
        """What the service's processes counted under this name so far, for these labels."""
        registry = CollectorRegistry()
        MultiProcessCollector(registry, path=str(self.metrics_dir))
        return sum(
            sample.value
            for metric in registry.collect()
            for sample in metric.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )


@contextmanager
def ground(
    *,
    stores: int,
    cheap: bool = False,
    worker: bool = True,
    trusted: str = "127.0.0.1",
    cards: int = 0,
    environ: Mapping[str, str] | None = None,
) -> Iterator[Ground]:
    """Everything, until the block ends. `cheap`: Argon2 costs next to nothing. `cards` of others fill the tables.

    X-Forwarded-For is believed of `trusted`: this machine stands for a proxy.
    """
    with temporary_postgres() as server, tempfile.TemporaryDirectory() as folder:
        urls, keys_dir, metrics_dir = migrated(server), Path(folder) / "keys", Path(folder) / "metrics"
        if cards:
            populate(urls["admin"], cards=cards, seed=1)
        for path in (keys_dir, metrics_dir):
            path.mkdir(mode=0o700)
        make_key_files(keys_dir, CHEAP if cheap else config.Argon2Cost())
        settings = config.Settings(
            database_url=urls["service"],
            public_url="http://127.0.0.1:8000",
            keys=config.read_keys(keys_dir if cheap else real_keys(keys_dir)),
            smtp=config.Smtp("127.0.0.1", 25, "none", "cards@scrip.example"),
            issuing=ROOMY,
        )
        wire(settings)
        ensure_keys()
        extra = {
            "TRUSTED_PROXIES": trusted,
            "CAPTCHA_COST": str(CAPTCHA_COST),
            "PROMETHEUS_MULTIPROC_DIR": str(metrics_dir),
            **(environ or {}),
        }
        log, wsgi = Path(folder) / "gunicorn.log", "tests.faults.cheap_wsgi:app" if cheap else "wsgi:app"
        with served(settings, keys_dir, log, wsgi=wsgi, environ=extra) as port:
            config.use(settings := replace(settings, public_url=f"http://127.0.0.1:{port}"))
            env = environment(settings, keys_dir, port) | extra
            try:
                with _working(env) if worker else nullcontext():
                    yield with_parties(port, urls["admin"], metrics_dir, stores)
            finally:
                _tell_bugs(log)


def add_shop(name: str, *, mode: str = "test") -> Shop:
    """A store with a client, a page that shows our field, and a place to come back to from the checkout."""
    store = add_store(name, mode=mode)
    set_origins(store.id, ["https://shop.example"])
    callback = "https://shop.example/paid"
    made = add_client(
        name="server", mode=mode, store_id=store.id, scopes=PARTY_SCOPES["store"], redirect_uris=[callback]
    )
    return Shop(store.id, made.client_id, made.client_secret, callback)


def add_programme(*, mode: str = "test", **terms: object) -> tuple[IssuerId, ProgrammeId]:
    """An issuer of its own, with one programme."""
    issuer = add_issuer("Acme", mode=mode)
    wanted = ProgrammeTerms(**{**TERMS, **terms})
    programme = create_programme(wanted, issuer_id=issuer.id, mode=mode, reference=reference(issuer.id))
    return issuer.id, programme.id


def with_parties(port: int, admin_url: str, metrics_dir: Path, stores: int) -> Ground:
    """A service that runs already, with so many stores."""
    shops = tuple(add_shop(f"Store {number}") for number in range(stores))
    return Ground(port, admin_url, metrics_dir, *add_programme(), shops)


@contextmanager
def _working(env: Mapping[str, str]) -> Iterator[None]:
    """The worker beside the service: it watches for what is unusual."""
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "app.cli", "worker"], cwd=ROOT, env=env, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        yield
    finally:
        process.terminate()
        process.wait(60)


def _tell_bugs(log: Path) -> None:
    """Nothing that anybody sends may be a bug's doing: the log goes away with the folder."""
    for line in log.read_text().splitlines():
        if '"level": "error"' in line:
            click.echo(line, err=True)
