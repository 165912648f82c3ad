"""What operators run about breaks."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from app import cli_breaks, config
from app.cli import scrip
from app.errors import SecondPersonNeeded
from app.ids import new_id
from app.web import logs
from tests.billing.bills import paid_minor
from tests.billing.broken import break_of, breaks_of, broken_bill, now_is, settled
from tests.service import real_keys
from tests.world import World

Run = Callable[..., Result]


@pytest.fixture
def run(database: config.Settings, keys_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    """Runs a command in this process, on the real database, as this operator."""
    environment = {
        "DATABASE_URL": database.database_url,
        "KEYS_DIR": str(real_keys(keys_dir)),
        "PUBLIC_URL": "https://cards.example",
        "TRUSTED_PROXIES": "127.0.0.1",
        "SMTP_HOST": "mail.example",
        "MAIL_FROM": "cards@cards.example",
    }

    def invoke(*arguments: str, status: int = 0, by: str = "anna", typed: str | None = None) -> Result:
        monkeypatch.setattr(cli_breaks, "operator", lambda: f"operator:{by}")
        result = CliRunner().invoke(scrip, ("breaks", *arguments), env=environment, input=typed)
        assert result.exit_code == status, (result.output, result.exception)
        return result

    yield invoke
    config.use(database)
    logs.configure(database.log_level)  # the commands' standard error is closed by now


def test_a_break_is_worked_off_by_two_operators(run: Run, world: World) -> None:
    bill_id = broken_bill(world, (settled(world), 370_000), days_ago=12)
    found = break_of(bill_id)
    listed = run("list", "--store", world.bookshop).output
    assert re.search(rf"{found.id}  12 d  open   amount_over  Bookshop  \S+:1  3700\.00 GBP  30\.00 GBP  -", listed)
    assert "operator:anna looks after it" in run("assign", found.id).output
    assert "ben looks after it" in run("assign", found.id, "--to", "ben").output
    proposed = run("propose", found.id, "write_off", "--reason", "as agreed").output
    assert "takes up 30.00 GBP, pays 3700.00 GBP" in proposed
    refused = run("approve", found.id, "--proposal", proposed.split()[0], status=1)
    assert isinstance(refused.exception, SecondPersonNeeded)
    given_up = run("approve", found.id, by="ben", typed="n\n", status=1).output
    assert "operator:anna proposed write_off" in given_up and "because: as agreed" in given_up
    assert paid_minor(bill_id) == 0
    assert "written_off, 3700.00 GBP are paid." in run("approve", found.id, by="ben", typed="y\n").output
    assert paid_minor(bill_id) == 370_000
    assert run("list", "--bill", bill_id).output == "No break is open.\n"
    assert found.id in run("list", "--bill", bill_id, "--all").output
    assert "reopened" in run("reopen", found.id, "--reason", "not yet").output
    assert "reopened" in run("list", "--bill", bill_id, "--state", "reopened", "--older-than", "12").output


def test_a_proposal_is_declined(run: Run, world: World) -> None:
    meant = settled(world)
    found = break_of(broken_bill(world, (new_id("pay"), 700)))
    proposed = run("propose", found.id, "match_payment", "--reason", "x", "--payment", meant).output
    assert f"match_payment of {meant}: takes up 30.00 GBP, pays 7.00 GBP" in proposed
    run("decline", found.id, "--proposal", proposed.split()[0], "--reason", "ask first")
    assert (now_is(found).state, now_is(found).reason) == ("open", "ask first")
    run("propose", found.id, "write_off", "--reason", "x", "--issuer", world.issuer_id)
    assert now_is(found).proposed_issuer_id == world.issuer_id


def test_notes_and_files_are_added_shown_and_saved(run: Run, world: World, tmp_path: Path) -> None:
    found = break_of(broken_bill(world, (settled(world), 3_700)))
    run("note", found.id, "Asked.\nNo answer yet.")
    letter = tmp_path / "letter.pdf"
    letter.write_bytes(b"%PDF")
    attachment_id = run("attach", found.id, str(letter)).output.split()[0]
    shown = run("show", found.id).output
    assert "  Asked.\n  No answer yet.\n" in shown
    assert f"{attachment_id}  letter.pdf  application/pdf  4 bytes" in shown
    saved = tmp_path / "saved"
    assert "letter.pdf: 4 bytes." in run("attachment", attachment_id, "--out", str(saved)).output
    assert saved.read_bytes() == b"%PDF"
    assert "exists" in str(run("attachment", attachment_id, "--out", str(saved), status=1).exception)
    assert saved.read_bytes() == b"%PDF"


def test_what_a_store_wrote_moves_no_cursor(run: Run, world: World) -> None:
    found = breaks_of(broken_bill(world, ("pay_\x1b[2J", 700)))[0]
    assert "\x1b" not in run("show", found.id).output
