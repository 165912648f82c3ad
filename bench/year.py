"""A generated year of bills, with breaks of every kind planted in it: what must come of it, and what came."""

# ruff: noqa: E501, S608  queries are read as tables, and made of constants only

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from psycopg import Connection

from bench.server import connected, filling

SQL = Path(__file__).with_suffix(".sql")

#: What a line must have become, and what it did, as rows that are compared both ways.
PLANNED = """
    SELECT year.id('bill', m * 1000 + s) AS bill_id, line_no, outcome, year.id('bill', other_m * 1000 + s) AS other_bill_id,
        expected_minor, taken_minor, CASE WHEN outcome <> 'matched' AND taken_minor <> 0 THEN paid_minor END AS paid_minor
    FROM year.line
    UNION ALL SELECT year.id('bill', m * 1000 + s), NULL, movement_id, NULL, NULL, -amount_minor, NULL FROM year.credit
"""
CAME = """
    SELECT l.bill_id, l.line_no, coalesce(k.kind, 'matched') AS outcome, k.other_bill_id, k.expected_minor,
        coalesce(t.taken_minor, 0)::bigint AS taken_minor, k.paid_minor
    FROM bill_line AS l
    LEFT JOIN bill_break AS k ON (k.bill_id, k.line_no) = (l.bill_id, l.line_no)
    LEFT JOIN (SELECT bill_id, line_no, sum(amount_minor) AS taken_minor FROM billed GROUP BY bill_id, line_no) AS t
        ON (t.bill_id, t.line_no) = (l.bill_id, l.line_no)
    UNION ALL SELECT bill_id, NULL, movement_id, NULL, NULL, amount_minor, NULL FROM billed WHERE line_no IS NULL
"""
DIFFERENT = f"""
    SELECT 'planned', a.* FROM (({PLANNED}) EXCEPT ALL ({CAME})) AS a
    UNION ALL SELECT 'came', b.* FROM (({CAME}) EXCEPT ALL ({PLANNED})) AS b
    ORDER BY 2, 3, 1 LIMIT 20
"""
SUMS = """
    SELECT coalesce((SELECT sum(taken_minor) FROM year.line WHERE outcome = 'matched'), 0)::bigint,
        coalesce((SELECT sum(amount_minor) FROM billed AS b WHERE line_no IS NOT NULL AND NOT EXISTS (
            SELECT FROM bill_break AS k WHERE (k.bill_id, k.line_no) = (b.bill_id, b.line_no)
        )), 0)::bigint
"""


@dataclass(frozen=True, slots=True)
class Year:
    """How large it is. A store bills each month; a card is used `each` times in all."""

    cards: int
    stores: int
    months: int = 12
    each: int = 5
    seed: int = 1


def fill_year(admin_url: str, year: Year) -> None:
    """Fills an empty, migrated database, named by a superuser's URL, with a year up to its bills, which are read."""
    numbers = {"CARDS": year.cards, "STORES": year.stores, "MONTHS": year.months, "EACH": year.each, "SEED": year.seed}
    _comment, _, text = SQL.read_text().partition("\n\n")
    statements = re.sub("|".join(rf"\b{name}\b" for name in numbers), lambda name: str(numbers[name[0]]), text)
    with filling(admin_url) as db:
        db.execute(statements.encode())
    with connected(admin_url) as db:
        db.execute("VACUUM (ANALYZE) payment, settlement, refund, card, account, transfer")


def bills_of(db: Connection[Any]) -> list[str]:
    """The bills that are to be matched, month by month."""
    return [row[0] for row in db.execute("SELECT id FROM bill WHERE state = 'read' ORDER BY id")]


def differences(db: Connection[Any]) -> list[Any]:
    """Lines and credits that did not become what was planned, the first of them, both ways."""
    return db.execute(DIFFERENT.encode()).fetchall()


def planted(db: Connection[Any]) -> dict[str, int]:
    """How many lines of each outcome there are in the plan."""
    return dict(db.execute("SELECT outcome, count(*) FROM year.line GROUP BY outcome").fetchall())


def matched_sums(db: Connection[Any]) -> tuple[int, int]:
    """What all lines that must match come to, and what those that did took up, in minor units."""
    planned, came = db.execute(SUMS.encode()).fetchone() or (0, 0)
    return planned, came
