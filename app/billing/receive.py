"""Receive a bill: its file is kept as it came, and what it says of itself is looked at at once."""

import hashlib
from dataclasses import dataclass
from datetime import timedelta
from typing import BinaryIO

from sqlalchemy import Connection, insert, select
from sqlalchemy.dialects.postgresql import insert as insert_or_not

from app import clock
from app.billing.bill import Bill, bill_columns, seen
from app.billing.files import Open, check_file, media_type_of, parts_of
from app.billing.lines import Unreadable, is_plain
from app.billing.models import BillPart, BillRow
from app.billing.rules import Period, as_of, period_named, period_of
from app.db.together import together
from app.db.transaction import transaction
from app.errors import BillUnreadable, InvalidRequest, ReferenceReused
from app.events.event import event_of
from app.ids import new_id
from app.redemption.store import find_store

LONGEST_REFERENCE = 100
#: How the references of self-billing begin.
OURS = "self:"
#: Machines know the time nearly, not exactly: at the turn of a month a store may be ahead.
EARLY = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Received:
    """The bill, and whether it was here before."""

    bill: Bill
    replayed: bool = False


def receive_bill(
    file: BinaryIO,
    *,
    store_id: str,
    kind: str,
    source: str,
    by: str,
    period: str | None = None,
    reference: str | None = None,
    currency: str | None = None,
) -> Received:
    """Keeps the file for the worker to read and match, once for each store and reference: sent again it is one bill.

    `kind`: its media type, as in files.py. `period` and `reference` stand in a JSON file itself; where both say them
    they must say the same. `currency`: of lines that name none. `source`: `api`, `file` or `self`. `by`: who sends it.

    Raises BillUnreadable: nothing of it could ever be read; InvalidRequest; ReferenceReused: a bill of this reference
    came before with other content; Busy.
    """
    media_type = media_type_of(kind, currency)
    month, reference = _checked_head(media_type, lambda: parts_of(file), period, reference, source=source)
    store = find_store(store_id)
    if store is None:
        raise InvalidRequest("There is no such store.", pointer="/store")
    digest = hashlib.sha256()
    for part in parts_of(file):
        digest.update(part)
    with transaction() as db:
        now = clock.now(db)
        if month.name > period_of(now + EARLY).name:
            raise InvalidRequest("This month has not begun.", pointer="/period")
        columns = {
            "id": new_id("bill"),
            "store_id": store.id,
            "mode": store.mode,
            "reference": reference,
            "period": month.name,
            "as_of": as_of(month, now),
            "source": source,
            "media_type": media_type,
            "content_sha256": digest.digest(),
            "received_by": by,
            "received_at": now,
        }
        made = db.execute(insert_or_not(BillRow).values(columns).on_conflict_do_nothing().returning(*bill_columns()))
        row = made.first()
        if row is None:
            return _replayed(db, columns)
        for place, part in enumerate(parts_of(file)):
            db.execute(insert(BillPart).values(bill_id=row.id, place=place, content=part))
        facts = {"bill_id": row.id, "store_id": store.id, "period": month.name, "source": source}
        together(db, event_of("bill_received", at=now, facts=facts))
        return Received(seen(row))


def _replayed(db: Connection, columns: dict[str, object]) -> Received:
    """The bill that has this reference, if it is the same. Raises ReferenceReused."""
    same = (BillRow.period, BillRow.media_type, BillRow.content_sha256)
    query = select(*bill_columns(), BillRow.content_sha256).where(
        BillRow.store_id == columns["store_id"], BillRow.reference == columns["reference"]
    )
    row = db.execute(query).one()
    if any(row._mapping[each.key] != columns[each.key] for each in same):
        raise ReferenceReused("A bill of this reference came before with another period or other content.")
    found = dict(row._mapping)
    del found["content_sha256"]
    return Received(Bill(**found), replayed=True)


def _checked_head(
    media_type: str, open_parts: Open, period: str | None, reference: str | None, *, source: str
) -> tuple[Period, str]:
    """Period and reference, from the request or the file. Raises BillUnreadable, InvalidRequest."""
    try:
        head = check_file(media_type, open_parts)
    except Unreadable as error:
        raise BillUnreadable(str(error), line=error.line_no) from None
    said_period = _one_of("period", period, head and head.period)
    said_reference = _one_of("reference", reference, head and head.reference)
    try:
        month = period_named(said_period)
    except ValueError as error:
        raise InvalidRequest(str(error), pointer="/period") from None
    if said_reference.startswith(OURS) != (source == "self"):
        raise InvalidRequest(f"References that begin with {OURS} are of bills that we make.", pointer="/reference")
    if not 1 <= len(said_reference) <= LONGEST_REFERENCE or not is_plain(said_reference):
        detail = f"A reference has 1 to {LONGEST_REFERENCE} characters, and no control characters."
        raise InvalidRequest(detail, pointer="/reference")
    return month, said_reference


def _one_of(name: str, given: str | None, inside: object) -> str:
    said = inside if given is None else given
    if said is None:
        detail = f"The {name} is missing: it stands in the query or in a JSON file, in a long one before its lines."
        raise InvalidRequest(detail, pointer=f"/{name}")
    if not isinstance(said, str):
        raise InvalidRequest("Not a valid string.", pointer=f"/{name}")
    if inside is not None and inside != said:
        raise InvalidRequest("The file says another one.", pointer=f"/{name}")
    return said
