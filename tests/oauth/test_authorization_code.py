"""Redeeming an authorization code: once, in time, by its own client with its own verifier, for one payment alone."""

from datetime import timedelta
from typing import Any

import pytest
from flask import Flask

from app import clock
from app.errors import InvalidAccessToken
from app.oauth import keys, refused
from app.oauth.clients import disable_client
from tests.api import assert_problem, money, nothing_changes, read_access_token
from tests.checkout.shop import Pushed, Shop, Shopper, shop_of
from tests.oauth.conftest import segments
from tests.world import World, rows


@pytest.fixture
def shop(app: Flask, world: World) -> Shop:
    return shop_of(app, world.bookshop)


@pytest.fixture
def shopper(app: Flask) -> Shopper:
    return Shopper(app.test_client())


@pytest.fixture
def pushed(shop: Shop) -> Pushed:
    return shop.push()


@pytest.fixture
def code(shopper: Shopper, pushed: Pushed, world: World) -> str:
    """The authorization code of an approval for 30.00 GBP."""
    return shopper.pay(pushed, world.code().code)


def error_of(answer: Any) -> tuple[int, str]:
    assert answer.headers["Cache-Control"] == "no-store"
    return answer.status_code, answer.get_json()["error"]


NOT_GOOD = (400, "invalid_grant")


def test_the_answer_is_a_token_for_what_was_approved(shop: Shop, pushed: Pushed, code: str) -> None:
    answer = shop.redeem(code, pushed)
    told = answer.get_json()
    assert (told["token_type"], told["expires_in"], told["scope"]) == (
        "Bearer",
        300,
        "exchange settle refund bill guard.read",
    )
    assert answer.headers["Cache-Control"] == "no-store"
    payment_id = told["authorization_details"][0]["payment_id"]
    claims = segments(told["access_token"])[1]
    assert claims["authorization_details"] == [
        {"type": "giftcard_payment", "actions": ["settle"], "payment_id": payment_id}
    ]
    assert read_access_token(told["access_token"]).payment_id == payment_id


def test_scopes_that_were_asked_for_are_those_of_the_token(shop: Shop, shopper: Shopper, world: World) -> None:
    pushed = shop.push(scope="refund settle")
    told = shop.redeem(shopper.pay(pushed, world.code().code), pushed).get_json()
    assert (told["scope"], told["expires_in"]) == ("settle refund", 120)


def test_a_code_is_good_once_and_its_second_use_revokes_the_token_of_the_first(
    shop: Shop, pushed: Pushed, code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = shop.redeem(code, pushed).get_json()
    for _ in range(2):
        assert error_of(shop.redeem(code, pushed)) == NOT_GOOD
    monkeypatch.setattr(refused, "POLL_S", 0)
    with pytest.raises(InvalidAccessToken):
        read_access_token(told["access_token"])
    jti = segments(told["access_token"])[1]["jti"]
    assert len(rows("SELECT 1 FROM event WHERE kind = 'access_token_revoked' AND facts ->> 'jti' = :jti", jti=jti)) == 1


def test_who_has_the_code_and_not_the_verifier_revokes_nothing(shop: Shop, pushed: Pushed, code: str) -> None:
    told = shop.redeem(code, pushed).get_json()
    with nothing_changes(but=("client_secret",)):
        assert error_of(shop.redeem(code, pushed, code_verifier="x" * 43)) == NOT_GOOD
    assert read_access_token(told["access_token"]).client_id == pushed.client_id


@pytest.mark.parametrize(
    "changes",
    [
        {"code_verifier": "x" * 43},
        {"redirect_uri": "https://bookshop.example/paid"},
        {"redirect_uri": "https://evil.example/"},
        {"code": "x" * 43},
        {"code": "x"},
        {"code": "é"},
    ],
)
def test_what_does_not_fit_is_refused_and_the_code_stays_good_for_its_own(
    shop: Shop, pushed: Pushed, code: str, changes: dict[str, str]
) -> None:
    """A thief or an injected code must not undo what the holder has said yes to."""
    with nothing_changes(but=("client_secret",)):
        assert error_of(shop.redeem(changes.pop("code", code), pushed, **changes)) == NOT_GOOD
    assert shop.redeem(code, pushed).status_code == 200


@pytest.mark.parametrize("verifier", [None, "x" * 42, "x" * 129, "ü" * 43, "x" * 42 + "+", "x" * 42 + "="])
def test_without_a_verifier_as_rfc_7636_wants_it_nothing_is_looked_at(
    shop: Shop, pushed: Pushed, code: str, verifier: str | None
) -> None:
    assert error_of(shop.redeem(code, pushed, code_verifier=verifier)) == (400, "invalid_request")
    assert shop.redeem(code, pushed).status_code == 200


def test_another_client_has_no_use_for_it_and_does_no_harm(
    app: Flask, shop: Shop, pushed: Pushed, code: str, world: World
) -> None:
    """Not another one of the same store either."""
    for store_id in (world.toyshop, world.bookshop):
        assert error_of(shop_of(app, store_id).redeem(code, pushed)) == NOT_GOOD
    assert shop.redeem(code, pushed).status_code == 200


def test_a_code_is_good_for_a_minute(shop: Shop, shopper: Shopper, world: World) -> None:
    first, second = shop.push(), shop.push()
    good, late = shopper.pay(first, world.code().code), shopper.pay(second, world.code().code)
    with clock.ahead(timedelta(seconds=59)):
        assert shop.redeem(good, first).status_code == 200
    with clock.ahead(timedelta(seconds=61)):
        assert error_of(shop.redeem(late, second)) == NOT_GOOD


def test_a_client_that_was_disabled_gets_nothing_for_it(shop: Shop, pushed: Pushed, code: str) -> None:
    disable_client(shop.credentials.client_id)
    assert error_of(shop.redeem(code, pushed)) == (401, "invalid_client")


def test_only_hashes_are_kept(shop: Shop, shopper: Shopper, pushed: Pushed, code: str) -> None:
    told = shop.redeem(code, pushed).get_json()
    [row] = rows("SELECT * FROM authorization_request WHERE client_id = :id", id=pushed.client_id)
    for secret in (code, pushed.verifier, pushed.request_uri[-43:], told["access_token"]):
        assert secret not in str(row)


# ── one payment alone ───────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def bound(shop: Shop, pushed: Pushed, code: str) -> tuple[str, dict[str, str]]:
    """The path of the payment, and the headers of a call with its token."""
    told = shop.redeem(code, pushed).get_json()
    headers = {"Authorization": f"Bearer {told['access_token']}", "Idempotency-Key": "one"}
    return f"/v1/payments/{told['authorization_details'][0]['payment_id']}", headers


def test_its_token_settles_and_refunds_this_payment(shop: Shop, bound: tuple[str, dict[str, str]]) -> None:
    path, headers = bound
    assert shop.web.get(path, headers=headers).status_code == 200
    settled = shop.web.post(f"{path}/settlements", json={"amount": money(3_000)}, headers=headers)
    assert settled.status_code == 201
    refund = shop.web.post(
        f"{path}/refunds", json={"amount": money(100)}, headers={**headers, "Idempotency-Key": "two"}
    )
    assert refund.status_code == 201


def test_its_token_opens_nothing_else(app: Flask, shop: Shop, bound: tuple[str, dict[str, str]], world: World) -> None:
    """No other payment of the same store, and no exchange of further codes."""
    _, headers = bound
    other = f"/v1/payments/{world.payment().payment.id}"
    body = {"code": world.code().code, "order_reference": "1"}
    with nothing_changes():
        assert_problem(shop.web.get(other, headers=headers), 403, "insufficient-scope")
        for path, asked in (
            (f"{other}/settlements", {"amount": money(1)}),
            (f"{other}/void", {}),
            (f"{other}/confirm", {"order_reference": "1"}),
            (f"{other}/refunds", {"amount": money(1)}),
            ("/v1/payments", body),
        ):
            assert_problem(shop.web.post(path, json=asked, headers=headers), 403, "insufficient-scope")


@pytest.mark.parametrize(
    "details",
    [
        None,
        [],
        {},
        "x",
        [None],
        [{"type": "giftcard_payment"}],
        [{"type": "giftcard_payment", "actions": ["settle"], "payment_id": "x"}],
        [{"type": "giftcard_payment", "actions": ["settle"], "payment_id": None}],
        [{"type": "other", "actions": ["settle"], "payment_id": "pay_01m8gmkkevff4t4jpp88ctxmkf"}],
        [{"type": "giftcard_payment", "actions": ["settle"], "payment_id": "pay_01m8gmkkevff4t4jpp88ctxmkf"}] * 2,
    ],
)
def test_a_bound_that_is_not_understood_is_not_overlooked(shop: Shop, details: Any) -> None:
    access_token = shop.web.post(
        "/oauth/token", data={"grant_type": "client_credentials"}, headers=shop.authorization
    ).get_json()["access_token"]
    claims = segments(access_token)[1]
    assert read_access_token(access_token).payment_id is None
    with pytest.raises(InvalidAccessToken):
        read_access_token(keys.sign("access", {**claims, "authorization_details": details}, typ="at+jwt"))
