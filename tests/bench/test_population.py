"""The population that benchmarks run on is what the verbs would have left."""

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Connection, NullPool, create_engine, make_url, text

from app.config import Settings
from app.db.transaction import transaction
from app.ids import is_id
from app.ledger.audit import audit
from app.mail.leasing import is_any_due
from app.redemption.expire import expire_due
from app.redemption.refund import refund_payment
from app.redemption.void import void_payment
from bench.population import Population, populate
from tests.db.test_migrated import described
from tests.world import gbp, make_world, reference

CARDS = 300


@pytest.fixture
def admin(own_database: Settings, urls: dict[str, str]) -> Iterator[Connection]:
    """The superuser on an empty database."""
    url = make_url(urls["admin"]).set(database=make_url(own_database.database_url).database)
    with create_engine(url, poolclass=NullPool).connect() as db:
        yield db


def fill(admin: Connection, *, seed: int = 1) -> Population:
    return populate(admin.engine.url.render_as_string(hide_password=False), cards=CARDS, seed=seed, payments=3)


def empty(admin: Connection) -> None:
    """Takes everything out again."""
    kept = """
        SELECT tgrelid::regclass::text, tgname FROM pg_trigger
        WHERE tgfoid = 'refuse_change'::regproc AND tgenabled = 'A'
    """
    triggers = [tuple(row) for row in admin.exec_driver_sql(kept)]
    for table, trigger in triggers:
        admin.exec_driver_sql(f"ALTER TABLE {table} DISABLE TRIGGER {trigger}")
    admin.exec_driver_sql("TRUNCATE issuer, store, account, request, letter, event CASCADE")
    for table, trigger in triggers:
        admin.exec_driver_sql(f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER {trigger}")
    admin.commit()


def test_it_is_consistent_and_at_rest(admin: Connection) -> None:
    """The audit is clean, every constraint and index is back and holds, and there is nothing for a worker to do."""
    before = described(admin, "public")
    admin.rollback()
    filled = fill(admin)
    assert filled.cards == CARDS
    assert {check.name: found for check, count, found in audit(admin) if count} == {}
    assert described(admin, "public") == before
    for table, name, definition in admin.execute(text(FOREIGN_KEYS)).all():
        admin.exec_driver_sql(f'ALTER TABLE {table} DROP CONSTRAINT "{name}", ADD CONSTRAINT "{name}" {definition}')
    admin.rollback()
    assert expire_due() == 0
    assert not is_any_due()


def test_cards_are_in_all_their_states_with_identifiers_as_the_service_draws_them(admin: Connection) -> None:
    filled = fill(admin)
    for table, states in {
        "card": {"active", "spent", "lapsed"},
        "claim_link": {"waiting", "opened", "lapsed"},
        "code": {"live", "bound", "dead"},
        "payment": {"held", "settled", "voided", "expired"},
    }.items():
        assert set(admin.scalars(text(f"SELECT DISTINCT state FROM {table}"))) == states
    assert set(admin.scalars(text("SELECT DISTINCT kind FROM transfer"))) == {"issue", "settle", "refund", "lapse"}
    prefixes = {
        "card": "card",
        "claim_link": "link",
        "code": "code",
        "payment": "pay",
        "transfer": "tra",
        "event": "evt",
    }
    for table, prefix in prefixes.items():
        assert all(is_id(one, prefix) for one in admin.scalars(text(f"SELECT id FROM {table}")))
    assert all(is_id(one, "str") for one in filled.store_ids)


def test_the_same_seed_draws_the_same_cards(admin: Connection) -> None:
    query = text("SELECT right(id, 15), issued_minor, state FROM card ORDER BY 1")
    fill(admin)
    first = list(admin.execute(query))
    admin.commit()
    empty(admin)
    fill(admin)
    assert list(admin.execute(query)) == first


def test_rows_are_as_wide_as_those_of_the_verbs(admin: Connection) -> None:
    world = make_world()
    settled = world.payment().payment
    world.settle(settled.id, 3_000)
    refund_payment(settled.id, gbp(500), store_id=world.bookshop, reference=reference(world.bookshop))
    void_payment(world.payment().payment.id, store_id=world.bookshop, reference=reference(world.bookshop))
    with transaction() as db:
        real = widths(db)
    empty(admin)
    fill(admin)
    made = widths(admin)
    far_off = {table: (made[table], real[table]) for table in real if not 0.7 < made[table] / real[table] < 1.4}
    assert far_off == {}


def widths(db: Connection) -> dict[str, Any]:
    """The average bytes of a row by table."""
    query = "SELECT avg(octet_length(row_.*::text)) FROM {} AS row_"
    return {table: float(db.scalar(text(query.format(table))) or 0) for table in TABLES}


TABLES = (
    *("account", "card", "claim_link", "claim_key", "code", "payment", "settlement", "refund"),
    *("transfer", "event", "letter", "request"),
)
FOREIGN_KEYS = """
SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint
WHERE contype = 'f' AND connamespace = 'public'::regnamespace
"""
