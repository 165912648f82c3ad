"""Rows that are too many to hold at once: they come by a cursor of the database."""

from collections.abc import Iterator
from typing import Any

from sqlalchemy import Connection

#: So many rows are fetched in one go.
FETCHED = 2_000


def streamed(db: Connection, query: str, given: tuple[object, ...]) -> Iterator[Any]:
    """The rows of a query, in a transaction that stays open for as long as they are read."""
    options = {"stream_results": True, "max_row_buffer": FETCHED}
    with db.exec_driver_sql(query, given, execution_options=options) as result:
        yield from result
