"""Nobody reaches what is another's: every route, with the objects of another issuer, another store, another mode."""

import json
import re
from collections.abc import Callable
from functools import partial

import pytest
from flask import Flask

from app.billing.break_notes import attach_file
from app.billing.breaks import read_break
from tests.api import Api, Machine, api_of, assert_problem, nothing_changes, other_api
from tests.billing.matched import sent_payout
from tests.guard.ground import make_alarm
from tests.web.bodies import Bodies, card_body, exchange_body, good_bodies, programme_body
from tests.world import make_world


@pytest.fixture(scope="module")
def bodies(api: Api) -> Bodies:
    """Of Acme and Bookshop; here a stranger sends them."""
    return good_bodies(api)


@pytest.fixture(scope="module")
def reads(api: Api, bodies: Bodies) -> list[str]:
    """Every path with an ID in it that can be read."""
    card_id = bodies["reissue_card"][0].split("/")[3]
    payment_id = bodies["void_payment"][0].split("/")[3]
    break_id = bodies["add_note"][0].split("/")[3]
    attachment = attach_file(break_id, b"x", name="x", media_type="text/plain", by="operator:anna")
    bill_id = bodies["reject_bill"][0].split("/")[3]
    payout_id = sent_payout(api.world)
    return [
        f"/v1/programmes/{api.world.programme_id}",
        f"/v1/cards/{card_id}",
        f"/v1/cards/{card_id}/events",
        f"/v1/alarms/{make_alarm('code_elsewhere', card_id, api.world.issuer_id)}",
        f"/v1/breaks/{break_id}",
        f"/v1/breaks/attachments/{attachment.id}",
        f"/v1/finance/bills/{read_break(break_id)[0].bill_id}",
        *(f"/v1/bills/{bill_id}{rest}" for rest in ("", "/lines", "/wrong-lines", "/file")),
        *(f"/v1/remittances/{payout_id}{rest}" for rest in ("", "/file")),
        f"/v1/payments/{payment_id}",
    ]


@pytest.fixture(scope="module", params=["another's", "the other mode's"])
def stranger(request: pytest.FixtureRequest, app: Flask) -> Api:
    client = app.test_client()
    return other_api(client) if request.param == "another's" else api_of(client, make_world(mode="live"), mode="live")


def test_every_route_with_an_id_is_tried_here(app: Flask, bodies: Bodies, reads: list[str]) -> None:
    rules = {re.sub(r"<.*?>", "*", rule.rule) for rule in app.url_map.iter_rules() if rule.rule.startswith("/v1/")}
    paths = {re.sub(r"(alarm|att|bill|brk|card|out|pay|prg)_[0-9a-z]{26}", "*", path) for path in reads}
    paths |= {re.sub(r"(alarm|att|bill|brk|card|out|pay|prg)_[0-9a-z]{26}", "*", path) for path, _ in bodies.values()}
    assert {rule for rule in rules if "*" in rule} <= paths


def test_anothers_card_programme_and_payment_are_not_found(
    api: Api, stranger: Api, bodies: Bodies, reads: list[str]
) -> None:
    with nothing_changes():
        for path, body in bodies.values():
            if path.count("/") > 2 and is_anothers(stranger, path):
                assert_problem(stranger.machine(path).post(path, body), 404, "not-found")
        for path in reads:
            if is_anothers(stranger, path):
                assert_problem(stranger.machine(path).get(path), 404, "not-found")


def is_anothers(stranger: Api, path: str) -> bool:
    """Finance is the same for everybody in a mode."""
    return not path.startswith(("/v1/breaks", "/v1/finance")) or stranger.finance.known.mode == "live"


def test_the_other_store_of_the_same_card_does_not_find_its_payment(api: Api, bodies: Bodies, reads: list[str]) -> None:
    """Who may act on a payment is decided by its store, never by knowing its ID."""
    with nothing_changes():
        for path, body in bodies.values():
            if path.startswith("/v1/payments/"):
                assert_problem(api.toyshop.post(path, body), 404, "not-found")
        assert_problem(api.toyshop.get(reads[-1]), 404, "not-found")


def test_an_unknown_id_gets_the_same_answer_as_anothers(
    api: Api, stranger: Api, bodies: Bodies, reads: list[str]
) -> None:
    def unknown(path: str) -> str:
        return re.sub(r"(alarm|att|bill|brk|card|out|pay|prg)_[0-9a-z]{26}", r"\1_01k9qn1d8p0000000000000000", path)

    def told(ask: Callable[[Machine, str], object], path: str) -> list[object]:
        return [ask(stranger.machine(path), path), ask(stranger.machine(path), unknown(path))]

    for path in filter(partial(is_anothers, stranger), reads):
        first, second = told(lambda machine, path: without_instance(machine.get(path).data), path)
        assert first == second
    for path, body in bodies.values():
        if path.count("/") > 2 and is_anothers(stranger, path):
            answers = [stranger.machine(path).post(asked, body).data for asked in (path, unknown(path))]
            assert without_instance(answers[0]) == without_instance(answers[1])


def without_instance(raw: bytes) -> dict[str, object]:
    return {name: value for name, value in json.loads(raw).items() if name != "instance"}


def test_a_card_cannot_be_issued_by_anothers_programme(api: Api, stranger: Api) -> None:
    with nothing_changes():
        answer = stranger.acme.post("/v1/cards", card_body(api.world.programme_id))
        assert_problem(answer, 404, "not-found")


def test_a_programme_cannot_name_a_store_of_the_other_mode(app: Flask, api: Api) -> None:
    live = api_of(app.test_client(), make_world(mode="live"), mode="live")
    stores = [api.world.bookshop, live.world.bookshop]
    with nothing_changes():
        assert_problem(
            api.acme.post("/v1/programmes", programme_body(stores=stores)), 422, "invalid-request", "/stores/1"
        )


@pytest.mark.usefixtures("reads")  # there is something to show
def test_lists_show_only_ones_own(api: Api, stranger: Api) -> None:
    for path in ("/v1/cards", "/v1/programmes"):
        mine = {item["id"] for item in api.acme.get(path, limit="100").get_json()["items"]}
        theirs = {item["id"] for item in stranger.acme.get(path, limit="100").get_json()["items"]}
        assert mine and not mine & theirs


def test_a_cursor_of_anothers_list_opens_nothing(api: Api, stranger: Api, reads: list[str]) -> None:
    found = stranger.acme.get("/v1/cards", after=reads[1].rpartition("/")[2]).get_json()["items"]
    assert not [card for card in found if card["id"] == reads[1].rpartition("/")[2]]


def test_an_idempotency_key_of_anothers_is_ones_own_key(api: Api) -> None:
    """Two parties may choose the same name for different requests."""
    codes = [api.world.code().code for _ in range(2)]
    machines = (api.bookshop, api.toyshop)
    made = [
        machine.post("/v1/payments", exchange_body(code), key="order-1")
        for machine, code in zip(machines, codes, strict=True)
    ]
    assert [answer.status_code for answer in made] == [201, 201]
    assert len({answer.get_json()["id"] for answer in made}) == 2
