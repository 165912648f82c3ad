"""The process's connections to PostgreSQL."""

import os
import select
from functools import cache
from typing import Any

import psycopg
from psycopg import RawCursor, RawServerCursor, pq
from psycopg.types.numeric import Int8Dumper
from sqlalchemy import Engine, create_engine, event
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.pool import ConnectionPoolEntry

from app.config import settings

#: What every connection of the service promises, so that nobody waits for ever on anybody.
SESSION_OPTIONS = (
    "-c lock_timeout=2000 -c statement_timeout=10000 -c idle_in_transaction_session_timeout=5000 "
    "-c synchronous_commit=on -c timezone=UTC"
)
POOL_WAIT_S = 3
#: How soon it is noticed that nobody is there any more: while connecting, while sending, while waiting for an answer.
NOTICING: dict[str, int] = {
    "connect_timeout": 3,
    "tcp_user_timeout": 5_000,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
}


def engine() -> Engine:
    """The engine of this process; a forked worker gets its own."""
    return engine_for(settings().database_url, settings().database_pool_size, os.getpid())


@cache
def engine_for(url: str, pool_size: int, _pid: int) -> Engine:
    """A pool for one URL. Connections are looked at before use, so that a restarted database costs nobody an error.

    SQLAlchemy writes parameters as PostgreSQL reads them, `$1`, and psycopg takes them so: turning names into numbers
    at each call of a long statement cost as much as one in nine of all that a settle does.
    """
    made = create_engine(
        url,
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=POOL_WAIT_S,
        paramstyle="numeric_dollar",
        connect_args={
            "options": SESSION_OPTIONS,
            "application_name": "scrip",
            "cursor_factory": RawCursor,
            **NOTICING,
        },
    )
    event.listen(made, "do_connect", _connect)
    event.listen(made, "connect", _send_one_kind_of_int)
    event.listen(made, "connect", _stream_as_raw)
    event.listen(made, "checkout", _refuse_ended)
    return made


class Connection(psycopg.Connection[Any]):
    """A connection that keeps its prepared statements when it rolls back, which is how every refusal ends.

    psycopg drops them all then, in case one speaks of a table that was made and undone: the service makes none. Whoever
    guesses codes would have every honest request beside him parse and plan all of its statements anew.
    """

    def rollback(self) -> None:
        """Rolls back by libpq's own call; where that does not succeed, psycopg says why, in its own words."""
        under_way = (pq.TransactionStatus.INTRANS, pq.TransactionStatus.INERROR)
        if self.pgconn.transaction_status in under_way:
            with self.lock:
                self.pgconn.exec_(b"ROLLBACK")
        super().rollback()  # nothing is left to do, unless the connection is broken


def _connect(_dialect: object, _record: object, args: tuple[Any, ...], named: dict[str, Any]) -> Connection:
    return Connection.connect(*args, **named)


def _send_one_kind_of_int(connection: Any, _: ConnectionPoolEntry) -> None:
    """psycopg sends an int in as few bytes as hold it, and prepares a statement for each mix of types that it meets.

    Then a settle of 300.00 would be another statement than one of 400.00, and each be planned anew many times.
    """
    connection.adapters.register_dumper(int, Int8Dumper)


def _stream_as_raw(connection: Any, _: ConnectionPoolEntry) -> None:
    """Rows that are streamed come by a cursor of the server, which takes `$1` only when it is told to."""
    connection.server_cursor_factory = RawServerCursor


def _refuse_ended(connection: Any, record: ConnectionPoolEntry, _: object) -> None:
    """Nobody speaks on an idle connection but a server that ends it: then there is something to read, or its end.

    It costs no round trip, as a ping would. A server that vanished without a word is noticed as NOTICING says. One that
    ends a fresh connection at once is told by the first statement: here the pool would give up, as if it were a bug.
    """
    if not record.info.setdefault("was_used", False):
        record.info["was_used"] = True
        return
    waiting = select.poll()
    waiting.register(connection.fileno(), select.POLLIN)
    if waiting.poll(0):
        raise DisconnectionError("the server has ended the connection")
