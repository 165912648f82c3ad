"""Everything that a store may do with one payment, all at once."""

from collections.abc import Callable
from typing import Any

import pytest

from app.errors import AmountOverHold, AmountOverSettled, Busy, CardHeld, CodeNotAccepted, PaymentClosed, Refusal
from app.redemption.confirm import confirm_payment
from app.redemption.extend import extend_payment
from app.redemption.refund import refund_payment
from app.redemption.reissue import reissue_card
from app.redemption.void import void_payment
from tests.at_once import at_once, split
from tests.redemption.without_locks import take_out_locks
from tests.world import World, assert_audit_is_clean, gbp, reference, rows

Call = Callable[[], Any]


def amounts(payment_id: str) -> Any:
    return rows(
        """
        SELECT p.*, (SELECT coalesce(sum(amount_minor), 0) FROM settlement WHERE payment_id = p.id) AS settlements,
               (SELECT coalesce(sum(amount_minor), 0) FROM refund WHERE payment_id = p.id) AS refunds
        FROM payment p WHERE id = :id
        """,
        id=payment_id,
    )[0]


def check_settles_stay_within_the_hold(world: World) -> None:
    payment = world.payment(5_000).payment
    calls: list[Call] = [lambda: world.settle(payment.id, 300, final=False) for _ in range(50)]
    settled, refused = split(at_once(calls))
    kept = amounts(payment.id)
    assert len(settled) == 16
    assert {type(refusal) for refusal in refused} <= {AmountOverHold, Busy}
    assert kept.settled_minor == kept.settlements == 16 * 300 <= 5_000
    assert_audit_is_clean()


def check_refunds_stay_within_the_settled(world: World) -> None:
    payment = world.payment(5_000).payment
    world.settle(payment.id, 3_000)
    mine: dict[str, Any] = {"store_id": world.bookshop}
    calls: list[Call] = [
        lambda: refund_payment(payment.id, gbp(700), reference=reference(world.bookshop), **mine) for _ in range(50)
    ]
    refunded, refused = split(at_once(calls))
    kept = amounts(payment.id)
    assert len(refunded) == 4
    assert {type(refusal) for refusal in refused} <= {AmountOverSettled, Busy}
    assert kept.refunded_minor == kept.refunds == 2_800
    assert_audit_is_clean()


def check_all_verbs_at_once(world: World) -> None:
    payment = world.payment(5_000).payment
    store = world.bookshop
    mine: dict[str, Any] = {"store_id": store}
    verbs: list[Call] = [
        lambda: confirm_payment(payment.id, order_reference="order-1", reference=reference(store), **mine),
        lambda: world.settle(payment.id, 400, final=False),
        lambda: world.settle(payment.id, 900),
        lambda: void_payment(payment.id, reference=reference(store), **mine),
        lambda: extend_payment(payment.id, 3_600, reference=reference(store), **mine),
        lambda: refund_payment(payment.id, gbp(300), reference=reference(store), **mine),
    ]
    split(at_once([verbs[n % len(verbs)] for n in range(54)]))
    kept = amounts(payment.id)
    assert kept.settled_minor == kept.settlements
    assert kept.refunded_minor == kept.refunds <= kept.settled_minor
    assert kept.hold_minor == kept.held_minor + kept.settled_minor + kept.released_minor == 5_000
    assert world.card_of(payment.id).balance == gbp(5_000 - kept.settled_minor + kept.refunded_minor)
    assert_audit_is_clean()


CHECKS = [check_settles_stay_within_the_hold, check_refunds_stay_within_the_settled, check_all_verbs_at_once]


@pytest.mark.parametrize("check", CHECKS)
def test_sums_never_pass_the_hold_or_the_settled_amount(
    own_database: object, world: World, check: Callable[[World], None]
) -> None:
    check(world)


@pytest.mark.parametrize("check", CHECKS)
def test_without_locks_it_is_noticed(
    own_database: object, world: World, check: Callable[[World], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    take_out_locks(monkeypatch)
    with pytest.raises(AssertionError):
        for _ in range(5):
            check(world)


def check_reissue_or_exchange_wins(world: World) -> None:
    card = world.issue()
    code = world.claim(card.claim_link)
    mine: dict[str, Any] = {"issuer_id": world.issuer_id, "reference": reference(world.issuer_id)}
    outcomes = at_once(
        [lambda: world.exchange(code.code, shopper=card.id), lambda: reissue_card(card.id, deliver="email", **mine)],
    )
    won, refused = split(outcomes)
    assert len(won) == len(refused) == 1
    now = world.card(card.id).reached_through
    assert now is not None
    expected = ("payment", CardHeld) if isinstance(outcomes[1], Refusal) else ("link", CodeNotAccepted)
    assert (now.kind, type(refused[0])) == expected


def test_the_issuers_reissue_and_an_exchange_race_and_one_wins(own_database: object, world: World) -> None:
    for _ in range(30):
        check_reissue_or_exchange_wins(world)
    assert_audit_is_clean()


def test_without_locks_both_would_win(own_database: object, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    take_out_locks(monkeypatch)
    with pytest.raises(AssertionError):
        for _ in range(60):
            check_reissue_or_exchange_wins(world)


def test_a_settle_that_waited_for_another_sees_the_balance_after_it(world: World) -> None:
    """The balance is read after the lock was had, not before the wait (see balance_of in migrations)."""
    payment = world.payment(5_000).payment
    settled, refused = split(at_once([lambda: world.settle(payment.id, 2_500, final=False) for _ in range(2)]))
    assert (len(settled), refused) == (2, [])
    assert {outcome.payment.balance for outcome in settled} == {gbp(2_500), gbp(0)}
    with pytest.raises(PaymentClosed):
        world.settle(payment.id, 1)
