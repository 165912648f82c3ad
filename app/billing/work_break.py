"""Working a break off: assign, propose, approve, decline, reopen. What pays differently takes two people.

The bill's row is locked first, then the break's, so that nobody approves or rejects the bill meanwhile.
"""

from typing import Any

from sqlalchemy import Connection, select, text, update

from app import clock
from app.billing import break_rules
from app.billing.break_rules import Terms
from app.billing.breaks import Break, find_break
from app.billing.models import BillBreak
from app.billing.taking_up import LockedBill, facts_of, give_back, lock_bill, take_up
from app.db.request import Reference, done_before, keep_answer
from app.db.together import Write, together
from app.db.transaction import transaction
from app.errors import BillClosed, BreakChanged, InvalidRequest
from app.events.event import event_of
from app.ids import IssuerId, PaymentId, new_id
from app.issuance.models import Issuer

#: How long the words of people may be, in characters.
LONGEST_NAME, LONGEST_REASON = 100, 500


def assign_break(
    break_id: str, *, assignee: str, by: str, mode: str | None = None, reference: Reference | None = None
) -> Break:
    """Lets somebody look after a break: an operator, or whatever name finance has for a person. A proposal stands.

    Raises NotFound, InvalidRequest, BillClosed, BreakClosed, ReferenceReused, Busy.
    """
    _check_words(assignee, LONGEST_NAME, pointer="/assignee")
    with transaction() as db:
        if again := _again(db, reference):
            return again
        _, found = _locked(db, break_id, mode)
        state = break_rules.after_assigning(found)
        facts = {"assignee": assignee, "assigned_by": by}
        return _changed(
            db,
            found,
            {"state": state, "assignee": assignee},
            event_of("break_assigned", at=clock.now(db), facts=_facts(found, **facts)),
            reference,
        )


def propose(
    break_id: str,
    proposal: str,
    *,
    reason: str,
    by: str,
    payment_id: PaymentId | None = None,
    issuer_id: IssuerId | None = None,
    mode: str | None = None,
    reference: Reference | None = None,
) -> Break:
    """Says what should become of a break, in place of what was proposed before; nothing is paid or taken up by it.

    `payment_id`: the payment of this store that the line means, with `match_payment` and no other. `issuer_id`: whose
    goodwill a `write_off` is, where the line has no payment of this store.
    Raises NotFound, InvalidRequest, BillClosed, BreakClosed, ReferenceReused, Busy.
    """
    _check_words(reason, LONGEST_REASON, pointer="/reason")
    if proposal not in break_rules.PROPOSALS:
        raise InvalidRequest(f"One of {', '.join(break_rules.PROPOSALS)}.", pointer="/proposal")
    if (payment_id is not None) != (proposal == "match_payment"):
        raise InvalidRequest("Name the payment with match_payment, and with nothing else.", pointer="/payment_id")
    with transaction() as db:
        if again := _again(db, reference):
            return again
        bill, found = _locked(db, break_id, mode)
        state, now = break_rules.after_proposing(found), clock.now(db)
        _check_issuer(db, found, proposal, issuer_id)
        terms = _terms(db, bill, found, proposal, payment_id)
        proposed = {
            "proposal_id": new_id("prop"),
            "proposal": proposal,
            "proposed_payment_id": payment_id,
            "proposed_issuer_id": issuer_id,
            "would_claim_minor": terms.claim_minor,
            "would_pay_minor": terms.pay_minor,
            "reason": reason,
            "proposed_by": by,
        }
        told = event_of("break_proposed", at=now, facts=_facts(found, **proposed))
        return _changed(db, found, {**proposed, "state": state, "proposed_at": now}, told, reference)


def approve_break(
    break_id: str, proposal_id: str, *, by: str, mode: str | None = None, reference: Reference | None = None
) -> Break:
    """Does what this proposal says, if it still comes to the same; what another bill has taken up since is not there.

    Raises NotFound, BillClosed, BreakClosed, BreakChanged (its facts say what is so now), SecondPersonNeeded,
    ReferenceReused, Busy.
    """
    with transaction() as db:
        if again := _again(db, reference):
            return again
        bill, found = _locked(db, break_id, mode)
        state, now = break_rules.after_approving(found, proposal_id, by=by), clock.now(db)
        terms = _unchanged_terms(db, bill, found)
        paid: dict[str, Any] = {"issuer_id": found.issuer_id, "claimed_minor": None, "paid_minor": None}
        if state != "rejected":
            paid = _take_up(db, bill, found, terms)
        told = {"proposal_id": proposal_id, "proposal": found.proposal, "proposed_by": found.proposed_by, **paid}
        return _changed(
            db,
            found,
            {**paid, "state": state, "approved_by": by, "approved_at": now, "closed_at": now},
            event_of("break_approved", at=now, facts=_facts(found, state=state, approved_by=by, **told)),
            reference,
        )


def decline_break(
    break_id: str,
    proposal_id: str,
    *,
    reason: str,
    by: str,
    mode: str | None = None,
    reference: Reference | None = None,
) -> Break:
    """Takes a proposal away, one's own or another's: something else must be proposed.

    Raises NotFound, InvalidRequest, BillClosed, BreakClosed, BreakChanged, ReferenceReused, Busy.
    """
    _check_words(reason, LONGEST_REASON, pointer="/reason")
    with transaction() as db:
        if again := _again(db, reference):
            return again
        _, found = _locked(db, break_id, mode)
        state = break_rules.after_declining(found, proposal_id)
        facts = {"proposal_id": proposal_id, "reason": reason, "declined_by": by}
        told = event_of("break_declined", at=clock.now(db), facts=_facts(found, **facts))
        return _changed(db, found, {**_NOTHING_PROPOSED, "state": state, "reason": reason}, told, reference)


def reopen_break(
    break_id: str, *, reason: str, by: str, mode: str | None = None, reference: Reference | None = None
) -> Break:
    """Opens a closed break again, while its bill is not approved. What its line took up is given back.

    Raises NotFound, InvalidRequest, BillClosed, BreakOpen, ReferenceReused, Busy.
    """
    _check_words(reason, LONGEST_REASON, pointer="/reason")
    with transaction() as db:
        if again := _again(db, reference):
            return again
        bill, found = _locked(db, break_id, mode)
        state = break_rules.after_reopening(found)
        give_back(db, bill.id, found.line_no)
        undone = {
            **_NOTHING_PROPOSED,
            **dict.fromkeys(("approved_by", "approved_at", "closed_at", "claimed_minor", "paid_minor")),
            "issuer_id": _issuer_of(db, found, found.payment_id),
            "state": state,
            "reason": reason,
        }
        facts = {"proposal": found.proposal, "paid_minor": found.paid_minor, "reason": reason, "reopened_by": by}
        told = event_of("break_reopened", at=clock.now(db), facts=_facts(found, **facts))
        return _changed(db, found, undone, told, reference)


_NOTHING_PROPOSED = dict.fromkeys(
    (
        "proposal_id",
        "proposal",
        "proposed_payment_id",
        "proposed_issuer_id",
        "would_claim_minor",
        "would_pay_minor",
        "proposed_by",
        "proposed_at",
    )
)


def _again(db: Connection, reference: Reference | None) -> Break | None:
    """Operators' commands have no reference: whoever runs one twice is told that it was done."""
    return None if reference is None else done_before(db, reference, Break)


def _locked(db: Connection, break_id: str, mode: str | None) -> tuple[LockedBill, Break]:
    """The bill and the break, in this order. Raises NotFound, BillClosed."""
    bill = lock_bill(db, find_break(db, break_id, mode=mode).bill_id)
    if bill.state != "matched":
        raise BillClosed(state=bill.state)
    return bill, find_break(db, break_id, mode=mode, locked=True)


def _changed(db: Connection, found: Break, columns: dict[str, Any], told: Write, reference: Reference | None) -> Break:
    """Writes the break, its event and the answer; returns the break as it is now."""
    db.execute(update(BillBreak).where(BillBreak.id == found.id).values(columns))
    now_is = find_break(db, found.id, mode=None)
    together(db, told, keep_answer(reference, now_is) if reference else None)
    return now_is


def _terms(db: Connection, bill: LockedBill, found: Break, proposal: str, payment_id: PaymentId | None) -> Terms:
    """What the proposal comes to as things stand. Raises InvalidRequest."""
    return break_rules.terms_of(proposal, facts_of(db, bill, found.line_no, payment_id))


def _unchanged_terms(db: Connection, bill: LockedBill, found: Break) -> Terms:
    """Decides anew: nobody approves what is another thing by now. Raises BreakChanged."""
    is_now: dict[str, object] = {"state": found.state, "proposal_id": found.proposal_id}
    try:
        terms = _terms(db, bill, found, found.proposal or "", found.proposed_payment_id)
    except InvalidRequest as refused:
        raise BreakChanged(refused.detail, **is_now) from None
    if (terms.claim_minor, terms.pay_minor) != (found.would_claim_minor, found.would_pay_minor):
        is_now |= {"would_claim_minor": terms.claim_minor, "would_pay_minor": terms.pay_minor}
        raise BreakChanged("What counts has changed since this was proposed: propose it anew.", **is_now)
    return terms


def _take_up(db: Connection, bill: LockedBill, found: Break, terms: Terms) -> dict[str, Any]:
    """Takes up what counts; returns what is paid for it, and by which issuer."""
    payment_id = found.proposed_payment_id or found.payment_id
    claimed_minor = take_up(db, bill, found.line_no, payment_id) if terms.takes_up else 0
    if claimed_minor != terms.claim_minor:
        raise RuntimeError(f"the line of {found.id} has taken up something else than was decided")
    issuer_id = _issuer_of(db, found, payment_id) or found.proposed_issuer_id
    return {"issuer_id": issuer_id, "claimed_minor": claimed_minor, "paid_minor": terms.pay_minor}


def _check_issuer(db: Connection, found: Break, proposal: str, issuer_id: IssuerId | None) -> None:
    """A write-off is some issuer's: that of the line's payment, or else one that is named. Raises InvalidRequest."""
    own = _issuer_of(db, found, found.payment_id)
    if proposal != "write_off" or own is not None:
        if issuer_id is not None:
            raise InvalidRequest("The issuer is named only where a write-off's line has none.", pointer="/issuer_id")
        return
    known = select(Issuer.id).where(Issuer.id == issuer_id, Issuer.mode == found.mode)
    if issuer_id is None or db.scalar(known) is None:
        raise InvalidRequest("Name the issuer whose goodwill this is.", pointer="/issuer_id")


def _issuer_of(db: Connection, found: Break, payment_id: PaymentId) -> IssuerId | None:
    """The issuer behind a payment of the bill's store; None where it is none of its payments."""
    given = {"payment_id": payment_id, "store_id": found.store_id}
    issuer_id: IssuerId | None = db.scalar(_ISSUER_OF, given)
    return issuer_id


_ISSUER_OF = text(
    "SELECT card.issuer_id FROM payment JOIN card ON card.id = payment.card_id "
    "WHERE payment.id = :payment_id AND payment.store_id = :store_id"
)


def _facts(found: Break, **more: object) -> dict[str, object]:
    known = ("bill_id", "store_id", "mode", "line_no", "kind", "amount_minor", "currency")
    return {"break_id": found.id, **{name: getattr(found, name) for name in known}, **more}


def _check_words(words: str, longest: int, *, pointer: str) -> None:
    if not words.strip() or not words.isprintable() or len(words) > longest:
        raise InvalidRequest(f"One line of 1 to {longest} characters.", pointer=pointer)
