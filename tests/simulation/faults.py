"""Faults planted into the service one at a time, each a slip that a reviewer could miss."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from app.issuance import one_key
from app.issuance import rules as issuance_rules
from app.ledger import transfer
from app.money import Money
from app.redemption import exchange, refund, rules, settle, void
from app.redemption.rules import PaymentSeen

Plant = Callable[[pytest.MonkeyPatch], None]


def a_refund_is_checked_against_the_hold(patch: pytest.MonkeyPatch) -> None:
    """Of what was held rather than settled."""
    decide = rules.decide_refund

    def decide_refund(payment: PaymentSeen, amount: Money) -> None:
        hold = payment.held_minor + payment.settled_minor + payment.released_minor
        decide(replace(payment, settled_minor=min(hold, payment.settled_minor + 1)), amount)

    patch.setattr(rules, "decide_refund", decide_refund)


def a_late_settle_has_an_hour_more(patch: pytest.MonkeyPatch) -> None:
    """73 hours rather than 72."""
    patch.setattr(rules, "LATE_SETTLE", timedelta(hours=73))


def a_hold_lives_at_its_very_end(patch: pytest.MonkeyPatch) -> None:
    """`<=` for `<`."""
    patch.setattr(rules, "is_open", lambda payment, now: payment.state == "held" and now <= payment.expires_at)


def any_shopper_repeats_an_exchange(patch: pytest.MonkeyPatch) -> None:
    """Whoever reads the code in the store's log takes over the payment."""
    patch.setattr(rules, "_is_same_shopper", lambda code, asker: True)


def a_settle_moves_one_minor_unit_less(patch: pytest.MonkeyPatch) -> None:
    """The books differ from the settlement."""
    honest = transfer.transfer_of

    def transfer_of(kind: str, amount: Money, **more: Any) -> Any:
        return honest(kind, replace(amount, amount_minor=max(1, amount.amount_minor - 1)), **more)

    patch.setattr(settle, "transfer_of", transfer_of)


def a_void_leaves_the_payment_as_the_key(patch: pytest.MonkeyPatch) -> None:
    """The hold is released, and still in the way."""
    honest = void._keep_code
    patch.setattr(void, "_keep_code", lambda locked: [honest(locked)[0], honest(locked)[2]])


def a_reissue_forgets_the_days_that_released_value_keeps(patch: pytest.MonkeyPatch) -> None:
    """Value that comes back from a hold on a card's last day lapses with it."""
    patch.setattr(issuance_rules, "after_release", lambda expires_at, now: expires_at)


def a_longer_hold_forgets_the_code(patch: pytest.MonkeyPatch) -> None:
    """The payment is held for longer, its code is not bound for longer."""
    patch.setattr(one_key, "bind_until", lambda code_id, until: None)


def a_new_link_is_mailed_without_end(patch: pytest.MonkeyPatch) -> None:
    """Three a day, ten minutes apart, are not counted."""
    patch.setattr(issuance_rules, "decide_new_link", lambda asked_at, now: None)


def a_code_may_be_drawn_six_times_a_day(patch: pytest.MonkeyPatch) -> None:
    """One too many."""
    patch.setattr(issuance_rules, "CODES_A_DAY", 6)


def a_second_confirm_extends(patch: pytest.MonkeyPatch) -> None:
    """Confirming again holds for longer."""
    decide = rules.decide_confirm

    def decide_confirm(payment: PaymentSeen, *more: Any) -> Any:
        return decide(replace(payment, confirmed=False), *more)

    patch.setattr(rules, "decide_confirm", decide_confirm)


def a_test_card_is_taken_by_a_store_outside_its_programme(patch: pytest.MonkeyPatch) -> None:
    """The programme's list of stores is not read."""
    seen = exchange._seen
    patch.setattr(exchange, "_seen", lambda row: replace(seen(row), store_is_in_programme=True))


def a_late_settle_takes_value_that_is_with_another_store(patch: pytest.MonkeyPatch) -> None:
    """The promise to the other store is broken."""
    decide = rules.decide_late_settle
    patch.setattr(rules, "decide_late_settle", lambda *a, is_in_use, **more: decide(*a, is_in_use=False, **more))


def a_settle_forgets_to_kill_the_code(patch: pytest.MonkeyPatch) -> None:
    """The code lives on beside the new link."""

    class OneKey:
        """The module without the one function."""

        def __getattr__(self, name: str) -> Any:
            return (lambda *_: None) if name == "kill_code" else getattr(one_key, name)

    patch.setattr(settle, "one_key", OneKey())


def a_lost_answer_draws_codes_for_ever(patch: pytest.MonkeyPatch) -> None:
    """The ten minutes of the same browser do not end."""
    patch.setattr(issuance_rules, "SAME_BROWSER_AGAIN", timedelta(days=3650))


def a_refund_does_not_revive_a_card(patch: pytest.MonkeyPatch) -> None:
    """Money comes back to a spent card that stays spent."""
    patch.setattr(refund, "_after", lambda locked, amount: [])


#: With a seed whose walk finds it soon.
PLANTED: dict[Plant, int] = {
    a_settle_moves_one_minor_unit_less: 2027,
    a_refund_is_checked_against_the_hold: 2027,
    a_late_settle_has_an_hour_more: 2027,
    a_hold_lives_at_its_very_end: 2027,
    any_shopper_repeats_an_exchange: 2027,
    a_void_leaves_the_payment_as_the_key: 2027,
    a_reissue_forgets_the_days_that_released_value_keeps: 2027,
    a_longer_hold_forgets_the_code: 2027,
    a_new_link_is_mailed_without_end: 2027,
    a_code_may_be_drawn_six_times_a_day: 2027,
    a_second_confirm_extends: 2027,
    a_test_card_is_taken_by_a_store_outside_its_programme: 2027,
    a_late_settle_takes_value_that_is_with_another_store: 2027,
    a_settle_forgets_to_kill_the_code: 2027,
    a_lost_answer_draws_codes_for_ever: 2027,
    a_refund_does_not_revive_a_card: 2027,
}
