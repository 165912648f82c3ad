"""The metrics: exact over two workers and a kill, never in the way, and no label is chosen by anybody outside."""

import json
import os
import signal
import subprocess
import sys
import time
from base64 import b64encode
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from prometheus_client import REGISTRY
from prometheus_client.mmap_dict import MmapedDict
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import NullPool, create_engine, make_url

from app import config, metrics
from app.environment import UnsafeSettings
from app.errors import Busy, CardClosed, CodeMistyped, CodeNotAccepted, LinkNotAccepted, Refusal, TryLater
from app.factory import create_app, worker_tasks
from app.issuance.code import draw_code, show_code
from app.issuance.code_hash import hashing
from app.oauth.clients import add_client
from app.redemption.store import set_origins
from app.web.metrics_server import NOBODY, gather, serve
from app.web.problems import HTTP_SLUGS
from tests.api import money
from tests.service import PATIENCE_S, ROOT, environment, free_port, served
from tests.world import World, key_of, make_world

FOLDER = "PROMETHEUS_MULTIPROC_DIR"
#: Every sample by its name and labels.
Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def ask(
    port: int, method: str, path: str, body: object = None, headers: dict[str, str] | None = None
) -> tuple[int, str]:
    connection = HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        raw = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        connection.request(method, path, raw, {"Content-Type": "application/json", **(headers or {})})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def scrape(port: int) -> Samples:
    status, text = ask(port, "GET", "/metrics")
    assert status == 200
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(samples: Samples, name: str, **labels: str) -> float | None:
    return samples.get((name, frozenset(labels.items())))


@contextmanager
def running(command: str, env: dict[str, str], log: Path) -> Iterator[None]:
    """A command of `scrip` in a process of its own."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "app.cli", command], cwd=ROOT, env=env, stdout=output, stderr=output
        )
    try:
        yield
        assert process.poll() is None, log.read_text()
    finally:
        process.terminate()
        process.wait(PATIENCE_S)


def wait_for(port: int, name: str, **labels: str) -> None:
    """Until the metric is there, and the server with it."""
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        try:
            if value(scrape(port), name, **labels) is not None:
                return
        except OSError:
            pass
        time.sleep(0.1)
    raise AssertionError(f"{name} {labels} does not come")


@pytest.mark.slow
def test_two_workers_are_counted_as_one_and_a_kill_loses_nothing(
    own_database: config.Settings, urls: dict[str, str], keys_dir: Path, tmp_path: Path
) -> None:
    folder, port = tmp_path / "metrics", free_port()
    folder.mkdir(mode=0o700)
    with served(own_database, keys_dir, tmp_path / "web.log", environ={FOLDER: str(folder)}) as web:
        env = {**environment(own_database, keys_dir, web), FOLDER: str(folder), "METRICS_BIND": f"127.0.0.1:{port}"}
        with running("metrics", env, tmp_path / "m.log"), running("worker", env, tmp_path / "w.log"):
            wait_for(port, "scrip_task_last_run_timestamp_seconds", task="letters")
            world = make_world()
            workers = wait_for_both(web, folder)
            walk(web, world)
            assert_counted(scrape(port), times=1)
            os.kill(min(workers), signal.SIGKILL)
            walk(web, world)
            assert_counted(scrape(port), times=2)
            assert (folder / f"counter_{NOBODY}.db").exists()
            assert not (folder / f"counter_{min(workers)}.db").exists()
            assert_counted(scrape(port), times=2)

            seen = scrape(port)
            assert value(seen, "scrip_holds_open") == 2
            assert value(seen, "scrip_hold_lag_seconds") == 0
            assert value(seen, "scrip_letters_waiting") == 0
            assert value(seen, "scrip_letter_lag_seconds") == 0
            last_runs = {dict(labels)["task"] for name, labels in seen if name.startswith("scrip_task_last_run")}
            assert last_runs == {task.name for task in worker_tasks()}
            assert_no_label_was_chosen_outside(seen, own_database)
            with nobody_may_connect(own_database, urls):
                away = scrape(port)
                assert value(away, "scrip_database_up") == 0
                assert value(away, "scrip_holds_open") is None
                assert value(away, "scrip_tries_total", where="api", outcome="right") == 2
            assert ask(port, "GET", "/else")[0] == 404
            wait_for(port, "scrip_holds_open")
    assert "Traceback" not in (tmp_path / "m.log").read_text()


def wait_for_both(web: int, folder: Path) -> set[int]:
    """Until both workers have answered; their process IDs."""
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        with ThreadPoolExecutor(8) as several:
            list(several.map(lambda _: ask(web, "GET", "/healthz"), range(16)))
        workers = {int(path.stem.rpartition("_")[2]) for path in folder.glob("counter_*.db")}
        if len(workers) == 2:
            return workers
    raise AssertionError("one worker answers everything")


def walk(web: int, world: World) -> None:
    """Requests of many connections, which both workers answer, and tries of each kind."""
    for _ in range(30):
        assert ask(web, "GET", "/docs")[0] == 200
    made = add_client(name="checkout", mode="test", store_id=world.bookshop, scopes=["exchange"])
    basic = "Basic " + b64encode(f"{made.client_id}:{made.client_secret}".encode()).decode()
    form = {"Content-Type": "application/x-www-form-urlencoded", "Authorization": basic}
    assert ask(web, "POST", "/oauth/token", None, form)[0] == 400
    told = ask(web, "POST", "/oauth/token", b"grant_type=client_credentials", form)[1]
    bearer = {"Authorization": f"Bearer {json.loads(told)['access_token']}"}
    link_id, key = key_of(world.issue().claim_link or "")
    nonce, wrong_key = "n" * 43, "w" * 43
    assert ask(web, "POST", f"/claim/{link_id}", {"key": wrong_key, "nonce": nonce})[0] == 404
    status, told = ask(web, "POST", f"/claim/{link_id}", {"key": key, "nonce": nonce})
    assert status == 200, told
    code = json.loads(told)["code"]
    own = {"Origin": f"http://127.0.0.1:{web}", "Sec-Fetch-Site": "same-origin"}
    set_origins(world.bookshop, ["https://shop.example"])
    body = {"order_reference": "order-1", "amount": money(3_000)}
    assert ask(web, "POST", f"/widget/{world.bookshop}/code-tokens", {"code": code, **body}, own)[0] == 200
    mistyped = code[:-1] + ("0" if code[-1] != "0" else "1")
    for number, (typed, status) in enumerate(((show_code(draw_code()), 422), (mistyped, 422), (code, 201))):
        keyed = {**bearer, "Idempotency-Key": f"{made.client_id}-{number}"}
        assert ask(web, "POST", "/v1/payments", {"code": typed, "order_reference": "o"}, keyed)[0] == status
    assert ask(web, code.replace("-", "").replace("0", "A"), f"/{code}/{link_id}?{code}", None, {"Host": code})[0] < 500
    assert ask(web, "GET", f"/{code}")[0] == 404


def assert_counted(samples: Samples, *, times: int) -> None:
    docs = value(samples, "scrip_requests_total", method="GET", route="/docs", status="200")
    assert docs == 30 * times
    assert value(samples, "scrip_request_seconds_count", route="/docs") == 30 * times
    for where, outcome in (
        ("claim", "wrong"),
        ("claim", "right"),
        ("widget", "right"),
        ("api", "wrong"),
        ("api", "mistyped"),
        ("api", "right"),
    ):
        assert value(samples, "scrip_tries_total", where=where, outcome=outcome) == times, (where, outcome)
    assert value(samples, "scrip_refusals_total", slug="code-not-accepted") == times
    assert value(samples, "scrip_refusals_total", slug="link-not-accepted") == times
    # A claim with a wrong key asks for a place too, before it is refused.
    assert value(samples, "scrip_argon2_wait_seconds_count", gate="all") == 5 * times
    assert value(samples, "scrip_argon2_held_seconds_count", gate="anybody") == times
    assert value(samples, "scrip_database_up") == 1


def assert_no_label_was_chosen_outside(samples: Samples, settings: config.Settings) -> None:
    """Each value is one of a few that stand in the code."""
    app = create_app(settings)
    slugs = {kind.slug for kind in kinds(Refusal)} | set(HTTP_SLUGS.values()) | {"http-error"}
    allowed = {
        "method": {*metrics.METHODS, "other"},
        "route": {str(rule) for rule in app.url_map.iter_rules()} | {"none"},
        "status": {str(status) for status in range(200, 600)},
        "slug": slugs | {"invalid_request"},
        "where": {"api", "widget", "checkout", "claim"},
        "outcome": {"right", "wrong", "mistyped", "waiting"},
        "gate": {"all", "anybody"},
        "task": {task.name for task in worker_tasks()},
    }
    for name, labels in samples:
        for label, found in labels - {pair for pair in labels if pair[0] == "le"}:
            assert found in allowed[label], (name, label, found)


def kinds(kind: type[Refusal]) -> Iterator[type[Refusal]]:
    yield kind
    for each in kind.__subclasses__():
        yield from kinds(each)


@contextmanager
def nobody_may_connect(settings: config.Settings, urls: dict[str, str]) -> Iterator[None]:
    """The database refuses everybody, and ends who is there."""
    name = make_url(settings.database_url).database
    admin = create_engine(urls["admin"], isolation_level="AUTOCOMMIT", poolclass=NullPool)
    with admin.connect() as db:
        db.exec_driver_sql(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        db.exec_driver_sql(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")
        try:
            yield
        finally:
            db.exec_driver_sql(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")


# ── in this process ─────────────────────────────────────────────────────────────────────────────────────────────────


def counted(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0


@pytest.mark.parametrize(
    ("refusal", "outcome"),
    [
        (None, "right"),
        (CardClosed(), "right"),
        (CodeMistyped(), "mistyped"),
        (CodeNotAccepted(), "wrong"),
        (LinkNotAccepted(), "wrong"),
        (TryLater("Wait.", retry_after_s=16), "waiting"),
        (Busy(), None),
    ],
)
def test_a_try_is_counted_by_how_it_ends(refusal: Refusal | None, outcome: str | None) -> None:
    outcomes = ("right", "wrong", "mistyped", "waiting")
    before = {each: counted("scrip_tries_total", where="api", outcome=each) for each in outcomes}
    waited = counted("scrip_delay_seconds_sum", where="api")
    try:
        with metrics.counted_try("api"):
            if refusal is not None:
                raise refusal
    except Refusal as raised:
        assert raised is refusal
    after = {each: counted("scrip_tries_total", where="api", outcome=each) for each in outcomes}
    assert {each for each in outcomes if after[each] != before[each]} == ({outcome} if outcome else set())
    assert counted("scrip_delay_seconds_sum", where="api") - waited == (16 if outcome == "waiting" else 0)


def test_whoever_finds_no_place_for_an_argon2_is_counted(database: config.Settings) -> None:
    before = counted("scrip_argon2_turned_away_total", gate="all")
    config.use(replace(database, argon2=replace(database.argon2, concurrency=1, queue=0)))
    try:
        with hashing(), pytest.raises(Busy), hashing():
            raise AssertionError("there was a place")
    finally:
        config.use(database)
    assert counted("scrip_argon2_turned_away_total", gate="all") == before + 1


def test_a_refusal_is_counted_once_whatever_its_form(client: FlaskClient, world: World) -> None:
    link_id, _ = key_of(world.issue().claim_link or "")
    fields: Any = {"key": "w" * 43, "nonce": "n" * 43}
    for form in ("json", "data"):
        before = counted("scrip_refusals_total", slug="link-not-accepted")
        answer = client.post(f"/claim/{link_id}", **{form: fields})
        assert answer.status_code == 404
        assert counted("scrip_refusals_total", slug="link-not-accepted") == before + 1
    before = counted("scrip_refusals_total", slug="invalid_client")
    client.post("/oauth/token", data={"grant_type": "client_credentials"}, auth=("cli_x", "y"))
    assert counted("scrip_refusals_total", slug="invalid_client") == before + 1


def test_a_folder_that_is_gone_refuses_nobody(tmp_path: Path) -> None:
    script = """
import logging, shutil, sys
logging.basicConfig()
from app import metrics
shutil.rmtree(sys.argv[1])
for _ in range(3):
    metrics.count_request("GET", "/docs", 200, took_s=0.1)
    with metrics.counted_try("api"):
        pass
print("served")
"""
    folder = tmp_path / "metrics"
    folder.mkdir()
    run = subprocess.run(
        [sys.executable, "-c", script, str(folder)],
        cwd=ROOT,
        env={**os.environ, FOLDER: str(folder)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout == "served\n"
    assert run.stderr.count("metrics cannot be written") == 1


@pytest.mark.parametrize("bind", ["9464", "127.0.0.1:", "127.0.0.1:nine", "127.0.0.1:99999", "192.0.2.1:9464"])
def test_where_nothing_can_listen_is_told(tmp_path: Path, bind: str) -> None:
    with pytest.raises(UnsafeSettings, match="METRICS_BIND"):
        serve(tmp_path, bind, list)


def test_files_of_processes_that_are_gone_are_added_up_and_those_of_others_stay(tmp_path: Path) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    for pid, count, at in ((gone.pid, 3.0, 50.0), (os.getpid(), 4.0, 60.0), (NOBODY, 5.0, 70.0)):
        for kind, number in (("counter", count), ("gauge_max", at)):
            file = MmapedDict(str(tmp_path / f"{kind}_{pid}.db"))
            file.write_value("key", number, 0.0)
            file.close()
    (tmp_path / f"histogram_{gone.pid}.db").touch()  # ended between making the file and its first entry
    gather(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {
        f"{kind}_{pid}.db" for kind in ("counter", "gauge_max") for pid in (os.getpid(), NOBODY)
    }
    read = {
        path.name: [number for _, number, _, _ in MmapedDict.read_all_values_from_file(path)]
        for path in tmp_path.iterdir()
    }
    assert read[f"counter_{NOBODY}.db"] == [8]
    assert read[f"gauge_max_{NOBODY}.db"] == [70]
    assert read[f"counter_{os.getpid()}.db"] == [4]
