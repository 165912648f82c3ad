"""The API of finance: breaks of all stores of its mode, read and worked off."""

from typing import Any

from flask import Response

from app import errors
from app.billing.bill import find_bill, list_bills
from app.billing.break_notes import add_note, read_attachment
from app.billing.breaks import Break, list_breaks, read_break
from app.billing.work_break import approve_break, assign_break, decline_break, propose, reopen_break
from app.finance import schemas
from app.oauth.bearer import caller, requires
from app.web.api import FILE, ApiBlueprint
from app.web.idempotency import answer_once, reference_of
from app.web.paging import page_of

blueprint = ApiBlueprint("Finance", __name__, url_prefix="/v1", description="Bills of all stores, and their breaks")

_break, _note = schemas.BreakOut(), schemas.NoteOut()
#: What any step may be refused for.
_STEP = (errors.NotFound, errors.BillClosed)


@blueprint.operation("GET", "/breaks", requires("finance.read"), query=schemas.BreakQuery, answer=schemas.BreakPage)
def get_breaks(query: dict[str, Any]) -> dict[str, Any]:
    """List breaks"""
    mode = caller().finance_mode
    page = page_of(lambda **where: list_breaks(mode=mode, **schemas.asked_by(where)), query)
    return {**page, "items": [schemas.shown(found) for found in page["items"]]}


@blueprint.operation("GET", "/breaks/<id(brk):break_id>", requires("finance.read"), answer=schemas.BreakRead)
def get_break(break_id: str) -> dict[str, Any]:
    """Read a break

    With all that was said about it, and the names of the files that were added to it.
    """
    return schemas.read(*read_break(break_id, mode=caller().finance_mode))


@blueprint.operation(
    "GET",
    "/finance/bills",
    requires("finance.read"),
    query=schemas.FinanceBillQuery,
    answer=schemas.FinanceBillPage,
)
def get_finance_bills(query: dict[str, Any]) -> dict[str, Any]:
    """List the bills of all stores"""
    mode = caller().finance_mode
    return page_of(lambda **where: list_bills(mode=mode, **schemas.asked_by(where)), query)


@blueprint.operation(
    "GET", "/finance/bills/<id(bill):bill_id>", requires("finance.read"), answer=schemas.FinanceBillOut
)
def get_finance_bill(bill_id: str) -> Any:
    """Read a bill of any store"""
    return find_bill(bill_id, mode=caller().finance_mode)


@blueprint.operation(
    "POST",
    "/breaks/<id(brk):break_id>/assign",
    requires("finance.work"),
    body=schemas.AssignIn,
    answer=schemas.BreakOut,
    refuses=(*_STEP, errors.BreakClosed),
)
def post_assign(body: dict[str, Any], break_id: str) -> Response:
    """Assign a break"""
    return _answer(assign_break(break_id, **body, **_asked("assign_break", break_id)))


@blueprint.operation(
    "POST",
    "/breaks/<id(brk):break_id>/propose",
    requires("finance.work"),
    body=schemas.ProposeIn,
    answer=schemas.BreakOut,
    refuses=(*_STEP, errors.BreakClosed),
)
def post_propose(body: dict[str, Any], break_id: str) -> Response:
    """Propose what becomes of a break

    Nothing is paid or taken up by it. The answer says what it would come to.
    """
    return _answer(propose(break_id, **body, **_asked("propose", break_id)))


@blueprint.operation(
    "POST",
    "/breaks/<id(brk):break_id>/approve",
    requires("finance.work"),
    body=schemas.ApproveIn,
    answer=schemas.BreakOut,
    refuses=(*_STEP, errors.BreakClosed, errors.BreakChanged, errors.SecondPersonNeeded),
)
def post_approve(body: dict[str, Any], break_id: str) -> Response:
    """Approve a proposal

    Who proposed a write-off or another payment cannot approve it.
    """
    return _answer(approve_break(break_id, **body, **_asked("approve_break", break_id)))


@blueprint.operation(
    "POST",
    "/breaks/<id(brk):break_id>/decline",
    requires("finance.work"),
    body=schemas.DeclineIn,
    answer=schemas.BreakOut,
    refuses=(*_STEP, errors.BreakClosed, errors.BreakChanged),
)
def post_decline(body: dict[str, Any], break_id: str) -> Response:
    """Decline a proposal, or take one's own back"""
    return _answer(decline_break(break_id, **body, **_asked("decline_break", break_id)))


@blueprint.operation(
    "POST",
    "/breaks/<id(brk):break_id>/reopen",
    requires("finance.work"),
    body=schemas.ReopenIn,
    answer=schemas.BreakOut,
    refuses=(*_STEP, errors.BreakOpen),
)
def post_reopen(body: dict[str, Any], break_id: str) -> Response:
    """Reopen a closed break

    While its bill is not approved. What the line has taken up is given back.
    """
    return _answer(reopen_break(break_id, **body, **_asked("reopen_break", break_id)))


@blueprint.operation(
    "POST",
    "/breaks/<id(brk):break_id>/notes",
    requires("finance.work"),
    body=schemas.NoteIn,
    answer=schemas.NoteOut,
    status=201,
)
def post_break_note(body: dict[str, Any], break_id: str) -> Response:
    """Add a note to a break"""
    note = add_note(break_id, **body, **_asked("add_note", break_id))
    return answer_once(note, _note.dump(note), 201)


@blueprint.operation(
    "GET",
    "/breaks/attachments/<id(att):attachment_id>",
    requires("finance.read"),
    answer=FILE,
)
def get_break_attachment(attachment_id: str) -> Response:
    """Save a break's attachment

    Whatever it is, it comes as a file of no type.
    """
    name, content = read_attachment(attachment_id, mode=caller().finance_mode)
    answer = Response(content, mimetype="application/octet-stream")
    answer.headers.set("Content-Disposition", "attachment", filename=name)
    return answer


def _asked(operation: str, break_id: str) -> dict[str, Any]:
    """Who asks, for which mode: a client counts as one person."""
    who = caller()
    return {
        "by": who.client_id,
        "mode": who.finance_mode,
        "reference": reference_of(who.party_id, operation, break_id),
    }


def _answer(found: Break) -> Response:
    return answer_once(found, _break.dump(schemas.shown(found)), 200)
