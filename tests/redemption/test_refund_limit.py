"""A stolen secret gives away as much as its store's limit allows, and no more: however many ask at once."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import pytest
from flask import Flask
from flask.testing import FlaskClient

from app import clock
from app.errors import InvalidRequest, NotFound, RefundLimitReached
from app.ids import PaymentId, StoreId
from app.oauth.access_token import make_access_token
from app.oauth.clients import KEY_METHOD, SECRET_METHOD
from app.redemption.refund import Refund, refund_payment
from app.redemption.refund_limit import WINDOW, limit_refunds
from tests.api import api_of, assert_problem, money
from tests.oauth.proofs import Prover
from tests.world import World, gbp, make_world, reference


def settled(world: World, amount_minor: int = 2_000) -> PaymentId:
    payment_id = world.payment(amount_minor).payment.id
    world.settle(payment_id, amount_minor)
    return payment_id


def refund(world: World, payment_id: PaymentId, amount_minor: int, *, is_limited: bool = True) -> Refund:
    named = {"store_id": world.bookshop, "reference": reference(world.bookshop)}
    return refund_payment(payment_id, gbp(amount_minor), is_limited=is_limited, **named)  # type: ignore[arg-type]


def test_up_to_the_limit_and_not_a_penny_more(world: World) -> None:
    limit_refunds(world.bookshop, "GBP", 1_500)
    payment_id = settled(world)
    refund(world, payment_id, 1_000)
    with pytest.raises(RefundLimitReached) as refused:
        refund(world, payment_id, 501)
    assert refused.value.facts == {"left_minor": 500}
    refund(world, payment_id, 500)
    with pytest.raises(RefundLimitReached):
        refund(world, payment_id, 1)


def test_who_is_not_limited_counts(world: World) -> None:
    limit_refunds(world.bookshop, "GBP", 1_500)
    payment_id = settled(world)
    refund(world, payment_id, 1_800, is_limited=False)
    with pytest.raises(RefundLimitReached):
        refund(world, payment_id, 1)


def test_what_is_a_day_old_no_longer_counts(world: World) -> None:
    limit_refunds(world.bookshop, "GBP", 500)
    payment_id = settled(world)
    refund(world, payment_id, 500)
    with clock.ahead(WINDOW - timedelta(minutes=1)), pytest.raises(RefundLimitReached):
        refund(world, payment_id, 1)
    with clock.ahead(WINDOW):
        refund(world, payment_id, 500)


def test_a_limit_is_of_one_store_and_one_currency(world: World) -> None:
    limit_refunds(world.toyshop, "GBP", 0)
    limit_refunds(world.bookshop, "EUR", 0)
    refund(world, settled(world), 2_000)
    limit_refunds(world.bookshop, "GBP", 0)
    with pytest.raises(RefundLimitReached):
        refund(world, settled(world), 1)
    limit_refunds(world.bookshop, "GBP", None)
    refund(world, settled(world), 2_000)


def test_at_once_on_many_cards_the_limit_holds(world: World) -> None:
    limit_refunds(world.bookshop, "GBP", 1_000)
    payments = [settled(world) for _ in range(16)]

    def ask(payment_id: PaymentId) -> int:
        try:
            return refund(world, payment_id, 300).amount.amount_minor
        except RefundLimitReached:
            return 0

    with ThreadPoolExecutor(16) as pool:
        assert sum(pool.map(ask, payments)) == 900


@pytest.mark.parametrize(("currency", "limit"), [("GBX", 1), ("XAU", 1), ("", 1), ("GBP", -1), ("GBP", 10**13)])
def test_what_is_no_limit_is_refused(world: World, currency: str, limit: int) -> None:
    with pytest.raises(InvalidRequest):
        limit_refunds(world.bookshop, currency, limit)
    with pytest.raises(NotFound):
        limit_refunds(StoreId("str_unknown"), "GBP", 1)


@pytest.fixture
def web(app: Flask) -> Iterator[FlaskClient]:
    yield app.test_client()


@pytest.mark.parametrize(("auth_method", "limited"), [(SECRET_METHOD, True), (KEY_METHOD, False)])
@pytest.mark.parametrize("is_bound", [False, True])
def test_at_the_api_who_has_a_secret_is_limited_whatever_key_he_brings(
    web: FlaskClient, auth_method: str, limited: bool, is_bound: bool
) -> None:
    """A thief of the secret makes himself a key in a moment."""
    api = api_of(web, make_world())
    limit_refunds(api.world.bookshop, "GBP", 100)
    path = f"/v1/payments/{settled(api.world)}/refunds"
    prover, known = Prover(), replace(api.bookshop.known, auth_method=auth_method)
    confirmation = {"jkt": prover.pair.thumbprint()} if is_bound else None
    access_token = make_access_token(known, known.scopes, confirmation=confirmation)
    headers = {"Authorization": f"{'DPoP' if is_bound else 'Bearer'} {access_token}", "Idempotency-Key": "one"}
    headers |= {"DPoP": prover.prove("POST", path, access_token=access_token)} if is_bound else {}
    answer = web.post(path, json={"amount": money(101)}, headers=headers)
    if limited:
        assert assert_problem(answer, 422, "refund-limit-reached")["left_minor"] == 100
    else:
        assert answer.status_code == 201, answer.text
