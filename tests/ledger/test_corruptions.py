"""Whatever a superuser's hand changes in a row of the books or keys, the audit finds and names.

The long form is `CORRUPTIONS=1000 ./run test tests/ledger/test_corruptions.py`; with the CORRUPTION_SEED that a failure
names, it is the same again.
"""

import os
import random
import secrets
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from sqlalchemy import Connection, NullPool, create_engine, make_url

from app.db.embedded import EmbeddedPostgres
from app.ledger import audit as auditing
from app.ledger.audit import CHECKS, NAMED, audit
from bench.population import populate
from tests.ledger.corruptions import CORRUPTIONS, EQUATIONS, GUARDS, Corruption, corrupt, take_constraints_away

HOW_MANY = int(os.environ.get("CORRUPTIONS", "150"))
SEED = int(os.environ.get("CORRUPTION_SEED", secrets.randbits(31)))
#: Enough for every kind to find its row; the population is the same each time, what happens to it is not.
CARDS = max(240, HOW_MANY)
#: Bills, payouts and entries on top of it.
PAID = Path(__file__).with_name("paid.sql")


@pytest.fixture(scope="module")
def db(urls: dict[str, str], server: EmbeddedPostgres) -> Iterator[Connection]:
    """A superuser's connection to cards in all their states, with nothing left that refuses a change."""
    name = f"scrip_{secrets.token_hex(4)}"
    admin = create_engine(server.admin_url, isolation_level="AUTOCOMMIT", poolclass=NullPool)
    with admin.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name} TEMPLATE scrip_template")
        url = make_url(server.admin_url).set(database=name)
        populate(url.render_as_string(hide_password=False), cards=CARDS, seed=1, payments=3)
        with create_engine(url, poolclass=NullPool).connect() as db:
            db.exec_driver_sql(PAID.read_text().replace("%", "%%"))
            take_constraints_away(db)
            yield db
        connection.exec_driver_sql(f"DROP DATABASE {name} WITH (FORCE)")


def test_the_population_is_clean(db: Connection) -> None:
    assert {check.name: found for check, count, found in audit(db) if count} == {}


@pytest.mark.slow
def test_every_corruption_is_found_and_named(db: Connection, capsys: pytest.CaptureFixture[str]) -> None:
    """Each kind once, then kinds and rows at random."""
    draw = random.Random(SEED)
    more = draw.choices(CORRUPTIONS, k=max(0, HOW_MANY - len(CORRUPTIONS)))
    unnamed = []
    for place, corruption in enumerate([*CORRUPTIONS, *more]):
        noticed = corrupt(db, corruption, draw.getrandbits(30))
        if not noticed.is_named:
            unnamed.append((corruption.name, noticed))
        if place % 100 == 99 and HOW_MANY > 200:
            with capsys.disabled():
                click.echo(f"{place + 1} corruptions, {len(unnamed)} not named")
    assert unnamed == [], f"CORRUPTION_SEED={SEED}"


SOLE = {corruption.sole: corruption for corruption in CORRUPTIONS if corruption.sole}


def test_every_check_is_the_only_one_to_notice_something() -> None:
    """But for the equations, which follow from the others."""
    named = {next(check.name for check in CHECKS if check.name.startswith(sole)) for sole in SOLE}
    assert named == {check.name for check in CHECKS} - EQUATIONS


@pytest.mark.slow
@pytest.mark.parametrize("corruption", SOLE.values(), ids=lambda corruption: str(corruption.name))
def test_an_audit_without_that_check_misses_it(
    db: Connection, monkeypatch: pytest.MonkeyPatch, corruption: Corruption
) -> None:
    assert corruption.sole is not None
    without = tuple(check for check in CHECKS if not check.name.startswith(corruption.sole))
    assert len(without) == len(CHECKS) - 1
    monkeypatch.setattr(auditing, "CHECKS", without)
    assert set(corrupt(db, corruption, SEED).subjects) <= EQUATIONS


def test_a_million_findings_are_no_more_to_carry_than_twenty(db: Connection) -> None:
    with db.begin_nested() as undone:
        db.exec_driver_sql("SET LOCAL session_replication_role = replica")
        changed = db.exec_driver_sql(
            "UPDATE account SET balance_minor = balance_minor + 1 WHERE kind = 'card'"
        ).rowcount
        found = {check.name: (count, len(named)) for check, count, named in audit(db)}
        undone.rollback()
    assert found["every card's balance is the sum of its transfers"] == (changed, NAMED)


def test_the_guards_are_looked_at_too(db: Connection) -> None:
    assert {corruption.sole for corruption in GUARDS} == {"the guards"}
