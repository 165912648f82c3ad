"""`scrip bill` and `scrip bills`, as finance uses them."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from app.cli import scrip
from app.config import Settings
from tests.billing.files import HEADER, this_month
from tests.billing.test_read_xlsx import sheet
from tests.world import World, rows


@pytest.fixture(autouse=True)
def wired(database: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """The commands use the tests' settings, whose cheap Argon2 the environment could not name."""
    monkeypatch.setattr("app.factory.wire", lambda _: None)
    monkeypatch.setattr(Settings, "from_env", lambda: database)


def run(*arguments: object) -> Result:
    return CliRunner().invoke(scrip, [str(each) for each in arguments])


def terms(world: World, reference: str) -> list[str]:
    return ["--store", world.bookshop, "--period", this_month(), "--reference", reference]


def test_a_file_is_brought_in_matched_and_looked_at(world: World, tmp_path: Path) -> None:
    payment_id = world.payment().payment.id
    world.settle(payment_id, 3_000)
    file = tmp_path / "bill.csv"
    file.write_text(f"{HEADER}\n{payment_id},30.00,GBP\nunknown,1.00,GBP\npay_2,x,GBP\n")
    for again in (False, True):
        brought = run("bill", file, *terms(world, "by hand"))
        assert brought.exit_code == 0, brought.output
        assert ("It was here before." in brought.stderr) is again
        assert "unknown_payment  1" in brought.stdout
        assert "taken up         30.00 GBP" in brought.stdout
    assert f"{file.stat().st_size} bytes received" in brought.stderr
    bill_id = brought.stdout.split()[0]
    listed = run("bills", "list", "--store", world.bookshop).stdout
    assert f"{bill_id}  matched" in listed
    assert "2 lines, 1 wrong, 1 matched, 1 broken" in listed
    assert run("bills", "show", bill_id).stdout == brought.stdout
    lines = run("bills", "lines", bill_id).stdout.splitlines()
    assert lines == [f"2  {payment_id}  30.00 GBP  matched", "3  unknown  1.00 GBP  unknown_payment"]
    assert run("bills", "lines", bill_id, "--state", "break").stdout.splitlines() == lines[1:]
    assert run("bills", "wrong", bill_id).stdout.startswith("4  Its amount")
    copy = tmp_path / "copy"
    assert run("bills", "file", bill_id, copy).exit_code == 0
    assert copy.read_bytes() == file.read_bytes()
    assert run("bills", "reject", bill_id).stdout == "Rejected.\n"
    rejected = run("bill", file, *terms(world, "by hand"))
    assert (rejected.exit_code, "needs another reference" in rejected.stderr) == (1, True)
    by = rows("SELECT closed_by FROM bill WHERE id = :id", id=bill_id)[0].closed_by
    assert by.startswith("operator:")


def test_a_spreadsheet_is_brought_in_with_a_currency_for_the_whole(world: World, tmp_path: Path) -> None:
    file = tmp_path / "bill.xlsx"
    file.write_bytes(sheet(["Payment ID", "Amount"], ["p1", 1.5]).getvalue())
    brought = run("bill", file, *terms(world, "sheet"), "--currency", "GBP")
    assert "billed           1.50 GBP" in brought.stdout


def test_a_file_that_cannot_be_read_ends_with_1(world: World, tmp_path: Path) -> None:
    file = tmp_path / "bill.json"
    file.write_text('{"period": "2026-10", "reference": "cut", "lines": [' + '{"payment_id": "p"}, ' * 1_001)
    brought = run("bill", file, "--store", world.bookshop)
    assert brought.exit_code == 1
    assert "unreadable       Line 1001: " in brought.stdout
    assert run("bill", tmp_path / "bill.json", "--store", world.bookshop, "--format", "csv").exit_code == 1
    file.rename(tmp_path / "bill")
    assert run("bill", tmp_path / "bill", "--store", world.bookshop).exit_code == 2
