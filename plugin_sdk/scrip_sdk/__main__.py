"""`python -m scrip_sdk`: delivers what waits in the outbox, shows it, and makes the month's bill."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sqlite3
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from scrip_sdk.bill import Bill, as_csv, as_json, make_bill, totals
from scrip_sdk.client import Client
from scrip_sdk.errors import ScripError, ServiceUnavailable
from scrip_sdk.masking import install_masking
from scrip_sdk.outbox import STATES, Instruction, Outbox, utc_now
from scrip_sdk.outbox.deliver import Delivery, deliver, keep_delivering
from scrip_sdk.outbox.sqlite import SqliteOutbox

#: Exit codes: done; something was given up or is not there; called wrongly; come back later (as sysexits.h has it).
DONE, FAILED, MISUSED, LATER = 0, 1, 2, 75

SETTINGS = """
environment:
  SCRIP_URL                 the service's address, as https://cards.example
  SCRIP_CLIENT_ID           the store's client
  SCRIP_CLIENT_SECRET       its secret, or
  SCRIP_CLIENT_SECRET_FILE  a file that holds it
  SCRIP_OUTBOX              in place of --outbox, so that a password in it does not stand among the processes

exit codes:
  0 done   1 something was given up, or is not there   2 called wrongly
  75 the service is away, or the outbox's database: come back later
"""


class Misused(Exception):
    """Called wrongly. Its text is for whoever called, and holds no secret."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command and returns its exit code."""
    logging.basicConfig(format="%(levelname)s %(message)s", level=logging.INFO)
    install_masking()
    options = _parser().parse_args(arguments)
    try:
        code: int = options.run(options)
    except Misused as error:
        return _say(f"scrip_sdk: {error}", MISUSED)
    except _database_errors() as error:
        return _say(f"scrip_sdk: the outbox's database is away: {type(error).__name__}", LATER)
    return code


def _parser() -> argparse.ArgumentParser:
    layout = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        "python -m scrip_sdk", description=__doc__, epilog=SETTINGS, formatter_class=layout
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    delivering = _command(commands.add_parser, "deliver", "tell the service what waits in the outbox", _deliver)
    how = delivering.add_mutually_exclusive_group()
    how.add_argument("--once", action="store_true", help="what is due now, then end (the default)")
    how.add_argument("--every", type=float, metavar="S", help="again and again, so many seconds apart")

    billing = _command(commands.add_parser, "bill", "what the store is owed for a month, payment by payment", _bill)
    billing.add_argument("--month", required=True, help="as 2026-10, in UTC")
    billing.add_argument("--format", choices=("csv", "json"), default="csv")
    billing.add_argument("--reference", help="the store's own name for the bill (scrip-2026-10 without it)")
    billing.add_argument("--submit", action="store_true", help="send it to the service; again, it is the same bill")
    billing.add_argument("-o", dest="file", metavar="FILE", type=Path, help="in place of standard output")

    outbox = commands.add_parser("outbox", help="look at the outbox, and set going again what was given up or waits")
    actions = outbox.add_subparsers(required=True, metavar="ACTION")
    listing = _command(actions.add_parser, "list", "show instructions, oldest first", _list)
    listing.add_argument("--state", choices=STATES, help="only those")
    listing.add_argument("--limit", type=int, default=100)
    retrying = _command(
        actions.add_parser, "retry", "set a dead instruction going again, and a pending one at once", _retry
    )
    retrying.add_argument("id", metavar="ID")
    return parser


def _command(
    add: Callable[..., argparse.ArgumentParser], name: str, what: str, run: Callable[[argparse.Namespace], int]
) -> argparse.ArgumentParser:
    made = add(name, help=what, description=what, epilog=SETTINGS, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--outbox", metavar="URL", help="sqlite:///FILE, or a database's URL as SQLAlchemy writes it")
    made.add_argument("--table", default="scrip_instruction", help="its table there (%(default)s)")
    made.set_defaults(run=run)
    return made


# ── commands ────────────────────────────────────────────────────────────────────────────────────────────────────────


def _deliver(options: argparse.Namespace) -> int:
    outbox = _outbox(options)
    if options.every is not None and not options.every > 0:
        raise Misused("--every must be above zero")
    with _client() as client:
        if options.every is None:
            delivery = deliver(outbox, client, seconds=3_600)
            _report(outbox, delivery)
            return FAILED if delivery.dead else LATER if delivery.away_s is not None else DONE
        stopped = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stopped.set())
        keep_delivering(
            outbox,
            client,
            every_s=options.every,
            stop=stopped.wait,
            report=lambda delivery: _report(outbox, delivery) if delivery.sent else None,
            passing=_database_errors(),
        )
        return DONE


def _report(outbox: Outbox, delivery: Delivery) -> None:
    counts = outbox.counts()
    away = "" if delivery.away_s is None else f"; the service is away, to be asked again in {delivery.away_s:.0f} s"
    _say(
        f"{delivery.done} done, {delivery.put_off} put off, {delivery.dead} given up; "
        f"{counts.pending} waiting and {counts.dead} dead in all{away}"
    )


def _bill(options: argparse.Namespace) -> int:
    try:
        bill = make_bill(_outbox(options), options.month)
    except ValueError as error:
        raise Misused(str(error)) from None
    reference = options.reference or f"scrip-{bill.period}"
    text = as_csv(bill) if options.format == "csv" else as_json(bill, reference)
    if options.file is None and not options.submit:
        sys.stdout.write(text)
    elif options.file is not None:
        beside = options.file.with_name(f".{options.file.name}.{os.getpid()}")
        beside.write_text(text, encoding="utf-8", newline="")
        beside.replace(options.file)
    _say(f"{bill.period}: {len(bill.lines)} payments, {_shown(totals(bill.lines))}")
    if bill.pending:
        _say(f"not billed: {len(bill.pending)} payments still pending, {_shown(totals(bill.pending))}")
    if bill.dead:
        _say(f"not billed: {bill.dead} dead instructions; see `python -m scrip_sdk outbox list --state dead`")
    return _submit(bill, reference) if options.submit else DONE


def _submit(bill: Bill, reference: str) -> int:
    if not bill.lines:
        return _say("nothing to bill: nothing was sent")
    with _client() as client:
        try:
            sent = client.submit_bill(bill, reference=reference)
        except ServiceUnavailable as away:
            return _say(f"scrip_sdk: the bill was perhaps not sent: {away}; send it again", LATER)
        except ScripError as refused:
            return _say(f"scrip_sdk: the bill was refused: {refused}", FAILED)
    sys.stdout.write(f"{sent.id} {sent.state} {_printable(sent.reference)}\n")
    return DONE


def _list(options: argparse.Namespace) -> int:
    for one in _outbox(options).list(state=options.state, limit=options.limit):
        sys.stdout.write(_line(one) + "\n")
    return DONE


def _retry(options: argparse.Namespace) -> int:
    try:
        revived = _outbox(options).revive(options.id, at=utc_now())
    except LookupError as error:
        return _say(f"scrip_sdk: {error.args[0]}", FAILED)
    sys.stdout.write(_line(revived) + "\n")
    return DONE


# ── what they share ─────────────────────────────────────────────────────────────────────────────────────────────────


def _client() -> Client:
    settings = {name: os.environ.get(f"SCRIP_{name}", "") for name in ("URL", "CLIENT_ID", "CLIENT_SECRET")}
    file = os.environ.get("SCRIP_CLIENT_SECRET_FILE")
    if file and not settings["CLIENT_SECRET"]:
        try:
            settings["CLIENT_SECRET"] = Path(file).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError):
            raise Misused("the file that SCRIP_CLIENT_SECRET_FILE names cannot be read") from None
    if missing := [f"SCRIP_{name}" for name, value in settings.items() if not value]:
        raise Misused(f"{' and '.join(missing)} must be set")
    try:
        return Client(settings["URL"], settings["CLIENT_ID"], settings["CLIENT_SECRET"])
    except ValueError as error:
        raise Misused(str(error)) from None


def _outbox(options: argparse.Namespace) -> Outbox:
    """The outbox that is there: none is made, for a mistyped name would look like an empty one."""
    url = options.outbox or os.environ.get("SCRIP_OUTBOX", "")
    if url.startswith("sqlite:///"):
        path = Path(url.removeprefix("sqlite:///"))
        if not path.is_file():
            raise Misused(f"there is no file {path}")
        return SqliteOutbox(path)
    if "://" not in url:
        raise Misused("--outbox or SCRIP_OUTBOX must name the outbox, as sqlite:///FILE or by a database's URL")
    try:
        import sqlalchemy  # only where a store has it

        from scrip_sdk.outbox.sql import SqlOutbox, outbox_table
    except ImportError:
        raise Misused("this needs SQLAlchemy: install the extra `sqlalchemy`") from None
    try:
        engine = sqlalchemy.create_engine(url, poolclass=sqlalchemy.NullPool)
        if not sqlalchemy.inspect(engine).has_table(options.table):
            raise Misused(f"there is no table {options.table}")
    except (sqlalchemy.exc.SQLAlchemyError, ImportError) as error:
        raise Misused(f"the outbox's database cannot be used: {type(error).__name__}") from None
    return SqlOutbox(engine, outbox_table(sqlalchemy.MetaData(), options.table))


def _database_errors() -> tuple[type[Exception], ...]:
    """What an outbox raises whose database is away, locked or broken."""
    if "sqlalchemy" not in sys.modules:
        return (sqlite3.Error,)
    from sqlalchemy.exc import DBAPIError

    return (sqlite3.Error, DBAPIError)


def _line(one: Instruction) -> str:
    amount = "-" if one.amount is None else str(one.amount)
    error = f" {one.last_error}" if one.last_error else ""
    due = f" due {one.due_at:%Y-%m-%dT%H:%M:%SZ}" if one.state == "pending" else ""
    told = (one.id, one.state, one.verb, amount, one.payment_id, _printable(one.order_reference))
    return f"{' '.join(told)} tries {one.tries}{due}{error}"


def _printable(text: str) -> str:
    """Nothing that would move a terminal's cursor."""
    return "".join(each if each.isprintable() else f"\\x{ord(each):02x}" for each in text)


def _shown(amounts: Sequence[object]) -> str:
    return " and ".join(map(str, amounts)) or "nothing"


def _say(text: str, code: int = DONE) -> int:
    sys.stderr.write(text + "\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
