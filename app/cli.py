"""The `scrip` command: what operators run."""

import getpass
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

import click

from app.config import Settings, UnsafeSettings, read_argon2
from app.db.migrate import bootstrap as make_roles
from app.db.migrate import is_current, upgrade
from app.db.sealed_file import BackupError
from app.errors import Busy, Refusal
from app.web.context import Acting, acting

MODE = click.Choice(["live", "test"])


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs a command; what an operator can mend is one line on standard error and exit status 1."""
    acting.set(Acting(f"operator:{getpass.getuser()}"))
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


def wired(command: Callable[..., None]) -> Callable[..., None]:
    """A command that needs the settings and the database."""
    from functools import wraps

    @wraps(command)
    def run(*args: Any, **kwargs: Any) -> None:
        from app.factory import wire

        wire(Settings.from_env())
        command(*args, **kwargs)

    return run


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
    """Send letters and end what is past its time, until stopped."""
    from app.factory import worker_tasks
    from app.jobs.worker import run

    acting.set(Acting("worker"))
    run(worker_tasks())


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


@scrip.group()
def issuer() -> None:
    """Who funds cards."""


@issuer.command("add")
@click.argument("name")
@click.option("--mode", type=MODE, required=True)
@wired
def add_issuer(name: str, mode: str) -> None:
    """Add an issuer; prints its ID."""
    from app.issuance.issuer import add_issuer

    click.echo(add_issuer(name, mode=mode).id)


@issuer.command("list")
@wired
def list_issuers() -> None:
    """List issuers."""
    from app.issuance.issuer import list_issuers

    for found in list_issuers():
        click.echo(f"{found.id}  {found.mode}  {found.name}")


@scrip.group()
def store() -> None:
    """Who takes cards."""


@store.command("add")
@click.argument("name")
@click.option("--mode", type=MODE, required=True)
@wired
def add_store(name: str, mode: str) -> None:
    """Add a store; prints its ID."""
    from app.redemption.store import add_store

    click.echo(add_store(name, mode=mode).id)


@store.command("list")
@wired
def list_stores() -> None:
    """List stores."""
    from app.redemption.store import list_stores

    for found in list_stores():
        click.echo(f"{found.id}  {found.mode}  {found.name}")


@store.command("origins")
@click.argument("store_id", metavar="STORE")
@click.argument("origins", nargs=-1, metavar="[ORIGIN]...")
@wired
def set_store_origins(store_id: str, origins: tuple[str, ...]) -> None:
    """Let pages of these origins show the store's field for codes, in place of all before; none without any."""
    from app.redemption.store import set_origins

    click.echo("\n".join(set_origins(store_id, origins)) or "No page may show the field.")


@scrip.group()
def client() -> None:
    """The machines of issuers and stores."""


@client.command("add")
@click.argument("name")
@click.option("--issuer", "issuer_id", help="The issuer that it acts for.")
@click.option("--store", "store_id", help="The store that it acts for.")
@click.option("--mode", type=MODE, required=True)
@click.option("--scope", "scopes", multiple=True, help="Again for each scope; all of its party's without any.")
@click.option("--jwks", type=click.File(), help="A JWK Set of its public keys: it signs who it is, and has no secret.")
@wired
def add_client(
    name: str,
    issuer_id: str | None,
    store_id: str | None,
    mode: str,
    scopes: tuple[str, ...],
    jwks: TextIO | None,
) -> None:
    """Add a client; prints its ID and its secret, this once."""
    from app.oauth.clients import add_client, add_keyed_client
    from app.oauth.scopes import PARTY_SCOPES

    chosen = scopes or PARTY_SCOPES["issuer" if issuer_id else "store"]
    asked: dict[str, Any] = {"name": name, "mode": mode, "issuer_id": issuer_id, "store_id": store_id, "scopes": chosen}
    if jwks is not None:
        click.echo(f"client_id      {add_keyed_client(**asked, jwks=_json_of(jwks))}")
    else:
        made = add_client(**asked)
        click.echo(f"client_id      {made.client_id}\nclient_secret  {made.client_secret}")


@client.command("list")
@wired
def list_clients() -> None:
    """List clients, without their secrets."""
    from app.oauth.clients import list_clients

    for found in list_clients():
        state = "disabled" if found.disabled_at else "enabled"
        scopes = " ".join(sorted(found.scopes))
        click.echo(f"{found.client_id}  {found.party_id}  {state}  {found.auth_method}  {scopes}  {found.name}")


@client.command("rotate")
@click.argument("client_id")
@click.option(
    "--jwks", type=click.File(), help="The public keys of a client that signs who it is, in place of all it had."
)
@wired
def rotate_client(client_id: str, jwks: TextIO | None) -> None:
    """Give a client another secret, or other keys; the secret before lives on until the next rotation."""
    from app.oauth.clients import replace_keys, rotate_secret

    if jwks is None:
        click.echo(f"client_secret  {rotate_secret(client_id).client_secret}")
    else:
        click.echo("\n".join(f"kid  {kid}" for kid in replace_keys(client_id, _json_of(jwks))))


@client.command("disable")
@click.argument("client_id")
@wired
def disable_client(client_id: str) -> None:
    """Refuse a client from now on, and within a second the access tokens that it has."""
    from app.oauth.clients import disable_client

    disable_client(client_id)
    click.echo("Disabled.")


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


def _json_of(file: TextIO) -> object:
    try:
        found: object = json.load(file)
    except ValueError:
        raise click.BadParameter("this is not JSON", param_hint="--jwks") from None
    return found


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
