"""Read a bill: the kept file becomes lines and wrong lines, all of them or none."""

from collections.abc import Callable, Iterator, Sequence
from itertools import islice

import psycopg
from sqlalchemy import Connection, select, update

from app import clock
from app.billing.bill import parts_in
from app.billing.files import read_file
from app.billing.lines import MOST_LINES, Line, ReadLine, Unreadable, WrongLine
from app.billing.models import BillRow
from app.db.together import together
from app.db.transaction import transaction
from app.errors import Busy
from app.events.event import event_of

#: A million lines take their time, on a machine that does other things as well.
WITHIN_MS = 600_000
#: Lines that are held at once, and copied into the table in one go.
BATCH = 10_000

Progress = Callable[[int], None]


def read_bill(bill_id: str, *, progress: Progress | None = None) -> bool:
    """Reads the bill's file: `received` → `read`, or `unreadable`. Whether it did; False: another worker has it.

    `progress` is told after each batch how many lines were read. Raises Busy.
    """
    with transaction() as db:
        db.exec_driver_sql(f"SET LOCAL statement_timeout = {WITHIN_MS}")
        db.exec_driver_sql(f"SET LOCAL idle_in_transaction_session_timeout = {WITHIN_MS}")
        taken = select(BillRow.media_type, BillRow.store_id).where(BillRow.id == bill_id, BillRow.state == "received")
        row = db.execute(taken.with_for_update(skip_locked=True)).first()
        if row is None:
            return False
        changed: dict[str, object]
        undone = db.begin_nested()
        try:
            lines, wrong = _keep(db, bill_id, read_file(row.media_type, lambda: parts_in(db, bill_id)), progress)
        except Unreadable as error:
            undone.rollback()
            changed = {"state": "unreadable", "unreadable_because": str(error)}
            facts: dict[str, object] = {}
        else:
            undone.commit()
            facts = {"lines": lines, "wrong_lines": wrong}
            changed = {"state": "read", **facts}
        now = clock.now(db)
        db.execute(update(BillRow).where(BillRow.id == bill_id).values(read_at=now, **changed))
        facts = {"bill_id": bill_id, "store_id": row.store_id, **facts}
        together(db, event_of(f"bill_{changed['state']}", at=now, facts=facts))
        return True


def _keep(db: Connection, bill_id: str, found: Iterator[Line], progress: Progress | None) -> tuple[int, int]:
    """Copies them into their tables; how many there are of each. Raises Unreadable: there are too many, or else."""
    lines = wrong = 0
    while batch := list(islice(found, BATCH)):
        good = [each for each in batch if isinstance(each, ReadLine)]
        bad = [each for each in batch if isinstance(each, WrongLine)]
        lines, wrong = lines + len(good), wrong + len(bad)
        if lines + wrong > MOST_LINES:
            raise Unreadable(f"A bill has {MOST_LINES} lines at most.", batch[-1].line_no)
        _copy(db, bill_id, "bill_line", ReadLine._fields, good)
        _copy(db, bill_id, "bill_wrong_line", WrongLine._fields, bad)
        if progress is not None:
            progress(lines + wrong)
    return lines, wrong


def _copy(db: Connection, bill_id: str, table: str, columns: tuple[str, ...], rows: Sequence[Line]) -> None:
    if not rows:
        return
    connection = db.connection.driver_connection
    assert isinstance(connection, psycopg.Connection)
    try:
        with connection.cursor().copy(f"COPY {table} (bill_id, {', '.join(columns)}) FROM STDIN") as copy:
            for row in rows:
                copy.write_row((bill_id, *row))
    except psycopg.OperationalError as error:  # SQLAlchemy does not see it
        raise Busy from error
