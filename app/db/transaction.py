"""The only place where a transaction is committed or rolled back."""

from collections.abc import Iterator
from contextlib import contextmanager

from psycopg import errors as postgres
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from app.db import away
from app.db.engine import engine
from app.errors import Busy

#: Somebody else was faster: nothing was done, and trying again is right.
PASSING = (
    postgres.LockNotAvailable,
    postgres.DeadlockDetected,
    postgres.QueryCanceled,
    postgres.SerializationFailure,
    postgres.IdleInTransactionSessionTimeout,
)
#: The database is away, or full, for a while.
AWAY = (
    postgres.AdminShutdown,
    postgres.CrashShutdown,
    postgres.CannotConnectNow,
    postgres.TooManyConnections,
    postgres.DiskFull,
)


@contextmanager
def transaction(*, durable: bool = True) -> Iterator[Connection]:
    """One transaction: commits at the end, rolls back when anything is raised.

    One that is not `durable` does not wait for the disk: a crash of the database may lose what its last second wrote.

    Raises Busy when a lock, a statement, a connection or room was not to be had, or the connection broke. A broken
    connection may have committed: the caller's reference tells (see db/request.py).
    """
    with _begun(engine()) as db:
        if not durable:
            db.exec_driver_sql("SET LOCAL synchronous_commit TO off")
        yield db


@contextmanager
def snapshot(*, within_s: int, memory: str = "64MB") -> Iterator[Connection]:
    """One moment of the database, which stays while it is read: nothing can be written, and rows may be streamed.

    `within_s` bounds each statement, `memory` what one sort or hash table may take. Raises Busy as `transaction` does.
    """
    with _begun(engine().execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)) as db:
        db.exec_driver_sql(
            f"SET LOCAL statement_timeout = {within_s * 1_000}; SET LOCAL work_mem = '{memory}'; SET LOCAL jit = off; "
            "SET LOCAL idle_in_transaction_session_timeout = 0"  # whoever reads the rows may be slow
        )
        yield db


@contextmanager
def _begun(engine: Engine) -> Iterator[Connection]:
    try:
        with engine.begin() as db:
            yield db
        away.note_reached()
    except PoolTimeout as error:
        raise Busy from error
    except DBAPIError as error:
        if isinstance(error.orig, AWAY) or _no_connection(error):
            raise Busy(retry_after_s=away.note_away()) from error
        if error.connection_invalidated or isinstance(error.orig, PASSING):
            raise Busy from error
        raise


def _no_connection(error: DBAPIError) -> bool:
    """psycopg gives a bare OperationalError without SQLSTATE when it cannot reach the server."""
    return isinstance(error.orig, postgres.OperationalError) and error.orig.sqlstate is None
