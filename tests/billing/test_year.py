"""A year of bills with breaks of every kind planted in it: each is found, nothing else is, and the sums are exact.

The long form: `.venv/bin/python -m bench.billing --year`, with 200,000 cards, a million payments, 40 stores.
"""

from collections.abc import Iterator
from typing import Any

import pytest
from psycopg import Connection
from sqlalchemy import make_url, text

from app import clock, config
from app.billing import match
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


def test_no_line_of_a_bill_has_all_that_it_takes_up_read_for_it(db: Connection[Any]) -> None:
    """Statistics know other bills, and nothing of one that is being matched: they took a million rows of it for one."""
    *before, last = bills_of(db)
    for bill_id in before:
        match_bill(bill_id)
    db.execute("ANALYZE")
    with transaction() as session:
        bill = session.execute(match._LOCK, {"bill_id": last}).one()
        session.exec_driver_sql(match.ONE_BY_ONE)
        values = {**bill._mapping, "now": clock.now(session), "id_begins": "brk_"}
        plan = "\n".join(session.scalars(text(f"EXPLAIN {match._DECIDE_REST.text}"), values))
    assert "SubPlan" not in plan
