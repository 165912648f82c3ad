"""What bad fields get: a problem that names the field, and nothing changed."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask import Flask

from tests.api import Api, assert_problem, money, nothing_changes
from tests.web.bodies import (
    Bodies,
    card_body,
    exchange_body,
    good_bodies,
    leaves,
    pointer,
    posts,
    programme_body,
    with_field,
)

WRONG: dict[type, list[object]] = {
    str: [None, True, 5, 5.0, ["x"], {"x": 1}, "", "\0", "a\0b", "\ud800", "\x1b[31m", "x" * 5_000],
    int: [None, True, False, 30.0, 0.5, "3000", "", [1], {"x": 1}, 0, -1, -(10**30), 10**13, 10**30, 10**4000, 1e300],
    bool: [None, 0, 1, "true", "", [], {}],
    dict: [None, True, 5, "x", [], [{}]],
    list: [None, True, 5, "x", [5], [None], [[]], ["str_x"], [], {}],
}
#: Null stands for a field that was left out, where leaving it out is allowed.
MAY_BE_NULL: dict[str, set[str]] = {
    "issue_card": {"/order_reference", "/message", "/holder/name"},
    "exchange_code": {"/shopper", "/amount", "/hold_ttl_s"},
    "confirm_payment": {"/amount"},
    "settle_payment": {"/order_reference"},
    "refund_payment": {"/reason"},
}


@pytest.fixture(scope="module")
def bodies(api: Api) -> Bodies:
    """Good bodies: all that is refused here leaves them good."""
    return good_bodies(api)


def test_every_post_is_under_attack_here(bodies: Bodies, app: Flask) -> None:
    paths = {re.sub(r"(brk|card|pay)_[0-9a-z]{26}", "*", path) for path, _ in bodies.values()}
    assert {re.sub(r"<.*?>", "*", rule) for rule in posts(app)} == paths


def test_a_wrong_type_or_bound_in_any_field_is_refused_by_its_pointer(api: Api, bodies: Bodies) -> None:
    tried = 0
    for operation, (path, body) in bodies.items():
        with nothing_changes():
            for place, good in leaves(body):
                for wrong in wrong_for(operation, place, good):
                    answer = api.machine(path).post(path, with_field(body, place, wrong))
                    if place == ("code",) and isinstance(wrong, str) and 0 < len(wrong) <= 100:
                        assert_problem(answer, 422, "code-mistyped")
                        continue
                    problem = assert_problem(answer, 422, "invalid-request")
                    named = {error["pointer"] for error in problem["errors"]}
                    assert any(found.startswith(pointer(place)) for found in named), (place, wrong, problem)
                    tried += 1
    assert tried > 250


def wrong_for(operation: str, place: tuple[str, ...], good: object) -> list[object]:
    where = pointer(place)
    allowed: list[object] = [None] if where in MAY_BE_NULL.get(operation, ()) else []
    if where == "/metadata/campaign":
        allowed.append("")
    return [value for value in WRONG[type(good)] if not any(value is one for one in allowed)]


def test_an_unknown_field_at_any_depth_is_refused_by_its_pointer(api: Api, bodies: Bodies) -> None:
    for path, body in bodies.values():
        places = [(), *(place for place, value in leaves(body) if isinstance(value, dict) and place != ("metadata",))]
        with nothing_changes():
            for place in places:
                spoilt = with_field(body, (*place, "surprise"), 1)
                answer = api.machine(path).post(path, spoilt)
                assert_problem(answer, 422, "invalid-request", pointer((*place, "surprise")))


def test_a_missing_field_is_refused_by_its_pointer(api: Api, bodies: Bodies) -> None:
    required = {
        "/v1/programmes": {"/name", "/currency", "/card_min_minor", "/card_max_minor", "/valid_days"},
        "/v1/cards": {"/programme", "/amount", "/holder"},
        "/v1/payments": {"/code", "/order_reference"},
        "holder": {"/email"},
        "confirm": {"/order_reference"},
        "settlements": {"/amount"},
        "extend": {"/hold_ttl_s"},
        "refunds": {"/amount"},
        "assign": {"/assignee"},
        "propose": {"/proposal", "/reason"},
        "approve": {"/proposal_id"},
        "decline": {"/proposal_id", "/reason"},
        "reopen": {"/reason"},
        "notes": {"/note"},
    }
    for path, _ in bodies.values():
        wanted = required.get(path) or required.get(path.rpartition("/")[2])
        if wanted is not None:
            with nothing_changes():
                problem = assert_problem(api.machine(path).post(path, {}), 422, "invalid-request")
            assert {error["pointer"] for error in problem["errors"]} == wanted


@pytest.mark.parametrize("body", [None, True, 5, "x", [], [{}]])
def test_a_body_that_is_no_object_is_refused_as_a_whole(api: Api, bodies: Bodies, body: object) -> None:
    for path, _ in bodies.values():
        with nothing_changes():
            assert_problem(api.machine(path).post(path, body), 422, "invalid-request", "")


def test_a_field_named_with_half_a_surrogate_pair_is_refused_like_any_other(api: Api) -> None:
    """The pointer shows the name, whose other half it cannot show: the answer is UTF-8 all the same."""
    for name, shown in (("\\ud800", "/?"), ("\\u0000", "/\0"), ("a/b~c", "/a~1b~0c"), ("x" * 300, "/" + "x" * 100)):
        answer = api.acme.post_raw("/v1/programmes", f'{{"{name}": 1}}'.encode())
        problem = assert_problem(answer, 422, "invalid-request")
        assert shown in {error["pointer"] for error in problem["errors"]}


SPOILT_CARDS: list[tuple[dict[str, Any], str]] = [
    ({"amount": money(5_000, "gbp")}, "/amount/currency"),
    ({"amount": money(5_000, "XAU")}, "/amount/currency"),
    ({"amount": money(5_000, "XXX")}, "/amount/currency"),
    ({"amount": money(5_000, "GBP\n")}, "/amount/currency"),
    ({"programme": "prg_x"}, "/programme"),
    ({"programme": "card_01k9qn1d8p0000000000000000"}, "/programme"),
    ({"programme": "prg_01k9qn1d8p0000000000000000\n"}, "/programme"),
    ({"deliver": "post"}, "/deliver"),
    ({"holder": {"email": "nobody"}}, "/holder/email"),
    ({"holder": {"email": "sam@"}}, "/holder/email"),
    ({"holder": {"email": "sam@holder.example\r\nBcc: eve@thief.example"}}, "/holder/email"),
    ({"holder": {"email": '"\x01"@holder.example'}}, "/holder/email"),
    ({"holder": {"email": f"{'s' * 250}@holder.example"}}, "/holder/email"),
    ({"holder": {"email": "sam@holder.example", "locale": "x" * 40}}, "/holder/locale"),
    ({"holder": {"email": "sam@holder.example", "name": "Sam\r\nBcc: eve@thief.example"}}, "/holder/name"),
    ({"message": "see https://thief.example"}, "/message"),
    ({"message": "see thief.shop"}, "/message"),
    ({"message": "a\x07b"}, "/message"),
    ({"metadata": {"x" * 41: "y"}}, "/metadata/" + "x" * 41),
    ({"metadata": {"a\0": "y"}}, "/metadata/a\0"),
    ({"metadata": {"a": {"b": "c"}}}, "/metadata/a"),
    ({"metadata": {f"n{n}": "" for n in range(21)}}, "/metadata"),
    ({"not_before": "tomorrow"}, "/not_before"),
    ({"not_before": "2026-11-24T10:00:00"}, "/not_before"),
    ({"not_before": 1_800_000_000}, "/not_before"),
    ({"not_before": "0001-01-01T00:00:00+14:00"}, "/not_before"),
    ({"not_before": "9999-12-31T23:59:59-14:00"}, "/not_before"),
    ({"not_before": (datetime.now(UTC) - timedelta(days=2)).isoformat()}, "/not_before"),
    ({"not_before": (datetime.now(UTC) + timedelta(days=367)).isoformat()}, "/not_before"),
    ({"not_before": (datetime.now(UTC) + timedelta(days=1)).isoformat(), "deliver": "link"}, "/not_before"),
]


@pytest.mark.parametrize(("changes", "where"), SPOILT_CARDS, ids=range(len(SPOILT_CARDS)))
def test_a_card_with_a_field_that_makes_no_sense_is_refused(api: Api, changes: dict[str, Any], where: str) -> None:
    with nothing_changes():
        answer = api.acme.post("/v1/cards", card_body(api.world.programme_id, **changes))
        assert_problem(answer, 422, "invalid-request", where)


SPOILT_PROGRAMMES: list[tuple[dict[str, Any], str]] = [
    ({"card_min_minor": 50_001}, "/card_max_minor"),
    ({"card_max_minor": 10**12 + 1}, "/card_max_minor"),
    ({"valid_days": 36_501}, "/valid_days"),
    ({"hold_ttl_s": 0}, "/hold_ttl_s"),
    ({"hold_ttl_s": 2_592_001}, "/hold_ttl_s"),
    ({"confirmed_ttl_s": 2_592_001}, "/confirmed_ttl_s"),
    ({"hold_max_s": 367 * 86_400}, "/hold_max_s"),
    ({"link_policy": "forever"}, "/link_policy"),
    ({"stores": None}, "/stores"),
    ({"stores": "some"}, "/stores"),
    ({"stores": ["str_01k9qn1d8p0000000000000000"] * 2}, "/stores"),
    ({"stores": ["str_01k9qn1d8p0000000000000000"]}, "/stores/0"),
    ({"stores": ["str_x"]}, "/stores/0"),
    ({"currency": "DEM"}, "/currency"),
]


@pytest.mark.parametrize(("changes", "where"), SPOILT_PROGRAMMES, ids=lambda value: str(value)[:60])
def test_a_programme_with_terms_that_make_no_sense_is_refused(api: Api, changes: dict[str, Any], where: str) -> None:
    with nothing_changes():
        assert_problem(api.acme.post("/v1/programmes", programme_body(**changes)), 422, "invalid-request", where)


def test_a_shopper_is_a_hash_and_a_prefix_never_a_name(api: Api) -> None:
    code = api.world.code().code
    for name, wrong in (("key_hash", "short"), ("key_hash", "with space in it"), ("address_prefix", "192.0.2.1")):
        body = with_field(exchange_body(code), ("shopper", name), wrong)
        with nothing_changes():
            assert_problem(api.bookshop.post("/v1/payments", body), 422, "invalid-request", f"/shopper/{name}")


REFUSED_AMOUNTS = [
    ("/v1/cards", money(5_000, "EUR"), "currency-mismatch"),
    ("/v1/cards", money(99), "amount-outside-programme"),
    ("/v1/cards", money(50_001), "amount-outside-programme"),
    ("confirm", money(4_001, "EUR"), "currency-mismatch"),
    ("confirm", money(5_001), "amount-over-hold"),
    ("settlements", money(3_000, "EUR"), "currency-mismatch"),
    ("settlements", money(10**12), "amount-over-hold"),
    ("refunds", money(1, "EUR"), "currency-mismatch"),
    ("refunds", money(1), "amount-over-settled"),
    ("refunds", money(10**12), "amount-over-settled"),
]


@pytest.mark.parametrize(("path", "amount", "slug"), REFUSED_AMOUNTS)
def test_an_amount_of_another_currency_or_beyond_the_limits_is_refused(
    api: Api, bodies: Bodies, path: str, amount: dict[str, Any], slug: str
) -> None:
    path, body = next(found for found in bodies.values() if found[0].endswith(path))
    with nothing_changes():
        assert_problem(api.machine(path).post(path, {**body, "amount": amount}), 422, slug)


def test_an_exchange_for_an_amount_in_another_currency_is_refused_and_the_code_lives(api: Api) -> None:
    code = api.world.code().code
    with nothing_changes():
        answer = api.bookshop.post("/v1/payments", exchange_body(code, amount=money(100, "EUR")))
        assert_problem(answer, 422, "currency-mismatch")
    assert api.bookshop.post("/v1/payments", exchange_body(code)).status_code == 201


QUERIES = [
    ("limit=0", "/limit"), ("limit=101", "/limit"), ("limit=-1", "/limit"), ("limit=1.0", "/limit"),
    ("limit=%D9%A3", "/limit"), ("limit=1_0", "/limit"), ("limit=%00", "/limit"), ("limit=", "/limit"),
    ("limit=" + "9" * 1_000, "/limit"), ("limit=1&limit=2", "/limit"), ("after=card_x", "/after"),
    ("after=%00", "/after"), ("after=", "/after"), ("surprise=1", "/surprise"),
]  # fmt: skip
CARD_QUERIES = [
    ("state=gone", "/state"), ("order_reference=%00", "/order_reference"), ("order_reference=", "/order_reference"),
    ("order_reference=" + "x" * 201, "/order_reference"),
]  # fmt: skip


def test_a_query_that_makes_no_sense_is_refused_by_its_pointer(api: Api) -> None:
    card = f"/v1/cards/{api.world.issue().id}"
    asked = [(path, *query) for path in ("/v1/cards", "/v1/programmes", f"{card}/events") for query in QUERIES]
    with nothing_changes():
        for path, query, where in [*asked, *(("/v1/cards", *query) for query in CARD_QUERIES)]:
            answer = api.acme.client.get(f"{path}?{query}", headers=api.acme.authorization)
            assert_problem(answer, 422, "invalid-request", where)


def test_lists_are_paged_to_their_end_without_gap_or_repeat(api: Api) -> None:
    made = [api.world.issue(order_reference="together").id for _ in range(5)]
    seen: list[str] = []
    query = {"limit": "2", "order_reference": "together"}
    while True:
        page = api.acme.get("/v1/cards", **query).get_json()
        seen += [card["id"] for card in page["items"]]
        if page["next"] is None:
            break
        query["after"] = page["next"]
    assert seen == made
