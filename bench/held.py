"""Held payments by the thousand for one store, to be settled by the service and by pgbench."""

import re
from pathlib import Path

from bench.server import filling

SQL = Path(__file__).with_suffix(".sql")


def tail_of(number: int) -> str:
    """What follows the prefix in the identifiers of a held payment and of its card."""
    return f"{number:026}"


def add_held_payments(admin_url: str, *, first: int, last: int, names: dict[str, str]) -> None:
    """Adds the held payments with these numbers, of 50.00 each. `names`: what the words in held.sql stand for."""
    words = {name: f"'{value}'" for name, value in names.items()} | {"FIRST": str(first), "LAST": str(last)}
    statements = re.sub(r"\b(" + "|".join(words) + r")\b", lambda word: words[word[0]], SQL.read_text())
    with filling(admin_url) as db:
        db.execute(statements.encode())
        db.execute("ANALYZE")
