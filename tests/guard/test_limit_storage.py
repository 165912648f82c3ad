"""Requests are counted once, by however many processes: at once, at the edges of windows, and no longer than needed."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from sqlalchemy import text

from app import config
from app.db.transaction import transaction
from app.errors import Busy
from app.guard import limit_storage
from app.guard.limit_storage import PostgresStorage, forget_request_counts
from app.secrecy import random_secret
from tests.service import free_port


@pytest.fixture
def key(database: config.Settings) -> str:
    return random_secret()


class ReadThenWrite(PostgresStorage):
    """A planted fault: it looks whether there is room, and counts afterwards."""

    def acquire_sliding_window_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        previous, previous_s, current, _ = self.get_sliding_window(key, expiry)
        has_room = previous * previous_s / expiry + current + amount <= limit
        return has_room and super().acquire_sliding_window_entry(key, 1_000_000_000, expiry, amount)


def passed(makes: Callable[[], PostgresStorage], key: str, *, limit: int, tries: int) -> int:
    """How many of so many tries get through, which two processes make at once, each with eight threads."""
    processes = [makes(), makes()]
    with ThreadPoolExecutor(16) as pool:
        tried = [pool.submit(processes[n % 2].acquire_sliding_window_entry, key, limit, 3_600) for n in range(tries)]
    return sum(each.result() for each in tried)


def test_of_many_requests_at_once_exactly_the_limit_gets_through(key: str) -> None:
    assert passed(PostgresStorage, key, limit=60, tries=150) == 60


def test_a_storage_that_reads_first_is_noticed(key: str) -> None:
    assert passed(ReadThenWrite, key, limit=60, tries=150) > 60


def test_a_high_limit_is_passed_by_its_stated_slack_at_most(key: str) -> None:
    """It is asked for a part of the requests only, and for each when half of the limit is used."""
    assert 400 <= passed(PostgresStorage, key, limit=400, tries=500) <= 400 + 2 * 4


def test_a_busy_key_costs_a_statement_now_and_then(key: str) -> None:
    storage = PostgresStorage()
    for _ in range(100):
        assert storage.acquire_sliding_window_entry(key, 100_000, 3_600)
    assert storage.get_sliding_window(key, 3_600)[2] in (76, 100)  # the last 24 are not told yet, or time went by
    told = storage.window_told(key, 3_600)
    assert told is not None and told.current == 100


def test_what_was_let_through_uncounted_is_told_when_a_second_is_over(
    key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = PostgresStorage()
    for _ in range(10):
        assert storage.acquire_sliding_window_entry(key, 100_000, 3_600)
    monkeypatch.setattr(limit_storage, "ASKED_EVERY_S", 0.0)
    assert storage.acquire_sliding_window_entry(key, 100_000, 3_600)
    assert storage.get_sliding_window(key, 3_600)[2] == 11


@pytest.mark.parametrize(
    ("previous", "current", "ago_s", "passes"),
    [
        (0, 9, 1, 1),
        (0, 10, 1, 0),
        (10, 0, 30, 1),  # at the window's edge nearly all of the one before counts
        (10, 0, 1_805, 6),  # half of it
        (10, 3, 1_805, 3),
        (0, 10, 3_630, 1),  # this window has become the one before
        (5, 10, 5_405, 6),
        (10, 10, 7_205, 10),  # nothing of either counts any more
        (10, 10, 1_000_000, 10),
        (0, 4, -5, 6),  # the clock was set back
    ],
)
def test_a_window_slides(key: str, previous: int, current: int, ago_s: int, passes: int) -> None:
    storage = PostgresStorage()
    assert storage.acquire_sliding_window_entry(key, 10, 3_600)
    moved = (
        "UPDATE request_limit SET previous = :previous, current = :current, began_at = began_at - :ago * interval '1s'"
    )
    with transaction() as db:
        values = {"previous": previous, "current": current, "ago": ago_s, "key": limit_storage._hashed(key)}
        db.execute(text(f"{moved} WHERE key = :key"), values)
    assert sum(storage.acquire_sliding_window_entry(key, 10, 3_600) for _ in range(12)) == passes


def test_keys_and_windows_are_counted_apart(key: str) -> None:
    storage = PostgresStorage()
    assert storage.acquire_sliding_window_entry(key, 1, 60)
    assert not storage.acquire_sliding_window_entry(key, 1, 60)
    assert storage.acquire_sliding_window_entry(f"{key}/", 1, 60)
    storage.clear(key)
    assert storage.acquire_sliding_window_entry(key, 1, 60)


def test_no_key_stands_in_the_table(key: str) -> None:
    PostgresStorage().acquire_sliding_window_entry(key, 1, 60)
    with transaction() as db:
        assert key not in str(db.execute(text("SELECT row_.*::text FROM request_limit AS row_")).all())


def test_counts_that_are_over_are_forgotten_and_no_others(own_database: config.Settings) -> None:
    storage = PostgresStorage()
    for name in ("old", "new"):
        storage.acquire_sliding_window_entry(name, 10, 60)
    with transaction() as db:
        values = {"key": limit_storage._hashed("old")}
        db.execute(text("UPDATE request_limit SET began_at = began_at - interval '121s' WHERE key = :key"), values)
    assert (forget_request_counts(), forget_request_counts()) == (1, 0)
    assert storage.get_sliding_window("new", 60)[2] == 1


def test_a_commit_of_counts_waits_for_no_disk(key: str) -> None:
    """The table is not logged, so there is nothing that has to be on the disk before the answer."""
    with transaction() as db:
        assert db.scalar(text("SELECT relpersistence FROM pg_class WHERE relname = 'request_limit'")) == "u"


@pytest.fixture
def away(database: config.Settings) -> Iterator[None]:
    config.use(replace(database, database_url=f"postgresql+psycopg://scrip_service:x@127.0.0.1:{free_port()}/x"))
    yield
    config.use(database)


def test_a_database_that_is_away_is_busy(away: None) -> None:
    storage = PostgresStorage()
    assert not storage.check()
    with pytest.raises(Busy):
        storage.acquire_sliding_window_entry("key", 10, 60)


def test_only_sliding_windows_are_counted() -> None:
    storage = PostgresStorage()
    asks: list[Callable[[], object]] = [
        lambda: storage.incr("key", 60),
        lambda: storage.get("key"),
        lambda: storage.get_expiry("key"),
        lambda: storage.reset(),
    ]
    for ask in asks:
        with pytest.raises(NotImplementedError):
            ask()
