"""The same request twice has one effect and one answer; the same key for anything else is refused."""

import base64
import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import text
from werkzeug.test import TestResponse

from app.db.transaction import transaction
from app.secrecy import random_secret
from tests.api import (
    Api,
    Machine,
    assert_problem,
    digests,
    finance_machine,
    issuer_machine,
    money,
    nothing_changes,
    other_api,
    store_machine,
)
from tests.at_once import at_once
from tests.web.bodies import card_body, exchange_body, posts, programme_body
from tests.web.fresh import FRESH, Request
from tests.world import rows

Make = Callable[[Api], Request]

#: For each kind of path, another good body than the fresh one.
OTHER_BODIES: dict[str, dict[str, Any]] = {
    "programmes": programme_body(name="Another"),
    "reissue": {"deliver": "email"},
    "holder": {"email": "sam@other.example"},
    "confirm": {"order_reference": "order-1", "amount": money(3_999)},
    "settlements": {"amount": money(3_000), "order_reference": "order-1"},
    "extend": {"hold_ttl_s": 20 * 86_400 + 1},
    "refunds": {"amount": money(1_000)},
    "assign": {"assignee": "Dan"},
    "propose": {"proposal": "reject", "reason": "too much"},
    "approve": {"proposal_id": "prop_01k9qn1d8p0000000000000000"},
    "decline": {"proposal_id": "prop_01k9qn1d8p0000000000000000", "reason": "ask first"},
    "reopen": {"reason": "another"},
    "notes": {"note": "Asked again."},
}


@pytest.fixture(scope="module")
def others(api: Api) -> list[Request]:
    """One request of each kind, never carried out."""
    return [make(api) for make in FRESH]


@dataclass(frozen=True)
class Done:
    """A request that was carried out, and its answer."""

    make: Make
    machine: Machine
    path: str
    body: dict[str, Any]
    key: str
    answer: TestResponse


@pytest.fixture(scope="module", params=FRESH, ids=lambda make: make.__name__)
def done(request: pytest.FixtureRequest, api: Api) -> Done:
    """Each kind of request in turn, carried out once for all that is tried on it."""
    path, body, status = request.param(api)
    key = random_secret()
    answer = api.machine(path).post(path, body, key=key)
    assert answer.status_code == status, answer.text
    assert "Idempotent-Replayed" not in answer.headers
    return Done(request.param, api.machine(path), path, body, key, answer)


def test_every_post_is_repeated_here(api: Api, app: Flask) -> None:
    paths = {re.sub(r"(brk|card|pay)_[0-9a-z]{26}", "*", make(api)[0]) for make in FRESH}
    assert {re.sub(r"<.*?>", "*", rule) for rule in posts(app)} == paths


def test_a_repeat_gets_the_same_answer_says_so_and_has_no_effect(done: Done) -> None:
    with nothing_changes():
        for _ in range(2):
            assert_same(done.answer, done.machine.post(done.path, done.body, key=done.key))


def assert_same(first: TestResponse, again: TestResponse) -> None:
    """Secrets apart: a claim link is shown once, a balance token signed afresh."""
    assert again.headers.get("Idempotent-Replayed") == "true", again.text
    assert (again.status_code, again.content_type) == (first.status_code, first.content_type)
    told, told_again = without_secrets(first.get_json()), without_secrets(again.get_json())
    assert told == told_again
    assert again.get_json().get("claim_link") is None


def without_secrets(body: Any) -> Any:
    """The body with its claim link left out and its balance tokens shown as what they claim."""
    if not isinstance(body, dict):
        return body
    plain = {name: without_secrets(value) for name, value in body.items() if name != "claim_link"}
    if plain.get("balance_token"):
        claims = plain["balance_token"].split(".")[1]
        plain["balance_token"] = json.loads(base64.urlsafe_b64decode(claims + "=="))
    return plain


def test_a_claim_link_is_shown_in_the_first_answer_only_and_stays_good(api: Api) -> None:
    body = card_body(api.world.programme_id, deliver="link")
    first = api.acme.post("/v1/cards", body, key="with-link").get_json()
    again = api.acme.post("/v1/cards", body, key="with-link").get_json()
    assert (again["id"], again["claim_link"]) == (first["id"], None)
    assert api.world.claim(first["claim_link"]).card_id == first["id"]


def test_the_order_of_fields_and_spaces_do_not_make_another_request(api: Api) -> None:
    body = card_body(api.world.programme_id)
    first = api.acme.post("/v1/cards", body, key="spaces")
    turned = json.dumps(dict(reversed(body.items())), indent=3).encode()
    again = api.acme.post_raw("/v1/cards", turned, key="spaces")
    assert (again.get_json()["id"], again.headers.get("Idempotent-Replayed")) == (first.get_json()["id"], "true")


def test_the_same_key_with_other_content_is_refused(done: Done) -> None:
    other = other_body(done.path, done.body)
    if other is not None:
        with nothing_changes():
            assert_problem(done.machine.post(done.path, other, key=done.key), 422, "reference-reused")


def other_body(path: str, body: dict[str, Any]) -> dict[str, Any] | None:
    """None for a void, which has no content."""
    verb = path.rpartition("/")[2]
    if verb == "cards":
        return {**body, "amount": money(5_001)}
    if verb == "payments":
        return {**body, "order_reference": "order-2"}
    return OTHER_BODIES.get(verb)


def test_the_same_key_for_another_target_or_operation_is_refused(api: Api, done: Done, others: list[Request]) -> None:
    with nothing_changes():
        for path, body, _ in others:
            is_another = path != done.path and api.machine(path) is done.machine
            if is_another:
                assert_problem(done.machine.post(path, body, key=done.key), 422, "reference-reused")


def test_another_code_under_the_same_key_is_not_even_looked_at(api: Api) -> None:
    """A secret leaves no trace in the request's record, so a code that differs cannot be told from a repeat."""
    codes = [api.world.code().code for _ in range(2)]
    first = api.bookshop.post("/v1/payments", exchange_body(codes[0]), key="one-key")
    with nothing_changes():
        again = api.bookshop.post("/v1/payments", exchange_body(codes[1]), key="one-key")
    assert (again.get_json()["id"], again.headers.get("Idempotent-Replayed")) == (first.get_json()["id"], "true")
    assert api.bookshop.post("/v1/payments", exchange_body(codes[1])).status_code == 201


def test_a_refused_request_is_decided_again(api: Api) -> None:
    path = f"/v1/payments/{api.world.payment().payment.id}"
    refund = {"amount": money(1_000)}
    for _ in range(2):
        refused = api.bookshop.post(f"{path}/refunds", refund, key="patience")
        assert_problem(refused, 422, "amount-over-settled")
        assert "Idempotent-Replayed" not in refused.headers
    assert api.bookshop.post(f"{path}/settlements", {"amount": money(3_000)}).status_code == 201
    carried_out = api.bookshop.post(f"{path}/refunds", refund, key="patience")
    assert carried_out.status_code == 201
    assert "Idempotent-Replayed" not in carried_out.headers
    with nothing_changes():
        assert_same(carried_out, api.bookshop.post(f"{path}/refunds", refund, key="patience"))


def test_a_key_of_a_refused_request_is_free_for_another(api: Api) -> None:
    refused = api.acme.post("/v1/cards", card_body(api.world.programme_id, amount=money(1)), key="free")
    assert_problem(refused, 422, "amount-outside-programme")
    assert api.acme.post("/v1/cards", card_body(api.world.programme_id), key="free").status_code == 201


def test_an_answer_is_the_one_that_was_given_whatever_came_after(api: Api) -> None:
    """A settle's repeat shows the payment as it stood then, so that the store's books need not guess."""
    path = f"/v1/payments/{api.world.payment().payment.id}"
    part = {"amount": money(1_000), "final": False}
    first = api.bookshop.post(f"{path}/settlements", part, key="first-part")
    assert api.bookshop.post(f"{path}/settlements", {"amount": money(2_000)}).status_code == 201
    again = api.bookshop.post(f"{path}/settlements", part, key="first-part")
    assert_same(first, again)
    assert again.get_json()["payment"]["state"] == "held"
    assert api.bookshop.get(path).get_json()["state"] == "settled"


def test_a_new_client_of_the_same_party_repeats_what_the_old_one_did(api: Api, done: Done) -> None:
    renewed = renew(api, done.path)
    with nothing_changes():
        assert_same(done.answer, renewed.post(done.path, done.body, key=done.key))


def renew(api: Api, path: str) -> Machine:
    """Another OAuth client of the party that may post there."""
    client = api.acme.client
    if path.startswith("/v1/breaks"):
        return finance_machine(client)
    if path.startswith("/v1/payments"):
        return store_machine(client, api.world.bookshop)
    return issuer_machine(client, api.world.issuer_id)


def test_two_parties_keys_have_nothing_to_do_with_each_other(app: Flask, api: Api) -> None:
    other = other_api(app.test_client())
    for one in (api, other):
        answer = one.acme.post("/v1/cards", card_body(one.world.programme_id), key="the-same")
        assert (answer.status_code, answer.headers.get("Idempotent-Replayed")) == (201, None)


def test_twins_at_once_have_one_effect_and_equal_answers(app: Flask, api: Api, done: Done) -> None:
    path, body, status = done.make(api)
    alone = growth(lambda: done.machine.post(path, body))
    path, body, status = done.make(api)
    answers: list[TestResponse] = []
    key = random_secret()
    twins = [partial(Machine(app.test_client(), done.machine.known).post, path, body, key=key) for _ in range(4)]
    together = growth(lambda: answers.extend(at_once(twins)))
    assert [answer.status_code for answer in answers] == [status] * 4, [answer.text for answer in answers]
    first = next(answer for answer in answers if "Idempotent-Replayed" not in answer.headers)
    for again in answers:
        if again is not first:
            assert_same(first, again)
    assert together == alone


def growth(act: Callable[[], object]) -> dict[str, int]:
    """By how many rows each table grows."""
    before = digests()
    act()
    return {table: count - before[table][0] for table, (count, _) in digests().items() if count != before[table][0]}


def test_a_request_record_holds_ids_and_amounts_and_neither_code_nor_key_nor_link(api: Api) -> None:
    code = api.world.code().code
    api.bookshop.post("/v1/payments", exchange_body(code), key="record")
    link = api.acme.post("/v1/cards", card_body(api.world.programme_id, deliver="link"), key="record").get_json()
    kept = rows("SELECT CAST(answer AS text) AS answer FROM request WHERE reference = 'record'")
    told = " ".join(row.answer for row in kept)
    assert len(kept) >= 2
    assert code not in told and code.replace("-", "") not in told
    assert link["claim_link"].rpartition("#")[2] not in told
    assert "balance_token" not in told


def test_the_hash_of_a_request_is_keyed(api: Api) -> None:
    """Whoever reads the table cannot test guesses of what a body said."""
    body = {"order_reference": "order-1", "amount": money(4_000)}
    path = f"/v1/payments/{api.world.payment().payment.id}/confirm"
    api.bookshop.post(path, body, key="keyed")
    canonical = json.dumps(body, sort_keys=True, separators=(",", ":")).encode()
    with transaction() as db:
        kept = db.scalars(text("SELECT content_hmac FROM request WHERE reference = 'keyed'")).all()
    plain = [hashlib.sha256(prefix + canonical).digest() for prefix in (b"", b"request\0")]
    assert kept and not set(kept) & set(plain)
