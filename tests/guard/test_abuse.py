"""The scripts of abuse in a short form: no guess hits, honest people notice nothing, and no limit can be gone round."""

import random
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from app import config
from app.oauth.keys import ensure_keys
from bench.abuse import limits, timing
from bench.abuse.ground import Ground, with_parties
from bench.abuse.guessers import WAYS, Gang, prefixes
from bench.abuse.honest import Crowd
from bench.abuse.hostile_shopper import looked_at_most
from bench.abuse.verdict import Measured
from tests.service import served

STORES, TRUSTED = 3, {"TRUSTED_PROXIES": "127.0.0.1", "CAPTCHA_COST": "20"}


@pytest.fixture(scope="module")
def ground(
    database: config.Settings, urls: dict[str, str], keys_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Ground]:
    """Two workers, who believe this machine to be a proxy; Argon2 is cheap."""
    with on_ground(database, urls, keys_dir, tmp_path_factory.mktemp("abuse"), "tests.faults.cheap_wsgi:app") as made:
        yield made


@contextmanager
def on_ground(
    database: config.Settings, urls: dict[str, str], keys_dir: Path, folder: Path, wsgi: str
) -> Iterator[Ground]:
    ensure_keys()
    with served(database, keys_dir, folder / "log", wsgi=wsgi, environ=TRUSTED) as port:
        config.use(replace(database, public_url=f"http://127.0.0.1:{port}"))
        yield with_parties(port, urls["admin"], folder, STORES)
        config.use(database)


def missed(found: Sequence[Measured]) -> list[Measured]:
    return [each for each in found if not each.holds]


# ── guesses, beside honest people ───────────────────────────────────────────────────────────────────────────────────


def gang_of(ground: Ground, **changes: object) -> Gang:
    many = {"shops": ground.shops, "prefixes": prefixes(40), "ways": WAYS, "guesses": 100, "per_s": None, "lines": 4}
    return Gang(port=ground.port, ended=threading.Event(), **{**many, **changes})  # type: ignore[arg-type]


def test_guesses_in_every_way_find_nothing_and_honest_people_notice_nothing(ground: Ground) -> None:
    gang = gang_of(ground)
    crowd = Crowd(ground.port, ground.shops, ground.links(6), per_s=6, ended=threading.Event(), seed=1)
    guessing = threading.Thread(target=gang.work)
    guessing.start()
    crowd.work()
    guessing.join()
    assert gang.outcomes.total() == 100
    assert gang.hits == 0
    assert {outcome for _, outcome in gang.outcomes} <= {"code-not-accepted", "try-later", "captcha-needed", "busy"}
    for way in ("field", "checkout"):
        assert gang.outcomes[way, "code-not-accepted"] < 20, "guard stopped some before they were looked at"
    assert {step.kind for step in crowd.steps} >= {"claim", "exchange", "field", "checkout", "settle"}
    assert [step for step in crowd.steps if not step.succeeded or step.waited] == []


def test_a_shopper_who_never_stops_has_what_time_forgives(ground: Ground) -> None:
    gang = gang_of(ground, ways=["one shopper"], shops=ground.shops[:1], guesses=30, lines=1)
    gang.work()
    assert gang.outcomes["one shopper", "code-not-accepted"] <= looked_at_most(5, 2)
    assert gang.outcomes["one shopper", "try-later"] >= 20


# ── limits ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_no_limit_is_passed_by_two_workers_or_by_spelling(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "TRIES", 24)
    found = limits.measure(ground)
    assert missed(found) == []
    assert len(found) > 15


def test_counts_in_each_workers_own_memory_would_be_noticed(
    database: config.Settings, urls: dict[str, str], keys_dir: Path, tmp_path: Path
) -> None:
    """The fault that the test before is there for. It takes luck for one worker to have all connections."""
    with on_ground(database, urls, keys_dir, tmp_path, "tests.guard.own_memory_wsgi:app") as forgetful:
        for number in range(10):
            found = limits.at_once_by_a_shopper(forgetful, f"shopper-{number}")
            if not found.holds:
                return
    pytest.fail(found.figure)


# ── times ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def drawn(seed: int, middle_ms: float) -> list[float]:
    dice = random.Random(seed)
    return [dice.gauss(middle_ms, 1) for _ in range(3_000)]


def test_a_tenth_of_a_spread_is_too_little_to_tell_times_apart_and_a_fifth_is_not() -> None:
    assert timing.told_apart(drawn(1, 20), drawn(2, 20)) < timing.LIMIT
    assert timing.told_apart(drawn(1, 20), drawn(2, 20.2)) > timing.LIMIT
    assert timing.told_apart(drawn(1, 20.2), drawn(2, 20)) > timing.LIMIT, "whichever is the slower"
    assert timing.told_apart([1.0] * 100, [2.0] * 100) == 1
    assert timing.told_apart([1.0] * 100, [1.0] * 100) == 0.5


def test_refusals_of_six_kinds_are_measured_beside_each_other(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    """So few samples say nothing of the times: that all kinds are refused alike is said by asking."""
    monkeypatch.setattr(timing, "OF_EACH", 2)
    found = timing.measure(ground, samples=3, say=lambda _: None)
    assert len(found) == 6 + 15
