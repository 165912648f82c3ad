"""Bills as their readers see them: one, a page of them, their lines, and the file as it arrived."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, func, select

from app.billing.models import BillBreak, Billed, BillLine, BillPart, BillRow, BillWrongLine
from app.db.base import AnyRow
from app.db.transaction import transaction
from app.errors import NotFound
from app.ids import StoreId
from app.money import Money

#: What a million lines are summed up in, on a machine that has other things to do.
SUMS_WITHIN_MS = 10_000


@dataclass(frozen=True, slots=True)
class Bill:
    """A store's bill. Counts are None until it is read, or matched."""

    id: str
    store_id: StoreId
    mode: str
    reference: str
    period: str
    as_of: datetime
    source: str
    media_type: str
    received_by: str
    received_at: datetime
    state: str
    unreadable_because: str | None
    lines: int | None
    wrong_lines: int | None
    matched_lines: int | None
    broken_lines: int | None
    read_at: datetime | None
    matched_at: datetime | None
    closed_at: datetime | None


@dataclass(frozen=True, slots=True)
class Sums:
    """What a bill comes to, by currency, in minor units: its lines; what the lines that match took up; and credits,
    which are refunds of what was billed before and no line names. `breaks`: how many lines there are of each kind."""

    billed: Mapping[str, int]
    matched: Mapping[str, int]
    credits: Mapping[str, int]
    breaks: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class LineSeen:
    """A line and what became of it: `outcome` is `matched`, the kind of its break, or None before it is matched."""

    line_no: int
    payment_id: str
    amount_minor: int
    currency: str
    order_reference: str | None
    outcome: str | None
    other_bill_id: str | None
    expected_minor: int | None
    break_state: str | None

    @property
    def id(self) -> int:
        """By which pages go on."""
        return self.line_no

    @property
    def amount(self) -> Money:
        return Money(self.amount_minor, self.currency)


@dataclass(frozen=True, slots=True)
class WrongLineSeen:
    """A line that could not be read."""

    line_no: int
    reason: str
    begins: str

    @property
    def id(self) -> int:
        """By which pages go on."""
        return self.line_no


_COLUMNS = tuple(getattr(BillRow, name) for name in Bill.__dataclass_fields__)


def find_bill(bill_id: str, *, store_id: str | None = None, mode: str | None = None) -> Bill:
    """The bill, of this store or mode where one is named. Raises NotFound, Busy."""
    with transaction() as db:
        return bill_of(db, bill_id, store_id=store_id, mode=mode)


def bill_of(db: Connection, bill_id: str, *, store_id: str | None = None, mode: str | None = None) -> Bill:
    """The same in somebody else's transaction. Raises NotFound."""
    wanted = {BillRow.id: bill_id, BillRow.store_id: store_id, BillRow.mode: mode}
    query = select(*_COLUMNS).where(*(column == value for column, value in wanted.items() if value is not None))
    row = db.execute(query).first()
    if row is None:
        raise NotFound("There is no such bill.")
    return seen(row)


def seen(row: AnyRow) -> Bill:
    return Bill(**row._mapping)


def bill_columns() -> Sequence[ColumnElement[Any]]:
    """What `seen` needs."""
    return _COLUMNS


def list_bills(
    *,
    mode: str | None = None,
    store_id: str | None = None,
    period: str | None = None,
    state: str | None = None,
    after: str | None = None,
    limit: int,
) -> list[Bill]:
    """Bills, oldest first, from the one after `after`. Raises Busy."""
    query = select(*_COLUMNS).order_by(BillRow.id).limit(limit)
    wanted = {BillRow.mode: mode, BillRow.store_id: store_id, BillRow.period: period, BillRow.state: state}
    query = query.where(*(column == value for column, value in wanted.items() if value is not None))
    with transaction() as db:
        return [seen(row) for row in db.execute(query if after is None else query.where(BillRow.id > after))]


def sums_of(bill_id: str) -> Sums:
    """What the bill comes to. Raises Busy."""
    lines = select(BillLine.currency, func.sum(BillLine.amount_minor)).where(BillLine.bill_id == bill_id)
    taken = select(Billed.currency, func.sum(Billed.amount_minor)).where(Billed.bill_id == bill_id)
    breaks = select(BillBreak.kind, func.count()).where(BillBreak.bill_id == bill_id).group_by(BillBreak.kind)
    with transaction() as db:
        db.exec_driver_sql(f"SET LOCAL statement_timeout = {SUMS_WITHIN_MS}")
        return Sums(
            _by_name(db, lines.group_by(BillLine.currency)),
            _by_name(db, taken.where(Billed.line_no.is_not(None)).group_by(Billed.currency)),
            _by_name(db, taken.where(Billed.line_no.is_(None)).group_by(Billed.currency)),
            _by_name(db, breaks),
        )


def list_lines(
    bill_id: str, *, store_id: str | None = None, state: str | None = None, after: int | None = None, limit: int
) -> list[LineSeen]:
    """The bill's lines by number: all, those `matched`, every `break`, or the breaks of one kind.

    Raises NotFound, Busy.
    """
    of_line = (BillBreak.bill_id == BillLine.bill_id) & (BillBreak.line_no == BillLine.line_no)
    query = (
        select(
            BillLine.line_no,
            BillLine.payment_id,
            BillLine.amount_minor,
            BillLine.currency,
            BillLine.order_reference,
            BillBreak.kind.label("outcome"),
            BillBreak.other_bill_id,
            BillBreak.expected_minor,
            BillBreak.state.label("break_state"),
        )
        .join(BillBreak, of_line, isouter=True)
        .where(BillLine.bill_id == bill_id, BillLine.line_no > (after or 0))
        .order_by(BillLine.line_no)
        .limit(limit)
    )
    if state == "matched":
        query = query.where(BillBreak.id.is_(None))
    elif state is not None:
        query = query.where(BillBreak.id.is_not(None) if state == "break" else BillBreak.kind == state)
    with transaction() as db:
        is_matched = bill_of(db, bill_id, store_id=store_id).matched_at is not None
        if state is not None and not is_matched:
            return []
        found = [LineSeen(**row._mapping) for row in db.execute(query)]
    return [replace(line, outcome=line.outcome or "matched") if is_matched else line for line in found]


def list_wrong_lines(
    bill_id: str, *, store_id: str | None = None, after: int | None = None, limit: int
) -> list[WrongLineSeen]:
    """The lines that could not be read, by number. Raises NotFound, Busy."""
    query = (
        select(BillWrongLine.line_no, BillWrongLine.reason, BillWrongLine.begins)
        .where(BillWrongLine.bill_id == bill_id, BillWrongLine.line_no > (after or 0))
        .order_by(BillWrongLine.line_no)
        .limit(limit)
    )
    with transaction() as db:
        bill_of(db, bill_id, store_id=store_id)
        return [WrongLineSeen(**row._mapping) for row in db.execute(query)]


def file_of(bill_id: str) -> Iterator[bytes]:
    """The file as it arrived, part by part, each in a transaction of its own. Raises Busy."""
    place = 0
    while True:
        with transaction() as db:
            part = part_of(db, bill_id, place)
        if part is None:
            return
        yield part
        place += 1


def parts_in(db: Connection, bill_id: str) -> Iterator[bytes]:
    """The same in somebody else's transaction, which must not be in the middle of a COPY when more is asked for."""
    place = 0
    while (part := part_of(db, bill_id, place)) is not None:
        yield part
        place += 1


def part_of(db: Connection, bill_id: str, place: int) -> bytes | None:
    found: bytes | None = db.scalar(
        select(BillPart.content).where(BillPart.bill_id == bill_id, BillPart.place == place)
    )
    return found


def _by_name(db: Connection, query: Select[str, int]) -> dict[str, int]:
    return {name: int(total) for name, total in db.execute(query)}
