"""What operators run about alarms: list, acknowledge, replay."""

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from app import config
from app.cli import scrip
from app.db.transaction import transaction
from app.ids import new_id
from app.web import logs
from tests.guard.ground import alarms, make_alarm, messages, wrong_codes
from tests.service import real_keys

Run = Callable[..., Result]


@pytest.fixture
def run(ground: config.Settings, keys_dir: Path) -> Iterator[Run]:
    """Runs a command in this process, on the real database."""
    environment = {
        "DATABASE_URL": ground.database_url,
        "KEYS_DIR": str(real_keys(keys_dir)),
        "PUBLIC_URL": "https://cards.example",
        "TRUSTED_PROXIES": "127.0.0.1",
        "SMTP_HOST": "mail.example",
        "MAIL_FROM": "cards@cards.example",
    }

    def invoke(*arguments: str, status: int = 0) -> Result:
        result = CliRunner().invoke(scrip, ("alarms", *arguments), env=environment)
        assert result.exit_code == status, (result.output, result.exception)
        return result

    yield invoke
    config.use(ground)
    logs.configure(ground.log_level)  # the commands' standard error is closed by now


def test_alarms_are_listed_and_acknowledged(noon: datetime, run: Run) -> None:
    assert run().output == "No alarm is open.\n"
    store_id = new_id("str")
    is_open = make_alarm("wrong_codes_store", store_id, store_id, first_at=noon, last_at=noon)
    is_over = make_alarm("openings_address", "00ff", None, first_at=noon, last_at=noon, ended_at=noon)
    shown = run().output
    assert is_open in shown and is_over not in shown
    for said in ("Wrong codes at a store", "It happened.", "It is unusual.", "`scrip client disable`", "test  open  "):
        assert said in shown
    assert is_over in run("--all").output
    assert run("--all", "--since", (noon + timedelta(seconds=1)).isoformat()).output == "No alarm.\n"
    assert run("acknowledge", is_open, is_over).output == "2 acknowledged.\n"
    assert run("acknowledge", is_open).output == "0 acknowledged.\n"
    assert "acknowledged by" in run().output
    run("acknowledge", is_open, new_id("alarm"), status=1)
    run("--since", "yesterday", status=2)


def test_messages_that_did_not_arrive_are_told(noon: datetime, run: Run) -> None:
    with transaction() as db:
        db.exec_driver_sql(
            "INSERT INTO alarm_message (id, channel, mode, alarm_ids, state, tries, due_at, created_at, begun_at)"
            " VALUES ('msg_x', 'webhook', 'live', '{}', 'failed', 9, $1, $1, $1)",
            (noon,),
        )
    assert "1 messages about alarms have not arrived" in run().stderr


def test_the_past_is_replayed_without_writing_anything(noon: datetime, run: Run) -> None:
    store_id = new_id("str")
    wrong_codes(30, noon + timedelta(minutes=2), store_id=store_id)
    until = (noon + timedelta(minutes=5)).isoformat()
    asked = ("replay", "--since", f"{noon:%Y-%m-%dT%H:%M}", "--until", until)
    told = run(*asked, "--rule", "wrong_codes_store")
    assert "30 of 30 codes tried at the store" in told.stdout
    lines = [line.split()[1:] for line in told.stdout.splitlines() if "wrong_codes_store" in line]
    assert [(line[1], line[4]) for line in lines] == [("opened", store_id), ("ended", store_id)]
    assert told.stdout.endswith("1 alarms.\n")
    assert told.stderr == f"wrong_codes_store: 30 of 30 looks, up to {noon + timedelta(minutes=4):%Y-%m-%d %H:%M}\n"
    assert (alarms(), messages()) == ([], [])
    assert "there is no rule" in run(*asked, "--rule", "wrong", status=2).output
    run("replay", status=2)
