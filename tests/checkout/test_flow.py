"""From a pushed request to a settled order, and every way in which it ends otherwise."""

from datetime import timedelta
from typing import Any

import pytest
from flask import Flask

from app import clock
from app.checkout.release import release_abandoned
from app.issuance.code import draw_code
from app.issuance.holder_data import HolderData
from app.issuance.issue import issue_card
from app.money import Money
from tests.api import money
from tests.checkout.shop import ORIGIN, STATE, Pushed, Shop, Shopper, code_of, csrf_of, details, sent_back, shop_of
from tests.world import World, forgive_all, gbp, make_world, reference, rows


def request_row(pushed: Pushed) -> Any:
    found = rows("SELECT * FROM authorization_request WHERE client_id = :id ORDER BY created_at", id=pushed.client_id)
    return found[-1]


def payments_of(world: World) -> list[Any]:
    return rows("SELECT * FROM payment WHERE store_id = :id ORDER BY created_at", id=world.bookshop)


def events_of(pushed: Pushed) -> list[str]:
    """What was written about the newest request, in order."""
    query = "SELECT kind FROM event WHERE facts ->> 'request_id' = :id ORDER BY at, id"
    return [row.kind for row in rows(query, id=request_row(pushed).id)]


def test_the_whole_way_to_a_settled_order(shop: Shop, shopper: Shopper, world: World) -> None:
    card_code = world.code().code
    pushed = shop.push(shopper={"key_hash": "shopper-key"})
    page = shopper.open(pushed)
    assert page.status_code == 200
    assert "may take up to 30.00 GBP for order" in page.text
    back = sent_back(shopper.decide(pushed, "code", code=card_code.lower()))
    assert back == {"shop": "1", "code": back["code"], "state": STATE, "iss": ORIGIN}
    answer = shop.redeem(back["code"], pushed)
    assert answer.status_code == 200, answer.text
    told = answer.get_json()
    assert set(told) == {"access_token", "token_type", "expires_in", "scope", "authorization_details"}
    [object_] = told["authorization_details"]
    payment_id = object_["payment_id"]
    approved = {"currency": "GBP", "amount": "30.00"}
    assert object_ == {
        **details(shopper={"key_hash": "shopper-key"})[0],
        "payment_id": payment_id,
        "approved_amount": approved,
    }
    headers = {"Authorization": f"Bearer {told['access_token']}", "Idempotency-Key": "settle"}
    path = f"/v1/payments/{payment_id}"
    assert shop.web.get(path, headers=headers).get_json()["held"] == money(3_000)
    other = headers | {"Idempotency-Key": "confirm"}
    confirmed = shop.web.post(f"{path}/confirm", json={"order_reference": "123"}, headers=other)
    assert confirmed.status_code == 200
    settled = shop.web.post(f"{path}/settlements", json={"amount": money(3_000)}, headers=headers)
    assert settled.status_code == 201
    card = world.card_of(payment_id)
    assert card.balance == gbp(2_000)
    assert card.reached_through is not None and card.reached_through.kind == "link"
    assert "This payment is with the store" in shopper.open(pushed).text
    assert events_of(pushed) == ["authorization_requested", "authorization_approved", "authorization_redeemed"]


def test_the_hold_is_what_the_holder_said_yes_to_and_the_rest_of_the_card_waits(
    shop: Shop, shopper: Shopper, world: World
) -> None:
    shopper.pay(shop.push("12.34"), world.code().code)
    [payment] = payments_of(world)
    assert (payment.held_minor, payment.balance_minor, payment.order_reference) == (1_234, 5_000, "123")


def test_a_smaller_balance_is_a_choice_and_nothing_is_held_before_it_is_made(
    shop: Shop, shopper: Shopper, world: World
) -> None:
    card_code, pushed = world.code(2_000).code, shop.push()
    answer = shopper.decide(pushed, "code", code=card_code)
    assert (answer.status_code, answer.headers["Location"].partition("?")[0]) == (303, "/oauth/authorize")
    assert payments_of(world) == []
    page = shopper.open(pushed)
    assert "Your card has 20.00 GBP" in page.text
    assert "remaining 10.00 GBP another way" in page.text
    assert card_code not in page.text
    told = shop.redeem(code_of(shopper.decide(pushed, "approve", agreed="20.00")), pushed).get_json()
    assert told["authorization_details"][0]["approved_amount"] == {"currency": "GBP", "amount": "20.00"}
    assert told["authorization_details"][0]["instructed_amount"] == {"currency": "GBP", "amount": "30.00"}
    assert payments_of(world)[0].held_minor == 2_000
    assert request_row(pushed).tries == 0
    page = shopper.open(pushed)
    assert "may take up to 20.00 GBP" in page.text
    assert "£20.00" in page.text and "30.00" not in page.text


def test_what_the_page_did_not_show_is_not_approved(shop: Shop, shopper: Shopper, world: World) -> None:
    """The figure that the holder read comes back with the yes."""
    pushed = shop.push()
    shopper.decide(pushed, "code", code=world.code(2_000).code)
    for agreed in ("30.00", "10.00", "", "x", "20"):
        answer = shopper.decide(pushed, "approve", agreed=agreed)
        assert answer.headers["Location"].startswith("/oauth/authorize"), agreed
    assert payments_of(world) == []


def test_going_back_from_the_choice_leaves_the_code_as_it_was(shop: Shop, shopper: Shopper, world: World) -> None:
    card_code, pushed = world.code(2_000).code, shop.push()
    shopper.decide(pushed, "code", code=card_code)
    back = sent_back(shopper.decide(pushed, "cancel"))
    assert back == {"shop": "1", "error": "access_denied", "state": STATE, "iss": ORIGIN}
    assert world.exchange(card_code, store=world.toyshop).opened
    assert request_row(pushed).state == "cancelled"


def test_a_yes_without_a_code_leads_to_the_page_again(shop: Shop, shopper: Shopper) -> None:
    pushed = shop.push()
    answer = shopper.decide(pushed, "approve", agreed="30.00")
    assert answer.headers["Location"].startswith("/oauth/authorize")
    assert request_row(pushed).state == "opened"


def test_a_code_that_died_before_the_yes_is_not_accepted_and_another_card_may_do(
    shop: Shop, shopper: Shopper, world: World
) -> None:
    card_code, pushed = world.code(2_000), shop.push()
    shopper.decide(pushed, "code", code=card_code.code)
    world.exchange(card_code.code, store=world.toyshop)
    assert "Pay with your gift card" in shopper.open(pushed).text
    answer = shopper.decide(pushed, "approve", agreed="20.00")
    assert answer.headers["Location"].startswith("/oauth/authorize")
    assert payments_of(world) == []
    assert code_of(shopper.decide(pushed, "code", code=world.code().code))


# ── wrong codes ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_five_wrong_codes_and_the_request_is_dead(shop: Shop, shopper: Shopper, world: World) -> None:
    good, pushed = world.code().code, shop.push()
    for left in (4, 3, 2, 1):
        answer = shopper.type_code(pushed, draw_code())
        assert answer.headers["Location"].startswith("/oauth/authorize")
        said = "one more try" if left == 1 else f"{left} more tries"
        assert said in shopper.open(pushed).text
    shopper.type_code(pushed, draw_code())
    page = shopper.open(pushed)
    assert "Five codes were not accepted" in page.text
    assert "error=access_denied" in page.text
    assert request_row(pushed).state == "exhausted"
    assert payments_of(world) == []
    assert world.exchange(good).opened
    assert events_of(pushed) == ["authorization_requested", "authorization_exhausted"]
    refusals = rows(
        "SELECT facts FROM event WHERE kind = 'code_refused' AND facts ->> 'store_id' = :id", id=world.bookshop
    )
    assert [row.facts["reason"] for row in refusals] == ["unknown"] * 5


def test_a_right_code_after_the_fifth_wrong_one_is_not_looked_at(shop: Shop, shopper: Shopper, world: World) -> None:
    pushed = shop.push()
    csrf = csrf_of(shopper.open(pushed))
    for _ in range(5):
        shopper.type_code(pushed, draw_code())
    forgive_all()  # whoever waits is not looked at either
    answer = shopper.post(pushed, action="code", csrf=csrf, code=world.code().code)
    assert answer.headers["Location"].startswith("/oauth/authorize")
    assert payments_of(world) == []


@pytest.mark.parametrize("typed", ["", "x", "7KQ4-ZX9M-2FHN-C0NZ", "ü" * 16, "0" * 4_000, "\0" * 16])
def test_a_typing_mistake_is_no_try(shop: Shop, shopper: Shopper, typed: str) -> None:
    pushed = shop.push()
    answer = shopper.decide(pushed, "code", code=typed)
    assert answer.status_code == 422
    assert "typing mistake" in answer.text
    assert request_row(pushed).tries == 0


def test_a_right_code_gives_its_try_back(shop: Shop, shopper: Shopper, world: World) -> None:
    pushed = shop.push()
    shopper.decide(pushed, "code", code=draw_code())
    shopper.decide(pushed, "code", code=world.code(2_000).code)
    assert request_row(pushed).tries == 1


def not_acceptable(world: World) -> dict[str, str]:
    """Codes that are somebody's, but not for this store."""
    elsewhere, settled = world.code().code, world.code().code
    world.exchange(elsewhere, store=world.toyshop)
    world.settle(world.exchange(settled).payment.id, 1_000)
    foreign = make_world(stores=(make_world().toyshop,))
    return {
        "bound elsewhere": elsewhere,
        "dead": settled,
        "of another mode": make_world(mode="live").code().code,
        "of a programme for other stores": foreign.code().code,
    }


def test_every_code_that_the_store_could_not_exchange_gets_one_answer(
    shop: Shop, shopper: Shopper, world: World
) -> None:
    pages = []
    for why, card_code in not_acceptable(world).items():
        pushed = shop.push()
        assert shopper.type_code(pushed, card_code).status_code == 303, why
        page = shopper.open(pushed).text
        assert "This code was not accepted. You have 4 more tries." in page, why
        pages.append(request_row(pushed).tries)
    assert pages == [1] * 4


def test_a_card_in_another_currency_is_told_so_and_is_no_try(shop: Shop, shopper: Shopper) -> None:
    other = make_world(currency="EUR")
    issued = issue_card(
        other.programme_id,
        Money(5_000, "EUR"),
        issuer_id=other.issuer_id,
        client_id=other.client_id,
        holder=HolderData("sam@holder.example"),
        deliver="link",
        reference=reference(other.issuer_id),
    )
    pushed = shop.push()
    answer = shopper.decide(pushed, "code", code=other.claim(issued.claim_link).code)
    assert answer.status_code == 422
    assert "The card is in EUR, not GBP." in answer.text
    assert request_row(pushed).tries == 0


# ── the end of an approval ──────────────────────────────────────────────────────────────────────────────────────────


def test_pressed_again_the_approval_has_another_code_for_the_same_payment_and_time(
    shop: Shop, shopper: Shopper, world: World
) -> None:
    pushed = shop.push()
    first = shopper.pay(pushed, world.code().code)
    until = request_row(pushed).code_expires_at
    page = shopper.open(pushed)
    assert "You said yes" in page.text
    second = code_of(shopper.decide(pushed, "approve"))
    third = code_of(shopper.decide(pushed, "code", code=draw_code()))
    assert request_row(pushed).code_expires_at == until
    assert [shop.redeem(code, pushed).status_code for code in (first, second)] == [400, 400]
    assert shop.redeem(third, pushed).status_code == 200
    assert len(payments_of(world)) == 1


def test_cancelled_after_the_approval_the_hold_is_void(shop: Shop, shopper: Shopper, world: World) -> None:
    card_code, pushed = world.code().code, shop.push()
    code = shopper.pay(pushed, card_code)
    assert sent_back(shopper.decide(pushed, "cancel"))["error"] == "access_denied"
    assert [payment.state for payment in payments_of(world)] == ["voided"]
    assert shop.redeem(code, pushed).get_json()["error"] == "invalid_grant"
    assert "You have cancelled this payment" in shopper.open(pushed).text
    again = shop.push()
    assert shop.redeem(shopper.pay(again, card_code), again).status_code == 200


def test_what_the_store_has_can_no_longer_be_cancelled(shop: Shop, shopper: Shopper, world: World) -> None:
    pushed = shop.push()
    csrf = csrf_of(shopper.open(pushed))
    shop.redeem(shopper.pay(pushed, world.code().code), pushed)
    answer = shopper.post(pushed, action="cancel", csrf=csrf)
    assert answer.headers["Location"].startswith("/oauth/authorize")
    assert [payment.state for payment in payments_of(world)] == ["held"]


def test_cancelled_twice_leads_back_twice(shop: Shop, shopper: Shopper) -> None:
    pushed = shop.push(state=None)
    csrf = csrf_of(shopper.open(pushed))
    for _ in range(2):
        back = sent_back(shopper.post(pushed, action="cancel", csrf=csrf))
        assert back == {"shop": "1", "error": "access_denied", "iss": ORIGIN}


def test_a_page_has_half_an_hour(shop: Shop, shopper: Shopper, world: World) -> None:
    pushed = shop.push()
    shopper.open(pushed)
    with clock.ahead(timedelta(minutes=29)):
        assert "Pay with your gift card" in shopper.open(pushed).text
    csrf = csrf_of(shopper.open(pushed))
    with clock.ahead(timedelta(minutes=31)):
        assert "open too long" in shopper.open(pushed).text
        shopper.post(pushed, action="code", csrf=csrf, code=world.code().code)
    assert payments_of(world) == []


# ── the same card again ─────────────────────────────────────────────────────────────────────────────────────────────


def test_a_second_request_takes_over_what_nobody_fetched(shop: Shop, shopper: Shopper, world: World) -> None:
    """The shopper came back from a broken store and starts again, for more."""
    card_code, first, second = world.code().code, shop.push("30.00"), shop.push("40.00")
    lost = shopper.pay(first, card_code)
    code = shopper.pay(second, card_code)
    assert [(payment.state, payment.held_minor) for payment in payments_of(world)] == [("voided", 0), ("held", 4_000)]
    assert shop.redeem(lost, first).get_json()["error"] == "invalid_grant"
    assert shop.redeem(code, second).status_code == 200


def test_a_store_that_lost_our_answer_gets_the_same_payment_by_another_request(
    shop: Shop, shopper: Shopper, world: World
) -> None:
    """And if that is not fetched, the first one's payment is not voided."""
    card_code, first, second = world.code().code, shop.push(), shop.push()
    told = shop.redeem(shopper.pay(first, card_code), first).get_json()
    code = shopper.pay(second, card_code)
    with clock.ahead(timedelta(seconds=61)):
        release_abandoned()
    assert request_row(second).state == "released"
    assert [payment.state for payment in payments_of(world)] == ["held"]
    assert shop.redeem(code, second).get_json()["error"] == "invalid_grant"
    third = shop.push()
    again = shop.redeem(shopper.pay(third, card_code), third).get_json()
    assert again["authorization_details"] == told["authorization_details"]
    assert len(payments_of(world)) == 1


def test_a_card_that_the_store_holds_for_another_order_is_not_taken_from_it(
    shop: Shop, shopper: Shopper, world: World
) -> None:
    shopper_key = {"key_hash": "shopper-key"}
    card_code, first = world.code().code, shop.push(shopper=shopper_key)
    shop.redeem(shopper.pay(first, card_code), first)
    for more in ({"order": "124"}, {"amount": "29.99"}):
        pushed = shop.push(shopper=shopper_key, **more)
        answer = shopper.decide(pushed, "code", code=card_code)
        assert answer.status_code == 409
        assert "holds this card already" in answer.text
        assert request_row(pushed).tries == 0
    assert [(payment.state, payment.held_minor) for payment in payments_of(world)] == [("held", 3_000)]


def test_another_shopper_of_the_store_cannot_have_the_card(shop: Shop, shopper: Shopper, world: World) -> None:
    card_code = world.code().code
    first, second = shop.push(shopper={"key_hash": "shopper-1"}), shop.push(shopper={"key_hash": "shopper-2"})
    shopper.pay(first, card_code)
    shopper.decide(second, "code", code=card_code)
    assert "not accepted" in shopper.open(second).text


# ── whose page it is ────────────────────────────────────────────────────────────────────────────────────────────────


def test_two_stores_may_have_requests_in_one_browser(app: Flask, shop: Shop, shopper: Shopper, world: World) -> None:
    toyshop = shop_of(app, world.toyshop)
    mine, other = shop.push(), toyshop.push()
    shopper.open(mine)
    assert "Toyshop" in shopper.open(other).text
    assert "Bookshop" in shopper.open(mine).text
    code = shopper.pay(other, world.code().code)
    assert shop.redeem(code, other).get_json()["error"] == "invalid_grant"
    assert toyshop.redeem(code, other).status_code == 200
