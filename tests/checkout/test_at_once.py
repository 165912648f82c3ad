"""Everything that can be pressed, redeemed and released, all in one moment."""

import time
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from flask import Flask

from app.checkout import approval, release
from app.checkout.approval import Browser
from app.checkout.cancel import cancel_checkout
from app.checkout.release import release_abandoned
from app.checkout.rules import Standing
from app.checkout.try_code import try_code
from app.errors import CodeNotAccepted
from app.issuance.code import draw_code
from tests.at_once import at_once, split
from tests.checkout.shop import Pushed, Shop, Shopper, csrf_of
from tests.checkout.test_release import states
from tests.world import World, assert_audit_is_clean, rows, visitor

#: Each in a database of its own, which the audit looks through.
pytestmark = pytest.mark.usefixtures("own_database")


def newest(pushed: Pushed) -> Any:
    """The client's newest request, and how much of its minute is left."""
    query = """
        SELECT *, code_expires_at - clock_timestamp() AS time_left FROM authorization_request
        WHERE client_id = :id ORDER BY created_at DESC LIMIT 1
    """
    return rows(query, id=pushed.client_id)[0]


def browser_of(shopper: Shopper, pushed: Pushed) -> Browser:
    [cookie] = (shopper.web._cookies or {}).values()
    return Browser(pushed.request_uri, pushed.client_id, cookie.value)


def test_one_authorization_code_redeemed_in_parallel_gives_one_token_which_is_worth_nothing_then(
    app: Flask, shop: Shop, world: World
) -> None:
    """Two have the code: nobody knows who of them is the store, so neither keeps a token (RFC 6749, section 4.1.2)."""
    for _ in range(5):
        pushed = shop.push()
        code = Shopper(app.test_client()).pay(pushed, world.code().code)
        shops = [Shop(app.test_client(), shop.store_id, shop.credentials) for _ in range(12)]
        answers = at_once([partial(one.redeem, code, pushed) for one in shops])
        assert [answer.status_code for answer in answers].count(200) == 1
        assert {answer.get_json()["error"] for answer in answers if answer.status_code != 200} == {"invalid_grant"}
        assert rows("SELECT 1 FROM revoked_token WHERE jti = :jti", jti=newest(pushed).token_jti)


#: What the store is told, and what becomes of the payment and the request.
HAS_IT, IS_LATE = (200, "held", "redeemed"), (400, "voided", "released")


def test_at_the_very_end_of_the_minute_the_store_has_it_or_the_card_is_free(
    app: Flask, shop: Shop, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker looks without a pause while the store redeems some thousandths of a second around the end."""
    monkeypatch.setattr(approval, "CODE_TTL", timedelta(seconds=0.25))
    outcomes = []
    for round_ in range(0, 24, 2):
        pushed = shop.push()
        code = Shopper(app.test_client()).pay(pushed, world.code().code)
        ends_at_s = time.monotonic() + newest(pushed).time_left.total_seconds()
        begins_at_s = ends_at_s - 0.016 + round_ / 1_000
        _, status = at_once(
            [partial(release_until, ends_at_s + 0.1), partial(redeem_at, begins_at_s, shop, code, pushed)]
        )
        release_abandoned()
        outcomes.append((status, states(world)[0][-1], newest(pushed).state))
    assert set(outcomes) <= {HAS_IT, IS_LATE}
    assert_audit_is_clean()


def release_until(end_s: float) -> None:
    while time.monotonic() < end_s:
        release_abandoned()


def redeem_at(moment_s: float, shop: Shop, code: str, pushed: Pushed) -> int:
    time.sleep(max(0.0, moment_s - time.monotonic()))
    return shop.redeem(code, pushed).status_code


def test_redeem_and_release_of_one_request_exclude_each_other(
    app: Flask, shop: Shop, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same with the time out of the way: each believes that it is its turn."""
    monkeypatch.setattr(release, "standing_of", lambda *_: Standing.RELEASED)
    seen = set()
    for round_ in range(10):
        pushed = shop.push()
        code = Shopper(app.test_client()).pay(pushed, world.code().code)
        request_id = newest(pushed).id
        wait_s = (2**round_ - 1) / 1_000  # the redemption signs a token first, on a busy machine for long
        status, released = at_once(
            [partial(redeem_at, 0, shop, code, pushed), partial(release_after, wait_s, request_id)]
        )
        outcome = (status, states(world)[0][-1], newest(pushed).state)
        assert outcome == (IS_LATE if released else HAS_IT)
        seen.add(outcome)
    assert seen == {HAS_IT, IS_LATE}
    assert_audit_is_clean()


def release_after(wait_s: float, request_id: str) -> bool:
    time.sleep(wait_s)
    return release._release(request_id)


def test_the_holder_cancels_and_the_store_redeems_and_one_of_them_wins(app: Flask, shop: Shop, world: World) -> None:
    for _ in range(16):
        shopper = Shopper(app.test_client())
        pushed = shop.push()
        code = shopper.pay(pushed, world.code().code)
        browser = browser_of(shopper, pushed)
        status, cancelled = at_once([partial(redeem_at, 0, shop, code, pushed), partial(cancel_checkout, browser)])
        outcome = (status, type(cancelled).__name__, states(world)[0][-1])
        assert outcome in ((200, "CheckoutOver", "held"), (400, "AuthorizationRequest", "voided")), outcome
    assert_audit_is_clean()


def test_of_many_wrong_codes_at_once_five_are_looked_at(app: Flask, shop: Shop, shopper: Shopper, world: World) -> None:
    pushed = shop.push()
    shopper.open(pushed)
    browser = browser_of(shopper, pushed)
    _, refused = split(at_once([lambda: try_code(draw_code(), browser=browser, who=visitor()) for _ in range(30)]))
    assert {refusal.slug for refusal in refused} <= {"code-not-accepted", "busy", "checkout-over"}
    assert sum(isinstance(refusal, CodeNotAccepted) for refusal in refused) <= 5
    tried = rows(
        "SELECT count(*) FROM event WHERE kind = 'code_refused' AND facts ->> 'store_id' = :id", id=world.bookshop
    )
    assert tried[0][0] <= 5
    assert states(world)[1] == ["exhausted"] or tried[0][0] < 5


def test_pressed_many_times_at_once_there_is_one_payment_and_the_last_code_is_good(
    app: Flask, shop: Shop, shopper: Shopper, world: World
) -> None:
    pushed, card_code = shop.push(), world.code().code
    shopper.open(pushed)
    browser = browser_of(shopper, pushed)
    approved, refused = split(at_once([lambda: try_code(card_code, browser=browser, who=visitor()) for _ in range(8)]))
    assert approved
    assert {refusal.slug for refusal in refused} <= {"busy"}
    answers = [shop.redeem(approval.code, pushed).status_code for approval in approved]
    assert answers.count(200) == 1
    assert states(world) == (["held"], ["redeemed"])
    assert_audit_is_clean()


def test_one_card_typed_at_two_requests_at_once_is_held_once(app: Flask, shop: Shop, world: World) -> None:
    for _ in range(10):
        card_code = world.code().code
        pairs = [(Shopper(app.test_client()), shop.push()) for _ in range(2)]
        forms = [csrf_of(shopper.open(pushed)) for shopper, pushed in pairs]
        answers = at_once(
            [
                partial(shopper.post, pushed, action="code", csrf=csrf, code=card_code)
                for (shopper, pushed), csrf in zip(pairs, forms, strict=True)
            ]
        )
        assert {answer.status_code for answer in answers} <= {303, 503}
        held = "SELECT count(*) FROM payment WHERE state = 'held' AND store_id = :id GROUP BY card_id"
        assert {row.count for row in rows(held, id=world.bookshop)} == {1}
    assert_audit_is_clean()


def test_one_browser_opens_it_of_many_that_come_at_once(app: Flask, shop: Shop) -> None:
    pushed = shop.push()
    answers = at_once([lambda: Shopper(app.test_client()).open(pushed) for _ in range(12)])
    assert sorted(answer.status_code for answer in answers) == [200] + [404] * 11
