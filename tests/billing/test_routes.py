"""The API of bills, as stores see it: one bill for a reference, what became of its lines, and never another's."""

import logging
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from app.billing.match import match_bill
from app.billing.read import read_bill
from app.billing.work import work_off
from app.web.requests import MAX_BODY_BYTES
from tests.api import Api, Machine, api_of, assert_problem, money, nothing_changes
from tests.billing.files import HEADER, this_month
from tests.world import make_world


@pytest.fixture(scope="module")
def api(app: Flask) -> Api:
    return api_of(app.test_client(), make_world())


def bill_body(*lines: Any, **more: Any) -> dict[str, Any]:
    return {"period": this_month(), "reference": "r", "lines": list(lines), **more}


def line_of(payment_id: str, amount_minor: int = 3_000) -> dict[str, Any]:
    return {"payment_id": payment_id, "amount": money(amount_minor), "order_reference": "order-1"}


def post_csv(machine: Machine, content: bytes, query: str, **headers: str) -> Any:
    all_headers = {"Content-Type": "text/csv", "Idempotency-Key": "k", **machine.authorization, **headers}
    return machine.client.post(f"/v1/bills?{query}", data=content, headers=all_headers)


def test_a_bill_from_its_sending_to_its_end(api: Api) -> None:
    settled = [api.world.payment(shopper=f"s{number}").payment.id for number in range(2)]
    for payment_id in settled:
        api.world.settle(payment_id, 3_000)
    held = api.world.payment(shopper="s3").payment.id
    body = bill_body(*map(line_of, [*settled, held]), {"payment_id": "x"}, reference="whole")
    sent = api.bookshop.post("/v1/bills", body)
    assert (sent.status_code, sent.get_json()["state"], sent.get_json()["lines"]) == (202, "received", None)
    again = api.bookshop.post("/v1/bills", body)
    assert (again.status_code, again.get_json()["id"]) == (202, sent.get_json()["id"])
    assert again.headers["Idempotent-Replayed"] == "true"
    assert_problem(api.bookshop.post("/v1/bills", {**body, "lines": []}), 422, "reference-reused")

    path = f"/v1/bills/{sent.get_json()['id']}"
    assert api.bookshop.get(f"{path}/lines").get_json() == {"items": [], "next": None}
    work_off(sent.get_json()["id"])
    bill = api.bookshop.get(path).get_json()
    assert (bill["state"], bill["lines"], bill["wrong_lines"]) == ("matched", 3, 1)
    assert (bill["billed"], bill["matched"], bill["credits"]) == ([money(9_000)], [money(6_000)], [])
    assert bill["breaks"] == {"not_settled": 1}
    lines = api.bookshop.get(f"{path}/lines").get_json()["items"]
    assert [line["outcome"] for line in lines] == ["matched", "matched", "not_settled"]
    assert lines[0]["amount"] == money(3_000)
    for state in ("break", "not_settled"):
        assert [line["line_no"] for line in api.bookshop.get(f"{path}/lines", state=state).get_json()["items"]] == [3]
    first = api.bookshop.get(f"{path}/lines", state="matched", limit="1").get_json()
    assert first["next"] == 1
    rest = api.bookshop.get(f"{path}/lines", state="matched", limit="1", after=str(first["next"])).get_json()
    assert ([line["line_no"] for line in rest["items"]], rest["next"]) == ([2], None)
    assert [line["line_no"] for line in api.bookshop.get(f"{path}/wrong-lines").get_json()["items"]] == [4]
    file = api.bookshop.get(f"{path}/file")
    assert file.headers["Content-Disposition"] == f"attachment; filename={sent.get_json()['id']}"
    assert file.headers["Content-Type"] == "application/octet-stream"
    assert b'"whole"' in file.data
    file.close()

    assert_problem(api.toyshop.post(f"{path}/reject", {}), 404, "not-found")
    rejected = api.bookshop.post(f"{path}/reject", {})
    assert (rejected.status_code, rejected.get_json()["state"]) == (200, "rejected")
    assert_problem(api.bookshop.post(f"{path}/reject", {}), 409, "bill-closed")
    anew = api.bookshop.post("/v1/bills", bill_body(*map(line_of, settled), reference="anew")).get_json()["id"]
    work_off(anew)
    assert api.bookshop.get(f"/v1/bills/{anew}").get_json()["matched_lines"] == 2


@pytest.mark.parametrize("steps", [0, 1])
def test_a_bill_that_is_not_matched_yet_can_be_withdrawn_and_is_not_gone_on_with(api: Api, steps: int) -> None:
    """Or one that keeps its worker busy for ever would do so for ever."""
    bill_id = api.bookshop.post("/v1/bills", bill_body(line_of("p"), reference=f"early {steps}")).get_json()["id"]
    if steps:
        read_bill(bill_id)
    assert api.bookshop.post(f"/v1/bills/{bill_id}/reject", {}).get_json()["state"] == "rejected"
    assert not read_bill(bill_id)
    assert not match_bill(bill_id)
    work_off(bill_id)
    assert api.bookshop.get(f"/v1/bills/{bill_id}").get_json()["state"] == "rejected"


def test_a_bill_that_cannot_be_read_cannot_be_withdrawn(api: Api) -> None:
    begins = f'{{"period": "{this_month()}", "reference": "cut", "lines": ['
    sent = api.bookshop.post_raw("/v1/bills", (begins + '{"payment_id": "p"}, ' * 1_001).encode())
    bill_id = sent.get_json()["id"]
    work_off(bill_id)
    problem = assert_problem(api.bookshop.post(f"/v1/bills/{bill_id}/reject", {}), 409, "bill-closed")
    assert problem["state"] == "unreadable"


def test_csv_says_its_terms_in_the_query(api: Api) -> None:
    query = f"period={this_month()}&reference=csv"
    sent = post_csv(api.bookshop, b"payment_id;amount\np;1,50\n", f"{query}&currency=GBP")
    assert sent.status_code == 202
    work_off(sent.get_json()["id"])
    assert api.bookshop.get(f"/v1/bills/{sent.get_json()['id']}").get_json()["billed"] == [money(150)]


def test_what_is_refused(api: Api) -> None:
    good, query = f"{HEADER}\n".encode(), f"period={this_month()}&reference=refused"
    with nothing_changes():
        assert_problem(post_csv(api.bookshop, good, "reference=x"), 422, "invalid-request", "/period")
        assert_problem(post_csv(api.bookshop, good, f"{query}&x=1"), 422, "invalid-request", "/x")
        problem = assert_problem(post_csv(api.bookshop, b"a,b\n", query), 422, "bill-unreadable")
        assert problem["line"] == 1
        xml = {"Content-Type": "application/xml"}
        assert_problem(post_csv(api.bookshop, good, query, **xml), 415, "unsupported-media-type")
        keyless = {"Idempotency-Key": ""}
        assert_problem(post_csv(api.bookshop, good, query, **keyless), 400, "idempotency-key-invalid")
        assert_problem(post_csv(api.acme, good, query), 403, "insufficient-scope")
        assert_problem(api.bookshop.post_raw("/v1/bills", b'{"period": '), 422, "bill-unreadable")
        assert_problem(api.bookshop.post("/v1/bills", {**bill_body(), "note": 1}), 422, "bill-unreadable")


def test_only_this_route_takes_more_than_others(api: Api) -> None:
    content = f"{HEADER},note\n".encode() + b"p,1.00,GBP,x\n" * 10_000
    assert len(content) > MAX_BODY_BYTES
    assert post_csv(api.bookshop, content, f"period={this_month()}&reference=large").status_code == 202
    assert_problem(api.bookshop.post_raw("/v1/payments", content), 413, "too-large")
    bill = api.bookshop.post("/v1/bills", bill_body(reference="small")).get_json()["id"]
    assert_problem(api.bookshop.post_raw(f"/v1/bills/{bill}/reject", content), 413, "too-large")


def test_a_body_beyond_the_routes_own_bound(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.billing.routes.MOST_BYTES", 100_000)
    for length, status in ((100_000, 202), (100_001, 413)):
        content = f"{HEADER}\n".encode().ljust(length, b"\n")
        assert post_csv(api.bookshop, content, f"period={this_month()}&reference={length}").status_code == status


def test_bills_are_listed_for_their_store_alone(api: Api, client: FlaskClient) -> None:
    other = api_of(client, make_world())
    ids = []
    for number in range(3):
        body = bill_body(reference=f"list-{number}", period="2026-10" if number else this_month())
        ids.append(other.bookshop.post("/v1/bills", body).get_json()["id"])
    page = other.bookshop.get("/v1/bills", limit="2").get_json()
    assert [bill["id"] for bill in page["items"]] == ids[:2]
    assert [bill["id"] for bill in other.bookshop.get("/v1/bills", after=page["next"]).get_json()["items"]] == ids[2:]
    assert [bill["id"] for bill in other.bookshop.get("/v1/bills", period="2026-10").get_json()["items"]] == ids[1:]
    assert other.bookshop.get("/v1/bills", state="matched").get_json()["items"] == []
    assert other.toyshop.get("/v1/bills").get_json()["items"] == []
    with nothing_changes():
        for rest in ("", "/lines", "/wrong-lines", "/file"):
            assert_problem(api.bookshop.get(f"/v1/bills/{ids[0]}{rest}"), 404, "not-found")


def test_a_code_that_stands_in_a_bill_by_mistake_reaches_no_log(api: Api, caplog: pytest.LogCaptureFixture) -> None:
    code = api.world.code().code
    caplog.set_level(logging.DEBUG)
    content = f"{HEADER}\n{code},1.00,GBP\n{code},x,{code}\n{code}\n".encode()
    sent = post_csv(api.bookshop, content, f"period={this_month()}&reference=canary")
    work_off(sent.get_json()["id"])
    for form in (code, code.replace("-", ""), code.lower()):
        assert form not in caplog.text
    assert_problem(post_csv(api.bookshop, f"{code},{code}\n".encode(), "reference=c2"), 422, "bill-unreadable")
    assert code not in caplog.text
