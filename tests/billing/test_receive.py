"""A bill is kept as it came, once for its reference; its lines are read all or not at all, whatever happens."""

import hashlib
import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from app import clock
from app.billing import work
from app.billing.bill import file_of, find_bill, list_lines, list_wrong_lines, sums_of
from app.billing.files import JSON, PART_BYTES
from app.billing.read import read_bill
from app.billing.receive import Received
from app.billing.work import work_off, work_on_bills
from app.config import Settings
from app.db.transaction import transaction
from app.errors import BillUnreadable, Busy, InvalidRequest, ReferenceReused
from app.ids import new_id
from tests.at_once import at_once
from tests.billing.files import HEADER, bill_of_csv, received, this_month
from tests.service import ROOT, environment
from tests.world import World, make_world, rows

LINE = "pay_1,10.00,GBP"


def test_the_file_is_kept_to_the_byte(world: World) -> None:
    content = f"{HEADER}\n".encode() + f"{LINE}\n".encode() * (2 * PART_BYTES // len(LINE))
    bill = received(world.bookshop, content).bill
    assert b"".join(file_of(bill.id)) == content
    kept = rows("SELECT octet_length(content) AS length FROM bill_part WHERE bill_id = :id ORDER BY place", id=bill.id)
    assert [row.length for row in kept[:-1]] == [PART_BYTES] * (len(kept) - 1)
    sha256 = rows("SELECT content_sha256 FROM bill WHERE id = :id", id=bill.id)[0].content_sha256
    assert bytes(sha256) == hashlib.sha256(content).digest()


def test_the_same_again_is_the_same_bill_and_anything_else_under_its_reference_is_refused(world: World) -> None:
    terms = {"reference": "r-1", "period": this_month()}
    first = received(world.bookshop, f"{HEADER}\n{LINE}", **terms)
    again = received(world.bookshop, f"{HEADER}\n{LINE}", **terms)
    assert (first.replayed, again.replayed) == (False, True)
    assert again.bill == first.bill
    others: list[tuple[str, dict[str, Any]]] = [
        (f"{HEADER}\n{LINE}\n", terms),
        (f"{HEADER}\n{LINE}", {**terms, "period": "2026-01"}),
        (f"{HEADER}\n{LINE}", {**terms, "currency": "GBP"}),
    ]
    for content, changed in others:
        with pytest.raises(ReferenceReused):
            received(world.bookshop, content, **changed)
    assert received(world.toyshop, f"{HEADER}\n{LINE}", **terms).bill.id != first.bill.id


def test_of_one_bill_that_comes_many_times_at_once_there_is_one(world: World) -> None:
    def receive() -> Received:
        return received(world.bookshop, f"{HEADER}\n{LINE}", reference="at once")

    made = [each for each in at_once([receive] * 8) if not isinstance(each, Busy)]
    assert len({each.bill.id for each in made}) == 1
    assert [each.replayed for each in made].count(False) == 1
    assert rows("SELECT count(*) AS n FROM bill WHERE store_id = :id", id=world.bookshop)[0].n == 1
    parts = "SELECT count(*) AS n FROM bill_part WHERE bill_id = :id"
    assert rows(parts, id=made[0].bill.id)[0].n == 1


def test_what_counts_ends_with_the_month_or_with_the_arrival(world: World) -> None:
    now = datetime(2026, 11, 30, 23, 56, tzinfo=UTC)
    with clock.set_to(now):
        this = bill_of_csv(world.bookshop, [], period="2026-11")
        assert this.as_of == this.received_at
        assert bill_of_csv(world.bookshop, [], period="2026-10").as_of == datetime(2026, 11, 1, tzinfo=UTC)
        assert bill_of_csv(world.bookshop, [], period="2026-12").as_of <= now + timedelta(seconds=1)
    with clock.set_to(datetime(2026, 11, 30, 23, 54, tzinfo=UTC)), pytest.raises(InvalidRequest, match="not begun"):
        bill_of_csv(world.bookshop, [], period="2026-12")


@pytest.mark.parametrize(
    ("terms", "pointer"),
    [
        ({"period": "2026-13"}, "/period"),
        ({"period": "2026-1"}, "/period"),
        ({"period": None}, "/period"),
        ({"period": "2099-01"}, "/period"),
        ({"reference": ""}, "/reference"),
        ({"reference": "x" * 101}, "/reference"),
        ({"reference": "a\nb"}, "/reference"),
        ({"reference": "self:2026-10"}, "/reference"),
        ({"reference": None}, "/reference"),
    ],
)
def test_terms_that_are_wrong(world: World, terms: dict[str, Any], pointer: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        received(world.bookshop, f"{HEADER}\n", **terms)
    assert refused.value.facts["errors"][0]["pointer"] == pointer  # type: ignore[index]


def test_a_file_and_a_request_that_say_different_things(world: World) -> None:
    content = b'{"period": "2026-10", "reference": "inside", "lines": []}'
    bill = received(world.bookshop, content, kind=JSON, period=None, reference=None).bill
    assert (bill.period, bill.reference) == ("2026-10", "inside")
    with pytest.raises(InvalidRequest, match="another"):
        received(world.bookshop, content, kind=JSON, period="2026-09", reference=None)


def test_what_is_hopeless_is_refused_at_once_with_its_line_and_not_kept(world: World) -> None:
    with pytest.raises(BillUnreadable) as refused:
        received(world.bookshop, "a,b\n1,2\n")
    assert refused.value.facts["line"] == 1
    with pytest.raises(InvalidRequest, match="no such store"):
        received(new_id("str"), f"{HEADER}\n")
    assert rows("SELECT id FROM bill WHERE store_id = :id", id=world.bookshop) == []


# ── reading ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_lines_and_wrong_lines_stand_in_their_tables(world: World) -> None:
    bill = bill_of_csv(world.bookshop, [LINE, "pay_2,x,GBP", "pay_3,-1.00,EUR"])
    assert read_bill(bill.id)
    assert not read_bill(bill.id), "once"
    found = find_bill(bill.id)
    assert (found.state, found.lines, found.wrong_lines) == ("read", 2, 1)
    lines = list_lines(bill.id, limit=10)
    assert [(line.line_no, line.payment_id, line.amount_minor, line.currency) for line in lines] == [
        (2, "pay_1", 1000, "GBP"),
        (4, "pay_3", -100, "EUR"),
    ]
    assert [(line.line_no, line.begins) for line in list_wrong_lines(bill.id, limit=10)] == [(3, "pay_2,x,GBP")]
    assert sums_of(bill.id).billed == {"GBP": 1000, "EUR": -100}
    kinds = rows("SELECT kind FROM event WHERE facts ->> 'bill_id' = :id ORDER BY at, id", id=bill.id)
    assert [row.kind for row in kinds] == ["bill_received", "bill_read"]


def test_a_file_that_breaks_off_is_unreadable_and_says_where(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.billing.files.LOOKED_AT", 2)
    monkeypatch.setattr("app.billing.read.BATCH", 2)
    line = '{"payment_id": "p", "amount": {"amount_minor": 1, "currency": "GBP"}}'
    content = f'{{"period": "2026-10", "reference": "cut", "lines": [{", ".join([line] * 7)}'.encode()
    bill = received(world.bookshop, content, kind=JSON, period=None, reference=None).bill
    work_off(bill.id)
    found = find_bill(bill.id)
    assert found.state == "unreadable"
    assert found.unreadable_because is not None
    assert found.unreadable_because.startswith("Line 7")
    assert list_lines(bill.id, limit=10) == []
    assert b"".join(file_of(bill.id)) == content


def test_more_lines_than_a_bill_may_have(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.billing.read.MOST_LINES", 3)
    bill = bill_of_csv(world.bookshop, [LINE] * 4)
    read_bill(bill.id)
    assert find_bill(bill.id).state == "unreadable"


def test_a_line_of_no_bill_is_refused_by_the_database(world: World) -> None:
    with pytest.raises(Exception, match="of no bill"), transaction() as db:
        db.exec_driver_sql(f"INSERT INTO bill_line VALUES ('{new_id('bill')}', 1, 'p', 1, 'GBP', NULL)")


# ── the worker ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def quiet(own_database: Settings) -> None:
    """No bill of another test is to be done."""
    work._put_off.clear()


@pytest.mark.usefixtures("quiet")
def test_a_bill_that_breaks_a_step_stops_no_other(world_of_own: World, monkeypatch: pytest.MonkeyPatch) -> None:
    bad, good = (bill_of_csv(world_of_own.bookshop, [LINE]) for _ in range(2))
    tried = []

    def step(bill_id: str) -> bool:
        tried.append(bill_id)
        if bill_id == bad.id:
            raise ZeroDivisionError("a bug")
        return read_bill(bill_id)

    monkeypatch.setitem(work._steps, "received", step)
    while work_on_bills():
        pass
    assert tried == [bad.id, good.id]
    assert (find_bill(bad.id).state, find_bill(good.id).state) == ("received", "matched")
    assert work_on_bills() == 0, "it is not tried in a loop"
    monkeypatch.undo()
    work._put_off.clear()
    while work_on_bills():
        pass
    assert find_bill(bad.id).state == "matched"


@pytest.mark.usefixtures("quiet")
def test_two_workers_read_one_bill_once(world_of_own: World) -> None:
    bills = [bill_of_csv(world_of_own.bookshop, [LINE] * 50) for _ in range(4)]

    def work_through() -> int:
        return sum(iter(work_on_bills, 0))

    assert sum(at_once([work_through] * 2)) <= 8
    while work_on_bills():
        pass
    for bill in bills:
        found = find_bill(bill.id)
        assert (found.state, found.lines) == ("matched", 50)


READER = """
import sys, time
from app.factory import wire
from app.config import Settings
wire(Settings.from_env())
from app.billing import read
read.BATCH = 100
print(read.read_bill(sys.argv[1], progress=lambda count: (print(count, flush=True), time.sleep(0.2))))
"""


@pytest.mark.usefixtures("quiet")
def test_a_reader_that_is_killed_leaves_nothing_half_and_the_next_does_all(
    world_of_own: World, own_database: Settings, keys_dir: Any
) -> None:
    bill = bill_of_csv(world_of_own.bookshop, [f"pay_{number},1.00,GBP" for number in range(2_000)])
    command = [sys.executable, "-c", READER, bill.id]
    env = environment(own_database, keys_dir, 8000)
    with subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.PIPE) as reader:
        assert reader.stdout is not None
        assert reader.stdout.readline() == b"100\n"
        assert read_bill(bill.id) is False, "it has the bill in hand"
        os.kill(reader.pid, signal.SIGKILL)
    until = time.monotonic() + 20
    while not read_bill(bill.id):  # the server notices that nobody is there any more
        assert time.monotonic() < until
        time.sleep(0.1)
    assert find_bill(bill.id).lines == 2_000
    assert rows("SELECT count(*) AS n FROM bill_line WHERE bill_id = :id", id=bill.id)[0].n == 2_000


@pytest.fixture
def world_of_own(own_database: Settings) -> World:
    return make_world()
