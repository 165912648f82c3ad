"""A backup made while the service runs restores to a copy that balances and works; an inconsistent one is caught."""

import subprocess
import threading
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
from click.testing import CliRunner

from app import config
from app.cli import scrip
from app.db import backup
from app.db.client_programs import find_program, running
from app.db.embedded import temporary_postgres
from app.db.engine import engine
from app.db.migrate import is_current, libpq
from app.db.sealed_file import BackupError, read_identities, unseal
from app.errors import Busy, CodeNotAccepted
from app.key_files import make_key_files
from app.oauth.keys import forget_keys
from app.processes import wait_until
from tests.conftest import CHEAP
from tests.db.keeping import Keeper, Place
from tests.secrets_search import found_in
from tests.world import World, make_world

PATIENCE_S = 60


@pytest.fixture
def world(keeper: Keeper) -> World:
    """A world in the database that is backed up, with a card of which 20.00 GBP are left and a letter waits."""
    world = make_world()
    world.settle(world.payment().payment.id, 3_000)
    return world


def use(settings: config.Settings) -> None:
    """Makes another database that of this process."""
    engine().dispose()
    config.use(settings)
    forget_keys()


def test_a_backup_taken_under_writes_balances_and_has_all_that_was_acknowledged_before(
    keeper: Keeper, place: Place, world: World
) -> None:
    acknowledged: list[str] = []
    enough = threading.Event()

    def keep_selling() -> None:
        while not enough.is_set():
            with suppress(Busy):  # a store would try again; nothing was acknowledged
                payment = world.payment().payment
                world.settle(payment.id, 3_000)
                acknowledged.append(payment.id)

    sellers = [threading.Thread(target=keep_selling) for _ in range(3)]
    for seller in sellers:
        seller.start()
    try:
        assert wait_until(lambda: len(acknowledged) >= 20, PATIENCE_S)
        before = set(acknowledged)
        path = keeper.back_up().path
        by_then = len(acknowledged)
        assert wait_until(lambda: len(acknowledged) > by_then, PATIENCE_S), "they sell all the time"
    finally:
        enough.set()
        for seller in sellers:
            seller.join()
    keeper.restore(path, place)
    assert place.findings() == {}
    assert before <= {found for (found,) in place.ask("SELECT id FROM payment WHERE settled_minor = 3000")}


def test_a_copy_is_the_same_database_to_the_letter(keeper: Keeper, place: Place, world: World) -> None:
    """Owners, rights, triggers that always fire, functions that run as their owner; and no balance was moved twice."""
    keeper.restore(keeper.back_up().path, place)
    for query in SAME:
        assert place.ask(query) == keeper.source.ask(query) != [], query
    assert is_current(place.urls["service"])


SAME = [
    "SELECT id, balance_minor FROM account ORDER BY id",
    "SELECT relname, relkind, pg_get_userbyid(relowner), (SELECT array_agg(one::text ORDER BY one::text) FROM unnest("
    "relacl) one) FROM pg_class WHERE relnamespace = 'public'::regnamespace ORDER BY relname",
    "SELECT relname, attname, (SELECT array_agg(one::text ORDER BY one::text) FROM unnest(attacl) one) FROM pg_class"
    " JOIN pg_attribute ON attrelid = pg_class.oid WHERE relnamespace = 'public'::regnamespace ORDER BY 1, 2",
    "SELECT tgrelid::regclass::text, tgname, tgenabled, pg_get_triggerdef(oid) FROM pg_trigger"
    " WHERE NOT tgisinternal ORDER BY 1, 2",
    "SELECT proname, pg_get_userbyid(proowner), prosecdef, proacl::text, proconfig, prosrc FROM pg_proc"
    " WHERE pronamespace = 'public'::regnamespace ORDER BY 1",
    "SELECT conrelid::regclass::text, conname, convalidated, pg_get_constraintdef(oid) FROM pg_constraint"
    " WHERE connamespace = 'public'::regnamespace ORDER BY 1, 2",
    "SELECT nspacl::text FROM pg_namespace WHERE nspname = 'public'",
]


def test_the_copy_takes_codes_and_settles_holds_from_before_but_only_with_its_key_files(
    keeper: Keeper, place: Place, world: World, own_database: config.Settings, tmp_path: Path
) -> None:
    code, held = world.code().code, world.payment().payment
    keeper.restore(keeper.back_up().path, place)
    restored = replace(own_database, database_url=place.urls["service"])

    make_key_files(tmp_path / "others", CHEAP)
    use(replace(restored, keys=config.read_keys(tmp_path / "others")))
    with pytest.raises(CodeNotAccepted):
        world.exchange(code)

    use(restored)
    world.settle(world.exchange(code).payment.id, 2_000)
    world.settle(held.id, 1_000)
    assert place.findings() == {}


def test_nothing_in_the_file_can_be_read(keeper: Keeper, world: World, tmp_path: Path) -> None:
    code, held = world.code().code, world.payment().payment
    planted = {"code": code, "address": "sam@holder.example", "payment": held.id, "store": world.bookshop}
    named = {"programme": "Gift card", "store's name": "Bookshop", "table": "card_key", "columns": "settled_minor"}
    path = keeper.back_up().path
    assert found_in(path.read_bytes(), planted | named) == set()

    opened = tmp_path / "opened"
    with opened.open("wb") as file:
        unseal(path, file, read_identities(keeper.identity))
    seen = {name for name, _ in found_in(_as_sql(opened.read_bytes().partition(b"\n")[2], tmp_path), planted | named)}
    assert seen == {"payment", "store"} | set(named), (
        "for whom it is meant, it is the database, without code or address"
    )


def _as_sql(archive: bytes, folder: Path) -> bytes:
    (folder / "archive").write_bytes(archive)
    program = find_program("pg_restore", least=18, folder=None)
    return subprocess.run([program.path, "-f", "-", folder / "archive"], capture_output=True, check=True).stdout


def test_an_empty_server_gets_roles_and_database_by_the_same_command(keeper: Keeper, world: World) -> None:
    path = keeper.back_up().path
    with temporary_postgres() as empty:
        environment = {
            "DATABASE_ADMIN_URL": empty.admin_url,
            "DATABASE_MIGRATE_URL": empty.url("copy", user="scrip_migrator", password=r"a:b\c d"),
            "DATABASE_URL": empty.url("copy", user="scrip_service", password="s"),
            "DATABASE_READER_URL": empty.url("copy", user="scrip_reader", password="r"),
        }
        arguments = ["restore", str(path), "--identity", str(keeper.identity), "--bootstrap"]
        first = CliRunner().invoke(scrip, arguments, env=environment)
        assert first.exit_code == 0, (first.output, first.exception)
        assert "The books balance.\nBefore a worker or the service runs on this copy" in first.output
        again = CliRunner().invoke(scrip, arguments, env=environment)
        assert isinstance(again.exception, BackupError), "it is not empty any more"
        assert CliRunner().invoke(scrip, ["audit"], env=environment).exit_code == 0


def test_a_copy_of_wrong_books_is_restored_and_called_wrong(keeper: Keeper, place: Place, world: World) -> None:
    with psycopg.connect(libpq(keeper.source.urls["admin"])) as db:
        db.execute("UPDATE account SET balance_minor = balance_minor + 1 WHERE kind = 'card'")
    path = keeper.back_up().path
    names = {"migrator": "DATABASE_MIGRATE_URL", "service": "DATABASE_URL", "reader": "DATABASE_READER_URL"}
    environment = {setting: place.urls[role] for role, setting in names.items()}
    run = CliRunner().invoke(scrip, ["restore", str(path), "--identity", str(keeper.identity)], env=environment)
    assert run.exit_code == 1
    assert "FAIL every card's balance is the sum of its transfers" in run.output
    assert "Start nothing on this copy" in run.output


# ── planted faults: what an inconsistent backup would do ────────────────────────────────────────────────────────────


def test_what_is_written_between_the_counting_and_the_dump_is_not_in_it(
    keeper: Keeper, place: Place, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    _settle_before_the_dump(world, monkeypatch, shared=True)
    keeper.restore(keeper.back_up().path, place)
    assert place.ask("SELECT count(*) FROM settlement") == [(1,)]
    assert keeper.source.ask("SELECT count(*) FROM settlement") == [(2,)]


def test_a_dump_that_does_not_share_the_snapshot_is_caught(
    keeper: Keeper, place: Place, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    _settle_before_the_dump(world, monkeypatch, shared=False)
    path = keeper.back_up().path
    with pytest.raises(BackupError, match=r"rows differs from the backup's in .*event, .*settlement, transfer"):
        keeper.restore(path, place)


def _settle_before_the_dump(world: World, monkeypatch: pytest.MonkeyPatch, *, shared: bool) -> None:
    held, arguments = world.payment().payment, backup._dump_arguments

    def after_a_settlement(snapshot: str) -> list[str]:
        world.settle(held.id, 3_000, final=False)
        return arguments(snapshot) if shared else ["--format=custom"]

    monkeypatch.setattr(backup, "_dump_arguments", after_a_settlement)


@pytest.mark.parametrize("sells", [True, False], ids=["while a store sells", "at rest"])
def test_a_backup_made_table_by_table_while_a_store_sells_does_not_pass_the_audit(
    keeper: Keeper, place: Place, world: World, sells: bool
) -> None:
    """One table in a transaction of its own, and a settlement before the rest; at rest the same way is right."""
    held = world.payment().payment
    parts = [_dumped(keeper, "--section=pre-data"), _dumped(keeper, "--data-only", "--table=account")]
    if sells:
        world.settle(held.id, 3_000, final=False)
    parts += [_dumped(keeper, "--data-only", "--exclude-table=account"), _dumped(keeper, "--section=post-data")]
    for part in parts:
        _pour(part, place)
    broken = {"every card's balance is the sum of its transfers"}
    assert broken <= set(place.findings()) if sells else place.findings() == {}


def _dumped(keeper: Keeper, *arguments: str) -> bytes:
    program = find_program("pg_dump", least=18, folder=None)
    with running(program, keeper.source.urls["migrator"], "--format=custom", *arguments) as dump:
        archive, _ = dump.process.communicate()
        dump.finish()
    return archive


def _pour(archive: bytes, place: Place) -> None:
    program = find_program("pg_restore", least=18, folder=None)
    with running(program, place.urls["migrator"], "--exit-on-error", feeds=True) as pouring:
        pouring.process.communicate(archive)
        pouring.finish()
