"""Finance over the API: breaks of all stores of its mode, worked off by clients that each count as one person."""

import base64
from typing import Any

import pytest
from flask.testing import FlaskClient

from app.billing.break_notes import attach_file
from app.db.transaction import transaction
from app.oauth.access_token import make_access_token
from tests.api import Api, Machine, api_of, assert_problem, finance_machine
from tests.billing.bills import paid_minor
from tests.billing.broken import break_of, breaks_of, broken_bill, settled
from tests.world import World, make_world


@pytest.fixture
def api(client: FlaskClient, world: World) -> Api:
    return api_of(client, world)


def posted(machine: Machine, break_id: str, verb: str, **body: object) -> dict[str, Any]:
    answer = machine.post(f"/v1/breaks/{break_id}/{verb}", body)
    assert answer.status_code in (200, 201), answer.text
    found: dict[str, Any] = answer.get_json()
    return found


def test_a_break_is_worked_off_by_two_clients(api: Api) -> None:
    bill_id = broken_bill(api.world, (settled(api.world), 3_700), days_ago=3)
    break_id, other = break_of(bill_id).id, finance_machine(api.finance.client)
    posted(api.finance, break_id, "assign", assignee="Claire")
    posted(api.finance, break_id, "notes", note="The store says so.\nI believe it.")
    found = posted(api.finance, break_id, "propose", proposal="write_off", reason="goodwill")
    assert (found["state"], found["line"]["amount"]) == ("proposed", {"amount_minor": 3_700, "currency": "GBP"})
    assert found["proposal"]["takes_up"]["amount_minor"] == found["expected"]["amount_minor"] == 3_000
    approve = {"proposal_id": found["proposal"]["id"]}
    refused = assert_problem(api.finance.post(f"/v1/breaks/{break_id}/approve", approve), 409, "second-person-needed")
    assert refused["proposed_by"] == api.finance.known.client_id
    done = posted(other, break_id, "approve", **approve)
    assert (done["state"], done["paid"]["amount_minor"], done["approved_by"]) == (
        "written_off",
        3_700,
        other.known.client_id,
    )
    assert paid_minor(bill_id) == 3_700
    read = api.finance.get(f"/v1/breaks/{break_id}").get_json()
    assert (read["age_days"], read["assignee"], read["store"]["id"]) == (3, "Claire", api.world.bookshop)
    assert [each["note"] for each in read["notes"]] == ["The store says so.\nI believe it."]
    reopened = posted(api.finance, break_id, "reopen", reason="not yet")
    assert (reopened["state"], reopened["proposal"], reopened["paid"]) == ("reopened", None, None)
    refused = assert_problem(other.post(f"/v1/breaks/{break_id}/approve", approve), 409, "break-changed")
    assert refused["state"] == "reopened"


def test_lists_are_paged_and_by_what_one_asks_for(api: Api) -> None:
    bill_id = broken_bill(api.world, *((settled(api.world), 3_700 + extra) for extra in range(3)))
    ids = [each.id for each in breaks_of(bill_id)]
    posted(api.finance, ids[0], "assign", assignee="yes")

    def listed(**query: str) -> tuple[list[str], str | None]:
        answer = api.finance.get("/v1/breaks", bill=bill_id, **query)
        assert answer.status_code == 200, answer.text
        return [each["id"] for each in answer.get_json()["items"]], answer.get_json()["next"]

    assert listed() == (ids, None)
    assert listed(limit="2") == (ids[:2], ids[1])
    assert listed(after=ids[1]) == (ids[2:], None)
    assert listed(closed="no", kind="amount_over", store=api.world.bookshop) == (ids, None)
    assert listed(assignee="yes", state="assigned") == (ids[:1], None)
    assert listed(closed="yes") == listed(older_than_days="1") == ([], None)
    for wrong in ({"state": "shut"}, {"closed": "true"}, {"kind": "odd"}, {"older_than_days": "-1"}, {"store": "x"}):
        assert_problem(api.finance.get("/v1/breaks", **wrong), 422, "invalid-request", f"/{next(iter(wrong))}")


def test_finance_of_one_mode_never_sees_or_touches_what_is_of_the_other(api: Api) -> None:
    live = make_world(mode="live")
    payment_id = live.payment(mode="live").payment.id
    live.settle(payment_id, 3_000)
    bill_id = broken_bill(live, (payment_id, 3_700), mode="live")
    found = break_of(bill_id)
    of_live = finance_machine(api.finance.client, mode="live")
    for path in (f"/v1/breaks/{found.id}", f"/v1/finance/bills/{bill_id}"):
        assert of_live.get(path).status_code == 200
        assert_problem(api.finance.get(path), 404, "not-found")
    assert_problem(api.finance.post(f"/v1/breaks/{found.id}/assign", {"assignee": "x"}), 404, "not-found")
    for path in ("/v1/breaks", "/v1/finance/bills"):
        assert [each["mode"] for each in of_live.get(path, store=live.bookshop).get_json()["items"]] == ["live"]
        assert api.finance.get(path, store=live.bookshop).get_json()["items"] == []


def test_bills_of_all_stores_are_listed(api: Api) -> None:
    other = make_world()
    ids = [broken_bill(world, (settled(world), 3_000)) for world in (api.world, other)]
    stores = [api.world.bookshop, other.bookshop]
    for bill_id, store_id in zip(ids, stores, strict=True):
        [found] = api.finance.get("/v1/finance/bills", store=store_id, state="matched").get_json()["items"]
        assert (found["id"], found["store_id"], found["matched_lines"], found["broken_lines"]) == (
            bill_id,
            store_id,
            1,
            0,
        )
        assert api.finance.get(f"/v1/finance/bills/{bill_id}").get_json() == found


def test_who_may_read_may_not_work(api: Api) -> None:
    found = break_of(broken_bill(api.world, (settled(api.world), 3_700)))
    headers = {
        "Authorization": f"Bearer {make_access_token(api.finance.known, ['finance.read'])}",
        "Idempotency-Key": "x",
    }
    client = api.finance.client
    assert client.get(f"/v1/breaks/{found.id}", headers=headers).status_code == 200
    assert_problem(
        client.post(f"/v1/breaks/{found.id}/assign", json={"assignee": "x"}, headers=headers), 403, "insufficient-scope"
    )


def test_nobody_else_gets_in_and_finance_gets_in_nowhere_else(api: Api) -> None:
    """By scope; and a token of a store that would name the scope has another party than finance."""
    found = break_of(broken_bill(api.world, (settled(api.world), 3_700)))
    for machine in (api.bookshop, api.acme):
        for path in ("/v1/breaks", f"/v1/breaks/{found.id}", "/v1/finance/bills"):
            assert_problem(machine.get(path), 403, "insufficient-scope")
            forged = {"Authorization": f"Bearer {make_access_token(machine.known, ['finance.read'])}"}
            assert_problem(machine.client.get(path, headers=forged), 403, "insufficient-scope")
    for path in ("/v1/cards", "/v1/bills", "/v1/alarms", f"/v1/payments/{found.payment_id}"):
        assert_problem(api.finance.get(path), 403, "insufficient-scope")


@pytest.mark.parametrize("name", ["script.html", "r\u00e9sum\u00e9.pdf", "a b;c.svg"])
def test_an_attachment_is_saved_and_never_shown(api: Api, name: str) -> None:
    """Whatever type it claims to be of: a page that a store has made is none of ours."""
    found = break_of(broken_bill(api.world, (settled(api.world), 3_700)))
    content = b"<script>alert(1)</script>" + base64.b64decode("AP8=")
    made = attach_file(found.id, content, name=name, media_type="text/html", by="operator:anna")
    [listed] = api.finance.get(f"/v1/breaks/{found.id}").get_json()["attachments"]
    assert (listed["id"], listed["name"], listed["sha256"]) == (made.id, name, made.sha256)
    answer = api.finance.get(f"/v1/breaks/attachments/{made.id}")
    assert (answer.status_code, answer.data) == (200, content)
    assert answer.content_type == "application/octet-stream"
    assert answer.headers["Content-Disposition"].startswith("attachment; filename")
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Cache-Control"] == "no-store"
    of_live = finance_machine(api.finance.client, mode="live")
    assert_problem(of_live.get(f"/v1/breaks/attachments/{made.id}"), 404, "not-found")


def test_what_two_clients_do_is_told_by_their_names(api: Api) -> None:
    found = break_of(broken_bill(api.world, (settled(api.world), 3_700)))
    posted(api.finance, found.id, "propose", proposal="reject", reason="too much")
    with transaction() as db:
        query = "SELECT actor, facts ->> 'proposed_by' FROM event WHERE facts ->> 'break_id' = $1"
        [told] = db.exec_driver_sql(query, (found.id,)).all()
    assert tuple(told) == (api.finance.known.client_id,) * 2
