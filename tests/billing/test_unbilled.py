"""What nobody has billed: listed in pages and whole, and billed for the store when that is wanted, once."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from flask.testing import FlaskClient

from app import clock, config
from app.billing.reject import reject_bill
from app.billing.rules import period_named
from app.billing.self_bill import self_bill
from app.billing.unbilled import Unbilled, list_unbilled, unbilled
from app.billing.work import work_off
from app.db.transaction import transaction
from app.ids import StoreId
from tests.api import store_machine
from tests.billing.bills import given_bill, matched, outcomes, paid_minor
from tests.billing.test_match import (
    A_LITTLE_AFTER,
    AT_THE_END,
    END_OF_OCTOBER,
    IN_NOVEMBER,
    IN_OCTOBER,
    RECEIVED,
    bill,
    refund,
    settled,
)
from tests.world import World, make_world, rows


def listed(store_id: StoreId, period: str) -> dict[str, int]:
    """What is unbilled, by payment, in pages of two."""
    found: list[Unbilled] = []
    while page := list_unbilled(store_id=store_id, period=period, after=found[-1].id if found else None, limit=2):
        found += page
    with transaction() as db:
        assert list(unbilled(db, period_named(period), store_id=store_id)) == found
        whole = [each for each in unbilled(db, period_named(period)) if each.store_id == store_id]
    assert whole == found
    return {each.payment_id: each.amount.amount_minor for each in found}


def test_what_no_bill_has_taken_up_is_listed_by_payment_up_to_the_periods_end(world: World) -> None:
    open_ones = [settled(world) for _ in range(3)]
    billed, later, gone = settled(world), settled(world, at=IN_NOVEMBER), settled(world)
    refund(world, open_ones[0], 500, at=IN_OCTOBER)
    refund(world, gone, 3_000, at=IN_OCTOBER)
    matched(bill(world, (billed, 3_000)))
    refund(world, billed, 700, at=IN_NOVEMBER)
    october = {open_ones[0]: 2_500, open_ones[1]: 3_000, open_ones[2]: 3_000}
    assert listed(world.bookshop, "2026-10") == october
    assert listed(world.bookshop, "2026-11") == {**october, later: 3_000, billed: -700}
    assert listed(world.bookshop, "2026-09") == listed(world.toyshop, "2026-11") == {}


def test_a_store_reads_its_own_in_pages(client: FlaskClient, world: World) -> None:
    pays = [settled(world) for _ in range(3)]
    shop = store_machine(client, world.bookshop)
    first = shop.get("/v1/bills/unbilled", period="2026-10", limit="2").get_json()
    assert [each["payment_id"] for each in first["items"]] == pays[:2]
    assert first["items"][0]["amount"] == {"amount_minor": 3_000, "currency": "GBP"}
    rest = shop.get("/v1/bills/unbilled", period="2026-10", limit="2", after=first["next"]).get_json()
    assert ([each["payment_id"] for each in rest["items"]], rest["next"]) == (pays[2:], None)
    assert store_machine(client, world.toyshop).get("/v1/bills/unbilled", period="2026-10").get_json()["items"] == []


@pytest.fixture
def after_60_days(own_database: config.Settings) -> Iterator[None]:
    """In a database of its own, for it bills all stores."""
    config.use(replace(own_database, self_bill_after_days=60))
    yield
    config.use(own_database)


def self_billed(world: World) -> dict[str, Any]:
    """Makes what is due, and matches it; the bills by their references."""
    self_bill()
    found = rows("SELECT id, reference FROM bill WHERE store_id = :id AND source = 'self'", id=world.bookshop)
    for row in found:
        work_off(row.id)
    return {row.reference: row.id for row in found}


def test_after_its_time_a_month_is_billed_for_the_store_once(after_60_days: None) -> None:
    world = make_world()
    one, two = settled(world), settled(world, 1_000, at=AT_THE_END, final=False)
    refund(world, one, 500, at=IN_OCTOBER)
    with clock.set_to(A_LITTLE_AFTER):
        world.settle(two, 2_000)
    november_is_due_at = END_OF_OCTOBER + timedelta(days=30 + 60)
    with clock.set_to(END_OF_OCTOBER + timedelta(days=60) - timedelta(seconds=1)):
        assert self_billed(world) == {}
    with clock.set_to(END_OF_OCTOBER + timedelta(days=60)):
        made = self_billed(world)
    assert list(made) == ["self:2026-10"]
    assert outcomes(made["self:2026-10"]) == {2: "matched", 3: "matched"}  # after the header
    assert paid_minor(made["self:2026-10"]) == 2_500 + 1_000
    with clock.set_to(november_is_due_at):
        made = self_billed(world)
        assert self_billed(world) == made
    assert list(made) == ["self:2026-10", "self:2026-11"]
    assert paid_minor(made["self:2026-11"]) == 2_000


def test_beside_a_stores_own_bill_each_settlement_is_in_one(after_60_days: None) -> None:
    """While the store's waits to be matched none is made; what it leaves is billed for it, credits come along."""
    world = make_world()
    named, left, before = settled(world), settled(world), settled(world, at=IN_OCTOBER - timedelta(days=30))
    matched(given_bill(world.bookshop, [(before, 3_000)], period="2026-09", received_at=RECEIVED))
    refund(world, before, 100, at=IN_OCTOBER)
    own = bill(world, (named, 3_000))
    with clock.set_to(END_OF_OCTOBER + timedelta(days=60)):
        assert self_billed(world) == {}
        assert matched(own) == {0: "credit", 1: "matched"}
        made = self_billed(world)["self:2026-10"]
    assert rows("SELECT payment_id FROM bill_line WHERE bill_id = :id", id=made)[0].payment_id == left
    assert (outcomes(made), paid_minor(made)) == ({2: "matched"}, 3_000)
    late = bill(world, (left, 3_000))
    assert matched(late) == {1: "already_billed"}


def test_what_finance_rejects_of_it_is_not_billed_again_by_itself(after_60_days: None) -> None:
    world = make_world()
    settled(world)
    with clock.set_to(END_OF_OCTOBER + timedelta(days=60)):
        made = self_billed(world)
        reject_bill(made["self:2026-10"], by="operator:ann")
        assert self_billed(world) == made
    assert len(listed(world.bookshop, "2026-10")) == 1


def test_a_month_that_came_to_nothing_keeps_no_other_waiting(after_60_days: None) -> None:
    world = make_world()
    refund(world, settled(world, at=IN_OCTOBER), 3_000, at=IN_OCTOBER)
    settled(world, at=IN_NOVEMBER)
    with clock.set_to(END_OF_OCTOBER + timedelta(days=30 + 60)):
        made = self_billed(world)
    assert list(made) == ["self:2026-11"]
    assert paid_minor(made["self:2026-11"]) == 3_000


def test_of_a_store_that_sells_no_more_what_it_gave_back_is_billed_too(after_60_days: None) -> None:
    """Or what it has yet to be paid would never be covered."""
    world = make_world()
    pay = settled(world)
    assert matched(bill(world, (pay, 3_000))) == {1: "matched"}
    refund(world, pay, 1, at=IN_NOVEMBER)
    with clock.set_to(END_OF_OCTOBER + timedelta(days=30 + 60)):
        made = self_billed(world)
        assert self_billed(world) == made
    assert list(made) == ["self:2026-11"]
    assert paid_minor(made["self:2026-11"]) == -1


def test_by_default_nobody_is_billed_for(own_database: config.Settings) -> None:
    world = make_world()
    settled(world)
    with clock.set_to(RECEIVED + timedelta(days=400)):
        assert (self_bill(), self_billed(world)) == (0, {})
