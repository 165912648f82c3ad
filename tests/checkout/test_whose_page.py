"""A request is one browser's, its forms are its own, and whatever else comes gets a page that leads nowhere."""

from dataclasses import replace
from datetime import timedelta
from http.cookies import SimpleCookie

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from app import clock, config
from app.checkout import pages, try_code
from app.errors import Busy
from app.ids import new_id
from app.oauth.authorization_request import URI_PREFIX
from app.oauth.clients import disable_client, replace_redirect_uris
from app.secrecy import random_secret
from tests.api import nothing_changes
from tests.checkout.shop import ORIGIN, Pushed, Shop, Shopper, csrf_of, shop_of
from tests.world import World, rows


def is_unknown(answer: TestResponse) -> bool:
    return (
        answer.status_code == 404 and "This payment cannot be opened" in answer.text and "bookshop" not in answer.text
    )


def test_the_browser_that_comes_first_has_it_and_no_other(app: Flask, shop: Shop, shopper: Shopper) -> None:
    pushed, other = shop.push(), Shopper(app.test_client())
    assert shopper.open(pushed).status_code == 200
    assert is_unknown(other.open(pushed))
    assert shopper.open(pushed).status_code == 200


def test_another_browser_can_decide_nothing(app: Flask, shop: Shop, shopper: Shopper, world: World) -> None:
    """Not even with the form's key in hand."""
    pushed, other = shop.push(), Shopper(app.test_client())
    csrf, card_code = csrf_of(shopper.open(pushed)), world.code().code
    with nothing_changes():
        for action in ("code", "approve", "cancel"):
            assert is_unknown(other.post(pushed, action=action, csrf=csrf, code=card_code))
    assert shopper.open(pushed).status_code == 200


def test_the_cookie_of_another_request_is_of_no_use(shop: Shop, shopper: Shopper, app: Flask) -> None:
    mine, theirs, thief = shop.push(), shop.push(), Shopper(app.test_client())
    [cookie] = SimpleCookie(thief.open(mine).headers["Set-Cookie"]).values()
    [wanted] = SimpleCookie(shopper.open(theirs).headers["Set-Cookie"]).values()
    thief.web.set_cookie(wanted.key, cookie.value, path="/oauth/authorize")
    assert is_unknown(thief.open(theirs))


def test_the_cookie_is_for_this_page_alone(shop: Shop, shopper: Shopper) -> None:
    header = shopper.open(shop.push()).headers["Set-Cookie"]
    [cookie] = SimpleCookie(header).values()
    assert (cookie["path"], cookie["samesite"], cookie["max-age"]) == ("/oauth/authorize", "Lax", "2100")
    assert cookie["httponly"]
    assert rows(
        "SELECT 1 FROM authorization_request WHERE browser_hash = sha256(convert_to(:it, 'UTF8'))", it=cookie.value
    )


def test_on_https_no_other_host_can_plant_it(app: Flask, database: config.Settings, shop: Shop) -> None:
    pushed = shop.push()
    config.use(replace(database, public_url="https://cards.example"))
    try:
        header = Shopper(app.test_client()).open(pushed).headers["Set-Cookie"]
    finally:
        config.use(database)
    assert header.startswith("__Host-scrip_pay_")
    assert {"Secure", "Path=/"} <= set(header.split("; "))
    assert "Domain" not in header


def test_a_reload_sets_no_cookie_again(shop: Shop, shopper: Shopper) -> None:
    pushed = shop.push()
    shopper.open(pushed)
    assert "Set-Cookie" not in shopper.open(pushed).headers


def unknown_ones(pushed: Pushed, other: Shop) -> list[dict[str, str]]:
    return [
        {},
        {"client_id": pushed.client_id},
        {"request_uri": pushed.request_uri},
        {**pushed.query, "client_id": other.credentials.client_id},
        {**pushed.query, "client_id": new_id("cli")},
        {**pushed.query, "client_id": "\0"},
        {**pushed.query, "request_uri": URI_PREFIX + random_secret()},
        {**pushed.query, "request_uri": pushed.request_uri.removeprefix(URI_PREFIX)},
        {**pushed.query, "request_uri": pushed.request_uri.upper()},
        {**pushed.query, "request_uri": pushed.request_uri + "\0"},
        {**pushed.query, "request_uri": "https://evil.example/request.jwt"},
        {**pushed.query, "request_uri": "é" * 9_000},
    ]


def test_what_is_not_known_is_a_page_and_never_a_redirect(app: Flask, shop: Shop, world: World) -> None:
    pushed, other = shop.push(), shop_of(app, world.toyshop)
    browser = app.test_client()
    for query in unknown_ones(pushed, other):
        for method in ("GET", "POST"):
            answer = browser.open("/oauth/authorize", method=method, query_string=query)
            assert is_unknown(answer), (method, query)
            assert "Location" not in answer.headers
    twice = f"/oauth/authorize?request_uri={pushed.request_uri}&client_id={pushed.client_id}"
    assert is_unknown(browser.get(f"{twice}&client_id={pushed.client_id}"))
    assert is_unknown(browser.get("/oauth/authorize?request_uri=%FF%FE&client_id=%00%FF"))
    assert browser.get(f"{twice}&redirect_uri=https://evil.example&state=x&scope=issue").status_code == 200


def test_a_request_that_nobody_opened_in_five_minutes_is_over(shop: Shop, shopper: Shopper) -> None:
    pushed = shop.push()
    with clock.ahead(timedelta(seconds=301)):
        assert is_unknown(shopper.open(pushed))
    with clock.ahead(timedelta(seconds=299)):
        assert shopper.open(pushed).status_code == 200


def test_where_a_client_may_no_longer_send_shoppers_nobody_is_sent(shop: Shop, shopper: Shopper, world: World) -> None:
    opened, unopened = shop.push(), shop.push()
    csrf = csrf_of(shopper.open(opened))
    replace_redirect_uris(shop.credentials.client_id, ["https://bookshop.example/other"])
    for answer in (
        shopper.open(opened),
        shopper.open(unopened),
        shopper.post(opened, action="cancel", csrf=csrf),
        shopper.post(opened, action="code", csrf=csrf, code=world.code().code),
    ):
        assert is_unknown(answer)


def test_a_disabled_clients_requests_are_unknown(shop: Shop, shopper: Shopper) -> None:
    opened = shop.push()
    shopper.open(opened)
    disable_client(shop.credentials.client_id)
    assert is_unknown(shopper.open(opened))


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "", "http://127.0.0.1:8001", None])
def test_a_form_from_elsewhere_changes_nothing(shop: Shop, shopper: Shopper, origin: str | None) -> None:
    pushed = shop.push()
    csrf = csrf_of(shopper.open(pushed))
    with nothing_changes():
        assert shopper.post(pushed, origin=origin, action="cancel", csrf=csrf).status_code == 403
    assert shopper.post(pushed, action="cancel", csrf=csrf).status_code == 303


@pytest.mark.parametrize("csrf", ["", "x", "é", "\0"])
def test_a_form_without_its_key_changes_nothing(shop: Shop, shopper: Shopper, csrf: str) -> None:
    pushed = shop.push()
    shopper.open(pushed)
    other = csrf_of(shopper.open(shop.push()))
    with nothing_changes():
        for key in (csrf, other):
            answer = shopper.post(pushed, action="cancel", csrf=key)
            assert answer.status_code == 403
            assert "That did not work" in answer.text


def test_what_is_no_decision_is_a_page(shop: Shop, shopper: Shopper) -> None:
    pushed = shop.push()
    csrf = csrf_of(shopper.open(pushed))
    with nothing_changes():
        for fields in ({}, {"action": "steal"}, {"action": "\0"}, {"action": "code" * 900}):
            assert shopper.post(pushed, csrf=csrf, **fields).status_code == 400
        assert shopper.post(pushed, csrf=csrf, action="code", code="x" * 5_000).status_code == 413
        raw = shopper.web.post(
            "/oauth/authorize", query_string=pushed.query, data=b"\xff\xfe", headers={"Origin": ORIGIN}
        )
        assert raw.status_code == 403


def test_who_fetches_the_page_without_looking_at_it_opens_nothing(shop: Shop, shopper: Shopper, app: Flask) -> None:
    pushed, scanner = shop.push(), app.test_client()
    with nothing_changes():
        assert scanner.head("/oauth/authorize", query_string=pushed.query).status_code == 200
        for purpose in ("prefetch", "prefetch;prerender"):
            early = scanner.get("/oauth/authorize", query_string=pushed.query, headers={"Sec-Purpose": purpose})
            assert early.status_code == 503
            assert early.data == b""
    assert shopper.open(pushed).status_code == 200


def test_a_busy_service_says_so_on_a_page(
    shop: Shop, shopper: Shopper, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    pushed, fresh = shop.push(), shop.push()
    csrf = csrf_of(shopper.open(pushed))

    def be_busy(*_: object, **__: object) -> None:
        raise Busy(retry_after_s=3)

    monkeypatch.setattr(pages, "open_checkout", be_busy)
    monkeypatch.setattr(try_code, "hashes_to_look_up", be_busy)
    posted = shopper.post(pushed, action="code", csrf=csrf, code=world.code().code)
    assert "Pay with your gift card" in posted.text
    monkeypatch.setattr(pages, "read_checkout", be_busy)
    for answer in (posted, shopper.open(fresh), shopper.post(pushed, action="code", csrf=csrf, code=world.code().code)):
        assert (answer.status_code, answer.headers["Retry-After"], answer.mimetype) == (503, "3", "text/html")
        assert "Nothing is lost" in answer.text
    assert (
        rows("SELECT tries FROM authorization_request WHERE state = 'opened' AND client_id = :id", id=pushed.client_id)[
            0
        ].tries
        == 0
    )


def test_headers_of_every_page_and_answer(shop: Shop, shopper: Shopper, world: World) -> None:
    pushed = shop.push()
    asking, unknown = shopper.open(pushed), shopper.open(Pushed("x", "x", "x"))
    broken = shopper.post(pushed, action="cancel")
    gone = shopper.decide(pushed, "cancel")
    for answer in (asking, unknown, broken, gone, shopper.open(pushed)):
        policy = answer.headers["Content-Security-Policy"]
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy and "*" not in policy
        assert answer.headers["X-Frame-Options"] == "DENY"
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert answer.headers["Cache-Control"] == "no-store"
    assert "form-action 'self' https: https://bookshop.example;" in asking.headers["Content-Security-Policy"]
    assert "form-action 'self';" in unknown.headers["Content-Security-Policy"]


def test_names_are_text_whatever_they_look_like(app: Flask, shopper: Shopper, world: World) -> None:
    """An order's name is the store's, but the page is ours."""
    shop = shop_of(app, world.bookshop)
    page = shopper.open(shop.push(order="<script>alert(1)</script>\"'&"))
    assert "<script>alert" not in page.text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page.text
