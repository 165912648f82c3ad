"""The `scrip` command: what operators run."""

import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import click

from app.cli_billing import OF_BILLS, bring_bill
from app.cli_breaks import breaks
from app.cli_guard import alarms, limits
from app.cli_matching import bills, tolerance
from app.cli_parties import client, issuer, store, wired
from app.cli_paying import adjust, approve_bill, fund, months, payables, payouts, runs
from app.cli_reports import funds, report
from app.config import read_argon2
from app.db.migrate import bootstrap as make_roles
from app.db.migrate import is_current, upgrade
from app.db.sealed_file import BackupError
from app.environment import UnsafeSettings
from app.errors import Busy, Refusal
from app.operators import operator
from app.web.context import Acting, acting


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs a command; what an operator can mend is one line on standard error and exit status 1."""
    acting.set(Acting(operator()))
    try:
        scrip(arguments, prog_name="scrip", standalone_mode=True)
    except Busy as busy:
        click.echo(f"scrip: {_why(busy)}", err=True)
        sys.exit(1)
    except (UnsafeSettings, Refusal, ValueError, DatabaseAway, BackupError) as error:
        click.echo(f"scrip: {error}", err=True)
        sys.exit(1)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def scrip() -> None:
    """Issues gift cards and lets other people's stores take them. Settings come from the environment: see the docs."""


@scrip.command()
@click.option("--bootstrap", is_flag=True, help="Make roles and database first, as DATABASE_ADMIN_URL.")
def migrate(bootstrap: bool) -> None:
    """Bring the database to this release's schema."""
    url = _env("DATABASE_MIGRATE_URL")
    if bootstrap:
        _make_roles(url)
    upgrade(url)
    click.echo("The schema is up to date.")


@scrip.command()
@wired
def worker() -> None:
    """Send letters, end what is past its time, and watch for what is unusual, until stopped."""
    from app.factory import worker_tasks
    from app.jobs.worker import run

    acting.set(Acting("worker"))
    run(worker_tasks())


@scrip.command()
@wired
def metrics() -> None:
    """Serve /metrics to Prometheus: what service and worker count, and what waits in the database; until stopped."""
    from app.config import settings
    from app.factory import read_gauges
    from app.web.metrics_server import serve

    folder = settings().metrics_dir
    if folder is None:
        raise UnsafeSettings("PROMETHEUS_MULTIPROC_DIR is not set: the folder in which service and worker count")
    serve(folder, os.environ.get("METRICS_BIND") or "127.0.0.1:9464", read_gauges)


@scrip.command()
def audit() -> None:
    """Recompute the books and every card's key from the transfers; exit 1 on any difference."""
    sys.exit(1 if _differences() else 0)


@scrip.command()
@click.argument("target", type=click.Path(path_type=Path))
@click.option("--recipient", "recipients", multiple=True, help="Who may restore: age1…; again for each.")
def backup(target: Path, recipients: tuple[str, ...]) -> None:
    """Write the whole database, as of this moment and encrypted, to a new file, or to a folder. Without the key files.

    The service may run meanwhile. Recipients are those of BACKUP_RECIPIENTS where none is named.
    """
    from app.db.backup import WITHOUT_KEYS, back_up

    url, keys = _env("DATABASE_MIGRATE_URL"), recipients or (os.environ.get("BACKUP_RECIPIENTS") or "").split()
    with _ending_in_order(), _connected():
        made = back_up(url, target, keys, programs=os.environ.get("POSTGRES_BIN"), say=_say)
    rows = made.manifest.rows
    click.echo(f"{made.path}: {made.size / 1e6:.1f} MB in {made.took_s:.1f} s, as of {made.manifest.taken_at}")
    click.echo(f"{rows['card']} cards, {rows['transfer']} transfers, {sum(rows.values())} rows in {len(rows)} tables.")
    click.echo(WITHOUT_KEYS)


@scrip.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--identity", type=click.Path(path_type=Path), required=True, help="The file of the private key.")
@click.option("--bootstrap", is_flag=True, help="Make roles and database first, as DATABASE_ADMIN_URL.")
def restore(file: Path, identity: Path, bootstrap: bool) -> None:
    """Bring a backup back, whole or not at all, into an empty database, and audit it; exit 1 on any difference."""
    from app.db.restore import BEFORE_ANYTHING_RUNS, restore

    url, _ = _env("DATABASE_MIGRATE_URL"), _env("DATABASE_URL")

    def prepare() -> None:
        if bootstrap:
            _make_roles(url)

    with _ending_in_order(), _connected():
        rows = restore(url, file, identity, programs=os.environ.get("POSTGRES_BIN"), say=_say, prepare=prepare).rows
        click.echo(f"Restored {rows['card']} cards, {rows['transfer']} transfers, {sum(rows.values())} rows.")
        current = is_current(_env("DATABASE_URL"))
    wrong = _differences()
    click.echo("Start nothing on this copy: its books are wrong." if wrong else BEFORE_ANYTHING_RUNS)
    if not current:
        click.echo("The backup is of an older schema: run `scrip migrate`, then `scrip audit`.")
    sys.exit(1 if wrong else 0)


@scrip.command(context_settings={"ignore_unknown_options": True}, add_help_option=False)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def demo(arguments: tuple[str, ...]) -> None:
    """Start everything on this machine, with a card to try."""
    from app.demo.command import main as run_demo

    sys.exit(run_demo(arguments))


for command in (approve_bill, *OF_BILLS):
    bills.add_command(command)
PARTIES = (issuer, store, client)
BILLING = (bring_bill, bills, breaks, tolerance, payables, runs, payouts, fund, adjust, months, report, funds)
for group in (*PARTIES, *BILLING, limits, alarms):
    scrip.add_command(group)


@scrip.group()
def keys() -> None:
    """Secret keys outside the database."""


@keys.command("init")
def init_keys() -> None:
    """Make the key files that are missing in KEYS_DIR. Keep them apart from the database's backups."""
    from app.key_files import make_key_files

    for path in make_key_files(Path(_env("KEYS_DIR")), read_argon2(os.environ)):
        click.echo(f"made {path}")


@keys.command("identity")
@click.argument("file", type=click.Path(path_type=Path))
def make_identity(file: Path) -> None:
    """Draw the private key that backups are restored with; prints its recipient, the public key to make them for."""
    from app.db.sealed_file import make_identity

    click.echo(make_identity(file))


@keys.command("rotate-pepper")
@click.option("--retire", is_flag=True, help="Kill the codes of older epochs at once; their holders get new links.")
@wired
def rotate_pepper(retire: bool) -> None:
    """Begin a new pepper epoch for codes that are drawn from now on."""
    from app.redemption.pepper import retire_old_epochs, start_epoch

    if retire:
        click.echo(f"{retire_old_epochs()} codes retired; their holders get new links.")
    else:
        click.echo(f"Pepper epoch {start_epoch()} begins. The one before drains as its codes are used or lapse.")


@keys.command("rotate-signing")
@click.option("--compromised", is_flag=True, help="Retire every key at once; tokens they signed are refused.")
@wired
def rotate_signing(compromised: bool) -> None:
    """Let the next signing keys sign, and publish the ones after them."""
    from app.oauth.keys import rotate_signing

    for rotation in rotate_signing(compromised=compromised):
        click.echo(str(rotation))


class DatabaseAway(Exception):
    """The database cannot be reached, or does not let this role in."""


def _why(busy: Busy) -> str:
    """What an operator can mend: a caller of the API is told no more than that it should try again."""
    said = getattr(busy.__cause__, "orig", None)
    if said is not None:
        return f"the database cannot be used: {str(said).strip().splitlines()[0]}"
    return "the database is busy: try again shortly"


@contextmanager
def _connected() -> Iterator[None]:
    from psycopg import OperationalError as Unreachable
    from sqlalchemy.exc import OperationalError

    try:
        yield
    except (OperationalError, Unreachable) as error:
        said = error.orig if isinstance(error, OperationalError) else error
        raise DatabaseAway(f"the database cannot be reached: {str(said).splitlines()[0]}") from None


def _make_roles(migrate_url: str) -> None:
    reader = os.environ.get("DATABASE_READER_URL")
    make_roles(_env("DATABASE_ADMIN_URL"), migrate_url=migrate_url, service_url=_env("DATABASE_URL"), reader_url=reader)


def _differences() -> int:
    """Audits, and prints what was checked and what is wrong."""
    from sqlalchemy import NullPool, create_engine

    from app.ledger.audit import NAMED, audit_in_sessions

    url = os.environ.get("DATABASE_READER_URL") or _env("DATABASE_URL")
    wrong = 0
    with _connected():
        for check, count, findings in audit_in_sessions(create_engine(url, poolclass=NullPool)):
            click.echo(f"{'ok  ' if not count else 'FAIL'} {check.name}")
            for finding in findings:
                click.echo(f"       {finding.subject}: {finding.wrong}")
            if count > NAMED:
                click.echo(f"       and {count - NAMED} more")
            wrong += count
    click.echo(f"{wrong} differences." if wrong else "The books balance.")
    return wrong


@contextmanager
def _ending_in_order() -> Iterator[None]:
    """Asked to end, a command lets go of what it has begun."""
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _say(text: str) -> None:
    click.echo(text, err=True)


def _env(name: str) -> str:
    if value := os.environ.get(name):
        return value
    raise UnsafeSettings(f"{name} is not set: docs/operating.md says what it is for")


if __name__ == "__main__":
    main()
