"""Which step leads from which state to which, who may take it, and what a proposal comes to: tables."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest

from app.billing import break_rules
from app.billing.break_rules import STATES, Terms, terms_of
from app.billing.rules import Facts, PaymentSeen
from app.errors import BreakChanged, BreakClosed, BreakOpen, InvalidRequest, Refusal, SecondPersonNeeded
from app.ids import PaymentId, StoreId
from app.money import Money

ANNA, BEN = "operator:anna", "operator:ben"


@dataclass(frozen=True)
class Stands:
    """Anna has proposed it, where it is proposed or was."""

    state: str
    proposal: str | None = "write_off"
    assignee: str | None = None
    proposal_id: str | None = "prop_1"
    proposed_by: str | None = ANNA


def standing(state: str, **more: Any) -> Stands:
    found = Stands(state) if state in ("proposed", "resolved", "written_off", "rejected") else Stands(state, None)
    return replace(found, proposal_id="prop_1" if found.proposal else None, **more)


Step = Callable[[Stands], str]
STEPS: dict[str, Step] = {
    "assign": break_rules.after_assigning,
    "propose": break_rules.after_proposing,
    "approve": lambda each: break_rules.after_approving(each, "prop_1", by=BEN),
    "decline": lambda each: break_rules.after_declining(each, "prop_1"),
    "reopen": break_rules.after_reopening,
}
X, NOT_CLOSED, C = BreakClosed, BreakOpen, BreakChanged
#: For each step, by state: open, assigned, proposed, resolved, written_off, rejected, reopened.
TABLE: dict[str, tuple[str | type[Refusal], ...]] = {
    "assign": ("assigned", "assigned", "proposed", X, X, X, "assigned"),
    "propose": ("proposed", "proposed", "proposed", X, X, X, "proposed"),
    "approve": (C, C, "written_off", X, X, X, C),
    "decline": (C, C, "open", X, X, X, C),
    "reopen": (NOT_CLOSED, NOT_CLOSED, NOT_CLOSED, "reopened", "reopened", "reopened", NOT_CLOSED),
}


@pytest.mark.parametrize("step", TABLE)
def test_every_step_from_every_state(step: str) -> None:
    assert len(TABLE[step]) == len(STATES)
    for state, becomes in zip(STATES, TABLE[step], strict=True):
        if isinstance(becomes, str):
            assert STEPS[step](standing(state)) == becomes
        else:
            with pytest.raises(becomes) as refused:
                STEPS[step](standing(state))
            assert refused.value.facts["state"] == state


def test_a_declined_break_that_somebody_looks_after_stays_theirs() -> None:
    assert STEPS["decline"](standing("proposed", assignee=BEN)) == "assigned"


@pytest.mark.parametrize(
    ("proposal", "by_its_own", "leads_to"),
    [
        ("pay_smaller", True, "resolved"),
        ("match_payment", False, "resolved"),
        ("write_off", False, "written_off"),
        ("reject", True, "rejected"),
    ],
)
def test_who_may_approve_what(proposal: str, by_its_own: bool, leads_to: str) -> None:
    found = standing("proposed", proposal=proposal)
    assert break_rules.after_approving(found, "prop_1", by=BEN) == leads_to
    if by_its_own:
        assert break_rules.after_approving(found, "prop_1", by=ANNA) == leads_to
    else:
        with pytest.raises(SecondPersonNeeded) as refused:
            break_rules.after_approving(found, "prop_1", by=ANNA)
        assert refused.value.facts == {"proposed_by": ANNA}


def test_a_proposal_that_another_took_the_place_of_is_neither_approved_nor_declined() -> None:
    with pytest.raises(BreakChanged) as refused:
        break_rules.after_approving(standing("proposed"), "prop_0", by=BEN)
    assert refused.value.facts == {"state": "proposed", "proposal_id": "prop_1"}
    with pytest.raises(BreakChanged):
        break_rules.after_declining(standing("proposed"), "prop_0")


# ── what a proposal comes to ────────────────────────────────────────────────────────────────────────────────────────

BOOKSHOP, TOYSHOP = StoreId("str_bookshop"), StoreId("str_toyshop")
PAYMENT = PaymentSeen(PaymentId("pay_1"), BOOKSHOP, "test", "GBP")


def facts(line_minor: int, settled: int = 0, refunded: int = 0, **more: Any) -> Facts:
    known: dict[str, Any] = {"payment": PAYMENT, "has_settled": settled > 0, **more}
    line = Money(line_minor, "GBP")
    return Facts(line, BOOKSHOP, "test", free_settled_minor=settled, free_refunded_minor=refunded, **known)


NOBODYS: dict[str, Any] = {"payment": None}
TOYSHOPS: dict[str, Any] = {"payment": replace(PAYMENT, store_id=TOYSHOP)}
DOLLARS: dict[str, Any] = {"payment": replace(PAYMENT, currency="USD")}
BILLED: dict[str, Any] = {"has_settled": True, "other_bill_id": "bill_1"}
NO = InvalidRequest

#: A line's facts; then what it takes up and pays by pay_smaller, by match_payment of such a payment, by write_off.
COMES_TO: list[tuple[Facts, object, object, object]] = [
    (facts(4_000, 3_000), (3_000, 3_000), (3_000, 3_000), (3_000, 4_000)),
    (facts(2_000, 3_000), (3_000, 2_000), (3_000, 2_000), NO),
    (facts(3_000, 3_000, 500), (2_500, 2_500), (2_500, 2_500), (2_500, 3_000)),
    (facts(3_000, 3_000), (3_000, 3_000), (3_000, 3_000), NO),
    (facts(3_000, 3_000, 3_000), (0, 0), (0, 0), (0, 3_000)),
    (facts(-500, 0, 300, has_settled=True), NO, NO, NO),
    (facts(-500, 3_000), NO, NO, NO),
    (facts(-300, 0, 500, has_settled=True), (-500, -500), (-500, -500), (-500, -300)),
    (facts(3_000, 3_000, is_duplicate=True), NO, NO, (0, 3_000)),
    (facts(3_000, **BILLED), NO, NO, (0, 3_000)),
    (facts(3_000, has_settled=True), NO, NO, (0, 3_000)),
    (facts(3_000), NO, NO, (0, 3_000)),
    (facts(3_000, **NOBODYS), NO, NO, (0, 3_000)),
    (facts(3_000, 3_000, **TOYSHOPS), NO, NO, (0, 3_000)),
    (facts(3_000, 3_000, **DOLLARS), NO, NO, (0, 3_000)),
    (facts(-3_000, **NOBODYS), NO, NO, NO),
]


@pytest.mark.parametrize(("seen", "smaller", "match", "write_off"), COMES_TO)
def test_what_a_proposal_comes_to(seen: Facts, smaller: object, match: object, write_off: object) -> None:
    for proposal, wanted in (("pay_smaller", smaller), ("match_payment", match), ("write_off", write_off)):
        if wanted is NO:
            with pytest.raises(InvalidRequest):
                terms_of(proposal, seen)
        else:
            terms = terms_of(proposal, seen)
            assert (terms.claim_minor, terms.pay_minor) == wanted
            assert (terms.pay_minor > terms.claim_minor) == (proposal == "write_off")
    assert terms_of("reject", seen) == Terms(0, 0, takes_up=False)


def test_what_was_settled_and_refunded_in_full_is_taken_up_though_it_comes_to_nothing() -> None:
    assert terms_of("write_off", facts(3_000, 3_000, 3_000)).takes_up
    assert not terms_of("write_off", facts(3_000, **NOBODYS)).takes_up
