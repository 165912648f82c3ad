"""Commands about bills: to bring in a file, and to look at what became of it."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Protocol, TypeVar

import click

from app.cli_parties import wired
from app.operators import operator

#: How many of a list one look at the database brings.
PAGE = 1_000
#: By the end of a file's name.
KINDS = {".csv": "csv", ".txt": "csv", ".json": "json", ".xlsx": "xlsx"}


@click.command("bill")
@click.argument("file", type=click.File("rb"))
@click.option("--store", "store_id", required=True, help="Whose bill it is.")
@click.option("--period", help="The month that is billed, such as 2026-11; a JSON file says it itself.")
@click.option("--reference", help="The store's name for the bill; a JSON file says it itself.")
@click.option("--currency", help="Of lines that name none.")
@click.option("--format", "kind", type=click.Choice(["csv", "json", "xlsx"]), help="By the file's name without this.")
@wired
def bring_bill(
    file: BinaryIO,
    store_id: str,
    period: str | None,
    reference: str | None,
    currency: str | None,
    kind: str | None,
) -> None:
    """Bring in a store's bill, CSV, JSON or XLSX: reads and matches it now, and prints what became of its lines.

    The file of a reference that came before is no other bill. Exits with 1 when it cannot be read, or was rejected.
    """
    from app.billing import files
    from app.billing.bill import find_bill
    from app.billing.receive import receive_bill
    from app.billing.work import work_off

    kind = kind or KINDS.get(Path(file.name).suffix.lower())
    if kind is None:
        raise click.UsageError("Name its --format: the file's name does not say it.")
    media_type = {"csv": files.CSV, "json": files.JSON, "xlsx": files.XLSX}[kind]
    with _progress() as say:
        say("receiving")
        received = receive_bill(
            file,
            store_id=store_id,
            kind=media_type,
            source="file",
            by=operator(),
            period=period,
            reference=reference,
            currency=currency,
        )
        say(f"{received.bill.id}: {file.tell()} bytes received")
        work_off(received.bill.id, progress=lambda lines: say(f"{file.tell()} bytes received, {lines} lines read"))
    bill = find_bill(received.bill.id)
    is_over = bill.state in ("unreadable", "rejected")
    if received.replayed:
        more = f" It is {bill.state}: what is to be billed anew needs another reference." if is_over else ""
        click.echo(f"It was here before.{more}", err=True)
    _show(bill.id)
    if is_over:
        sys.exit(1)


@click.command("list")
@click.option("--store", "store_id")
@click.option("--period")
@click.option("--state")
@wired
def list_bills(store_id: str | None, period: str | None, state: str | None) -> None:
    """List bills: state, store, period, reference, and their lines by outcome."""
    from app.billing.bill import list_bills

    after = None
    while found := list_bills(store_id=store_id, period=period, state=state, after=after, limit=PAGE):
        for bill in found:
            counts = f"{_count(bill.matched_lines)} matched, {_count(bill.broken_lines)} broken"
            lines = f"{_count(bill.lines)} lines, {_count(bill.wrong_lines)} wrong, {counts}"
            click.echo(f"{bill.id}  {bill.state}  {bill.store_id}  {bill.period}  {lines}  {plain(bill.reference)}")
        after = found[-1].id


@click.command("show")
@click.argument("bill_id", metavar="BILL")
@wired
def show_bill(bill_id: str) -> None:
    """Show a bill: its counts, its sums, and its breaks by kind."""
    _show(bill_id)


@click.command("lines")
@click.argument("bill_id", metavar="BILL")
@click.option("--state", help="matched, break, or one kind of break.")
@wired
def list_bill_lines(bill_id: str, state: str | None) -> None:
    """List a bill's lines, and what became of each."""
    from app.billing.bill import list_lines

    for line in _pages(lambda after: list_lines(bill_id, state=state, after=after, limit=PAGE)):
        more = [line.outcome or "-"]
        if line.other_bill_id is not None:
            more.append(line.other_bill_id)
        if line.expected_minor is not None:
            more.append(f"expected {line.expected_minor}")
        click.echo(f"{line.line_no}  {plain(line.payment_id)}  {line.amount}  {'  '.join(more)}")


@click.command("wrong")
@click.argument("bill_id", metavar="BILL")
@wired
def list_wrong_lines(bill_id: str) -> None:
    """List the lines of a bill that could not be read, and why."""
    from app.billing.bill import list_wrong_lines

    for line in _pages(lambda after: list_wrong_lines(bill_id, after=after, limit=PAGE)):
        click.echo(f"{line.line_no}  {line.reason}  {line.begins}")


@click.command("file")
@click.argument("bill_id", metavar="BILL")
@click.argument("target", type=click.File("wb", atomic=True), default="-")
@wired
def write_file(bill_id: str, target: BinaryIO) -> None:
    """Write a bill's file as it arrived, to a file or to standard output."""
    from app.billing.bill import file_of, find_bill

    find_bill(bill_id)
    for part in file_of(bill_id):
        target.write(part)


@click.command("reject")
@click.argument("bill_id", metavar="BILL")
@wired
def reject_bill(bill_id: str) -> None:
    """Reject a bill that is matched and not approved: what it took up another may take up."""
    from app.billing.reject import reject_bill

    reject_bill(bill_id, by=operator())
    click.echo("Rejected.")


#: For the group `scrip bills`.
OF_BILLS = (list_bills, show_bill, list_bill_lines, list_wrong_lines, write_file, reject_bill)


def _show(bill_id: str) -> None:
    from app.billing.bill import find_bill, sums_of
    from app.money import Money

    bill, sums = find_bill(bill_id), sums_of(bill_id)
    click.echo(f"{bill.id}  {bill.state}  {bill.store_id}  {bill.period}  {plain(bill.reference)}")
    if bill.unreadable_because is not None:
        click.echo(f"unreadable       {bill.unreadable_because}")
    counts = {"lines": bill.lines, "wrong lines": bill.wrong_lines, "matched": bill.matched_lines, **sums.breaks}
    for name, count in counts.items():
        if count is not None:
            click.echo(f"{name:<16} {count}")
    for name, found in (("billed", sums.billed), ("taken up", sums.matched), ("credits", sums.credits)):
        for currency, amount_minor in sorted(found.items()):
            click.echo(f"{name:<16} {Money(amount_minor, currency)}")


class _Numbered(Protocol):
    @property
    def line_no(self) -> int: ...


Row = TypeVar("Row", bound=_Numbered)


def _pages(look: Callable[[int | None], Sequence[Row]]) -> Iterator[Row]:
    after: int | None = None
    while found := look(after):
        yield from found
        after = found[-1].line_no


def _count(count: int | None) -> str:
    return "-" if count is None else str(count)


def plain(text: str) -> str:
    """What a store wrote, without what would move a terminal's cursor."""
    return "".join(each if each.isprintable() else "\ufffd" for each in text)


@contextmanager
def _progress() -> Iterator[Callable[[str], None]]:
    """Says how far it is on standard error: on one line that changes, where that is a terminal."""
    is_terminal = sys.stderr.isatty()

    def say(text: str) -> None:
        click.echo(f"\r\x1b[K{text}" if is_terminal else text, err=True, nl=not is_terminal)

    try:
        yield say
    finally:
        if is_terminal:
            click.echo("", err=True)
