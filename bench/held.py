"""Held payments by the thousand for one store, to be settled by the service and by pgbench."""

import re
from pathlib import Path

from psycopg import connect
from sqlalchemy import make_url

SQL = Path(__file__).with_suffix(".sql")
SESSION = "-c session_replication_role=replica -c synchronous_commit=off"
#: These fire in replica mode too; but the accounts here have their balances already.
TRIGGERS = (("transfer", "transfer_moves_balances"), ("account", "account_starts_at_nothing"))


def tail_of(number: int) -> str:
    """What follows the prefix in the identifiers of a held payment and of its card."""
    return f"{number:026}"


def add_held_payments(admin_url: str, *, first: int, last: int, names: dict[str, str]) -> None:
    """Adds the held payments with these numbers, of 50.00 each. `names`: what the words in held.sql stand for."""
    words = {name: f"'{value}'" for name, value in names.items()} | {"FIRST": str(first), "LAST": str(last)}
    statements = re.sub(r"\b(" + "|".join(words) + r")\b", lambda word: words[word[0]], SQL.read_text())
    url = make_url(admin_url).set(drivername="postgresql").render_as_string(hide_password=False)
    with connect(url, autocommit=True, options=SESSION) as db:
        for table, trigger in TRIGGERS:
            db.execute(f"ALTER TABLE {table} DISABLE TRIGGER {trigger}".encode())
        db.execute(statements.encode())
        for table, trigger in TRIGGERS:
            db.execute(f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER {trigger}".encode())
        db.execute("ANALYZE")
