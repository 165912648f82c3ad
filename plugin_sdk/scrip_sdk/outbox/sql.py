"""The outbox as a table of the store's own database, by SQLAlchemy: it is written in the transaction of the order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import astuple, fields, replace
from datetime import datetime, timedelta, timezone
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Connection,
    DateTime,
    Dialect,
    Engine,
    Index,
    Integer,
    MetaData,
    Select,
    String,
    Table,
    case,
    exists,
    func,
    literal,
    or_,
    select,
    update,
)
from sqlalchemy.dialects import mysql, postgresql, sqlite
from sqlalchemy.types import TypeDecorator

from scrip_sdk.money import Money
from scrip_sdk.outbox import LEASE_S, Counts, Instruction, InstructionDiffers, State

#: The databases that can be asked for what an outbox needs, by SQLAlchemy's names.
DIALECTS = ("postgresql", "mysql", "mariadb", "sqlite")


class _Utc(TypeDecorator[datetime]):
    """An aware time, also in databases that keep no offset, and to the microsecond in those that round to seconds."""

    impl = DateTime(timezone=True).with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return value if value is None else value.astimezone(timezone.utc)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=timezone.utc) if value.tzinfo is None else value


def outbox_table(metadata: MetaData, name: str = "scrip_instruction", *, schema: str | None = None) -> Table:
    """The table, to be made with the store's others, by its migrations for instance. Nothing in it is secret."""
    exact = String(255).with_variant(mysql.VARCHAR(255, charset="ascii", collation="ascii_bin"), "mysql", "mariadb")
    return Table(
        name,
        metadata,
        Column("number", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
        Column("id", String(64), nullable=False, unique=True),
        Column("verb", String(10), nullable=False),
        Column("payment_id", String(64), nullable=False),
        Column("order_reference", String(200), nullable=False),
        Column("amount_minor", BigInteger),
        Column("currency", String(3)),
        Column("final", Boolean, nullable=False),
        Column("key", exact, nullable=False, unique=True),
        Column("reason", String(500)),
        Column("created_at", _Utc, nullable=False),
        Column("due_at", _Utc, nullable=False),
        Column("tries", Integer, nullable=False),
        Column("state", String(10), nullable=False),
        Column("last_error", String(100)),
        Column("ended_at", _Utc),
        Column("answer_id", String(64)),
        Column("lease_until", _Utc),
        CheckConstraint("verb IN ('settle', 'void', 'refund')", name=f"{name}_verb"),
        CheckConstraint("state IN ('pending', 'done', 'dead')", name=f"{name}_state"),
        CheckConstraint("amount_minor > 0", name=f"{name}_amount"),
        Index(f"{name}_due", "state", "due_at"),
        Index(f"{name}_payment", "payment_id"),
        schema=schema,
    )


class SqlOutbox:
    """An outbox in `table`. On an engine each call is a transaction of its own, to deliver with for instance; on a
    connection it takes part in the transaction that is open there, and neither commits nor rolls back.

    PostgreSQL, MySQL, MariaDB and SQLite. Raises ValueError for another database, sqlalchemy.exc.SQLAlchemyError.
    """

    def __init__(self, bind: Engine | Connection, table: Table) -> None:
        if bind.dialect.name not in DIALECTS:  # said when the shop starts, and not at its first order
            raise ValueError(f"no outbox for {bind.dialect.name}: {', '.join(DIALECTS)} have one")
        self.bind, self.table = bind, table

    def add(self, instruction: Instruction) -> Instruction:
        with self._transaction() as db:
            db.execute(_insert(db.dialect.name, self.table, _row_of(instruction)))
            # With a lock, for one that somebody else has committed meanwhile is not in MySQL's snapshot.
            row = db.execute(self._rows().where(self.table.c.key == instruction.key).with_for_update(read=True)).one()
            kept = _read(row)
            if not kept.same_request(instruction):
                raise InstructionDiffers(f"another {kept.verb} of this payment has the same key")
            return kept

    def claim(self, now: datetime, *, limit: int, lease_s: float) -> Sequence[Instruction]:
        columns, earlier = self.table.c, self.table.alias("earlier")
        in_line = exists().where(
            earlier.c.payment_id == columns.payment_id,
            earlier.c.state == "pending",
            earlier.c.number < columns.number,
        )
        free = or_(columns.lease_until.is_(None), columns.lease_until <= now)
        due = self._rows().where(columns.state == "pending", columns.due_at <= now, free, ~in_line)
        due = due.order_by(columns.due_at, columns.number).limit(limit).with_for_update(skip_locked=True)
        claimed = []
        with self._transaction() as db:
            for seen in map(_read, db.execute(due).all()):
                # Asked again, for SQLite has no locks of rows: of two that have seen it, one changes it.
                mine = (columns.id == seen.id, columns.state == "pending", columns.tries == seen.tries)
                changes = {"tries": seen.tries + 1, "lease_until": now + timedelta(seconds=lease_s)}
                if db.execute(update(self.table).where(*mine).values(changes)).rowcount == 1:
                    claimed.append(replace(seen, tries=seen.tries + 1))
        return claimed

    def done(self, instruction: Instruction, *, at: datetime, answer_id: str | None = None) -> None:
        columns = self.table.c
        changes = {"state": "done", "ended_at": at, "answer_id": answer_id, "last_error": None, "lease_until": None}
        with self._transaction() as db:
            mine = (columns.id == instruction.id, columns.state != "done")
            db.execute(update(self.table).where(*mine).values(changes))

    def retry(self, instruction: Instruction, *, at: datetime, error: str) -> None:
        self._put(instruction, {"due_at": at, "last_error": error, "lease_until": None})

    def dead(self, instruction: Instruction, *, at: datetime, error: str) -> bool:
        return self._put(instruction, {"state": "dead", "ended_at": at, "last_error": error, "lease_until": None})

    def revive(self, instruction_id: str, *, at: datetime) -> Instruction:
        columns = self.table.c
        latest = literal(at + timedelta(seconds=LEASE_S), _Utc)
        lease_until = case((columns.lease_until > latest, latest), else_=columns.lease_until)
        changes = {"state": "pending", "due_at": at, "ended_at": None, "lease_until": lease_until}
        with self._transaction() as db:
            one = (columns.id == instruction_id, columns.state != "done")
            if db.execute(update(self.table).where(*one).values(changes)).rowcount != 1:
                raise LookupError(f"no instruction that is not done has the ID {instruction_id}")
            return _read(db.execute(self._rows().where(columns.id == instruction_id)).one())

    def withdraw_voids(self, payment_id: str, *, at: datetime) -> bool:
        columns = self.table.c
        voids = (columns.payment_id == payment_id, columns.verb == "void", columns.state == "pending")
        free = or_(columns.lease_until.is_(None), columns.lease_until <= at)
        with self._transaction() as db:
            db.execute(self.table.delete().where(*voids, free))
            return db.execute(select(columns.id).where(*voids)).first() is None

    def counts(self) -> Counts:
        columns = self.table.c
        query = select(columns.state, func.count(), func.min(columns.created_at)).group_by(columns.state)
        with self._transaction() as db:
            rows = db.execute(query).all()
        count = {state: number for state, number, _ in rows}
        oldest = next((oldest for state, _, oldest in rows if state == "pending"), None)
        return Counts(count.get("pending", 0), count.get("done", 0), count.get("dead", 0), oldest)

    def list(
        self,
        *,
        state: State | None = None,
        payment_id: str | None = None,
        limit: int = 100,
        after: str | None = None,
    ) -> Sequence[Instruction]:
        columns, query = self.table.c, self._rows()
        if state is not None:
            query = query.where(columns.state == state)
        if payment_id is not None:
            query = query.where(columns.payment_id == payment_id)
        if after is not None:
            other = self.table.alias("other")
            query = query.where(columns.number > select(other.c.number).where(other.c.id == after).scalar_subquery())
        with self._transaction() as db:
            return [_read(row) for row in db.execute(query.order_by(columns.number).limit(limit))]

    def _put(self, instruction: Instruction, changes: dict[str, Any]) -> bool:
        """Changes it unless somebody else has claimed or ended it since."""
        columns = self.table.c
        mine = (columns.id == instruction.id, columns.state == "pending", columns.tries == instruction.tries)
        with self._transaction() as db:
            return db.execute(update(self.table).where(*mine).values(changes)).rowcount == 1

    def _rows(self) -> Select[Any]:
        return select(*(self.table.c[name] for name in _NAMES))

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        if isinstance(self.bind, Connection):
            yield self.bind
            return
        with self.bind.begin() as db:
            yield db


_NAMES = tuple(
    name
    for field in fields(Instruction)
    for name in (("amount_minor", "currency") if field.name == "amount" else (field.name,))
)


def _insert(dialect: str, table: Table, row: dict[str, Any]) -> Any:
    """An insert that leaves a row of the same key as it is, without failing: that would end the store's transaction.
    It is locked, lest somebody withdraws it before it is read."""
    if dialect == "postgresql":
        same = {"key": table.c.key}
        return postgresql.insert(table).values(row).on_conflict_do_update(index_elements=["key"], set_=same)
    if dialect == "sqlite":
        return sqlite.insert(table).values(row).on_conflict_do_nothing(index_elements=["key"])
    return mysql.insert(table).values(row).on_duplicate_key_update(key=table.c.key)


def _row_of(one: Instruction) -> dict[str, Any]:
    row = {field.name: getattr(one, field.name) for field in fields(one)}
    amount = row.pop("amount")
    row["amount_minor"], row["currency"] = (None, None) if amount is None else astuple(amount)
    return row


def _read(row: Any) -> Instruction:
    named = dict(row._mapping)
    minor, currency = named.pop("amount_minor"), named.pop("currency")
    return Instruction(**named, amount=None if minor is None else Money(minor, currency))
