"""From an approved bill to a store's bank: nothing twice, nothing uncovered, and the books say so."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, bindparam, event, func, select, text

from app import clock
from app.billing import runs
from app.billing.approve import approve_bill
from app.billing.entries import approve_adjustment, fund, list_entries, propose_adjustment, reject_adjustment
from app.billing.export import export_run
from app.billing.months import begin_of, close_month, following, list_closed_months
from app.billing.pay_rules import decide_release
from app.billing.payables import list_payables
from app.billing.payouts import Payout, list_payouts, note_paid, note_returned
from app.billing.remittance import advice_csv, list_remittances, read_advice
from app.billing.runs import Run, draft_run, drop_run, find_run, release_run
from app.config import Settings
from app.db.transaction import transaction
from app.errors import InvalidRequest, NotFound, ReferenceReused, RefundNotCovered, Refusal
from app.ids import IssuerId, StoreId
from app.redemption import refund_cover
from app.redemption.models import Store
from app.redemption.refund import Refund, refund_payment
from app.redemption.refund_cover import allow_refunds
from app.redemption.settle import settle_payment
from tests.at_once import at_once, split
from tests.billing.matched import bill_of, settled
from tests.world import World, assert_audit_is_clean, gbp, make_world, reference, rows

ANN, BOB = "operator:ann", "operator:bob"


@pytest.fixture
def world(own_database: Settings) -> Iterator[World]:
    """Alone in its database, whose books balance at the end."""
    yield make_world()
    assert_audit_is_clean()


def owed(store_id: StoreId) -> int:
    return int(rows("SELECT owed_of(:id) AS minor", id=f"{store_id}:owed:GBP")[0].minor)


def refund(world: World, payment_id: Any, amount_minor: int) -> Refund:
    return refund_payment(payment_id, gbp(amount_minor), store_id=world.bookshop, reference=reference(world.bookshop))


def drafted(world: World, *amounts: int) -> Run:
    """A drafted run for Bookshop, which has settled and billed these amounts."""
    approve_bill(bill_of(world, [settled(world, each) for each in amounts]), operator=ANN)
    return draft_run(mode="test", operator=ANN)


def sent(world: World, *amounts: int) -> Payout:
    return release_run(drafted(world, *amounts).id, operator=BOB).payouts[0]


# ── bills and payables ──────────────────────────────────────────────────────────────────────────────────────────────


def test_a_bill_is_approved_once_and_not_before_its_breaks_are_closed(world: World) -> None:
    bill = bill_of(world, [settled(world)])
    made = approve_bill(bill, operator=ANN)
    assert [(one.store_id, one.issuer_id, one.amount_minor) for one in made] == [
        (world.bookshop, world.issuer_id, 2_000)
    ]
    with pytest.raises(InvalidRequest, match="approved"):
        approve_bill(bill, operator=ANN)
    with pytest.raises(InvalidRequest, match="open"):
        approve_bill(bill_of(world, [], unknown={"pay_x": 5}), operator=ANN)
    with pytest.raises(NotFound):
        approve_bill("bill_x", operator=ANN)
    assert [one.id for one in list_payables(mode="test")] == [made[0].id]
    assert list_payables(mode="live") == list_payables(store_id=world.toyshop) == []


def test_at_once_a_bill_is_approved_by_one(world: World) -> None:
    bill = bill_of(world, [settled(world)], written_off={"pay_x": 300})
    done, refused = split(at_once([lambda: approve_bill(bill, operator=ANN)] * 4))
    assert (len(done), len(refused)) == (1, 3)
    assert owed(world.bookshop) == 2_300


def test_what_was_written_off_is_goodwill_and_is_paid(world: World) -> None:
    bill = bill_of(world, [settled(world)], written_off={"pay_x": 300, "pay_y": 45})
    assert approve_bill(bill, operator=ANN)[0].amount_minor == 2_345
    assert owed(world.bookshop) == 2_345
    run = release_run(draft_run(mode="test", operator=ANN).id, operator=BOB)
    assert [(one.state, one.amount_minor) for one in run.payouts] == [("in_transit", 2_345)]
    assert owed(world.bookshop) == 0


def test_what_comes_to_less_than_nothing_is_netted_with_the_next(world: World) -> None:
    first = settled(world)
    approve_bill(bill_of(world, [first]), operator=ANN)
    release_run(draft_run(mode="test", operator=ANN).id, operator=BOB)
    allow_refunds(world.bookshop, "GBP", 2_000)
    refund(world, first, 1_500)
    later = bill_of(world, [])
    assert [one.amount_minor for one in approve_bill(later, operator=ANN)] == [-1_500]
    with pytest.raises(NotFound, match="nothing to pay"):
        draft_run(mode="test", operator=ANN)
    assert [one.amount_minor for one in drafted(world, 4_000).payouts] == [2_500]


# ── runs ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_who_drafts_does_not_release_and_a_run_is_released_once(world: World) -> None:
    run = drafted(world, 1_000, 700)
    assert [(one.state, one.amount_minor) for one in run.payouts] == [("drafted", 1_700)]
    with pytest.raises(InvalidRequest, match="another operator"):
        release_run(run.id, operator=ANN)
    assert find_run(run.id) == run
    done, refused = split(at_once([lambda: release_run(run.id, operator=BOB)] * 4))
    assert (len(done), len(refused)) == (1, 3)
    assert (owed(world.bookshop), len(list_payouts(state="in_transit"))) == (0, 1)
    with pytest.raises(InvalidRequest, match="released already"):
        drop_run(run.id, operator=ANN)


def test_a_draft_has_its_payables_until_it_is_dropped(world: World) -> None:
    run = drafted(world, 1_000)
    with pytest.raises(NotFound):
        draft_run(mode="test", operator=ANN)
    assert drop_run(run.id, operator=ANN).payouts[0].state == "dropped"
    with pytest.raises(InvalidRequest, match="dropped already"):
        release_run(run.id, operator=BOB)
    again = draft_run(mode="test", operator=ANN)
    assert again.payouts[0].end_to_end_id != run.payouts[0].end_to_end_id


def test_at_once_one_draft_has_each_payable(world: World) -> None:
    approve_bill(bill_of(world, [settled(world)]), operator=ANN)
    done, refused = split(at_once([lambda: draft_run(mode="test", operator=ANN)] * 4))
    assert (len(done), {type(each) for each in refused}) == (1, {NotFound})


def test_what_refunds_have_taken_since_is_left_out_and_free_again(world: World) -> None:
    payment = settled(world)
    approve_bill(bill_of(world, [payment]), operator=ANN)
    settled(world, 900, store=world.toyshop)
    run = draft_run(mode="test", operator=ANN)
    refund(world, payment, 1)
    released = release_run(run.id, operator=BOB)
    assert [(one.state, one.left_out_because) for one in released.payouts] == [
        ("left_out", "not covered by what is owed now")
    ]
    assert owed(world.bookshop) == 1_999
    approve_bill(bill_of(world, []), operator=ANN)
    again = release_run(draft_run(mode="test", operator=ANN).id, operator=BOB)
    assert [(one.state, one.amount_minor) for one in again.payouts] == [("in_transit", 1_999)]


def test_an_allowance_covers_a_payout_too(world: World) -> None:
    payment = settled(world)
    approve_bill(bill_of(world, [payment]), operator=ANN)
    run = draft_run(mode="test", operator=ANN)
    refund(world, payment, 500)
    allow_refunds(world.bookshop, "GBP", 500)
    assert release_run(run.id, operator=BOB).payouts[0].state == "in_transit"
    assert owed(world.bookshop) == -500
    with pytest.raises(RefundNotCovered):
        refund(world, payment, 1)


class Cut(BaseException):
    """The process is gone."""


def test_cut_before_any_statement_of_a_release_nothing_is_half_done(world: World) -> None:
    """The transaction is one; each statement of it is the last one once, and the connection is lost with it."""
    run = drafted(world, 1_000, 500)
    left, seen = [10**6], [0]

    def cut(connection: Any, *_: Any) -> None:
        seen[0] += 1
        left[0] -= 1
        if left[0] < 0:
            connection.connection.driver_connection.close()
            raise Cut

    event.listen(Engine, "before_cursor_execute", cut)
    try:
        for place in range(100):
            left[0], seen[0] = place, 0
            try:
                release_run(run.id, operator=BOB)
            except (Cut, Refusal):
                left[0] = 10**6
                assert find_run(run.id) == run
                assert owed(world.bookshop) == 1_500
                continue
            break
    finally:
        event.remove(Engine, "before_cursor_execute", cut)
    assert 10 < place < 40
    assert (find_run(run.id).state, owed(world.bookshop)) == ("released", 0)


def test_the_export_is_the_same_each_time_and_no_formula(world: World) -> None:
    with transaction() as db:
        db.execute(
            text("INSERT INTO store (id, name, mode, created_at) VALUES ('str_evil', '=cmd|x', 'test', now())"),
        )
    payment = world.payment(3_000, store=StoreId("str_evil")).payment.id
    settle_payment(payment, gbp(3_000), store_id=StoreId("str_evil"), reference=reference("str_evil"))
    approve_bill(bill_of(world, [payment], store=StoreId("str_evil")), operator=ANN)
    run = drafted(world, 1_250)
    with pytest.raises(InvalidRequest, match="drafted"):
        export_run(run.id)
    release_run(run.id, operator=BOB)
    first = export_run(run.id)
    note_returned([run.payouts[0].id], reason="AC04")
    assert export_run(run.id) == first
    lines = first.decode().splitlines()
    assert lines[0] == "end_to_end_id,payout_id,store_id,store,issuer_id,issuer,amount,currency"
    assert {line.split(",")[6] for line in lines[1:]} == {"30.00", "12.50"}
    assert any(",'=cmd|x," in line for line in lines)


# ── what the bank says ──────────────────────────────────────────────────────────────────────────────────────────────


def test_paid_and_returned_are_noted_once_and_in_order(world: World) -> None:
    run = drafted(world, 2_000)
    with pytest.raises(InvalidRequest, match="is drafted"):
        note_paid([run.payouts[0].id])
    payout = release_run(run.id, operator=BOB).payouts[0]
    assert [one.id for one in note_paid([payout.id, payout.id])] == [payout.id]
    assert note_paid([payout.id]) == []
    assert [one.id for one in note_returned([payout.id], reason="AC04")] == [payout.id]
    assert note_returned([payout.id], reason="AC04") == []
    with pytest.raises(InvalidRequest, match="is returned"):
        note_paid([payout.id])
    with pytest.raises(NotFound):
        note_paid(["out_x"])
    assert owed(world.bookshop) == 2_000


def test_what_was_returned_is_paid_by_another_payout(world: World) -> None:
    payout = sent(world, 2_000)
    note_returned([payout.id], reason="AC04")
    again = release_run(draft_run(mode="test", operator=ANN).id, operator=BOB).payouts[0]
    assert (again.amount_minor, again.state) == (2_000, "in_transit")
    assert again.end_to_end_id != payout.end_to_end_id
    assert owed(world.bookshop) == 0


def test_all_of_a_list_is_noted_or_none(world: World) -> None:
    first, other = sent(world, 1_000), drafted(world, 700)
    with pytest.raises(InvalidRequest):
        note_paid([first.id, other.payouts[0].id])
    assert list_payouts(state="paid") == []


def test_at_once_paid_and_returned_move_it_once(world: World) -> None:
    payout = sent(world, 2_000)
    calls = [lambda: note_paid([payout.id]), lambda: note_returned([payout.id], reason="AC04")] * 3
    split(at_once(calls))
    assert owed(world.bookshop) == 2_000
    assert [one.state for one in list_payouts()] == ["returned"]


# ── refunds meanwhile ───────────────────────────────────────────────────────────────────────────────────────────────


def test_who_was_paid_refunds_no_more_than_the_allowance(world: World) -> None:
    payment = settled(world)
    approve_bill(bill_of(world, [payment]), operator=ANN)
    refund(world, payment, 100)
    release_run(draft_run(mode="test", operator=ANN).id, operator=BOB)  # left out: 100 are missing
    allow_refunds(world.bookshop, "GBP", 100)
    release_run(draft_run(mode="test", operator=ANN).id, operator=BOB)
    assert owed(world.bookshop) == -100
    with pytest.raises(RefundNotCovered) as refused:
        refund(world, payment, 1)
    assert refused.value.facts == {"left_minor": 0}
    allow_refunds(world.bookshop, "GBP", 250)
    with pytest.raises(RefundNotCovered) as refused:
        refund(world, payment, 151)
    assert refused.value.facts == {"left_minor": 150}
    settled(world, 1_000)
    refund(world, payment, 1_150)
    assert owed(world.bookshop) == -250
    allow_refunds(world.bookshop, "GBP", 0)
    with pytest.raises(RefundNotCovered):
        refund(world, payment, 1)


def race(world: World) -> int:
    """A release and refunds of all that it pays, at once; what is owed at the end."""
    payments = [settled(world, 1_000) for _ in range(4)]
    approve_bill(bill_of(world, payments), operator=ANN)
    run = draft_run(mode="test", operator=ANN)
    calls = [lambda one=one: refund(world, one, 1_000) for one in payments]
    split(at_once([*calls, lambda: release_run(run.id, operator=BOB)]))
    return owed(world.bookshop)


def test_at_once_a_release_and_refunds_never_take_more_than_is_owed_and_allowed(world: World) -> None:
    allow_refunds(world.bookshop, "GBP", 500)
    for _ in range(3):
        assert race(world) >= -500


def test_without_the_stores_lock_they_do(own_database: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted: what is owed is read, and nobody waits for anybody."""
    world = make_world()
    locked = select(Store.refund_allowances).where(Store.id == bindparam("of_store")).subquery("locked")
    owed_minor = func.owed_of(bindparam("owed_account")).label("owed_minor")
    monkeypatch.setattr(refund_cover, "_COVER", select(locked.c.refund_allowances, owed_minor))

    def decide_slowly(*seen: Any) -> list[str]:
        time.sleep(0.3)
        return decide_release(*seen)

    monkeypatch.setattr(runs, "decide_release", decide_slowly)
    assert any(race(world) < 0 for _ in range(5))


# ── entries and months ──────────────────────────────────────────────────────────────────────────────────────────────


def balance(account: str) -> int:
    return int(rows("SELECT owed_of(:id) AS minor", id=account)[0].minor)


def test_money_that_came_is_booked_once_by_its_reference(world: World) -> None:
    first = fund(world.issuer_id, gbp(9_000), reference="B-1", operator=ANN)
    again = at_once([lambda: fund(world.issuer_id, gbp(9_000), reference="B-1", operator=BOB)] * 3)
    assert [one.id for one in again] == [first.id] * 3
    with pytest.raises(ReferenceReused):
        fund(world.issuer_id, gbp(9_001), reference="B-1", operator=ANN)
    assert balance(f"{world.issuer_id}:funding:GBP") == 9_000
    with pytest.raises(InvalidRequest):
        fund(world.issuer_id, gbp(-5), reference="B-2", operator=ANN)
    with pytest.raises(InvalidRequest, match="later than now"):
        fund(world.issuer_id, gbp(5), reference="B-2", operator=ANN, effective_at=datetime(2999, 1, 1, tzinfo=UTC))
    with pytest.raises(NotFound):
        fund(IssuerId("iss_x"), gbp(5), reference="B-2", operator=ANN)


def test_an_adjustment_needs_another_person_and_moves_once(world: World) -> None:
    asked = propose_adjustment(world.issuer_id, gbp(-700), account="fraud_loss", reason="a stolen code", operator=ANN)
    with pytest.raises(InvalidRequest, match="another operator"):
        approve_adjustment(asked.id, operator=ANN)
    assert balance(f"{world.issuer_id}:fraud_loss:GBP") == 0
    done, refused = split(at_once([lambda: approve_adjustment(asked.id, operator=BOB)] * 3))
    assert (len(done), len(refused)) == (1, 2)
    assert balance(f"{world.issuer_id}:fraud_loss:GBP") == 700 == -balance(f"{world.issuer_id}:funding:GBP")
    back = propose_adjustment(world.issuer_id, gbp(200), account="fraud_loss", reason="found", operator=BOB)
    assert [one.id for one in list_entries(state="proposed")] == [back.id]
    reject_adjustment(back.id, operator=BOB)
    with pytest.raises(NotFound):
        approve_adjustment(back.id, operator=ANN)
    for account, reason in (("owed", "x"), ("goodwill", " ")):
        with pytest.raises(InvalidRequest):
            propose_adjustment(world.issuer_id, gbp(1), account=account, reason=reason, operator=ANN)


def test_months_close_in_order_and_what_comes_later_posts_to_the_open_one(world: World) -> None:
    with transaction() as db:
        this = f"{clock.now(db):%Y-%m}"
    for month in (this, "2999-01", "2026-13", "x"):
        with pytest.raises(InvalidRequest):
            close_month(month, mode="test", operator=ANN)
    close_month("2026-01", mode="test", operator=ANN)
    for month in ("2026-01", "2026-03"):
        with pytest.raises(InvalidRequest, match="next month to close is 2026-02"):
            close_month(month, mode="test", operator=ANN)
    effective_at = begin_of("2026-02") - timedelta(seconds=1)
    fund(world.issuer_id, gbp(5), reference="B-1", operator=ANN, effective_at=effective_at)
    close_month("2026-02", mode="test", operator=ANN)
    assert [one.month for one in list_closed_months(mode="test")] == ["2026-01", "2026-02"]
    fund(world.issuer_id, gbp(5), reference="B-2", operator=ANN, effective_at=effective_at)
    query = "SELECT at, posted_at(mode, at, recorded_at) AS posted_at FROM transfer WHERE kind = 'fund' ORDER BY id"
    assert [(row.at, row.posted_at) for row in rows(query)] == [
        (effective_at, begin_of("2026-02")),
        (effective_at, begin_of("2026-03")),
    ]
    assert following("2026-12") == "2027-01"


# ── what stores are told ────────────────────────────────────────────────────────────────────────────────────────────


def test_an_advice_adds_up_to_its_payout(world: World) -> None:
    first = settled(world)
    sent_before = approve_bill(bill_of(world, [first]), operator=ANN)
    refund(world, first, 400)
    bill = bill_of(world, [settled(world, 1_000)], written_off={"pay_x": 300})
    approve_bill(bill, operator=ANN)
    payout = release_run(draft_run(mode="test", operator=ANN).id, operator=BOB).payouts[0]
    advice = read_advice(payout.id, store_id=world.bookshop)
    assert sum(one.amount_minor for one in advice.bills) == payout.amount_minor == 2_900
    assert advice.remittance.amount == payout.amount
    told = [(one.lines, one.billed_minor, one.credits_minor, one.differences_minor) for one in advice.bills]
    assert told == [(1, 2_000, 0, 0), (1, 1_000, -400, 300)]
    assert [(one.payment_id, one.amount_minor) for one in advice.credits] == [(first, -400)]
    assert [(one.payment_id, one.state, one.difference_minor) for one in advice.breaks] == [("pay_x", "written_off", 0)]
    lines = advice_csv(advice).decode().splitlines()
    assert lines[-1] == f"sum,,,,,,{payout.end_to_end_id},29.00,GBP"
    assert any(line.startswith(f"credit,{bill},") and line.endswith(",-4.00,GBP") for line in lines)
    assert [one.id for one in list_remittances(store_id=world.bookshop, after=None, limit=5)] == [payout.id]
    assert list_remittances(store_id=world.bookshop, after=payout.id, limit=5) == []
    for whose in (world.toyshop, StoreId("str_x")):
        with pytest.raises(NotFound):
            read_advice(payout.id, store_id=whose)
    assert sent_before[0].amount_minor == 2_000


def test_a_draft_is_no_remittance(world: World) -> None:
    run = drafted(world, 1_000)
    with pytest.raises(NotFound):
        read_advice(run.payouts[0].id)
    assert list_remittances(store_id=world.bookshop, after=None, limit=5) == []
