"""Nothing is lost when the worker is killed, the mail server is slow, or the database goes away."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from app import config
from app.db.embedded import EmbeddedPostgres, temporary_postgres
from app.db.engine import engine
from app.db.migrate import bootstrap, upgrade
from app.db.transaction import transaction
from app.errors import Busy
from app.jobs import worker
from app.mail import delivery, filling, leasing, sending
from app.mail.rules import LEASE, Outcome
from app.mail.sending import send_due_letters
from tests.mail.conftest import Filler, later, letter, post
from tests.mail.post_office import PostOffice, opened
from tests.service import real_keys
from tests.world import World, make_world, rows

ROOT = Path(__file__).parents[2]


@contextmanager
def worker_process(keys_dir: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A worker on this process's database and post office; ended at the end."""
    now = config.settings()
    environment = {
        "PATH": os.environ["PATH"],
        "DATABASE_URL": now.database_url,
        "PUBLIC_URL": now.public_url,
        "KEYS_DIR": str(real_keys(keys_dir)),
        "SMTP_HOST": now.smtp.host,
        "SMTP_PORT": str(now.smtp.port),
        "SMTP_TLS": "none",
        "MAIL_FROM": now.smtp.sender,
    }
    command = [sys.executable, "-m", "tests.mail.worker_process"]
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL) as process:
        try:
            yield process
        finally:
            process.kill()


def eventually(holds: Callable[[], bool], *, within_s: float = 20) -> None:
    """Waits until something holds."""
    give_up_at = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < give_up_at, "it never came to hold"
        time.sleep(0.05)


def test_a_letter_of_a_killed_worker_goes_to_the_next_one_after_the_lease(
    world: World, office: PostOffice, filler: Filler, keys_dir: Path
) -> None:
    queued = post(world)
    in_hand, killed = threading.Event(), threading.Event()

    def hold_back() -> None:
        in_hand.set()
        assert killed.wait(20)

    office.before_answer = hold_back
    with worker_process(keys_dir) as process:
        assert in_hand.wait(20)
        process.send_signal(signal.SIGKILL)
        process.wait()
    office.before_answer = None
    killed.set()
    left = letter(queued.card_id)
    assert (left.state, left.tries) == ("queued", 1)
    assert send_due_letters() == 0
    with later(seconds=LEASE.total_seconds() + 1):
        assert send_due_letters() == 1
    assert letter(queued.card_id).state == "sent"
    assert office.letters[-1]["Message-ID"] == f"<{queued.id}.2@scrip.example>"


def test_two_workers_share_the_letters_and_send_none_twice(
    world: World, office: PostOffice, filler: Filler, keys_dir: Path
) -> None:
    office.before_answer = lambda: time.sleep(0.02)
    with worker_process(keys_dir) as one, worker_process(keys_dir) as other:
        queued = [post(world) for _ in range(60)]
        eventually(lambda: all(letter(of.card_id).state == "sent" for of in queued), within_s=60)
        for process in (one, other):
            process.send_signal(signal.SIGTERM)
        assert [process.wait(20) for process in (one, other)] == [0, 0]
    times_sent = Counter(message["Message-ID"] for message in office.letters)
    assert times_sent == Counter(f"<{of.id}.1@scrip.example>" for of in queued)


def test_a_worker_told_to_stop_finishes_the_letter_in_hand_and_begins_no_other(
    world: World, office: PostOffice, filler: Filler, keys_dir: Path
) -> None:
    queued = [post(world) for _ in range(3)]
    in_hand = threading.Event()

    def slow() -> None:
        in_hand.set()
        time.sleep(1)

    office.before_answer = slow
    with worker_process(keys_dir) as process:
        assert in_hand.wait(20)
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    assert [(letter(of.card_id).state, letter(of.card_id).tries) for of in queued] == [
        ("sent", 1), ("queued", 0), ("queued", 0),
    ]  # fmt: skip


def test_smtp_happens_outside_any_transaction(world: World, office: PostOffice, filler: Filler) -> None:
    queued = post(world)
    seen: list[object] = []

    def look() -> None:
        query = "SELECT count(*) AS open FROM pg_stat_activity WHERE state = 'idle in transaction'"
        seen.append(rows(query)[0].open)
        seen.append(letter(queued.card_id).tries)

    office.before_answer = look
    send_due_letters()
    assert seen == [0, 1]


def test_a_server_that_does_not_answer_in_time_ends_the_batch_and_loses_nothing(
    world: World, office: PostOffice, filler: Filler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "COMMAND_S", 0.3)
    queued = [post(world) for _ in range(2)]
    office.before_answer = lambda: time.sleep(0.8)
    with pytest.raises(Busy, match="mail server is away"):
        send_due_letters()
    assert [letter(of.card_id).state for of in queued] == ["queued", "queued"]
    assert [letter(of.card_id).tries for of in queued] == [1, 0]
    assert letter(queued[0].card_id).last_error == "send SMTPServerDisconnected"
    office.before_answer = None
    with later(seconds=13):
        assert send_due_letters() == 2


def test_a_letter_that_was_slow_to_start_asks_for_a_new_lease_and_leaves_it_to_whoever_has_it(
    world: World, office: PostOffice, filler: Filler, monkeypatch: pytest.MonkeyPatch
) -> None:
    queued = post(world)
    monkeypatch.setattr(leasing, "SLOW_S", 0)
    assert send_due_letters() == 1
    assert letter(queued.card_id).state == "sent"

    other = post(world)
    with later(seconds=1):
        lease = leasing.lease_next()
    assert lease is not None
    with transaction() as db:
        db.exec_driver_sql("UPDATE letter SET tries = tries + 1 WHERE id = $1", (other.id,))
    assert not leasing.is_still_ours(lease)
    assert sending._prepared(lease.letter) == Outcome("lost")


def test_a_letter_that_another_worker_took_meanwhile_is_not_handed_over(
    world: World, office: PostOffice, filler: Filler, monkeypatch: pytest.MonkeyPatch
) -> None:
    queued, fine = post(world), post(world)
    monkeypatch.setattr(leasing, "is_still_ours", lambda lease: lease.letter.id != queued.id)
    assert send_due_letters() == 2
    assert len(office.letters) == 1
    assert letter(fine.card_id).state == "sent"
    assert (letter(queued.card_id).state, letter(queued.card_id).tries) == ("queued", 1)


def test_the_outcome_of_an_older_try_does_not_touch_a_newer_one_but_what_is_sent_is_sent(
    world: World, office: PostOffice, filler: Filler
) -> None:
    queued = post(world)
    first = leasing.lease_next()
    with later(seconds=LEASE.total_seconds() + 1):
        second = leasing.lease_next()
    assert first is not None
    assert second is not None
    leasing.write_down(first.letter, Outcome("failed", "RCPT 550"))
    leasing.put_back(first.letter, "untried")
    assert (letter(queued.card_id).state, letter(queued.card_id).tries) == ("queued", 2)
    leasing.write_down(first.letter, Outcome("sent"))
    assert letter(queued.card_id).state == "sent"


def test_a_locked_card_puts_the_letter_back_untried(
    world: World, office: PostOffice, filler: Filler, monkeypatch: pytest.MonkeyPatch
) -> None:
    queued = post(world)

    def busy(*_: object) -> None:
        raise Busy

    monkeypatch.setitem(filling._fills, "claim", busy)
    with pytest.raises(Busy):
        send_due_letters()
    assert (letter(queued.card_id).tries, letter(queued.card_id).last_error) == (0, "untried Busy")
    monkeypatch.undo()
    with later(seconds=6):
        assert send_due_letters() == 1


@pytest.fixture
def own_server(database: config.Settings) -> Iterator[EmbeddedPostgres]:
    """A database server that a test may restart; the process's settings name it."""
    with temporary_postgres() as server:
        role_url = {role: server.url("scrip", user=f"scrip_{role}", password="pw") for role in ("migrator", "service")}
        bootstrap(server.admin_url, migrate_url=role_url["migrator"], service_url=role_url["service"])
        upgrade(role_url["migrator"])
        config.use(replace(database, database_url=role_url["service"]))
        yield server
        engine().dispose()
        config.use(database)


@pytest.mark.slow
def test_a_restart_of_the_database_while_a_letter_travels_loses_nothing_and_sends_nothing_twice(
    closed_office: PostOffice, own_server: EmbeddedPostgres, filler: Filler
) -> None:
    """The outcome of the letter in hand is written down when the database is back; the others follow."""
    smtp = config.Smtp("127.0.0.1", closed_office.port, "none", "letters@scrip.example")
    config.use(replace(config.settings(), smtp=smtp))
    world = make_world()
    queued = [post(world) for _ in range(4)]
    in_hand, down = threading.Event(), threading.Event()

    def hold_until_down() -> None:
        in_hand.set()
        assert down.wait(20)

    closed_office.before_answer = hold_until_down
    with opened(closed_office):
        working = threading.Thread(target=worker.run, args=([worker.Task("letters", 0.2, send_due_letters)],))
        working.start()
        try:
            assert in_hand.wait(20)
            own_server.stop()
            down.set()
            time.sleep(1)
            own_server.start()
            eventually(lambda: _are_all_sent([of.card_id for of in queued]), within_s=40)
        finally:
            worker.stop()
            working.join()
    assert Counter(message["Message-ID"] for message in closed_office.letters) == Counter(
        f"<{of.id}.1@scrip.example>" for of in queued
    )


def _are_all_sent(card_ids: list[str]) -> bool:
    try:
        return all(letter(card_id).state == "sent" for card_id in card_ids)
    except Busy:
        return False
