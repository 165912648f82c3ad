"""How a break is worked off, decided purely: which step from which state, by whom, and what a proposal comes to."""

from dataclasses import dataclass
from typing import Protocol

from app.billing.rules import BY_AMOUNT, MATCHED, Facts, decide_line, paid_minor
from app.errors import BreakChanged, BreakClosed, BreakOpen, InvalidRequest, SecondPersonNeeded

#: A break from its first state to its last; `reopened` is as `open`, and tells that it was closed before.
STATES = ("open", "assigned", "proposed", "resolved", "written_off", "rejected", "reopened")
#: What people propose, and the state that it leads to once it is approved.
LEADS_TO = {
    "pay_smaller": "resolved",
    "match_payment": "resolved",
    "write_off": "written_off",
    "reject": "rejected",
}
PROPOSALS = tuple(LEADS_TO)
CLOSED = frozenset(LEADS_TO.values())
#: What nobody may approve who proposed it himself: by these a line is paid that does not say what the books say.
SECOND_PERSON = frozenset(("match_payment", "write_off"))


class Standing(Protocol):
    """Where a break stands, as far as it matters here."""

    @property
    def state(self) -> str: ...
    @property
    def assignee(self) -> str | None: ...
    @property
    def proposal_id(self) -> str | None: ...
    @property
    def proposal(self) -> str | None: ...
    @property
    def proposed_by(self) -> str | None: ...


def after_assigning(standing: Standing) -> str:
    """The state once somebody else looks after it; a proposal stands. Raises BreakClosed."""
    _check_open(standing)
    return "proposed" if standing.state == "proposed" else "assigned"


def after_proposing(standing: Standing) -> str:
    """The state once something is proposed, in place of what was proposed before. Raises BreakClosed."""
    _check_open(standing)
    return "proposed"


def after_approving(standing: Standing, proposal_id: str, *, by: str) -> str:
    """The state once `by` approves the proposal of this ID.

    Raises BreakClosed; BreakChanged when another proposal stands, or none; SecondPersonNeeded.
    """
    _check_open(standing)
    _check_standing(standing, proposal_id)
    proposal = standing.proposal or ""
    if proposal in SECOND_PERSON and standing.proposed_by == by:
        raise SecondPersonNeeded(proposed_by=by)
    return LEADS_TO[proposal]


def after_declining(standing: Standing, proposal_id: str) -> str:
    """The state once the proposal of this ID is declined, or taken back. Raises BreakClosed, BreakChanged."""
    _check_open(standing)
    _check_standing(standing, proposal_id)
    return "open" if standing.assignee is None else "assigned"


def after_reopening(standing: Standing) -> str:
    """The state once it is open again. Raises BreakOpen for one that is."""
    if standing.state not in CLOSED:
        raise BreakOpen(state=standing.state)
    return "reopened"


@dataclass(frozen=True, slots=True)
class Terms:
    """What a proposal comes to, in minor units: what the line takes up, and what is paid for it.

    `takes_up`: whether it takes up anything; what was settled and refunded in full comes to nothing, and is something.
    """

    claim_minor: int
    pay_minor: int
    takes_up: bool


def terms_of(proposal: str, facts: Facts) -> Terms:
    """What a proposal comes to as things stand. `facts` are of the payment that it names, where it names one.

    Raises InvalidRequest where this cannot be done with such a line.
    """
    kind = decide_line(facts)
    has_some = facts.has_free and (kind == MATCHED or kind in BY_AMOUNT)
    claim_minor = facts.expected_minor if has_some else 0
    if proposal == "reject":
        return Terms(0, 0, takes_up=False)
    if proposal == "write_off":
        if facts.line.amount_minor <= claim_minor:
            why = "The line asks for no more than is owed: nothing is to be written off."
            raise InvalidRequest(why, pointer="/proposal")
        return Terms(claim_minor, facts.line.amount_minor, takes_up=has_some)
    if not has_some:
        what = "nothing of it is left to take up" if kind in BY_AMOUNT else f"it would be {kind}"
        pointer = "/payment_id" if proposal == "match_payment" else "/proposal"
        raise InvalidRequest(f"This payment cannot be taken up for the line: {what}.", pointer=pointer)
    if facts.line.amount_minor < min(0, claim_minor):
        why = "The line gives back more than was refunded: reject it, so that the store bills it anew."
        raise InvalidRequest(why, pointer="/proposal")
    return Terms(claim_minor, paid_minor(facts), takes_up=True)


def _check_open(standing: Standing) -> None:
    if standing.state in CLOSED:
        raise BreakClosed(state=standing.state)


def _check_standing(standing: Standing, proposal_id: str) -> None:
    if standing.proposal_id != proposal_id:
        raise BreakChanged(
            "Another proposal stands by now." if standing.proposal_id else "This proposal does not stand any more.",
            state=standing.state,
            proposal_id=standing.proposal_id,
        )
