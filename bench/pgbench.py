"""The statements of a settle, run by pgbench on the same server: what PostgreSQL alone can do on this machine."""

import json
import os
import re
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from psycopg import Binary
from psycopg.types.json import Json, Jsonb
from sqlalchemy import event, make_url

from app.db.embedded_install import client_programs
from app.db.engine import engine

CLIENTS, THREADS = 16, 2
#: The number of the payment that a client settles next, and the end of its identifiers.
_NUMBER = ":first + :client_id * :each + :n"
_TAIL = "lpad((:k)::text, 26, '0')"
_NEW_ID = re.compile(r"([a-z]+)_([0-9a-z]{26})")


@contextmanager
def recorded() -> Iterator[list[tuple[str, Sequence[Any]]]]:
    """The statements that this process executes meanwhile, with what they are given."""
    seen: list[tuple[str, Sequence[Any]]] = []

    def see(_db: Any, _cursor: Any, statement: str, given: Any, *_: Any) -> None:
        seen.append((statement, given or ()))

    event.listen(engine(), "before_cursor_execute", see)
    try:
        yield seen
    finally:
        event.remove(engine(), "before_cursor_execute", see)


def script_of(statements: list[tuple[str, Sequence[Any]]], *, tail: str, kept: set[str], key: str) -> str:
    """A pgbench script that does for any held payment what the statements did for the one with this tail.

    `kept`: identifiers that are the same for all. `key`: the request's Idempotency-Key, of which each needs its own.
    """
    script = _Script(tail, kept, key)
    bodies = [script.filled(statement, given) for statement, given in statements]
    return "\n".join(["\\set n :n + 1", f"\\set k {_NUMBER}", "BEGIN;", *bodies, "COMMIT;", ""])


class _Script:
    """Values as SQL: what belongs to the recorded payment is computed from the number of whichever is next."""

    def __init__(self, tail: str, kept: set[str], key: str) -> None:
        self.kept = kept
        self.known = {tail: (_TAIL, ""), key: (_TAIL, "bench-")}

    def filled(self, statement: str, given: Sequence[Any]) -> str:
        """The statement with its values in place, on one line."""
        return (
            " ".join(re.sub(r"\$(\d+)", lambda place: self.literal(given[int(place[1]) - 1]), statement).split()) + ";"
        )

    def literal(self, value: Any) -> str:
        if value is None or isinstance(value, bool | int):
            return "NULL" if value is None else str(value).lower()
        if isinstance(value, Binary):
            return f"'\\x{bytes(value.obj).hex()}'"
        if isinstance(value, Json | Jsonb):
            return self.text(json.dumps(value.obj))
        return self.text(value.isoformat() if isinstance(value, datetime) else str(value))

    def text(self, value: str) -> str:
        """Without a colon, which pgbench would read as the beginning of a variable."""
        for fresh in _NEW_ID.finditer(value):
            if fresh[0] not in self.kept and fresh[2] not in self.known:
                letter = chr(ord("a") + len(self.known))
                self.known[fresh[2]] = (f"substr({_TAIL}, 2)", letter)
        pieces = re.split("(" + "|".join(map(re.escape, self.known)) + ")", value)
        return "(" + " || ".join(self._piece(piece) for piece in pieces) + ")"

    def _piece(self, piece: str) -> str:
        expression, before = self.known.get(piece, ("", piece))
        quoted = before.replace("\\", "\\\\").replace("'", "''").replace(":", "\\x3a")
        return f"E'{quoted}' || {expression}" if expression else f"E'{quoted}'"


def run(url: str, script: Path, *, first: int, each: int) -> float:
    """Settles `each` payments by each client, those after number `first`; returns how many a second."""
    parts = make_url(url)
    command = [
        str((client_programs() or Path()) / "pgbench"),
        *("--no-vacuum", "--protocol=prepared", f"--client={CLIENTS}", f"--jobs={THREADS}", f"--transactions={each}"),
        *(f"--define=first={first}", f"--define=each={each}", "--define=n=0", f"--file={script}"),
        *(f"--host={parts.query['host']}", f"--username={parts.username}", str(parts.database)),
    ]
    environment = {"PATH": os.environ["PATH"], "PGPASSWORD": str(parts.password)}
    told = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if told.returncode or (done := re.search(r"tps = ([\d.]+)", told.stdout)) is None:
        raise RuntimeError(f"pgbench failed:\n{told.stderr[-2000:]}")
    if f"{CLIENTS * each}/{CLIENTS * each}" not in told.stdout:
        raise RuntimeError(f"pgbench did not settle all:\n{told.stdout}")
    return float(done[1])
