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
from app.redemption import refund, rules, settle, void
from app.redemption.rules import PaymentSeen

Plant = Callable[[pytest.MonkeyPatch], None]


def a_refund_is_checked_against_the_hold(patch: pytest.MonkeyPatch) -> None:
    """Of what was held rather than settled."""
    decide = rules.decide_refund

    def decide_refund(payment: PaymentSeen, amount: Money) -> None:
        hold = payment.held_minor + payment.settled_minor + payment.released_minor
        decide(replace(payment, settled_minor=min(hold, payment.settled_minor + 1)), amount)

    patch.setattr(rules, "decide_refund", decide_refund)


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


def released_value_keeps_no_days(patch: pytest.MonkeyPatch) -> None:
    """Value that comes back from a hold on a card's last day lapses with it."""
    patch.setattr(issuance_rules, "after_release", lambda expires_at, now: expires_at)


def a_longer_hold_forgets_the_code(patch: pytest.MonkeyPatch) -> None:
    """The payment is held for longer, its code is not bound for longer."""
    patch.setattr(one_key, "bind_until", lambda code_id, until: None)


def a_new_link_is_mailed_without_end(patch: pytest.MonkeyPatch) -> None:
    """Three a day, ten minutes apart, are not counted."""
    patch.setattr(issuance_rules, "decide_new_link", lambda asked_at, now: None)


def a_settle_forgets_to_kill_the_code(patch: pytest.MonkeyPatch) -> None:
    """The code lives on beside the new link."""

    class OneKey:
        """The module without the one function."""

        def __getattr__(self, name: str) -> Any:
            return (lambda *_: None) if name == "kill_code" else getattr(one_key, name)

    patch.setattr(settle, "one_key", OneKey())


def a_refund_does_not_revive_a_card(patch: pytest.MonkeyPatch) -> None:
    """Money comes back to a spent card that stays spent."""
    patch.setattr(refund, "_after", lambda locked, amount: [])


def any_shopper_repeats_an_exchange(patch: pytest.MonkeyPatch) -> None:
    """Whoever reads the code in the store's log takes over the payment."""
    patch.setattr(rules, "_is_same_shopper", lambda code, asker: True)


def a_hold_still_holds_at_its_end(patch: pytest.MonkeyPatch) -> None:
    """At its end, and not only before it."""
    patch.setattr(rules, "is_open", lambda payment, now: payment.state == "held" and now <= payment.expires_at)


def a_late_settle_may_come_an_hour_later(patch: pytest.MonkeyPatch) -> None:
    """Within 73 hours, not 72."""
    patch.setattr(rules, "LATE_SETTLE", timedelta(hours=73))


#: With a seed whose walk finds it.
PLANTED: dict[Plant, int] = {
    a_settle_moves_one_minor_unit_less: 2027,
    a_settle_forgets_to_kill_the_code: 2027,
    a_refund_is_checked_against_the_hold: 2027,
    a_refund_does_not_revive_a_card: 2027,
    a_void_leaves_the_payment_as_the_key: 2029,
    a_longer_hold_forgets_the_code: 2028,
    a_new_link_is_mailed_without_end: 2032,
    released_value_keeps_no_days: 2027,
    any_shopper_repeats_an_exchange: 2027,
    a_hold_still_holds_at_its_end: 2027,
    a_late_settle_may_come_an_hour_later: 2027,
}
#: These take a long walk each: found by the long form only (SIMULATION_FAULTS=all).
FOUND_LATE: frozenset[Plant] = frozenset(
    {a_longer_hold_forgets_the_code, a_hold_still_holds_at_its_end, a_late_settle_may_come_an_hour_later}
)
