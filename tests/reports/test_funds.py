"""What must be on an issuer's account, and who is told when it is not."""

from datetime import timedelta
from typing import Any

import pytest

from app import clock
from app.billing.approve import approve_bill
from app.billing.payouts import note_paid, note_returned
from app.billing.runs import draft_run, release_run
from app.config import Settings
from app.db.transaction import snapshot
from app.guard.alarm_rules import BY_NAME
from app.guard.alarm_sight import look
from app.redemption.refund import refund_payment
from app.redemption.refund_cover import allow_refunds
from app.reports.asked import Asked, Month
from app.reports.bank_balance import enter_balance, warn_below
from app.reports.catalogue import build_report
from app.reports.positions import days_of
from app.reports.safeguarding import notes_of
from app.reports.watch_funds import watch_funds
from tests.at_once import at_once
from tests.billing.matched import bill_of, settled
from tests.reports.books import asked_of, built, named
from tests.world import World, gbp, make_world, reference, rows

ANN, BOB = "operator:ann", "operator:bob"


def position(world: World) -> dict[str, Any]:
    asked = asked_of(world, str(Month.of(clock.here())), as_of=clock.here() + timedelta(seconds=1))
    [row] = named(built("funding", asked))
    return row


def of(row: dict[str, Any]) -> tuple[int, int, int, int]:
    return row["liability"], row["owed"], row["in_transit"], row["required"]


def test_what_must_be_there_follows_the_money_to_the_stores_bank_and_back(own_database: Settings) -> None:
    """And the remittance advice of the payout comes to what was paid."""
    world = make_world()
    payment_id = settled(world, 3_000)
    world.issue(500)
    assert of(position(world)) == (500, 3_000, 0, 3_500)
    bill_id = bill_of(world, [payment_id])
    approve_bill(bill_id, operator=ANN)
    run = draft_run(mode="test", operator=ANN)
    release_run(run.id, operator=BOB)
    assert of(position(world)) == (500, 0, 3_000, 3_500)
    [payout] = rows("SELECT id FROM payout")
    asked = Asked("test", clock.here(), Month.of(clock.here()), payout_id=payout.id)
    report = built("remittance", asked)
    assert [row["amount"] for row in named(report)] == [3_000]
    assert not report.is_wrong
    note_paid([payout.id])
    assert of(position(world)) == (500, 0, 0, 500)
    note_returned([payout.id], reason="closed")
    assert of(position(world)) == (500, 3_000, 0, 3_500)
    month = str(Month.of(clock.here()))
    for name in ("journal", "statement"):
        issuer = named(built(name, asked_of(world, month, as_of=clock.here())))
        assert {row["issuer_id"] for row in issuer} == {world.issuer_id}
    kinds = [row["kind"] for row in named(built("journal", asked_of(world, month)))][::2]
    assert kinds == ["issue", "settle", "issue", "send", "arrive", "return"]


def test_what_a_store_owes_us_lessens_nothing_of_what_must_be_there(own_database: Settings) -> None:
    world = make_world()
    payment_id = settled(world, 3_000)
    approve_bill(bill_of(world, [payment_id]), operator=ANN)
    run = release_run(draft_run(mode="test", operator=ANN).id, operator=BOB)
    note_paid([run.payouts[0].id])
    allow_refunds(world.bookshop, "GBP", 5_000)
    refund_payment(payment_id, gbp(2_000), store_id=world.bookshop, reference=reference(world.bookshop))
    assert of(position(world)) == (2_000, 0, 0, 2_000)
    assert position(world)["receivable"] == 2_000


def test_too_little_is_told_once_however_many_look(own_database: Settings) -> None:
    world, fine = make_world(), make_world()
    now = clock.here()
    yesterday = now.date() - timedelta(days=1)
    with clock.set_to(now - timedelta(days=2)):
        for each in (world, fine):
            each.issue(5_000)
    warn_below(world.issuer_id, "GBP", 4_994)
    warn_below(fine.issuer_id, "GBP", 5_000)
    for each, balance in ((world, "49.93"), (fine, "50.00")):
        enter_balance(each.issuer_id, "GBP", yesterday, balance, operator=ANN)
    assert at_once([watch_funds] * 3) == [0, 0, 0]
    watch_funds()
    found = rows("SELECT kind, facts FROM event WHERE kind LIKE 'funds%' ORDER BY kind")
    assert [(row.kind, row.facts["issuer_id"]) for row in found] == [
        ("funds_low", world.issuer_id),
        ("funds_short", world.issuer_id),
    ]
    assert (found[1].facts["short_minor"], found[1].facts["required_minor"]) == (7, 5_000)
    with snapshot(within_s=10) as db:
        for rule in ("funds_short", "funds_low"):
            [told] = look(db, BY_NAME[rule], clock.now(db), own_database.alarms)
            assert told.seen.party_id == world.issuer_id
    with snapshot(within_s=10) as db:
        assert look(db, BY_NAME["funds_unknown"], clock.now(db), own_database.alarms) == []
    with clock.ahead(timedelta(days=1)):
        watch_funds()
    assert len(rows("SELECT FROM event WHERE kind LIKE 'funds%'")) == 4, "the next day is told anew"
    with snapshot(within_s=10) as db:
        report = build_report(db, "safeguarding", Asked("live", clock.now(db), Month.of(now)))
        assert list(report.rows) == []


def told(kind: str) -> list[str]:
    """The days of which it was told, in order."""
    found = rows("SELECT facts ->> 'day' AS day FROM event WHERE kind = :kind ORDER BY facts ->> 'day'", kind=kind)
    return [row.day for row in found]


@pytest.mark.parametrize(
    ("mode", "age", "is_told"),
    [("live", None, True), ("test", None, False), ("live", 3, False), ("live", 4, True), ("test", 4, True)],
)
def test_a_balance_that_is_missing_or_old_is_told_to_operators_alone(
    own_database: Settings, mode: str, age: int | None, is_told: bool
) -> None:
    world = make_world(mode=mode)
    now = clock.here()
    yesterday = now.date() - timedelta(days=1)
    with clock.set_to(now - timedelta(days=6)):
        world.issue(5_000)
    if age is not None:
        enter_balance(world.issuer_id, "GBP", yesterday - timedelta(days=age), "50.00", operator=ANN)
    watch_funds()
    watch_funds()
    assert told("funds_unknown") == [str(yesterday)] * is_told
    assert told("funds_short") == []
    with snapshot(within_s=10) as db:
        found = look(db, BY_NAME["funds_unknown"], clock.now(db), own_database.alarms)
        assert [(each.seen.group_id, each.seen.party_id) for each in found] == [(world.issuer_id, None)] * is_told
        days = days_of(db, Asked(mode, now, Month.of(now)), yesterday, yesterday)
        assert [note.wrong for note in notes_of(days, mode) if note.wrong] == [True] * is_told


def test_what_is_entered_days_later_is_looked_at_for_a_week(own_database: Settings) -> None:
    world = make_world()
    now = clock.here()
    days = [now.date() - timedelta(days=before) for before in range(9, 0, -1)]
    with clock.set_to(now - timedelta(days=20)):
        world.issue(5_000)
    for day in days:
        enter_balance(world.issuer_id, "GBP", day, "50.00", operator=ANN)
    watch_funds()
    assert told("funds_short") == []
    for day in days[1:4]:
        enter_balance(world.issuer_id, "GBP", day, "49.00", operator=ANN)
    for later in (0, 1, 5):
        with clock.ahead(timedelta(days=later)):
            watch_funds()
    assert told("funds_short") == [str(day) for day in days[2:4]]
