"""One size of database: a server, a population, the service as it runs, and how fast each verb is on it."""

import os
import secrets
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from argon2.low_level import Type, hash_secret_raw

from app import config
from app.db.embedded import EmbeddedPostgres, temporary_postgres
from app.db.request import Reference
from app.factory import wire
from app.ids import IssuerId, PaymentId, StoreId
from app.key_files import make_key_files
from app.ledger.owed import refresh_snapshots
from app.money import Money
from app.oauth.access_token import make_access_token
from app.oauth.clients import NewClient, add_client, authenticate_client
from app.oauth.keys import ensure_keys
from app.oauth.scopes import PARTY_SCOPES
from app.redemption.settle import settle_payment
from bench import pgbench
from bench.authentication import call_cpu_ms, check_cpu_ms, reads, token_requests
from bench.held import add_held_payments, tail_of
from bench.load import Load, drive, post, told
from bench.population import Population, populate
from bench.server import connected, migrated
from tests.service import FAR_LIMITS, real_keys, served
from tests.world import ROOMY

#: A disk that is waited for, as in production, and memory for a million cards.
SERVER = {"shared_buffers": "1GB", "max_wal_size": "8GB", "checkpoint_timeout": "30min", "fsync": "on"}
CLIENTS = 16
ROUNDS = 3


@dataclass(frozen=True, slots=True)
class Amounts:
    """How many requests of each kind are measured. `settles` and `hash_s` are for one of ROUNDS rounds."""

    issues: int
    claims: int
    exchanges: int
    alone: int
    settles: int
    hash_s: float


@dataclass(frozen=True, slots=True)
class Figures:
    """What was measured at one size. Rates are a second, times milliseconds, memory MiB for each web worker."""

    cards: int
    fill_s: float
    argon2_per_s: float
    issue_per_s: float
    claim_per_s: float
    exchange_per_s: float
    exchange_beyond_p50_ms: float
    exchange_beyond_p99_ms: float
    settle_per_s: float
    pgbench_per_s: float
    refund_per_s: float
    token_per_s: float
    call_cpu_ms: float
    check_cpu_ms: float
    worker_mib: float

    @property
    def exchange_of_bound(self) -> float:
        """Exchanges a second, as a share of what Argon2 allows on these cores."""
        return self.exchange_per_s / self.argon2_per_s

    @property
    def settle_of_pgbench(self) -> float:
        """Settlements a second, as a share of the same statements in pgbench."""
        return self.settle_per_s / self.pgbench_per_s

    @property
    def check_of_call(self) -> float:
        """Checking the access token, as a share of the processor that the cheapest API call takes."""
        return self.check_cpu_ms / self.call_cpu_ms


def measure(cards: int, amounts: Amounts, say: Callable[[str], None]) -> Figures:
    """Everything, on a fresh server with this many cards. `say` is told what goes on."""
    with temporary_postgres(settings=SERVER) as server, tempfile.TemporaryDirectory() as folder:
        say(f"filling in {cards:,} cards")
        bench = _prepare(server, cards, amounts, Path(folder))
        with served(bench.settings, bench.keys_dir, Path(folder) / "gunicorn.log") as port:
            return _figures(replace(bench, port=port), amounts, say)


@dataclass(frozen=True, slots=True)
class Bench:
    """A filled server, and the service's clients on it. The port is known once the service runs."""

    settings: config.Settings
    keys_dir: Path
    population: Population
    issuer_id: IssuerId
    programme_id: str
    store_id: StoreId
    secrets: dict[str, Any]
    credentials: NewClient
    port: int = 0

    @property
    def issuer_token(self) -> str:
        """A fresh access token for everything that the issuer may do."""
        return self._token("issuer")

    @property
    def store_token(self) -> str:
        """A fresh access token for everything that the store may do."""
        return self._token("store")

    def _token(self, kind: str) -> str:
        config.use(replace(self.settings, public_url=f"http://127.0.0.1:{self.port}"))
        client = self.secrets[kind]
        return make_access_token(client, client.scopes, lifetime_s=120)


def _prepare(server: EmbeddedPostgres, cards: int, amounts: Amounts, folder: Path) -> Bench:
    urls = migrated(server)
    population = populate(urls["admin"], cards=cards, seed=1)
    keys_dir = folder / "keys"
    keys_dir.mkdir(mode=0o700)
    make_key_files(keys_dir, config.Argon2Cost())
    settings = config.Settings(
        database_url=urls["service"],
        public_url="http://127.0.0.1:8000",
        keys=config.read_keys(real_keys(keys_dir)),
        smtp=config.Smtp("127.0.0.1", 25, "none", "cards@scrip.example"),
        issuing=ROOMY,
        limits=FAR_LIMITS,
    )
    wire(settings)
    ensure_keys()
    issuer, programme, store, mode, currency = _parties(urls["admin"])
    names = {"ISSUER": issuer, "PROGRAMME": programme, "STORE": store, "MODE": mode, "CURRENCY": currency}
    last = 1 + ROUNDS * amounts.settles * 2
    add_held_payments(urls["admin"], first=1, last=last, names=names)
    refresh_snapshots()  # the worker's task: what covers a refund is then no sum over all that its store ever sold
    made = {"issuer": _client("issuer", issuer, mode), "store": _client("store", store, mode)}
    clients = {kind: authenticate_client(each.client_id, each.client_secret) for kind, each in made.items()}
    return Bench(settings, keys_dir, population, IssuerId(issuer), programme, StoreId(store), clients, made["store"])


def _parties(admin_url: str) -> tuple[str, str, str, str, str]:
    """An issuer, its programme and a store, of one mode, with an account for what is owed."""
    query = """
        SELECT p.issuer_id, p.id, s.id, p.mode, p.currency FROM programme p JOIN store s ON s.mode = p.mode
        JOIN account a ON a.id = s.id || ':owed:' || p.currency WHERE p.mode = 'live' ORDER BY p.id, s.id LIMIT 1
    """
    with connected(admin_url) as db:
        found: tuple[str, str, str, str, str] | None = db.execute(query).fetchone()
    if found is None:
        raise RuntimeError("the population has no programme with a store of its mode")
    return found


def _client(kind: str, party_id: str, mode: str) -> NewClient:
    party: dict[str, Any] = {f"{kind}_id": party_id}
    return add_client(name="bench", mode=mode, scopes=PARTY_SCOPES[kind], **party)


def _figures(bench: Bench, amounts: Amounts, say: Callable[[str], None]) -> Figures:
    say("issuing")
    issued = _issue(bench, amounts.issues)
    say("claiming")
    claimed = _claim(bench, [card["claim_link"] for card in told(issued)][: amounts.claims])
    codes = [shown["code"] for shown in told(claimed)]
    say("exchanging, beside Argon2 alone")
    exchanged, argon2_per_s = _exchange(bench, codes[: amounts.exchanges], amounts.hash_s)
    beyond = _exchange_alone(bench, codes[amounts.exchanges :][: amounts.alone])
    say("settling, beside the same statements in pgbench")
    settle_per_s, pgbench_per_s = _settle(bench, amounts.settles)
    say("refunding")
    refunds = [f"/v1/payments/pay_{tail_of(number)}/refunds" for number in range(2, 2 + amounts.settles)]
    refunded = _drive(bench, refunds, {"amount": {"amount_minor": 100, "currency": "GBP"}})
    say("asking for access tokens, and checking them")
    tokens = drive(bench.port, token_requests(bench.credentials, amounts.settles), clients=CLIENTS)
    call_ms, check_ms = _check(bench, [path.removesuffix("/refunds") for path in refunds])
    return Figures(
        cards=bench.population.cards,
        fill_s=bench.population.took_s,
        argon2_per_s=argon2_per_s,
        issue_per_s=issued.per_s,
        claim_per_s=claimed.per_s,
        exchange_per_s=exchanged,
        exchange_beyond_p50_ms=statistics.median(beyond),
        exchange_beyond_p99_ms=sorted(beyond)[int(len(beyond) * 0.99)],
        settle_per_s=settle_per_s,
        pgbench_per_s=pgbench_per_s,
        refund_per_s=refunded.per_s,
        token_per_s=tokens.per_s,
        call_cpu_ms=call_ms,
        check_cpu_ms=check_ms,
        worker_mib=_worker_mib(bench.port),
    )


def _issue(bench: Bench, issues: int) -> Load:
    body = {
        "programme": bench.programme_id,
        "amount": {"amount_minor": 5000, "currency": "GBP"},
        "holder": {"email": "sam@holder.example", "name": "Sam"},
        "deliver": "link",
    }
    token = bench.issuer_token
    return drive(bench.port, [post("/v1/cards", body, access_token=token) for _ in range(issues)], clients=CLIENTS)


def _claim(bench: Bench, links: Sequence[str]) -> Load:
    """Each link by a browser of its own."""
    parts = [link.partition("/claim/")[2].partition("#") for link in links]
    requests = [post(f"/claim/{link}", {"key": key, "nonce": secrets.token_urlsafe(32)}) for link, _, key in parts]
    return drive(bench.port, requests, clients=CLIENTS)


def _exchange(bench: Bench, codes: Sequence[str], hash_s: float) -> tuple[float, float]:
    """Exchanges a second, and how many Argon2 of the same cost these cores do in a second, measured in turns."""
    rates, bounds = [], []
    for codes_now in (codes[place::ROUNDS] for place in range(ROUNDS)):
        bounds.append(_argon2_per_s(hash_s))
        rates.append(drive(bench.port, _exchanges(bench, codes_now), clients=CLIENTS).per_s)
    return statistics.median(rates), statistics.median(bounds)


def _exchange_alone(bench: Bench, codes: Sequence[str]) -> list[float]:
    """Milliseconds of one exchange after the other, less the time of one Argon2 just before it."""
    beyond = []
    for request in _exchanges(bench, codes):
        hash_ms = min(_argon2_ms() for _ in range(3))
        beyond.append(drive(bench.port, [request], clients=1).took_ms[0] - hash_ms)
    return beyond


def _exchanges(bench: Bench, codes: Sequence[str]) -> list[bytes]:
    token = bench.store_token
    return [post("/v1/payments", {"code": code, "order_reference": "order"}, access_token=token) for code in codes]


def _argon2_ms() -> float:
    cost = config.Argon2Cost()
    began = time.perf_counter()
    hash_secret_raw(
        b"0" * 32,
        b"1" * 16,
        time_cost=cost.time_cost,
        memory_cost=cost.memory_kib,
        parallelism=cost.parallelism,
        hash_len=32,
        type=Type.ID,
    )
    return (time.perf_counter() - began) * 1000


def _argon2_per_s(seconds: float) -> float:
    cores = os.cpu_count() or 1
    until = time.perf_counter() + seconds

    def hash_on(_core: int) -> int:
        done = 0
        while time.perf_counter() < until:
            _argon2_ms()
            done += 1
        return done

    began = time.perf_counter()
    with ThreadPoolExecutor(cores) as pool:
        done = sum(pool.map(hash_on, range(cores)))
    return done / (time.perf_counter() - began)


def _settle(bench: Bench, settles: int) -> tuple[float, float]:
    """Settlements a second by the service and by pgbench, in turns, each round on payments of its own.

    Number 1 is settled here, to record the statements; the service takes the first numbers after it, pgbench the rest.
    """
    script = bench.keys_dir.parent / "settle.sql"
    script.write_text(_settle_script(bench))
    each = settles // pgbench.CLIENTS
    rates, bounds = [], []
    for turn in range(ROUNDS):
        first = 2 + turn * settles
        paths = [f"/v1/payments/pay_{tail_of(number)}/settlements" for number in range(first, first + settles)]
        body = {"amount": {"amount_minor": 3000, "currency": "GBP"}, "final": True}
        rates.append(_drive(bench, paths, body).per_s)
        beyond = 1 + (ROUNDS + turn) * settles
        bounds.append(pgbench.run(bench.settings.database_url, script, first=beyond, each=each))
    return statistics.median(rates), statistics.median(bounds)


def _settle_script(bench: Bench) -> str:
    tail, key = tail_of(1), secrets.token_urlsafe(32)
    reference = Reference(bench.store_id, key, "settle_payment", f"pay_{tail}", (secrets.token_bytes(33),))
    with pgbench.recorded() as statements:
        settle_payment(PaymentId(f"pay_{tail}"), Money(3000, "GBP"), store_id=bench.store_id, reference=reference)
    return pgbench.script_of(statements, tail=tail, kept={bench.store_id, bench.issuer_id, bench.programme_id}, key=key)


def _check(bench: Bench, paths: Sequence[str]) -> tuple[float, float]:
    token, workers = bench.store_token, [each for each in Path("/proc").glob("[0-9]*") if _is_worker(each, bench.port)]
    return call_cpu_ms(bench.port, reads(paths, token), workers), check_cpu_ms(token)


def _drive(bench: Bench, paths: Sequence[str], body: object) -> Load:
    token = bench.store_token
    return drive(bench.port, [post(path, body, access_token=token) for path in paths], clients=CLIENTS)


def _worker_mib(port: int) -> float:
    """What a web worker has for itself and its share of what it shares (PSS), the largest of them."""
    found = [
        sum(int(line.split()[1]) for line in (process / "smaps_rollup").read_text().splitlines() if line[:4] == "Pss:")
        for process in Path("/proc").glob("[0-9]*")
        if _is_worker(process, port)
    ]
    return max(found) / 1024


def _is_worker(process: Path, port: int) -> bool:
    """Whether it was forked by the gunicorn on this port, whose command line it shares."""
    try:
        parent = int((process / "stat").read_text().rpartition(")")[2].split()[1])
        command = (process / "cmdline").read_bytes()
        return f"127.0.0.1:{port}".encode() in command and command == Path(f"/proc/{parent}/cmdline").read_bytes()
    except OSError:
        return False
