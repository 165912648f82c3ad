"""The worker's task: takes bills one by one, and does the next step of each."""

import time
from collections.abc import Callable

from sqlalchemy import select

from app.billing.match import match_bill
from app.billing.models import BillRow
from app.billing.read import Progress, read_bill
from app.db.transaction import transaction
from app.errors import Busy
from app.jobs.items import Broken, one_item

#: What is done to a bill by its state: a verb that returns whether it did, or another worker has the bill in hand.
Step = Callable[[str], bool]
#: A bill at which a bug was met, or for which the database had no time, comes back after so long, then twice as long.
FIRST_PAUSE_S, LONGEST_PAUSE_S = 10.0, 3_600.0
#: So many bills are looked at in one go: those that other workers have in hand, and one more.
LOOKED_AT = 50
#: How often whoever waits for another worker's bill looks whether that is done.
LOOK_S = 0.2

_steps: dict[str, Step] = {"received": read_bill, "read": match_bill}
#: When a bill may be taken again, by this process's own clock, and how long it was put off.
_put_off: dict[str, tuple[float, float]] = {}


def work_on_bills() -> int:
    """Does one step of the first bill that waits for one; how many it did. Raises Busy."""
    now_s = time.monotonic()
    waiting = {bill_id for bill_id, (until_s, _) in _put_off.items() if until_s > now_s}
    for bill_id, state in _to_do(waiting):
        try:
            with one_item(bill_id=bill_id):
                done = _steps[state](bill_id)
        except Broken:
            _put(bill_id)
            return 1
        except Busy:
            _put(bill_id)
            raise
        if done:
            _put_off.pop(bill_id, None)
            return 1
    return 0


def work_off(bill_id: str, *, progress: Progress | None = None) -> None:
    """Does all that is to be done with one bill, or waits while a worker does it. `progress`: as in `read_bill`.

    Raises Busy: the database is.
    """
    while (state := _state_of(bill_id)) in _steps:
        done = read_bill(bill_id, progress=progress) if state == "received" else _steps[state](bill_id)
        if not done:
            time.sleep(LOOK_S)


def _to_do(waiting: set[str]) -> list[tuple[str, str]]:
    query = select(BillRow.id, BillRow.state).where(BillRow.state.in_(list(_steps)))
    with transaction() as db:
        found = db.execute(query.order_by(BillRow.id).limit(LOOKED_AT + len(waiting)))
        return [(row.id, row.state) for row in found if row.id not in waiting]


def _state_of(bill_id: str) -> str:
    with transaction() as db:
        return db.scalars(select(BillRow.state).where(BillRow.id == bill_id)).one()


def _put(bill_id: str) -> None:
    _, before_s = _put_off.get(bill_id, (0.0, FIRST_PAUSE_S / 2))
    pause_s = min(LONGEST_PAUSE_S, before_s * 2)
    _put_off[bill_id] = (time.monotonic() + pause_s, pause_s)
