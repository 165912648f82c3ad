"""Requests drawn from the OpenAPI document are answered as it says; an answer that is not is noticed."""

import os
import re
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from flask import Flask, Response, jsonify, make_response, request

from app import config
from app.factory import create_app
from app.web.arguments import StrictParser
from app.web.problems import problem
from tests.api import api_of
from tests.fuzz.openapi import Findings, fuzz
from tests.world import make_world

#: The long form, `./run fuzz`, asks for more.
CASES = int(os.environ.get("FUZZ_CASES", "2_000"))
SEED = int(os.environ.get("FUZZ_SEED", "1"))


def run(app: Flask, *, cases: int, seed: int, **more: Any) -> Findings:
    return fuzz(app, api_of(app.test_client(), make_world()), cases=cases, seed=seed, **more)


@pytest.mark.slow
def test_every_answer_keeps_the_document(app: Flask) -> None:
    found = run(app, cases=CASES, seed=SEED, progress=tell)
    assert not found.wrong, found.report()
    check_far_enough(found)


def tell(found: Findings) -> None:
    told = f"{found.cases:>8} of {CASES} cases, {len(found.wrong)} kinds of faults, seed {found.seed}"
    print(told, flush=True)  # noqa: T201  shown by the long form only


def check_far_enough(found: Findings) -> None:
    """Requests that only ever met refusals would show little: every operation must have been carried out too."""
    operations = {operation for operation, _ in found.statuses}
    assert len(operations) == 42
    assert {operation for operation, status in found.statuses if status < 300} == operations
    done = sum(times for (_, status), times in found.statuses.items() if status < 300)
    early = sum(times for (_, status), times in found.statuses.items() if status in (401, 403, 404))
    assert done > found.cases // 5
    assert early < found.cases // 4


# ── planted faults ──────────────────────────────────────────────────────────────────────────────────────────────────

#: What happens to a good answer on its way out.
Fault = Callable[[Response], Any]

EVENTS = "/v1/cards/<id(card):card_id>/events"
CARD = "/v1/cards/<id(card):card_id>"
PROGRAMME = "/v1/programmes/<id(prg):programme_id>"
PAYMENT = "/v1/payments/<id(pay):payment_id>"


def bug_that_some_input_finds(answer: Response) -> Response:
    if "after" in request.args:
        raise ZeroDivisionError
    return answer


def another_content_type(answer: Response) -> Response:
    answer.content_type = "text/plain"
    return answer


def altered(change: Callable[[dict[str, Any]], object]) -> Fault:
    """Changes what is answered."""

    def alter(answer: Response) -> Response:
        found = answer.get_json()
        change(found)
        return jsonify(found)

    return alter


def problem_instead(status: int, slug: str) -> Fault:
    return lambda _: problem(status, slug, "A title", "A detail")


def plant(app: Flask, faults: dict[str, Fault]) -> None:
    """Puts each fault behind the view of its rule."""
    for rule in app.url_map.iter_rules():
        if rule.rule in faults:
            view, fault = app.view_functions[rule.endpoint], faults[rule.rule]
            app.view_functions[rule.endpoint] = partial(_faulty, view, fault)


def _faulty(view: Callable[..., Any], fault: Fault, **path: str) -> Any:
    return fault(make_response(view(**path)))


FAULTS: dict[str, dict[str, tuple[Fault, str]]] = {
    "statuses and types": {
        EVENTS: (bug_that_some_input_finds, "Server error"),
        CARD: (problem_instead(418, "teapot"), "Undocumented status code"),
        PROGRAMME: (problem_instead(404, "card-held"), "Slug that is not documented"),
        PAYMENT: (another_content_type, "Undocumented Content-Type"),
    },
    "fields": {
        EVENTS: (altered(lambda found: found.update(total=7)), "Response violates schema"),
        CARD: (altered(lambda found: found.pop("letter")), "Response violates schema"),
        PROGRAMME: (altered(lambda found: found.update(valid_days="365")), "Response violates schema"),
        PAYMENT: (altered(lambda found: found["balance"].update(vat=1)), "Response violates schema"),
    },
}


@pytest.mark.parametrize("planted", FAULTS)
def test_a_planted_fault_is_noticed(database: config.Settings, planted: str) -> None:
    app, faults = create_app(database), FAULTS[planted]
    plant(app, {rule: fault for rule, (fault, _) in faults.items()})
    labels = {rule: "GET " + re.sub(r"<id\(\w+\):(\w+)>", r"{\1}", rule) for rule in faults}
    found = run(app, cases=1, seed=1, only=labels.values(), sent=2)
    assert {(labels[rule], title) for rule, (_, title) in faults.items()} <= set(found.wrong)
    assert "curl" in found.report() and "seed 1" in found.report()


def test_a_request_that_is_accepted_against_the_document_is_noticed(
    database: config.Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A service that takes any query at all."""
    monkeypatch.setattr(StrictParser, "load_querystring", lambda *_: {})
    found = run(create_app(database), cases=1, seed=1, only=["GET /v1/cards"])
    assert set(found.wrong) == {("GET /v1/cards", "Schema-violating request accepted")}
