"""Whose a payment is that an approval opened: the approval's, until the store asks for it in any way."""

import json
from collections.abc import Callable
from datetime import timedelta
from functools import partial

import pytest
from flask import Flask

from app import clock
from app.checkout import try_code
from app.checkout.release import release_abandoned
from app.errors import Busy
from app.ids import PaymentId
from app.redemption.confirm import confirm_payment
from app.redemption.extend import extend_payment
from app.redemption.settle import settle_payment
from tests.at_once import at_once
from tests.checkout.shop import Shop, Shopper, code_of, csrf_of, details
from tests.checkout.test_release import LATE, states
from tests.world import World, gbp, reference, rows


def payment_of(world: World) -> PaymentId:
    [row] = rows("SELECT id FROM payment WHERE store_id = :id AND state = 'held'", id=world.bookshop)
    return PaymentId(row.id)


def confirm(world: World, payment_id: PaymentId) -> None:
    confirm_payment(payment_id, store_id=world.bookshop, reference=reference(world.bookshop), order_reference="123")


def settle_a_part(world: World, payment_id: PaymentId) -> None:
    asked = {"store_id": world.bookshop, "reference": reference(world.bookshop)}
    settle_payment(payment_id, gbp(1_000), final=False, **asked)  # type: ignore[arg-type]


def ask_only(world: World, payment_id: PaymentId) -> None:
    """The exchange by itself makes it the store's."""


ASKED: list[Callable[[World, PaymentId], None]] = [confirm, settle_a_part, ask_only]


@pytest.mark.parametrize("asked", ASKED)
def test_a_payment_that_the_store_got_in_another_way_is_not_released(
    shop: Shop, shopper: Shopper, world: World, asked: Callable[[World, PaymentId], None]
) -> None:
    """The page's answer was lost, and the shopper typed the code in the store's own form."""
    card_code = world.code().code
    shopper.pay(shop.push(), card_code)
    found = world.exchange(card_code, shopper=None, order_reference="123")
    assert not found.opened
    asked(world, found.payment.id)
    with clock.ahead(LATE):
        release_abandoned()
    assert states(world) == (["held"], ["released"])


def test_a_confirmed_payment_is_not_taken_away_by_a_page_that_is_still_open(
    shop: Shop, shopper: Shopper, world: World
) -> None:
    """Or else the shopper has goods and card."""
    pushed, card_code = shop.push(), world.code().code
    shopper.pay(pushed, card_code)
    confirm(world, world.exchange(card_code, shopper=None, order_reference="123").payment.id)
    assert shopper.decide(pushed, "cancel").status_code == 303
    payment_id = payment_of(world)
    extend_payment(payment_id, 3_600, store_id=world.bookshop, reference=reference(world.bookshop))
    assert states(world) == (["held"], ["cancelled"])


def test_what_the_store_confirmed_by_its_id_alone_is_its_too(shop: Shop, shopper: Shopper, world: World) -> None:
    """A store may know the payment from a token whose redemption was rolled back, or from us."""
    shopper.pay(shop.push(), world.code().code)
    confirm(world, payment_of(world))
    with clock.ahead(LATE):
        release_abandoned()
    assert states(world) == (["held"], ["released"])


def test_of_two_pages_at_once_the_one_that_the_store_fetches_keeps_its_payment(
    app: Flask, shop: Shop, world: World
) -> None:
    """Both lead to one payment; that nobody fetches the other must not take it away."""
    for _ in range(8):
        card_code = world.code().code
        pairs = [(Shopper(app.test_client()), shop.push()) for _ in range(2)]
        forms = [csrf_of(shopper.open(pushed)) for shopper, pushed in pairs]
        calls = [
            partial(shopper.post, pushed, action="code", csrf=csrf, code=card_code)
            for (shopper, pushed), csrf in zip(pairs, forms, strict=True)
        ]
        answers = at_once(calls)
        redeemed = [
            shop.redeem(code_of(answer), pushed).get_json()
            for (_, pushed), answer in zip(pairs, answers, strict=True)
            if answer.status_code == 303
        ]
        fetched = [token["authorization_details"][0]["payment_id"] for token in redeemed if "access_token" in token]
        assert len(fetched) == 1, redeemed
        with clock.ahead(LATE):
            release_abandoned()
        [payment] = rows("SELECT state FROM payment WHERE id = :id", id=fetched[0])
        assert payment.state == "held"


def test_another_order_of_the_same_shopper_takes_over_what_nobody_fetched(
    shop: Shop, shopper: Shopper, world: World
) -> None:
    """The store's page broke after the yes, and its shop made another order of the same cart."""
    card_code, first, second = world.code().code, shop.push(order="123"), shop.push(order="124")
    shopper.pay(first, card_code)
    code = shopper.pay(second, card_code)
    assert shop.redeem(code, second).status_code == 200
    assert states(world) == (["voided", "held"], ["released", "redeemed"])


def test_another_shoppers_approval_is_not_taken_over(shop: Shop, shopper: Shopper, world: World) -> None:
    card_code = world.code().code
    first = shop.push(shopper={"key_hash": "shopper-one"})
    second = shop.push(shopper={"key_hash": "shopper-two"})
    shopper.pay(first, card_code)
    shopper.decide(second, "code", code=card_code)
    assert states(world) == (["held"], ["approved", "opened"])


def test_a_yes_is_for_what_the_page_said_where_the_store_holds_less_already(
    shop: Shop, shopper: Shopper, world: World
) -> None:
    card_code = world.code().code
    small, large = shop.push("10.00"), shop.push("30.00")
    assert shop.redeem(shopper.pay(small, card_code), small).status_code == 200
    shopper.decide(large, "code", code=card_code)
    page = shopper.open(large).text
    assert "10.00 GBP" in page
    assert 'name="agreed" value="10.00"' in page


# ── tries that came to nothing ──────────────────────────────────────────────────────────────────────────────────────


def test_a_busy_service_costs_no_try(
    shop: Shop, shopper: Shopper, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says that nothing is lost."""
    pushed, card_code = shop.push(), world.code().code
    judge = try_code._judge

    def be_busy(*_: object) -> None:
        raise Busy

    monkeypatch.setattr(try_code, "_judge", be_busy)
    for _ in range(7):
        assert shopper.decide(pushed, "code", code=card_code).status_code == 503
    monkeypatch.setattr(try_code, "_judge", judge)
    assert shopper.pay(pushed, card_code)


def test_tries_of_which_nothing_was_heard_end_the_request_and_do_not_hang_it(
    shop: Shop, shopper: Shopper, world: World
) -> None:
    """As when the process was killed that looked at the last one."""
    pushed, card_code = shop.push(), world.code().code
    csrf = csrf_of(shopper.open(pushed))
    lost = "UPDATE authorization_request SET tries = 5, tried_at = clock_timestamp() WHERE store_id = :id RETURNING id"
    rows(lost, id=world.bookshop)
    assert shopper.post(pushed, action="code", csrf=csrf, code=card_code).status_code == 503
    with clock.ahead(timedelta(seconds=31)):
        assert shopper.post(pushed, action="code", csrf=csrf, code=card_code).status_code == 303
        assert "Five codes were not accepted" in shopper.open(pushed).text
    assert states(world) == ([], ["exhausted"])


# ── what the token endpoint takes ───────────────────────────────────────────────────────────────────────────────────


def test_the_redirect_uri_is_named_again_when_a_code_is_redeemed(shop: Shop, shopper: Shopper, world: World) -> None:
    """RFC 6749, section 4.1.3."""
    pushed = shop.push()
    code = shopper.pay(pushed, world.code().code)
    for wrong in (None, f"{shop.redirect_uri}/", "https://evil.example"):
        assert shop.redeem(code, pushed, redirect_uri=wrong).get_json()["error"] == "invalid_grant"
    assert shop.redeem(code, pushed).status_code == 200


@pytest.mark.parametrize("given", [json.dumps(details()), "garbage", "[]"])
def test_details_are_refused_where_they_mean_nothing(shop: Shop, given: str) -> None:
    """Overlooked, they would be answered with a token for everything."""
    form = {"grant_type": "client_credentials", "authorization_details": given}
    answer = shop.web.post("/oauth/token", data=form, headers=shop.authorization)
    assert (answer.status_code, answer.get_json()["error"]) in (
        (400, "invalid_authorization_details"),
        (400, "invalid_request"),
    )
