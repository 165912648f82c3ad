"""A thousand openings of one claim link over two workers: one code."""

import json
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path

import pytest

from app.config import Settings
from app.secrecy import random_secret
from tests.service import served
from tests.world import World, key_of, make_world, rows

OPENINGS, THREADS = 1_000, 50


def open_many(port: int, claim_url: str, openings: int) -> Counter[tuple[int, str]]:
    """The link opened by many browsers, each with a nonce of its own: how often each answer came."""
    link_id, key = key_of(claim_url)

    def open_some(times: int) -> list[tuple[int, str]]:
        connection = HTTPConnection("127.0.0.1", port, timeout=60)
        answers = []
        for _ in range(times):
            body = json.dumps({"key": key, "nonce": random_secret()})
            connection.request("POST", f"/claim/{link_id}", body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            content = json.loads(answer.read())
            answers.append((answer.status, content.get("slug", "code" if "code" in content else "?")))
        connection.close()
        return answers

    with ThreadPoolExecutor(THREADS) as pool:
        shares: Sequence[list[tuple[int, str]]] = list(pool.map(open_some, [openings // THREADS] * THREADS))
    return Counter(answer for share in shares for answer in share)


def check_one_opening_wins(port: int, world: World, openings: int) -> None:
    card = world.issue()
    assert card.claim_link is not None
    answers = open_many(port, card.claim_link, openings)
    assert answers[(200, "code")] == 1, answers
    assert answers[(410, "link-opened")] == openings - 1, answers
    codes = rows("SELECT state FROM code WHERE card_id = :card", card=card.id)
    assert [code.state for code in codes] == ["live"]


def test_a_thousand_openings_make_one_code(database: Settings, world: World, keys_dir: Path, tmp_path: Path) -> None:
    with served(database, keys_dir, tmp_path / "log") as port:
        check_one_opening_wins(port, world, OPENINGS)


def test_an_opening_that_reads_and_then_writes_is_noticed(
    own_database: Settings, keys_dir: Path, tmp_path: Path
) -> None:
    """The same service with its lock and its one spending statement taken out (tests/issuance/broken_claim.py)."""
    with served(own_database, keys_dir, tmp_path / "log", wsgi="tests.issuance.broken_claim:app") as port:
        world = make_world()
        with pytest.raises(AssertionError):
            for _ in range(3):
                check_one_opening_wins(port, world, 100)
