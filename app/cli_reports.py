"""Commands about reports: what finance reads, on the terminal or as a file."""

import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import IO, TYPE_CHECKING, TextIO

import click

from app.cli_parties import MODE, wired
from app.operators import operator

if TYPE_CHECKING:  # the commands beside these need none of it
    from app.reports.asked import Month
    from app.reports.report import Report, Row

FORMAT = click.Choice(["json", "csv", "xlsx", "pdf"])
#: So often a long report says how far it is.
SAY_EVERY_S = 5.0
#: Longer no statement of a report may take.
WITHIN_S = 3_600
#: By what a report is of, the option that names it.
OPTIONS = {"moment": "as-of", "month": "month", "payout": "payout"}


@click.command()
@click.argument("name")
@click.option("--as-of", metavar="DATE", help="The end of this day, or a moment such as 2026-11-28T14:30; now without.")
@click.option("--month", metavar="YYYY-MM", help="In UTC; the last one that is over, without.")
@click.option("--issuer", "issuer_id", help="Of this issuer alone.")
@click.option("--store", "store_id", help="Of this store alone.")
@click.option("--payout", "payout_id", help="Of this payout: for remittance alone.")
@click.option("--mode", type=MODE, default="live", show_default=True)
@click.option(
    "--format", "form", type=FORMAT, help="As the file's name says, without; a table, where there is no file."
)
@click.option("--out", type=click.Path(path_type=Path), help="A new file, which is written whole or not at all.")
@click.option("--force", is_flag=True, help="Replace the file, if there is one.")
@wired
def report(
    name: str,
    as_of: str | None,
    month: str | None,
    issuer_id: str | None,
    store_id: str | None,
    payout_id: str | None,
    mode: str,
    form: str | None,
    out: Path | None,
    force: bool,
) -> None:
    """Show a report, or write it to a file; `list` says which there are. Exit 1 where it says that things differ."""
    from app import clock
    from app.db.transaction import snapshot
    from app.reports.asked import Asked
    from app.reports.catalogue import KINDS, build_report

    if name == "list":
        _list()
        return
    if name not in KINDS:
        raise click.UsageError(f"There is no report {name}; there are {', '.join(KINDS)}.")
    named = {"as-of": as_of, "month": month, "payout": payout_id}
    if any(value is not None for option, value in named.items() if option != OPTIONS[KINDS[name].of]):
        raise click.UsageError(f"The report {name} is of a {KINDS[name].of}: name --{OPTIONS[KINDS[name].of]} alone.")
    form = _format_of(form, out)
    with snapshot(within_s=WITHIN_S, memory="256MB") as db:
        now = clock.now(db)
        asked = Asked(mode, _moment(as_of, now), _month(month, now), issuer_id, store_id, payout_id)
        built = build_report(db, name, asked)
        _show(built, form, out, force=force)
    if built.is_wrong:
        for note in built.notes:
            if note.wrong and form is not None:
                click.echo(f"DIFFERS: {note.text}", err=True)
        sys.exit(1)


def _list() -> None:
    from app.reports.catalogue import KINDS

    for name, kind in KINDS.items():
        by = " ".join(f"--{party}" for party in kind.by)
        click.echo(f"{name:<12}  --{OPTIONS[kind.of]:<6} {by:<17}  {kind.answers}")


def _format_of(form: str | None, out: Path | None) -> str | None:
    if form is None and out is not None:
        form = out.suffix.removeprefix(".").lower()
        if form not in FORMAT.choices:
            raise click.UsageError(f"Name a --format, or a file that ends in .{', .'.join(FORMAT.choices)}.")
    if form in ("xlsx", "pdf") and out is None and sys.stdout.isatty():
        raise click.UsageError("That is no text for a terminal: name a file by --out.")
    return form


def _moment(text: str | None, now: datetime) -> datetime:
    """A day is meant whole: its end, or now while it lasts. Raises UsageError."""
    if text is None:
        return now
    try:
        if len(text) == len("2026-11-28"):
            day = date.fromisoformat(text)
            end = datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days=1)
            found = min(end, now) if end - timedelta(days=1) <= now else end
        else:
            found = datetime.fromisoformat(text)
            found = found if found.tzinfo else found.replace(tzinfo=UTC)
    except ValueError:
        raise click.UsageError("Write --as-of as 2026-11-28 or 2026-11-28T14:30.") from None
    if found > now:
        raise click.UsageError("--as-of lies in the future, of which no books tell.")
    return found.astimezone(UTC)


def _month(text: str | None, now: datetime) -> "Month":
    from app.reports.asked import Month

    if text is None:
        return Month.of(now).later(-1)
    found = Month.read(text)
    if found > Month.of(now):
        raise click.UsageError("--month lies in the future, of which no books tell.")
    return found


def _show(built: "Report", form: str | None, out: Path | None, *, force: bool) -> None:
    if form is None:
        from app.reports.as_text import write as write_text

        write_text(replace(built, rows=_telling(built.rows)), click.echo)
        return
    with _sink(out, force=force) as file:
        _write(replace(built, rows=_telling(built.rows)), form, file)


def _write(built: "Report", form: str, file: IO[bytes]) -> None:
    """Each format's library is loaded when it is asked for."""
    if form == "json":
        from app.reports.as_json import write
    elif form == "csv":
        from app.reports.as_csv import write
    elif form == "xlsx":
        from app.reports.as_xlsx import write
    else:
        from app.reports.as_pdf import write
    write(built, file)


@contextmanager
def _sink(out: Path | None, *, force: bool) -> Iterator[IO[bytes]]:
    if out is None:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    from app.db.sealed_file import draft_of

    with draft_of(out, replace=force) as file:
        yield file


def _telling(rows: "Iterable[Row]") -> "Iterator[Row]":
    """The rows; a long report says now and then on standard error how many there were."""
    said_at = time.monotonic()
    for count, row in enumerate(rows, 1):
        yield row
        if time.monotonic() - said_at > SAY_EVERY_S:
            click.echo(f"… {count:,} rows", err=True)
            said_at = time.monotonic()


@click.group()
def funds() -> None:
    """What lies on the accounts that keep issuers' money."""


@funds.command("enter")
@click.argument("issuer_id", metavar="ISSUER")
@click.argument("currency")
@click.argument("balance")
@click.option("--day", metavar="DATE", help="At whose end it was that; yesterday, without.")
@wired
def enter_balance(issuer_id: str, currency: str, balance: str, day: str | None) -> None:
    """Record a balance that the bank's statement shows, in decimals such as 1234.50."""
    from app.db.time import current_time
    from app.reports.bank_balance import enter_balance

    try:
        at = date.fromisoformat(day) if day else current_time().date() - timedelta(days=1)
    except ValueError:
        raise click.UsageError("Write --day as 2026-11-28.") from None
    found = enter_balance(issuer_id, currency, at, balance, operator=operator())
    click.echo(f"{found.issuer_id}  {found.currency}  {found.day}  {balance}")


@funds.command("import")
@click.argument("file", type=click.File(encoding="utf-8-sig"))
@wired
def import_balances(file: TextIO) -> None:
    """Record the balances of a CSV file with the columns date, issuer, currency, balance; exit 1 on a wrong line."""
    from app.reports.bank_balance import import_balances
    from app.reports.words import printable

    found = import_balances(file, operator=operator())
    for number, reason in found.wrong:
        click.echo(printable(f"line {number}: {reason}"), err=True)
    click.echo(f"{found.taken} balances recorded, {found.known} known already, {len(found.wrong)} lines wrong.")
    sys.exit(1 if found.wrong else 0)


@funds.command("warn")
@click.argument("issuer_id", metavar="ISSUER")
@click.argument("currency")
@click.argument("least_minor", type=int, required=False)
@wired
def warn_below(issuer_id: str, currency: str, least_minor: int | None) -> None:
    """Have people told when a balance is below so many minor units; without a number, nobody is."""
    from app.reports.bank_balance import warn_below

    warn_below(issuer_id, currency, least_minor)
    click.echo(
        "Nobody is told." if least_minor is None else f"Below {least_minor} minor units of {currency} people are told."
    )
