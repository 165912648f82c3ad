"""A year of bills with breaks of every kind planted in it: each is found, nothing else is, and the sums are exact.

The long form: `.venv/bin/python -m bench.billing --year`, with 200,000 cards, a million payments, 40 stores.
"""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from psycopg import Connection
from sqlalchemy import make_url, text

from app import clock, config
from app.billing import match, taking_up
from app.billing.match import match_bill
from app.billing.rules import KINDS
from app.db.embedded import EmbeddedPostgres
from app.db.transaction import transaction
from bench.server import connected
from bench.year import Year, bills_of, differences, fill_year, matched_sums, planted


@pytest.fixture
def db(own_database: config.Settings, server: EmbeddedPostgres) -> Iterator[Connection[Any]]:
    url = make_url(server.admin_url).set(database=make_url(own_database.database_url).database)
    admin_url = url.render_as_string(hide_password=False)
    fill_year(admin_url, Year(cards=600, stores=3, months=6, seed=7))
    with connected(admin_url) as db:
        yield db


@pytest.mark.parametrize("many_lines", [0, 10**9])
def test_each_planted_break_is_found_and_nothing_else_is(
    db: Connection[Any], monkeypatch: pytest.MonkeyPatch, many_lines: int
) -> None:
    monkeypatch.setattr("app.billing.match.MANY_LINES", many_lines)
    assert set(planted(db)) == {"matched", *KINDS}
    assert differences(db) != []
    for bill_id in bills_of(db):
        assert match_bill(bill_id)
    assert differences(db) == []
    planned, came = matched_sums(db)
    assert planned == came > 0


def test_what_is_billed_is_looked_up_by_its_key_whatever_statistics_say(db: Connection[Any]) -> None:
    """A matching that was cut off leaves a table that is cleared, and counts as one row: to match again took hours."""
    *before, last = bills_of(db)
    for bill_id in before:
        match_bill(bill_id)
    for name in ("billed", "billed_pkey", "billed_by_bill"):
        cleared = "'schemaname', 'public', 'relname', %s::text, 'relpages', 9999, 'reltuples', 0::real"
        db.execute(f"SELECT pg_restore_relation_stats({cleared})".encode(), (name,))
    with transaction() as session:
        bill = session.execute(match._LOCK, {"bill_id": last}).one()
        values = {**bill._mapping, "now": clock.now(session), "id_begins": "brk_", "line_no": 1, "payment_id": "pay_"}
        for settings, statement in (
            (match.ONE_BY_ONE, match._DECIDE_REST),
            (match.AS_PLANNED, match._TAKE_CREDITS),
            (match.AS_PLANNED, taking_up._FACTS),
            (match.AS_PLANNED, taking_up._TAKE_UP),
        ):
            session.exec_driver_sql(settings)
            plan = "\n".join(session.scalars(text(f"EXPLAIN {statement.text}"), values))
            scans = re.findall(r"Scan.* on billed\b.*\n *(\S+ Cond)?", plan)
            assert scans and all(scans), plan
