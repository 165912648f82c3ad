"""What was approved and not fetched within a minute is free again: by the worker, and by the clock alone."""

from datetime import timedelta
from typing import Any

import pytest

from app import clock
from app.checkout import approval
from app.checkout.release import release_abandoned
from app.issuance.rules import after_release
from app.oauth.authorization_request import forget_old_requests
from app.redemption.expire import expire_due
from app.redemption.void import release_hold, void_payment
from tests.checkout.shop import Shop, Shopper
from tests.world import World, reference, rows

LATE = timedelta(seconds=61)


def states(world: World) -> tuple[list[str], list[str]]:
    """Of the payments and of the requests at Bookshop."""
    by_age = "WHERE store_id = :id ORDER BY created_at"
    payments, requests = (
        [row.state for row in rows(f"SELECT state FROM {table} {by_age}", id=world.bookshop)]
        for table in ("payment", "authorization_request")
    )
    return payments, requests


def test_the_worker_releases_it_after_a_minute_and_not_before(shop: Shop, shopper: Shopper, world: World) -> None:
    pushed = shop.push()
    shopper.pay(pushed, world.code().code)
    with clock.ahead(timedelta(seconds=59)):
        release_abandoned()
        assert states(world) == (["held"], ["approved"])
    with clock.ahead(LATE):
        assert release_abandoned() >= 1
        assert states(world) == (["voided"], ["released"])
        assert release_abandoned() == 0
        assert "The store did not answer in time" in shopper.open(pushed).text


def test_without_the_worker_a_late_code_is_not_good_all_the_same(shop: Shop, shopper: Shopper, world: World) -> None:
    pushed = shop.push()
    code = shopper.pay(pushed, world.code().code)
    with clock.ahead(LATE):
        assert shop.redeem(code, pushed).get_json()["error"] == "invalid_grant"
        assert "The store did not answer in time" in shopper.open(pushed).text
    with clock.ahead(timedelta(minutes=31)):
        while expire_due():
            pass
        assert states(world)[0] == ["expired"], "the hold ends by its own time"
        release_abandoned()
        assert states(world) == (["expired"], ["released"])


def test_the_code_can_be_typed_again_at_this_store_and_at_no_other(shop: Shop, shopper: Shopper, world: World) -> None:
    card_code, pushed, again = world.code().code, shop.push(), shop.push()
    shopper.pay(pushed, card_code)
    with clock.ahead(LATE):
        release_abandoned()
        code = shopper.pay(again, card_code)
        assert shop.redeem(code, again).status_code == 200
    assert states(world) == (["voided", "held"], ["released", "redeemed"])


def test_what_was_redeemed_is_never_released(shop: Shop, shopper: Shopper, world: World) -> None:
    pushed = shop.push()
    assert shop.redeem(shopper.pay(pushed, world.code().code), pushed).status_code == 200
    with clock.ahead(LATE):
        release_abandoned()
    assert states(world) == (["held"], ["redeemed"])


def test_a_hold_that_ended_otherwise_is_no_hindrance(shop: Shop, shopper: Shopper, world: World) -> None:
    shopper.pay(shop.push(), world.code().code)
    [payment] = rows("SELECT id FROM payment WHERE store_id = :id", id=world.bookshop)
    void_payment(payment.id, store_id=world.bookshop, reference=reference(world.bookshop))
    with clock.ahead(LATE):
        release_abandoned()
    assert states(world) == (["voided"], ["released"])


def test_the_card_keeps_its_life(shop: Shop, shopper: Shopper, world: World) -> None:
    shopper.pay(shop.push(), world.code().code)
    with clock.ahead(LATE):
        release_abandoned()
    [payment] = rows("SELECT id FROM payment WHERE store_id = :id", id=world.bookshop)
    card = world.card_of(payment.id)
    assert card.state == "active"
    assert after_release(card.expires_at, card.created_at) == card.expires_at


def test_a_bug_with_one_request_stops_no_other(
    own_database: object, shop: Shop, shopper: Shopper, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(2):
        shopper.pay(shop.push(), world.code().code)
    calls = iter([RuntimeError("a bug")])

    def break_once(*args: Any, **more: Any) -> Any:
        for bug in calls:
            raise bug
        return release_hold(*args, **more)

    monkeypatch.setattr(approval, "release_hold", break_once)
    with clock.ahead(LATE):
        assert release_abandoned() == 1
        assert sorted(states(world)[1]) == ["approved", "released"]
        release_abandoned()
        assert states(world)[1] == ["released"] * 2


def test_old_requests_are_forgotten_after_a_day(
    own_database: object, shop: Shop, shopper: Shopper, world: World
) -> None:
    shop.push()
    done, open_still = shop.push(), shop.push()
    shop.redeem(shopper.pay(done, world.code().code), done)
    shopper.pay(open_still, world.code().code)
    assert forget_old_requests() == 0
    with clock.ahead(timedelta(hours=25)):
        assert forget_old_requests() == 2
        assert states(world)[1] == ["approved"], "what may hold money is released first"
        release_abandoned()
        assert forget_old_requests() == 1
