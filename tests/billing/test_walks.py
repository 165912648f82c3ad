"""Random walks of two bills' breaks through all that finance may do, beside a model of what is taken up and paid."""

from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from app import config
from app.billing.approve import approve_bill
from app.billing.work_break import approve_break, decline_break, propose, reopen_break
from app.errors import Refusal
from app.ids import PaymentId
from app.redemption.refund import refund_payment
from tests.billing.bills import given_bill, matched, paid_minor
from tests.billing.broken import billed_minor, breaks_of, settled
from tests.world import World, assert_audit_is_clean, gbp, make_world, reference

PEOPLE = st.sampled_from(["operator:anna", "operator:ben"])
PROPOSALS = st.sampled_from(["pay_smaller", "match_payment", "match_payment", "write_off", "reject"])
STEPS = st.sampled_from(["propose"] * 4 + ["approve"] * 6 + ["reopen"] * 3 + ["decline", "second_bill"])
CLOSED = ("resolved", "written_off", "rejected")


@dataclass
class Line:
    """A broken line as the model sees it: what was proposed, by whom, what that came to, and what it took up."""

    bill_id: str
    break_id: str
    own: PaymentId | None
    asks: int
    state: str = "open"
    proposal_id: str = ""
    proposal: str = ""
    means: PaymentId | None = None
    by: str = ""
    terms: tuple[int, int] = (0, 0)
    takes: PaymentId | None = None
    pays: int = 0


@dataclass
class Walk:
    """Four payments of Bookshop's, by what each is worth, which bill has taken up which, and the broken lines."""

    world: World
    draw: Any
    worth: dict[PaymentId, int] = field(default_factory=dict)
    taken: dict[PaymentId, str] = field(default_factory=dict)
    lines: list[Line] = field(default_factory=list)
    done: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        for settled_minor in (1_000, 2_000, 3_000, 2_500):
            self.worth[settled(self.world, settled_minor)] = settled_minor
        p, q, r, s = self.worth
        store = self.world.bookshop
        refund_payment(s, gbp(500), store_id=store, reference=reference(store))
        self.worth[s] = 2_000
        self.add([(p, 1_000), (q, 2_300), (r, 2_600), (PaymentId("pay_unknown"), 700), (s, 2_500)])

    def add(self, asked: list[tuple[PaymentId, int]]) -> None:
        """A further bill, matched: a line that asks for what its payment is worth takes it up, if nobody has."""
        bill_id = given_bill(self.world.bookshop, asked)
        matched(bill_id)
        broken = {each.line_no: each for each in breaks_of(bill_id)}
        for number, (payment_id, asks) in enumerate(asked, 1):
            if payment_id not in self.taken and self.worth.get(payment_id) == asks:
                self.taken[payment_id] = bill_id
                assert number not in broken
            else:
                own = payment_id if payment_id in self.worth else None
                self.lines.append(Line(bill_id, broken[number].id, own, asks))

    def second_bill(self) -> None:
        if "second" not in self.done:
            self.done.add("second")
            p, q, *_ = self.worth
            self.add([(q, 2_000), (p, 500)])

    def terms_of(self, line: Line, proposal: str, means: PaymentId | None) -> tuple[int, int] | None:
        """What the line takes up and is paid; None where this cannot be proposed."""
        payment_id = means or line.own
        worth = self.worth[payment_id] if payment_id and payment_id not in self.taken else None
        if proposal == "reject":
            return 0, 0
        if proposal == "write_off":
            return (worth or 0, line.asks) if line.asks > (worth or 0) else None
        return None if worth is None or line.asks < min(0, worth) else (worth, min(worth, line.asks))

    def propose(self) -> None:
        line, proposal, by = self.draw(st.sampled_from(self.lines)), self.draw(PROPOSALS), self.draw(PEOPLE)
        means = self.draw(st.sampled_from(list(self.worth))) if proposal == "match_payment" else None
        named = self.world.issuer_id if proposal == "write_off" and line.own is None else None
        terms = None if line.state in CLOSED else self.terms_of(line, proposal, means)
        try:
            found = propose(line.break_id, proposal, reason="x", by=by, payment_id=means, issuer_id=named)
        except Refusal:
            assert terms is None
            return
        assert terms == (found.would_claim_minor, found.would_pay_minor)
        line.state, line.proposal_id, line.proposal = "proposed", found.proposal_id or "", proposal
        line.means, line.by, line.terms = means, by, terms
        self.done.add(proposal)

    def approve(self) -> None:
        line, by = self.draw(st.sampled_from(self.lines)), self.draw(PEOPLE)
        alone = line.by == by and line.proposal in ("match_payment", "write_off")
        as_it_was = self.terms_of(line, line.proposal, line.means) == line.terms
        may = line.state == "proposed" and not alone and as_it_was
        try:
            approve_break(line.break_id, line.proposal_id, by=by)
        except Refusal:
            assert not may
            return
        assert may
        payment_id = None if line.proposal == "reject" else line.means or line.own
        line.takes = payment_id if payment_id not in self.taken else None
        if line.takes:
            self.taken[line.takes] = line.bill_id
        line.pays = line.terms[1]
        line.state = {"write_off": "written_off", "reject": "rejected"}.get(line.proposal, "resolved")
        self.done.add(line.state)

    def decline(self) -> None:
        line = self.draw(st.sampled_from(self.lines))
        try:
            decline_break(line.break_id, line.proposal_id, reason="x", by="operator:ben")
        except Refusal:
            assert line.state != "proposed"
            return
        assert line.state == "proposed"
        line.state = "open"

    def reopen(self) -> None:
        line = self.draw(st.sampled_from(self.lines))
        try:
            reopen_break(line.break_id, reason="x", by="operator:ben")
        except Refusal:
            assert line.state not in CLOSED
            return
        assert line.state in CLOSED
        if line.takes:
            del self.taken[line.takes]
        line.state, line.takes, line.pays = "open", None, 0
        self.done.add("reopened")

    def check(self) -> None:
        """What each bill takes up, and what is paid for it: what matched, and what its closed breaks pay."""
        for bill_id in {line.bill_id for line in self.lines}:
            took = sum(self.worth[each] for each, by in self.taken.items() if by == bill_id)
            closed = [line for line in self.lines if line.bill_id == bill_id and line.state in CLOSED]
            differs = sum(line.pays - (self.worth[line.takes] if line.takes else 0) for line in closed)
            assert (billed_minor(bill_id), paid_minor(bill_id)) == (took, took + differs)

    def end(self) -> None:
        """All that is open is rejected, and the bills approved: their payables are what is paid for them."""
        for line in self.lines:
            if line.state not in CLOSED:
                found = propose(line.break_id, "reject", reason="x", by="operator:ben")
                approve_break(line.break_id, found.proposal_id or "", by="operator:ben")
        for bill_id in {line.bill_id for line in self.lines}:
            payables = approve_bill(bill_id, operator="operator:claire")
            assert sum(each.amount_minor for each in payables) == paid_minor(bill_id)


SEEN: set[str] = set()
#: So many rounds of walks at most, until all of these have happened.
ROUNDS = 8
WANTED = {"second", "pay_smaller", "match_payment", "write_off", "reject", "reopened", *CLOSED}


@given(data=st.data())
@settings(
    derandomize=True,
    database=None,
    deadline=None,
    max_examples=8,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def walk(world: World, data: st.DataObject) -> None:
    walking = Walk(world, data.draw)
    for step in data.draw(st.lists(STEPS, min_size=20, max_size=30)):
        getattr(walking, step)()
        walking.check()
    walking.end()
    SEEN.update(walking.done)
    assert_audit_is_clean()


def test_whatever_finance_does_what_is_taken_up_and_paid_is_what_the_model_says(own_database: config.Settings) -> None:
    """In a database of its own, which the audit looks through."""
    world = make_world()
    for number in range(ROUNDS):
        seed(number)(walk)(world)
        if not (unseen := WANTED - SEEN):
            return
    pytest.fail(f"walks that only ever met refusals show nothing: {unseen}")
