"""The outbox as a file of its own, for stores without a database that it could live in."""
# ruff: noqa: S608 – what is put together here are names of columns; values are bound

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import astuple, fields
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from scrip_sdk.money import Money
from scrip_sdk.outbox import LEASE_S, Counts, Instruction, InstructionDiffers, State

#: So long one process waits for another that writes.
BUSY_S = 5.0

_SCHEMA = """
CREATE TABLE IF NOT EXISTS instruction (
    number          INTEGER PRIMARY KEY AUTOINCREMENT,
    verb            TEXT NOT NULL CHECK (verb IN ('settle', 'void', 'refund')),
    payment_id      TEXT NOT NULL,
    order_reference TEXT NOT NULL,
    amount_minor    INTEGER CHECK (amount_minor > 0),
    currency        TEXT,
    final           INTEGER NOT NULL,
    key             TEXT NOT NULL UNIQUE,
    id              TEXT NOT NULL UNIQUE,
    created_at      TEXT NOT NULL,
    due_at          TEXT NOT NULL,
    reason          TEXT,
    tries           INTEGER NOT NULL,
    state           TEXT NOT NULL CHECK (state IN ('pending', 'done', 'dead')),
    last_error      TEXT,
    ended_at        TEXT,
    answer_id       TEXT,
    lease_until     TEXT
);
CREATE INDEX IF NOT EXISTS instruction_due ON instruction (due_at) WHERE state = 'pending';
CREATE INDEX IF NOT EXISTS instruction_payment ON instruction (payment_id);
"""
_COLUMNS = (
    "verb, payment_id, order_reference, amount_minor, currency, final, key, id, created_at, due_at, reason, tries, "
    "state, last_error, ended_at, answer_id"
)
_CLAIM = f"""
UPDATE instruction SET tries = tries + 1, lease_until = :lease_until WHERE number IN (
    SELECT number FROM instruction AS one
    WHERE state = 'pending' AND due_at <= :now AND (lease_until IS NULL OR lease_until <= :now) AND NOT EXISTS (
        SELECT 1 FROM instruction AS earlier
        WHERE earlier.payment_id = one.payment_id AND earlier.state = 'pending' AND earlier.number < one.number)
    ORDER BY due_at, number LIMIT :limit)
RETURNING {_COLUMNS}
"""


class SqliteOutbox:
    """An outbox in the file at `path`, which only its owner may read; it is made when it is not there.

    Several processes of one machine may use it at once. It is not in the transaction of the store's order: add to it
    once the order stands, and before the shopper is told so. Raises sqlite3.Error when the file cannot be used.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if not self.path.exists():
            # SQLite gives the files that it makes beside it the same mode.
            os.close(os.open(self.path, os.O_CREAT | os.O_RDWR, 0o600))
        with self._open() as db:
            db.execute("PRAGMA journal_mode = WAL")
            db.executescript(_SCHEMA)

    def add(self, instruction: Instruction) -> Instruction:
        with self._writing() as db:
            columns = _COLUMNS.replace(", ", ", :")
            db.execute(
                f"INSERT INTO instruction ({_COLUMNS}) VALUES (:{columns}) ON CONFLICT (key) DO NOTHING",
                _row_of(instruction),
            )
            kept = _read(db.execute(f"SELECT {_COLUMNS} FROM instruction WHERE key = ?", [instruction.key]).fetchone())
            if not kept.same_request(instruction):
                raise InstructionDiffers(f"another {kept.verb} of this payment has the same key")
            return kept

    def claim(self, now: datetime, *, limit: int, lease_s: float) -> Sequence[Instruction]:
        with self._writing() as db:
            values = {"now": _text(now), "limit": limit, "lease_until": _text(now + timedelta(seconds=lease_s))}
            claimed = [_read(row) for row in db.execute(_CLAIM, values).fetchall()]
        return sorted(claimed, key=lambda each: each.due_at)

    def done(self, instruction: Instruction, *, at: datetime, answer_id: str | None = None) -> None:
        with self._writing() as db:
            db.execute(
                "UPDATE instruction SET state = 'done', ended_at = ?, answer_id = ?, last_error = NULL, "
                "lease_until = NULL WHERE id = ? AND state <> 'done'",
                [_text(at), answer_id, instruction.id],
            )

    def retry(self, instruction: Instruction, *, at: datetime, error: str) -> None:
        with self._writing() as db:
            db.execute(
                "UPDATE instruction SET due_at = ?, last_error = ?, lease_until = NULL "
                "WHERE id = ? AND state = 'pending' AND tries = ?",
                [_text(at), error, instruction.id, instruction.tries],
            )

    def dead(self, instruction: Instruction, *, at: datetime, error: str) -> bool:
        with self._writing() as db:
            changed = db.execute(
                "UPDATE instruction SET state = 'dead', ended_at = ?, last_error = ?, lease_until = NULL "
                "WHERE id = ? AND state = 'pending' AND tries = ?",
                [_text(at), error, instruction.id, instruction.tries],
            )
            return changed.rowcount == 1

    def revive(self, instruction_id: str, *, at: datetime) -> Instruction:
        with self._writing() as db:
            row = db.execute(
                "UPDATE instruction SET state = 'pending', due_at = ?, ended_at = NULL, "
                f"lease_until = min(lease_until, ?) WHERE id = ? AND state <> 'done' RETURNING {_COLUMNS}",
                [_text(at), _text(at + timedelta(seconds=LEASE_S)), instruction_id],
            ).fetchone()
        if row is None:
            raise LookupError(f"no instruction that is not done has the ID {instruction_id}")
        return _read(row)

    def withdraw_voids(self, payment_id: str, *, at: datetime) -> bool:
        void = "payment_id = ? AND verb = 'void' AND state = 'pending'"
        with self._writing() as db:
            free = "(lease_until IS NULL OR lease_until <= ?)"
            db.execute(f"DELETE FROM instruction WHERE {void} AND {free}", [payment_id, _text(at)])
            return db.execute(f"SELECT 1 FROM instruction WHERE {void}", [payment_id]).fetchone() is None

    def counts(self) -> Counts:
        with self._open() as db:
            rows = db.execute("SELECT state, count(*), min(created_at) FROM instruction GROUP BY state").fetchall()
        count = {state: number for state, number, _ in rows}
        oldest = next((_time(oldest) for state, _, oldest in rows if state == "pending"), None)
        return Counts(count.get("pending", 0), count.get("done", 0), count.get("dead", 0), oldest)

    def list(
        self,
        *,
        state: State | None = None,
        payment_id: str | None = None,
        limit: int = 100,
        after: str | None = None,
    ) -> Sequence[Instruction]:
        values = {"state": state, "payment_id": payment_id, "after": after, "limit": limit}
        with self._open() as db:
            rows = db.execute(
                f"SELECT {_COLUMNS} FROM instruction WHERE state = coalesce(:state, state) "
                "AND payment_id = coalesce(:payment_id, payment_id) "
                "AND number > coalesce((SELECT number FROM instruction WHERE id = :after), 0) "
                "ORDER BY number LIMIT :limit",
                values,
            ).fetchall()
        return [_read(row) for row in rows]

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        """A connection for one use: none is shared by threads, none is kept over a fork."""
        with closing(sqlite3.connect(self.path, timeout=BUSY_S, isolation_level=None)) as db:
            db.execute("PRAGMA synchronous = FULL")
            yield db

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction that is the only one to write from its first moment on, so that it never has to be repeated."""
        with self._open() as db:
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
            except BaseException:
                db.execute("ROLLBACK")
                raise
            db.execute("COMMIT")


def _row_of(one: Instruction) -> dict[str, Any]:
    row = {field.name: getattr(one, field.name) for field in fields(one)}
    amount = row.pop("amount")
    row["amount_minor"], row["currency"] = (None, None) if amount is None else astuple(amount)
    return {name: _text(value) if isinstance(value, datetime) else value for name, value in row.items()}


def _read(row: tuple[Any, ...]) -> Instruction:
    named = dict(zip(_COLUMNS.split(", "), row, strict=True))
    minor, currency = named.pop("amount_minor"), named.pop("currency")
    named["amount"] = None if minor is None else Money(minor, currency)
    named["final"] = bool(named["final"])
    for name in ("created_at", "due_at", "ended_at"):
        named[name] = named[name] and _time(named[name])
    return Instruction(**named)


def _text(at: datetime) -> str:
    """In UTC and of one width, so that texts sort as times do."""
    return at.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _time(text: str) -> datetime:
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%f%z")
