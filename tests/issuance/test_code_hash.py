"""How a code is stored: one Argon2id under a pepper's epoch, bounded in number."""

import threading
from dataclasses import replace
from typing import Any

import pytest
from argon2.low_level import Type

from app import config
from app.config import Argon2Cost, Settings
from app.errors import Busy
from app.issuance import code_hash
from app.issuance.code import draw_code


def test_the_same_code_has_the_same_hash_and_another_code_another(database: Settings) -> None:
    code = draw_code()
    assert code_hash.hash_code(code) == code_hash.hash_code(code)
    assert code_hash.hash_code(code) != code_hash.hash_code(draw_code())
    assert len(code_hash.hash_code(code)) == 32


def test_a_look_up_hashes_under_every_live_epoch(database: Settings) -> None:
    code = draw_code()
    hashes = code_hash.hashes_to_look_up(code)
    assert code_hash.hash_code(code, code_hash.newest_epoch()) in hashes


def test_the_hash_is_argon2id_of_a_keyed_hash_and_nothing_shorter(
    database: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[dict[str, Any]] = []

    def spy(secret: bytes, salt: bytes, **cost: Any) -> bytes:
        asked.append({"secret": secret, "salt": salt, **cost})
        return b"\0" * 32

    monkeypatch.setattr(code_hash, "hash_secret_raw", spy)
    code = draw_code()
    code_hash.hash_code(code)
    (call,) = asked
    assert call["type"] is Type.ID
    assert (len(call["secret"]), len(call["salt"]), call["hash_len"]) == (32, 32, 32)
    assert code.encode() not in call["secret"]


def test_beyond_the_queue_a_try_is_told_that_the_service_is_busy(database: Settings) -> None:
    config.use(replace(database, argon2=Argon2Cost(memory_kib=64, time_cost=1, concurrency=1, queue=1)))
    try:
        inside, leave = threading.Event(), threading.Event()

        def stay() -> None:
            with code_hash.hashing():
                inside.set()
                leave.wait(10)

        threads = [threading.Thread(target=stay) for _ in range(2)]
        threads[0].start()
        assert inside.wait(10)
        threads[1].start()
        _wait_for_queue("all", 1, 1)
        with pytest.raises(Busy), code_hash.hashing():
            pass
        leave.set()
        for thread in threads:
            thread.join()
        with code_hash.hashing():
            pass
    finally:
        config.use(database)


def _wait_for_queue(name: str, concurrency: int, queue: int) -> None:
    """Until the second thread stands in the queue: then the gate has no place left."""
    gate = code_hash._gate(name, concurrency, queue)
    for _ in range(1_000):
        if not gate.queue.acquire(blocking=False):
            return
        gate.queue.release()
        threading.Event().wait(0.005)
    raise AssertionError("the second thread never queued")


def test_who_asks_without_an_access_token_has_half_of_the_places_and_hardly_a_queue(database: Settings) -> None:
    """However many there are of them, a store finds its place."""
    inside, leave = threading.Event(), threading.Event()

    def stay() -> None:
        with code_hash._let_anybody_in(), code_hash.hashing():
            inside.set()
            leave.wait(10)

    threads = [threading.Thread(target=stay) for _ in range(1 + code_hash.ANYBODYS_QUEUE)]
    threads[0].start()
    assert inside.wait(10)
    threads[1].start()
    _wait_for_queue("anybody", 1, code_hash.ANYBODYS_QUEUE)
    with pytest.raises(Busy):
        code_hash.hashes_to_look_up(draw_code(), for_anybody=True)
    assert code_hash.hashes_to_look_up(draw_code())
    leave.set()
    for thread in threads:
        thread.join()
    assert code_hash.hashes_to_look_up(draw_code(), for_anybody=True)
