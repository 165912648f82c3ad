"""Short histories on the service as it runs, with faults; and broken services, whose histories are illegal."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from app import config
from app.db.embedded import EmbeddedPostgres
from tests.histories.ground import Ground, Outcome, run_history, serving
from tests.histories.record import History
from tests.secrets_search import written

#: What no history of this length is without; the rest happens in most.
OFTEN = {"claim", "exchange", "settle", "refund", "reissue", "read_card", "read_payment"}

Serve = Callable[[str], AbstractContextManager[Ground]]


@pytest.fixture
def serve(own_database: config.Settings, server: EmbeddedPostgres, keys_dir: Path, tmp_path: Path) -> Serve:
    """Starts the service, or a broken one, on a database of its own."""
    return lambda wsgi: serving(own_database, keys_dir, server.admin_url, tmp_path / "log", wsgi=wsgi)


@pytest.mark.slow
def test_concurrent_clients_see_one_card_after_the_other_whatever_breaks(serve: Serve, tmp_path: Path) -> None:
    """Two histories; the seeds draw what is asked and where faults strike, the machine draws the rest."""
    with serve("wsgi:app") as ground:
        outcomes = [run_history(ground, seed=seed, operations=300, cards=8, clients=10) for seed in (1, 2)]
    for outcome in outcomes:
        kept = tmp_path / f"history-{outcome.history.seed}.jsonl"
        outcome.history.write(kept)
        assert not outcome.wrong, "\n".join([*outcome.wrong, f"kept in {kept}"])
        check_no_secrets(kept, outcome)
    check_far_enough(outcomes)


def check_far_enough(outcomes: list[Outcome]) -> None:
    """Histories in which nothing was done, lost or broken would show nothing."""
    tries = [one for outcome in outcomes for one in outcome.history.operations]
    done = [one for one in tries if one.answer is not None and "refused" not in one.answer]
    assert {one.verb for one in done} >= OFTEN
    assert any(one.answer is not None and one.answer.get("replayed") for one in done)
    assert any(one.returned_ns is None for one in tries)
    assert all(outcome.struck["workers killed"] and outcome.struck["backends ended"] for outcome in outcomes)


def check_no_secrets(kept: Path, outcome: Outcome) -> None:
    """A kept history holds no code, no link's key and no nonce, however written."""
    raw = kept.read_bytes()
    secrets = [real for real, name in outcome.names.items() if name.startswith(("c", "secret", "b"))]
    assert len(secrets) > 20
    assert not [name for secret in secrets for way, name in written(secret).items() if way in raw]


@pytest.mark.slow
@pytest.mark.parametrize("wsgi", ["tests.histories.broken_locks:app", "tests.histories.broken_repeat:app"])
def test_a_broken_service_is_caught(serve: Serve, wsgi: str, tmp_path: Path) -> None:
    """Without locks what was settled gets lost; without its memory a repeat is done twice. Nothing else goes wrong.

    One short history is enough, nearly always; clients that happened to avoid each other get another.
    """
    with serve(wsgi) as ground:
        histories = (
            run_history(ground, seed=seed, operations=60, cards=1, clients=8, with_faults=False) for seed in range(10)
        )
        caught = next(outcome for outcome in histories if outcome.judgement.wrong)
    assert all("no legal order" in wrong for wrong in caught.judgement.wrong)
    caught.history.write(tmp_path / "kept")
    assert History.read(tmp_path / "kept") == caught.history
