"""Statements over HTTP: an issuer reads its own, and of stores' bills what concerns its own cards alone."""

from typing import Any

import pytest
from flask.testing import FlaskClient

from app import clock
from app.reports.asked import Month
from app.reports.catalogue import build_report
from tests.api import Api, Machine, api_of, assert_problem, money, other_api
from tests.billing.matched import bill_of
from tests.reports.books import asked_of, built, hand, named
from tests.world import make_world


@pytest.fixture
def api(client: FlaskClient) -> Api:
    return api_of(client, make_world())


def month() -> str:
    return str(Month.of(clock.here()))


def test_an_issuer_reads_its_statement(api: Api) -> None:
    payment = api.world.payment(5_000).payment
    api.world.settle(payment.id, 3_000)
    told = api.acme.get("/v1/statements", month=month()).get_json()
    assert (told["month"], told["mode"], told["is_over"], told["agrees"]) == (month(), "test", False, True)
    [line] = told["programmes"]
    assert (line["programme"], line["name"]) == (api.world.programme_id, "Gift card")
    amounts = {name: line[name]["amount_minor"] for name in line if isinstance(line[name], dict)}
    assert amounts == {
        "opening": 0,
        "funded": 5_000,
        "refunded": 0,
        "settled": 3_000,
        "lapsed": 0,
        "adjusted": 0,
        "closing": 2_000,
        "balances": 2_000,
        "difference": 0,
    }
    assert line["closing"] == money(2_000)
    [row] = named(built("statement", asked_of(api.world, month(), as_of=clock.here())))
    assert row["closing"] == amounts["closing"]


def test_months_are_asked_for_as_months_and_none_that_has_not_begun(api: Api) -> None:
    assert api.acme.get("/v1/statements", month="2020-02").get_json()["programmes"] == []
    for wrong in ("2026-13", "2026-1", "2026-10-01", "now", ""):
        for path in ("/v1/statements", "/v1/statements/lines"):
            assert_problem(api.acme.get(path, month=wrong), 422, "invalid-request", "/month")
    assert_problem(api.acme.get("/v1/statements"), 422, "invalid-request", "/month")
    later = str(Month.of(clock.here()).later(1))
    assert_problem(api.acme.get("/v1/statements", month=later), 422, "invalid-request")


def test_lines_are_of_own_cards_without_anything_else_of_the_bill(api: Api, client: FlaskClient) -> None:
    """Two issuers' cards are billed by one store in one bill: each sees its own, page by page."""
    other = make_world()
    payments = [api.world.payment(1_000 * (place + 1)).payment.id for place in range(3)]
    for payment_id in payments:
        api.world.settle(payment_id, 700, final=True)
    others = other.payment(9_000, store=api.world.bookshop).payment.id
    api.world.settle(others, 9_000)
    bill_id = bill_of(api.world, [*payments, others])
    seen: list[dict[str, Any]] = []
    after: dict[str, str] = {}
    while True:
        page = api.acme.get("/v1/statements/lines", month=month(), limit="2", **after).get_json()
        seen += page["items"]
        if page["next"] is None:
            break
        after = {"after": page["next"]}
    assert sorted(line["payment"] for line in seen) == sorted(payments)
    assert all(line["amount"] == money(700) and line["kind"] == "settlement" for line in seen)
    assert {(line["store"], line["store_name"]) for line in seen} == {(api.world.bookshop, "Bookshop")}
    assert set(seen[0]) == {"id", "kind", "payment", "card", "programme", "store", "store_name", "at", "amount"}
    text = api.acme.get("/v1/statements/lines", month=month()).text
    for hidden in (bill_id, others, "order-1", "9000"):
        assert hidden not in text
    traced = named(built("lines", asked_of(api.world, month(), issuer_id=None, store_id=api.world.bookshop)))
    assert {(row["payment_id"], row["bill_id"]) for row in traced} == {(each, bill_id) for each in [*payments, others]}
    assert {row["issuer_id"] for row in traced} == {api.world.issuer_id, other.issuer_id}
    assert sum(row["amount"] for row in traced) == 3 * 700 + 9_000


def test_nobody_else_reads_them(api: Api, client: FlaskClient) -> None:
    payment = api.world.payment(5_000).payment
    api.world.settle(payment.id, 3_000)
    bill_of(api.world, [payment.id])
    stranger = other_api(client).acme
    assert stranger.get("/v1/statements", month=month()).get_json()["programmes"] == []
    assert stranger.get("/v1/statements/lines", month=month()).get_json() == {"items": [], "next": None}
    for path in ("/v1/statements", "/v1/statements/lines"):
        assert_problem(api.bookshop.get(path, month=month()), 403, "insufficient-scope")
    assert isinstance(stranger, Machine)


def test_a_statement_that_does_not_agree_says_so(api: Api, urls: dict[str, str]) -> None:
    card = api.world.issue(5_000)
    with hand(urls) as db:
        db.exec_driver_sql(
            "UPDATE account SET balance_minor = balance_minor - 3 WHERE id = $1", (f"{card.id}:card:GBP",)
        )
        report = build_report(db, "statement", asked_of(api.world, month(), as_of=clock.here()))
        assert [row["difference"] for row in named(report)] == [-3]
        assert report.is_wrong
