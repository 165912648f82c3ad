"""The pushed authorization request endpoint: what a store may ask for, and everything that it may not."""

import json
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from app.oauth.authorization_request import URI_PREFIX
from app.oauth.clients import add_client, replace_redirect_uris
from app.secrecy import fingerprint
from tests.api import nothing_changes
from tests.checkout.shop import CALLBACK, Shop, details, shop_of
from tests.oauth.conftest import Party, basic
from tests.world import World, rows


@pytest.fixture
def shop(app: Flask, world: World) -> Shop:
    return shop_of(app, world.bookshop)


def check_refused(answer: TestResponse, error: str, status: int = 400) -> None:
    assert (answer.status_code, answer.get_json()["error"]) == (status, error), answer.text
    assert answer.headers["Cache-Control"] == "no-store"
    assert set(answer.get_json()) <= {"error", "error_description"}
    assert answer.get_json().get("error_description", "").isascii()


def test_a_good_request_gets_a_uri_that_lives_for_five_minutes(shop: Shop) -> None:
    answer = shop.ask()
    told = answer.get_json()
    assert answer.status_code == 201
    assert set(told) == {"request_uri", "expires_in"}
    assert told["expires_in"] == 300
    assert answer.headers["Cache-Control"] == "no-store"
    secret = told["request_uri"].removeprefix(URI_PREFIX)
    assert len(secret) == 43
    [row] = rows("SELECT * FROM authorization_request WHERE client_id = :id", id=shop.credentials.client_id)
    assert row.uri_hash == fingerprint(secret)
    assert row.expires_at - row.created_at == timedelta(seconds=300)
    assert (row.amount_minor, row.currency, row.order_reference, row.store_id) == (3_000, "GBP", "123", shop.store_id)
    assert secret not in str(row)


def test_each_gets_another_uri(shop: Shop) -> None:
    assert shop.ask().get_json()["request_uri"] != shop.ask().get_json()["request_uri"]


def test_parameters_that_nobody_knows_are_not_looked_at(shop: Shop) -> None:
    """RFC 6749, section 3.1."""
    assert shop.ask(prompt="login", nonce="x", client_id=shop.credentials.client_id).status_code == 201


def test_a_client_says_who_it_is_as_at_the_token_endpoint(shop: Shop, bookshop: Party) -> None:
    form = shop.form()
    for headers in ({}, {"Authorization": basic(shop.credentials.client_id, "wrong")}, {"Authorization": "Bearer x"}):
        check_refused(shop.web.post("/oauth/par", data=form, headers=headers), "invalid_client", 401)
    check_refused(shop.ask(client_secret="x"), "invalid_request")
    check_refused(shop.ask(client_id=bookshop.client.client_id), "invalid_client", 401)


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"response_type": None}, "invalid_request"),
    ({"response_type": "token"}, "unsupported_response_type"),
    ({"response_type": "code id_token"}, "unsupported_response_type"),
    ({"response_mode": "fragment"}, "invalid_request"),
    ({"response_mode": "form_post"}, "invalid_request"),
    ({"request": "eyJhbGciOiJub25lIn0.e30."}, "invalid_request"),
    ({"request_uri": URI_PREFIX + "x" * 43}, "invalid_request"),
    ({"redirect_uri": None}, "invalid_request"),
    ({"redirect_uri": CALLBACK + "&more=1"}, "invalid_request"),
    ({"redirect_uri": CALLBACK.partition("?")[0]}, "invalid_request"),
    ({"redirect_uri": CALLBACK.replace("bookshop", "Bookshop")}, "invalid_request"),
    ({"redirect_uri": CALLBACK.replace("example/", "example:443/")}, "invalid_request"),
    ({"redirect_uri": "https://evil.example/"}, "invalid_request"),
    ({"redirect_uri": CALLBACK + '"'}, "invalid_request"),
    ({"code_challenge": None}, "invalid_request"),
    ({"code_challenge_method": None}, "invalid_request"),
    ({"code_challenge_method": "plain"}, "invalid_request"),
    ({"code_challenge_method": "s256"}, "invalid_request"),
    ({"code_challenge": "x" * 42}, "invalid_request"),
    ({"code_challenge": "x" * 44}, "invalid_request"),
    ({"code_challenge": "x" * 42 + "="}, "invalid_request"),
    ({"code_challenge": "x" * 42 + "~"}, "invalid_request"),
    ({"state": "x" * 513}, "invalid_request"),
    ({"state": "a\x00b"}, "invalid_request"),
    ({"state": "a\r\nb"}, "invalid_request"),
    ({"scope": "exchange issue"}, "invalid_scope"),
    ({"scope": "openid"}, "invalid_scope"),
    ({"authorization_details": None}, "invalid_authorization_details"),
]


@pytest.mark.parametrize(("changes", "error"), WRONG)
def test_what_is_not_right_is_refused_and_keeps_nothing(shop: Shop, changes: dict[str, Any], error: str) -> None:
    assert shop.ask().status_code == 201
    with nothing_changes():
        check_refused(shop.ask(**changes), error)


AMOUNT = {"currency": "GBP", "amount": "30.00"}
WRONG_DETAILS: list[Any] = [
    "",
    "x",
    "[",
    "null",
    "30",
    "[]",
    "{}",
    "[null]",
    "[[]]",
    "[" * 2_000,
    json.dumps(details()[0]),
    json.dumps(details() * 2),
    '[{"type": "giftcard_payment", "type": "giftcard_payment"}]',
    [{"type": "account_information"}],
    [{**details()[0], "type": "GIFTCARD_PAYMENT"}],
    [{**details()[0], "type": None}],
    [{**details()[0], "actions": ["settle", "refund"]}],
    [{**details()[0], "actions": []}],
    [{**details()[0], "actions": "settle"}],
    [{**details()[0], "actions": [["settle"]]}],
    [{**details()[0], "locations": ["https://evil.example"]}],
    [{**details()[0], "payment_id": "pay_x"}],
    [{**details()[0], '\u2028 "quoted" é': 1}],
    [{name: value for name, value in details()[0].items() if name != "order"}],
    [{name: value for name, value in details()[0].items() if name != "actions"}],
    [{name: value for name, value in details()[0].items() if name != "instructed_amount"}],
    details(order=""),
    details(order="x" * 201),
    details(order="a\x00b"),
    details(order="a\nb"),
    details(order="\ud800"),
    details(order=123),  # type: ignore[arg-type]
    details(shopper={}),
    details(shopper={"key_hash": "short"}),
    details(shopper={"key_hash": "x" * 129}),
    details(shopper={"key_hash": "with space"}),
    details(shopper={"key_hash": "shopper-key", "email": "sam@example.com"}),
    details(shopper="shopper-key"),
    *(
        details(amount, currency)
        for amount, currency in [
            ("0.00", "GBP"),
            ("-1.00", "GBP"),
            ("+1.00", "GBP"),
            ("30", "GBP"),
            ("30.0", "GBP"),
            ("30.000", "GBP"),
            ("30,00", "GBP"),
            ("030.00", "GBP"),
            (".50", "GBP"),
            ("3e3", "GBP"),
            ("30.00 ", "GBP"),
            ("٣٠.٠٠", "GBP"),
            ("NaN", "GBP"),
            ("Infinity", "GBP"),
            ("99999999999999.00", "GBP"),
            ("10000000000.01", "GBP"),
            ("30.00", "JPY"),
            ("30.00", "KWD"),
            ("30.00", "gbp"),
            ("30.00", "XAU"),
            ("30.00", "XXX"),
            ("30.00", ""),
        ]
    ),
    [{**details()[0], "instructed_amount": {**AMOUNT, "amount": 30.00}}],
    [{**details()[0], "instructed_amount": {**AMOUNT, "amount_minor": 3000}}],
    [{**details()[0], "instructed_amount": "30.00 GBP"}],
    [{**details()[0], "instructed_amount": None}],
]


@pytest.mark.parametrize("asked", WRONG_DETAILS, ids=lambda asked: str(asked)[:60].encode("ascii", "replace").decode())
def test_details_that_are_not_exactly_known_are_refused(shop: Shop, asked: Any) -> None:
    text = asked if isinstance(asked, str) else json.dumps(asked)
    with nothing_changes(but=("client_secret",)):
        check_refused(shop.ask(authorization_details=text or None), "invalid_authorization_details")


@pytest.mark.parametrize(
    "asked",
    [
        details("1", "JPY"),
        details("0.001", "KWD"),
        details("10000000000.00"),
        details(order="x" * 200),
        details(order="№ 12 “Bücher” \U0001f4da"),
        details(shopper={"key_hash": "!" * 128}),
    ],
)
def test_details_in_bounds_are_taken(shop: Shop, asked: Any) -> None:
    assert shop.ask(authorization_details=json.dumps(asked)).status_code == 201
    assert shop.ask(authorization_details=json.dumps(asked, indent=2, ensure_ascii=False)).status_code == 201


def test_only_a_stores_client_with_the_scope_exchange_may_push(app: Flask, shop: Shop, acme: Party) -> None:
    settles = add_client(name="x", mode="test", store_id=shop.store_id, scopes=["settle"], redirect_uris=[CALLBACK])
    for credentials in (settles, acme.client):
        check_refused(Shop(shop.web, "", credentials).ask(), "unauthorized_client")


def test_a_client_without_redirect_uris_may_ask_nobody(shop: Shop) -> None:
    replace_redirect_uris(shop.credentials.client_id, [])
    check_refused(shop.ask(), "invalid_request")


def test_nothing_is_taken_from_the_url_and_nothing_twice(shop: Shop) -> None:
    check_refused(
        shop.web.post("/oauth/par?scope=settle", data=shop.form(), headers=shop.authorization), "invalid_request"
    )
    twice = "response_type=code&response_type=code"
    headers = {**shop.authorization, "Content-Type": "application/x-www-form-urlencoded"}
    check_refused(shop.web.post("/oauth/par", data=twice, headers=headers), "invalid_request")
    check_refused(shop.web.post("/oauth/par", json=shop.form(), headers=shop.authorization), "invalid_request")
    check_refused(shop.ask(authorization_details=json.dumps(details()) + " " * 9_000), "invalid_request")
    assert shop.web.get("/oauth/par").status_code == 405
