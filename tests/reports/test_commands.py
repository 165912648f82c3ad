"""`scrip report` and `scrip funds`, as operators run them."""

import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from app import clock, config
from app.cli import main, scrip
from app.db.engine import engine
from app.oauth.keys import forget_keys
from app.reports.asked import Month
from app.reports.catalogue import KINDS
from app.web import logs
from tests.service import real_keys
from tests.world import World, make_world, reference, rows

Run = Callable[..., Result]


@pytest.fixture
def run(database: config.Settings, urls: dict[str, str], keys_dir: Path) -> Iterator[Run]:
    """Runs a command in this process, on the tests' database."""
    environment = {
        "DATABASE_URL": urls["service"],
        "KEYS_DIR": str(real_keys(keys_dir)),
        "PUBLIC_URL": "https://cards.example",
        "TRUSTED_PROXIES": "127.0.0.1",
        "SMTP_HOST": "mail.example",
        "MAIL_FROM": "cards@cards.example",
    }

    def invoke(*arguments: str, status: int = 0) -> Result:
        result = CliRunner().invoke(scrip, arguments, env=environment)
        assert result.exit_code == status, (result.output, result.exception)
        return result

    yield invoke
    engine().dispose()
    config.use(database)
    logs.configure(database.log_level)
    forget_keys()


def this_month() -> str:
    return str(Month.of(clock.here()))


def test_every_report_is_listed_and_shown_and_written(run: Run, world: World, tmp_path: Path) -> None:
    world.settle(world.payment(5_000).payment.id, 3_000)
    listed = run("report", "list").stdout
    assert [line.split()[0] for line in listed.splitlines()] == list(KINDS)
    for name, kind in KINDS.items():
        if kind.of == "payout":
            continue
        asked = ["report", name, "--mode", "test", "--issuer", world.issuer_id]
        asked += ["--month", this_month()] if kind.of == "month" else []
        assert run(*asked).stdout.splitlines()[0].endswith("test money")
        for form in ("json", "csv", "xlsx", "pdf") if name in ("liability", "unbilled") else ("pdf",):
            run(*asked, "--out", str(tmp_path / f"{name}.{form}"))
    assert (tmp_path / "liability.pdf").read_bytes().startswith(b"%PDF")
    assert json.loads((tmp_path / "liability.json").read_text())["rows"][0]["liability_minor"] == 2_000
    assert b",30.00\r\n" in (tmp_path / "unbilled.csv").read_bytes()
    assert not list(tmp_path.glob("*.part"))


def test_a_file_is_written_whole_or_not_at_all_and_never_over_another(run: Run, world: World, tmp_path: Path) -> None:
    out = tmp_path / "liability.csv"
    asked = ("report", "liability", "--mode", "test", "--issuer", world.issuer_id, "--out", str(out))
    run(*asked)
    out.write_text("mine")
    assert "nothing is overwritten" in str(run(*asked, status=1).exception)
    assert out.read_text() == "mine"
    run(*asked, "--force")
    assert out.read_text() != "mine"
    assert out.stat().st_mode & 0o077 == 0
    run("report", "nothing", "--out", str(tmp_path / "x.csv"), status=2)
    run("report", "liability", "--out", str(tmp_path / "x.txt"), status=2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["liability.csv"]


def test_what_cannot_be_asked_is_refused(run: Run, world: World) -> None:
    """Another mode's issuer, the future, a month for a moment: no empty report that looks like an answer."""
    later = str(Month.of(clock.here()).later(1))
    for asked in (
        ["liability", "--month", "2025-01"],
        ["liability", "--as-of", "2999-01-01"],
        ["liability", "--as-of", "yesterday"],
        ["statement", "--as-of", "2025-01-01"],
        ["statement", "--month", later],
        ["remittance", "--month", "2025-01"],
    ):
        run("report", *asked, status=2)
    assert "no issuer" in str(run("report", "statement", "--issuer", world.issuer_id, status=1).exception)
    assert "--payout" in str(run("report", "remittance", status=1).exception)
    wrong = run("report", "liability", "--store", world.bookshop, "--mode", "test", status=1)
    assert "one store alone" in str(wrong.exception)
    assert "2026-10" in str(run("report", "statement", "--month", "2025-13", status=1).exception)


def test_a_day_is_meant_whole(run: Run, world: World) -> None:
    noon = clock.here().replace(hour=12) - timedelta(days=2)
    with clock.set_to(noon):
        world.issue(700)
    for as_of, worth in ((noon, 700), (noon - timedelta(days=1), None)):
        out = run(
            "report",
            "liability",
            "--mode",
            "test",
            "--issuer",
            world.issuer_id,
            "--as-of",
            f"{as_of:%F}",
            "--format",
            "json",
        )
        assert [row["liability_minor"] for row in json.loads(out.stdout)["rows"]] == ([worth] if worth else [])


def test_balances_are_entered_imported_and_watched(run: Run, world: World, tmp_path: Path) -> None:
    other = make_world()
    run("funds", "enter", world.issuer_id, "GBP", "12.50", "--day", "2025-01-31")
    file = tmp_path / "balances.csv"
    file.write_text(
        "balance,date,issuer,currency\r\n"
        f"10.00,2025-02-01,{world.issuer_id},GBP\r\n"
        f"10.0,2025-02-01,{world.issuer_id},GBP\r\n"
        f"10.00,2025-02-30,{world.issuer_id},GBP\r\n"
        f"10.00,2999-01-01,{world.issuer_id},GBP\r\n"
        "10.00,2025-02-01,iss_nobody,GBP\r\n"
        f"10.00,2025-02-01,{world.issuer_id},XAU\r\n"
        "\r\n"
        f"10.00,2025-02-01,{world.issuer_id}\r\n"
        f"-1500,2025-02-01,{other.issuer_id},JPY\r\n",
        encoding="utf-8-sig",
    )
    told = run("funds", "import", str(file), status=1)
    assert [line.split(":")[0] for line in told.stderr.splitlines()] == [
        f"line {number}" for number in (3, 4, 5, 6, 7, 9)
    ]
    assert told.stdout == "2 balances recorded, 0 known already, 6 lines wrong.\n"
    again = run("funds", "import", str(file), status=1)
    assert again.stdout == "0 balances recorded, 2 known already, 6 lines wrong.\n"
    found = rows(
        "SELECT day, balance_minor, source, recorded_by FROM bank_balance WHERE issuer_id = :id ORDER BY day",
        id=world.issuer_id,
    )
    assert [(f"{row.day}", row.balance_minor, row.source) for row in found] == [
        ("2025-01-31", 1_250, "entered"),
        ("2025-02-01", 1_000, "imported"),
    ]
    assert all(row.recorded_by.startswith("operator:") for row in found)
    file.write_text("date,issuer\n")
    assert "columns" in str(run("funds", "import", str(file), status=1).exception)
    assert "people are told" in run("funds", "warn", world.issuer_id, "GBP", "100000").stdout
    assert run("funds", "warn", world.issuer_id, "GBP").stdout == "Nobody is told.\n"


def test_a_shortfall_is_named_and_the_command_fails(run: Run, world: World) -> None:
    with clock.set_to(clock.here().replace(day=1, hour=0, minute=1) - timedelta(days=3)):
        world.issue(5_000, reference=reference(world.issuer_id))
        month = this_month()
    day = Month.read(month).end.date() - timedelta(days=1)
    asked = ("report", "safeguarding", "--mode", "test", "--issuer", world.issuer_id, "--month", month)
    assert "nobody has entered" in run(*asked).stdout
    run("funds", "enter", world.issuer_id, "GBP", "49.93", "--day", f"{day - timedelta(days=1)}")
    told = run(*asked, status=1)
    assert f"most on {day - timedelta(days=1)}: 0.07 GBP" in told.stdout
    assert "on 2 of 3 days" in told.stdout
    run("funds", "enter", world.issuer_id, "GBP", "50.00", "--day", f"{day - timedelta(days=1)}")
    assert "DIFFERS" not in run(*asked).stdout, "what was entered last counts"
    last = run(*asked, "--format", "csv").stdout.splitlines()[-1].split(",")
    assert last[-6:] == ["50.00", "50.00", f"{day - timedelta(days=1)}", "1", "entered", "0.00"]


def test_a_problem_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["report"])
    assert ended.value.code == 2
    assert "Traceback" not in capsys.readouterr().err
