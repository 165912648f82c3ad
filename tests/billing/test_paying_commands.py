"""Finance's commands of paying, from a bill to the month's end."""

import hashlib
from pathlib import Path

import pytest
from click.testing import CliRunner

import app.factory
from app import cli_paying
from app.cli import scrip
from app.config import Settings
from app.redemption.refund_cover import allow_refunds
from tests.billing.matched import bill_of, settled
from tests.world import make_world


def test_a_bill_is_paid_by_two_operators(
    own_database: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(Settings, "from_env", lambda: own_database)
    monkeypatch.setattr(app.factory, "wire", lambda _: None)
    world = make_world()

    def run(words: str, *, by: str = "operator:ann", refused: bool = False) -> str:
        monkeypatch.setattr(cli_paying, "operator", lambda: by)
        done = CliRunner().invoke(scrip, words.split())
        assert (done.exit_code != 0) is refused, done.output
        return done.output

    bill = bill_of(world, [settled(world, 3_000)])
    assert "3000 minor units" in run(f"bills approve {bill}")
    assert bill in run("payables --mode test")
    drafted = run("runs draft --mode test")
    run_id, payout_id = drafted.split()[0], drafted.splitlines()[1].split()[0]
    assert "in all  3000 minor units of GBP" in run(f"runs show {run_id}")
    run(f"runs release {run_id}", refused=True)
    assert "in_transit" in run(f"runs release {run_id}", by="operator:bob")
    file = tmp_path / "run.csv"
    told = run(f"runs export {run_id} --out {file}")
    assert hashlib.sha256(file.read_bytes()).hexdigest() in told
    kept = file.read_bytes()
    run(f"runs export {run_id} --out {file}", refused=True)
    assert file.read_bytes() == kept
    assert run(f"payouts paid {payout_id}") == "1 paid.\n"
    assert run(f"payouts returned {payout_id} --reason AC04").startswith("1 returned")
    assert "AC04" in run("payouts list --mode test --state returned")
    dropped = run("runs draft --mode test").split()[0]
    assert "dropped" in run(f"runs drop {dropped}")

    assert "9000 minor units" in run(f"fund {world.issuer_id} GBP 9000 --reference B-1 --effective 2026-01-31")
    run(f"adjust propose {world.issuer_id} fraud_loss GBP --reason stolen", refused=True)
    entry = run(f"adjust propose {world.issuer_id} fraud_loss GBP --out-of-funding 70 --reason stolen").strip()
    assert entry in run("adjust list")
    run(f"adjust approve {entry}", refused=True)
    run(f"adjust approve {entry}", by="operator:bob")
    other = run(f"adjust propose {world.issuer_id} goodwill GBP --into-funding 5 --reason wrong").strip()
    run(f"adjust reject {other}")
    assert run("adjust list") == ""
    assert len(run("adjust list --all").splitlines()) == 3
    run("months close 2026-01 --mode test")
    assert "2026-01" in run("months list --mode test")
    assert run(f"store allow-refunds {world.bookshop} GBP 500").startswith("Refunds may exceed")
    allow_refunds(world.bookshop, "GBP", 0)
