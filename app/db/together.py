"""Several writes in one statement: round trips are what a transaction costs most."""

from collections.abc import Iterable, Iterator, Sequence

from sqlalchemy import Connection, literal_column, select
from sqlalchemy.sql.dml import Delete, Insert, Update

from app.db.base import AnySelect

Write = Insert | Update | Delete


def together(db: Connection, *writes: Write | Sequence[Write | None] | None) -> None:
    """Executes the writes as CTEs of a single statement, skipping None and opening sequences.

    All of them see the state before the statement, their order is not fixed, and no row may be written by two of them
    (PostgreSQL manual, section 7.8.4). Foreign keys are checked at the end, so a row may point at one made beside it.
    """
    statement: AnySelect = select(literal_column("1"))
    for place, write in enumerate(_flat(writes)):
        statement = statement.add_cte(write.returning(literal_column("1")).cte(f"write_{place}"))
    db.execute(statement)


def _flat(writes: Iterable[Write | Sequence[Write | None] | None]) -> Iterator[Write]:
    for write in writes:
        if isinstance(write, Sequence):
            yield from _flat(write)
        elif write is not None:
            yield write
