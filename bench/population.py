"""A large population of cards in all their states, as the verbs would have left them, filled in by set-based SQL."""

import re
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from psycopg import Connection

from bench.server import connected, filling

SQL = Path(__file__).with_suffix(".sql")
#: Where the plan ends and the service's tables begin, each under a line that names it.
TABLES = "-- ── the tables"
#: What makes and drops each index that is not a constraint's: made afterwards it costs less, and checks uniqueness.
INDEXES = """
SELECT indexdef, 'DROP INDEX ' || indexname FROM pg_indexes
WHERE schemaname = 'public' AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = indexname::regclass)
"""


@dataclass(frozen=True, slots=True)
class Population:
    """What was filled in: how many rows, whose they are, and how long it took."""

    seed: int
    cards: int
    payments: int
    transfers: int
    issuer_ids: tuple[str, ...]
    programme_ids: tuple[str, ...]
    store_ids: tuple[str, ...]
    took_s: float


def populate(admin_url: str, *, cards: int, seed: int, payments: int = 1) -> Population:
    """Fills an empty, migrated database, named by a superuser's URL, with cards as the verbs would have left them.

    A card has had up to `payments` earlier payments, evenly, and waits, is claimed, held, settled in part, voided,
    spent, refunded, lapsed or expired; with 6 there are some four transfers a card, with 1 some two. Nothing is due and
    no letter is queued, so that a worker finds nothing to do. The same seed draws the same cards, at times that count
    from now. Sealed and hashed columns hold bytes of the right length, which nothing opens.
    """
    began = time.monotonic()
    plan, tables = _statements(cards, seed, payments)
    with filling(admin_url) as db:
        made, dropped = zip(*db.execute(INDEXES).fetchall(), strict=True)
        _run(db, *dropped, plan)
        _at_once(admin_url, tables)
        _at_once(admin_url, made)
    with connected(admin_url) as db:
        _run(db, "SET client_min_messages = warning", "DROP SCHEMA population CASCADE", "VACUUM (ANALYZE)")
        (cards, payments, transfers), (issuers, programmes, stores) = _counted(db), _parties(db)
    took_s = time.monotonic() - began
    return Population(seed, cards, payments, transfers, issuers, programmes, stores, took_s)


def _statements(cards: int, seed: int, payments: int) -> tuple[str, list[str]]:
    """The plan, and what fills each table."""
    numbers = {"CARDS": cards, "SEED": seed, "PAYMENTS": payments}
    _comment, _, text = SQL.read_text().partition("\n\n")
    plan, _, tables = re.sub("CARDS|SEED|PAYMENTS", lambda name: str(numbers[name[0]]), text).partition(TABLES)
    return plan, re.split(r"^-- \w+$", tables, flags=re.MULTILINE)[1:]


def _at_once(admin_url: str, statements: Sequence[str]) -> None:
    """On two cores: no table is filled from another, but for a link's keys, which stand with the links."""

    def run(statement: str) -> None:
        with connected(admin_url) as db:
            _run(db, statement)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(run, statements))


def _run(db: Connection[Any], *statements: str) -> None:
    for statement in statements:
        db.execute(statement.encode())


def _counted(db: Connection[Any]) -> list[int]:
    """How many cards, payments and transfers."""
    query = "SELECT (SELECT count(*) FROM card), (SELECT count(*) FROM payment), (SELECT count(*) FROM transfer)"
    return list(db.execute(query).fetchone() or ())


def _parties(db: Connection[Any]) -> list[tuple[str, ...]]:
    """The IDs of issuers, of their programmes in the same order, and of stores."""
    queries = (
        "SELECT id FROM issuer ORDER BY id",
        "SELECT id FROM programme ORDER BY issuer_id",
        "SELECT id FROM store ORDER BY id",
    )
    return [tuple(row[0] for row in db.execute(query)) for query in queries]
