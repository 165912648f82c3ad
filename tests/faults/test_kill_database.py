"""PostgreSQL killed under load, by whole and by part: what was acknowledged is there, the rest can be found out."""

import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from app import config
from app.db.embedded import EmbeddedPostgres
from app.db.engine import engine
from app.processes import arguments_of, wait_until
from tests.faults.conftest import Run, Running, Tell
from tests.faults.load import PATIENCE_S, Client, effects_wanted
from tests.faults.own_server import own_server, settings_on
from tests.world import assert_audit_is_clean, rows

#: `./run faults --kills` and `--seed` set these.
KILLS = int(os.environ.get("SCRIP_FAULTS_KILLS", "3"))
SEED = int(os.environ.get("SCRIP_FAULTS_SEED", "0")) or random.randrange(1, 1_000_000)
CLIENTS = 4
#: The server's head, which leaves its parts behind; one of its parts, whose loss ends all others; everything at once.
WAYS = ("everything", "head", "part")
#: Between two kills so many answers are heard at least.
ANSWERS_APART = 12
#: A log that is written to the disk every ten seconds unless a commit asks for it.
LAZY = {"wal_writer_delay": "10s", "wal_writer_flush_after": "1GB"}

EFFECTS = """
    SELECT (SELECT count(*) FROM card) AS card, (SELECT count(*) FROM payment) AS payment,
           (SELECT count(*) FROM settlement) AS settlement, (SELECT count(*) FROM refund) AS refund,
           (SELECT coalesce(sum(amount_minor), 0)::bigint FROM transfer WHERE kind = 'settle') AS taken,
           (SELECT coalesce(sum(amount_minor), 0)::bigint FROM transfer WHERE kind = 'refund') AS "given back"
"""


@pytest.mark.slow
def test_the_database_killed_under_load(database: config.Settings, run: Run, tell: Tell) -> None:
    tell(f"seed {SEED}: {KILLS} kills")
    with killable(database, {}) as server, run(config.settings()) as service:
        check_kills(service, server, [WAYS[n % len(WAYS)] for n in range(KILLS)], tell)


@pytest.mark.slow
def test_commits_that_wait_for_no_disk_are_noticed(database: config.Settings, run: Run, tell: Tell) -> None:
    """See tests/faults/hasty_wsgi.py."""
    with killable(database, LAZY) as server, run(config.settings(), wsgi="hasty_wsgi") as service:
        with pytest.raises(AssertionError):
            check_kills(service, server, ["everything"] * 2, tell)  # the log may be written just before the first


@contextmanager
def killable(database: config.Settings, settings: dict[str, str]) -> Iterator[EmbeddedPostgres]:
    """A server that keeps what it says it keeps; the process's settings name it."""
    with own_server(settings) as server, server:
        config.use(settings_on(server, database))
        try:
            yield server
        finally:
            engine().dispose()
            config.use(database)


def check_kills(service: Running, server: EmbeddedPostgres, ways: list[str], tell: Tell) -> None:
    """After each kill the service goes on by itself; at the end every request has had its one effect."""
    moment, stop = random.Random(SEED), threading.Event()
    clients = [Client(service, seed=SEED + n) for n in range(CLIENTS)]
    with ThreadPoolExecutor(CLIENTS) as pool:
        lives = [pool.submit(client.live, stop) for client in clients]
        try:
            for way in ways:
                wait_for_answers(clients, lives)
                time.sleep(moment.uniform(0, 0.3))
                kill(server, way, moment)
                tell(f"killed {way} after {sum(client.heard for client in clients)} answers")
                if way != "part":  # the head itself starts its parts again
                    assert wait_until(lambda: server.pid is None, PATIENCE_S)
                    server.start()
            wait_for_answers(clients, lives)
        finally:
            stop.set()
        for life in lives:
            life.result(PATIENCE_S)
    unknown = sum(asked.answer is None for client in clients for asked in client.asked)
    for client in clients:
        client.find_out()
    wanted = effects_wanted(clients)
    assert Counter(dict(rows(EFFECTS)[0]._mapping)) == wanted
    assert_audit_is_clean()
    tell(f"{sum(client.heard for client in clients)} answers, {unknown} of them found out at the end: {dict(wanted)}")


def wait_for_answers(clients: list[Client], lives: list["Future[None]"]) -> None:
    """Until the clients have heard some more: the service works. Raises what a client met."""
    wanted = sum(client.heard for client in clients) + ANSWERS_APART
    until = time.monotonic() + PATIENCE_S
    while sum(client.heard for client in clients) < wanted:
        for life in wait(lives, timeout=0.05, return_when=FIRST_EXCEPTION).done:
            life.result()
        assert time.monotonic() < until, f"the service did not recover in {PATIENCE_S} s"


def kill(server: EmbeddedPostgres, way: str, moment: random.Random) -> None:
    """SIGKILL, to which nothing can be said."""
    assert server.pid is not None
    parts = [int(part) for part in Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()]
    serving = [part for part in parts if "scrip_service" in " ".join(arguments_of(part))]
    victims = {"everything": [server.pid, *parts], "head": [server.pid], "part": [moment.choice(serving)]}
    for victim in victims[way]:
        with suppress(ProcessLookupError):
            os.kill(victim, signal.SIGKILL)
