"""The OpenAPI document names, for each operation and status, the refusals that its verb names, and no other."""

import inspect
import re
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask

from app import errors
from app.billing.bill import find_bill, list_lines, list_wrong_lines
from app.billing.break_notes import add_note, read_attachment
from app.billing.breaks import read_break
from app.billing.receive import receive_bill
from app.billing.reject import reject_bill
from app.billing.remittance import read_advice
from app.billing.work_break import approve_break, assign_break, decline_break, propose, reopen_break
from app.guard.alarms import read_alarm
from app.issuance.address import correct_address
from app.issuance.card import read_card, read_card_events
from app.issuance.issue import issue_card
from app.issuance.programme import create_programme, read_programme
from app.redemption.confirm import confirm_payment
from app.redemption.exchange import exchange_code
from app.redemption.extend import extend_payment
from app.redemption.payment import read_payment
from app.redemption.refund import refund_payment
from app.redemption.reissue import reissue_card
from app.redemption.settle import settle_payment
from app.redemption.void import void_payment
from app.reports.issuer_statement import read_issuer_statement
from app.web.problems import STATUS

#: By the operation's ID; lists refuse nothing of their own.
VERBS: dict[str, Callable[..., Any] | None] = {
    "post_programme": create_programme,
    "get_programmes": None,
    "get_programme": read_programme,
    "post_card": issue_card,
    "get_cards": None,
    "get_card": read_card,
    "get_card_events": read_card_events,
    "post_card_reissue": reissue_card,
    "post_card_holder": correct_address,
    "post_payment": exchange_code,
    "get_payment": read_payment,
    "post_confirm": confirm_payment,
    "post_settlement": settle_payment,
    "post_void": void_payment,
    "post_extend": extend_payment,
    "post_refund": refund_payment,
    "get_statement": read_issuer_statement,
    "get_statement_lines": None,
    "get_alarms": None,
    "get_alarm": read_alarm,
    "get_finance_bills": None,
    "get_finance_bill": find_bill,
    "get_breaks": None,
    "get_break": read_break,
    "get_break_attachment": read_attachment,
    "post_assign": assign_break,
    "post_propose": propose,
    "post_approve": approve_break,
    "post_decline": decline_break,
    "post_reopen": reopen_break,
    "post_break_note": add_note,
    "post_bill": receive_bill,
    "get_bills": None,
    "get_unbilled": None,
    "get_bill": find_bill,
    "get_bill_lines": list_lines,
    "get_bill_wrong_lines": list_wrong_lines,
    "get_bill_file": find_bill,
    "post_bill_reject": reject_bill,
    "get_remittances": None,
    "get_remittance": read_advice,
    "get_remittance_file": read_advice,
}
#: What goes with the guard, and with the shape of a POST.
GUARD = {
    errors.InvalidAccessToken,
    errors.InvalidDpopProof,
    errors.UseDpopNonce,
    errors.InsufficientScope,
    errors.TryLater,
    errors.Busy,
}
SHAPE = {
    errors.MalformedJson,
    errors.IdempotencyKeyMissing,
    errors.IdempotencyKeyInvalid,
    errors.InvalidRequest,
    errors.ReferenceReused,
}
FROM_HTTP = {(400, "bad-request"), (413, "too-large"), (415, "unsupported-media-type")}


@pytest.fixture(scope="module")
def operations(app: Flask) -> dict[str, tuple[str, dict[str, Any]]]:
    """Method and operation by its ID."""
    spec = app.test_client().get("/openapi.json").get_json()
    return {
        found["operationId"]: (method, found)
        for item in spec["paths"].values()
        for method, found in item.items()
        if method in ("get", "post")
    }


def named_by(verb: Callable[..., Any]) -> set[type[errors.Refusal]]:
    """The refusals in the docstring's last sentence."""
    _, _, raised = (inspect.getdoc(verb) or "").partition("Raises ")
    known = {refusal.__name__: refusal for refusal in STATUS}
    found = {known[name] for name in re.findall(r"[A-Z]\w+", raised) if name in known}
    assert found, verb
    return found


def test_every_operation_names_the_refusals_of_its_verb_and_no_other(
    operations: dict[str, tuple[str, dict[str, Any]]],
) -> None:
    assert set(operations) == set(VERBS)
    for name, verb in VERBS.items():
        method, operation = operations[name]
        paged = any(parameter["name"] == "limit" for parameter in operation.get("parameters", []))
        refusals: set[type[errors.Refusal]] = GUARD | (
            SHAPE if method == "post" else {errors.InvalidRequest} if paged else set()
        )
        refusals |= named_by(verb) if verb else set()
        wanted = {(STATUS[refusal], refusal.slug) for refusal in refusals} | (FROM_HTTP if method == "post" else set())
        assert documented(operation) == wanted, name


def documented(operation: dict[str, Any]) -> set[tuple[int, str]]:
    """Status and slug of each problem that the operation names."""
    return {
        (int(status), slug)
        for status, answer in operation["responses"].items()
        if status.startswith(("4", "5"))
        for slug in re.findall(r"`([a-z-]+)`", answer["description"])
    }


def test_each_of_them_is_a_problem(operations: dict[str, tuple[str, dict[str, Any]]]) -> None:
    for _, operation in operations.values():
        for status, answer in operation["responses"].items():
            if status.startswith(("4", "5")):
                problem = {"schema": {"$ref": "#/components/schemas/Problem"}}
                assert answer["content"] == {"application/problem+json": problem}
