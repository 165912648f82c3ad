"""Order: every gift card of an order is confirmed before the order stands, or none is."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta

from scrip_sdk import calls
from scrip_sdk.budget import Deadline
from scrip_sdk.client import Client
from scrip_sdk.errors import AmountTooHigh, PaymentClosed, ScripError, ServiceUnavailable, TryLater
from scrip_sdk.keys import request_key
from scrip_sdk.money import Money
from scrip_sdk.outbox import Instruction, Outbox, utc_now, void_later
from scrip_sdk.payment import Payment

#: For all cards of an order together, in seconds: the shopper waits, and the store's transaction is open meanwhile.
ORDER_S = 8.0
#: So much of it is kept for giving back what was confirmed.
VOIDS_S = 2.5
#: So long after the last try to place an order nobody is placing it any more.
UNLESS_PLACED_S = 900.0
#: A deliverer's one try takes no longer.
WITHDRAWN_IN_S = 10


class OrderNotConfirmed(ScripError):
    """A card of the order cannot be confirmed, so none is: the order must not stand on them. Slug and status are why.

    `payment_id` is the card's that failed, `cause` its error. `voided` are the payments that were given back: their
    codes can be typed again in this shop, by this shopper. Of those of `to_void` this is not known: add these
    instructions to the outbox, in a transaction that is kept. All other payments are as they were.
    """

    usual_slug = "order-not-confirmed"
    sentence = "A gift card of this order cannot be used for it."
    payment_id: str
    cause: ScripError
    voided: tuple[str, ...] = ()
    to_void: tuple[Instruction, ...] = ()


def void_unless_placed(
    outbox: Outbox, order_reference: str, payment_ids: Sequence[str], *, seconds: float = UNLESS_PLACED_S
) -> None:
    """Has each payment given back after so many seconds, unless its order stands by then.

    Call it before `confirm_order`, in a transaction of its own: a process that dies between confirm and commit leaves
    nothing else that knows of the hold. `confirm_order` with an outbox in the order's transaction withdraws it, so that
    it is gone exactly if the order stands; a settle of the same order in the outbox has it dropped too. Called again
    for the same order, for the next try, the time begins anew. Whoever then finds that the order stands already, for
    it was sent twice, calls `outbox.withdraw_voids`: a settle may wait in line behind this void.

    A store that settles when the parcel leaves calls it only where it knows that the order does not stand yet, under a
    lock on the basket for instance. Raises what the outbox raises.
    """
    due_at = utc_now() + timedelta(seconds=seconds)
    for payment_id in payment_ids:
        void = void_later(payment_id, order_reference=order_reference, unless_placed=True, due_at=due_at)
        kept = outbox.add(void)
        if kept.id != void.id and kept.state == "pending":
            with suppress(LookupError):  # the order that it waited for stands since just now
                outbox.revive(kept.id, at=due_at)


def confirm_order(
    client: Client,
    order_reference: str,
    parts: Sequence[tuple[str, Money]],
    *,
    outbox: Outbox | None = None,
    seconds: float = ORDER_S,
) -> tuple[Payment, ...]:
    """Confirms the payment of each part for the order; each holds its amount at least. Returns them in their order.

    Call it before the order stands, and with nobody else placing the same order meanwhile (a lock on the basket): what
    fails here gives back what was confirmed here. It may be called again for the same order, after another method was
    declined for instance: then keep the payments, so that the shopper need not type his codes again, and void them
    only when he leaves them. What stays held is all that was held, so that his basket may still grow.

    `outbox`: a void of one of these payments that waits there is withdrawn first, and a payment that a settle waits
    for is never voided. In the order's transaction, a rollback puts the void back (`void_unless_placed`).
    `seconds`: for all of it, at most.

    Raises OrderNotConfirmed, within that time; ValueError for a payment that is named twice and an amount of nothing.
    """
    if len({payment_id for payment_id, _ in parts}) < len(parts):
        raise ValueError("a payment is named twice")
    if any(amount.amount_minor <= 0 for _, amount in parts):
        raise ValueError("a card that pays nothing is not part of an order")
    deadline = Deadline.after(seconds)
    # Of each call of this function, not of the order: the service's answer to an old key says how things stood then.
    attempt = secrets.token_hex(8)
    confirmed: list[Payment] = []
    for payment_id, amount in parts:
        try:
            _withdraw_voids(outbox, payment_id)
            payment = client.ask(_confirm(payment_id, order_reference, attempt), deadline.sooner(_left_s(deadline)))
            confirmed.append(payment)
            _check_held(payment, amount)
        except ScripError as error:
            # No answer is not a no: what may have been confirmed is given back with the others.
            unknown = payment_id if isinstance(error, ServiceUnavailable) else None
            voided, left = _void_all(client, order_reference, confirmed, unknown, deadline, outbox)
            raise OrderNotConfirmed(
                error.slug,
                error.status,
                error.request_id,
                payment_id=payment_id,
                cause=error,
                voided=tuple(voided),
                to_void=tuple(void_later(each, order_reference=order_reference) for each in left),
            ) from error
    return tuple(confirmed)


def _left_s(deadline: Deadline) -> float:
    """What confirming may take; a little, also when nothing is left, so that the error is the service's absence."""
    return max(0.0, deadline.left_s() - VOIDS_S)


def _confirm(payment_id: str, order_reference: str, attempt: str) -> calls.Call[Payment]:
    key = request_key("confirm", payment_id, order_reference, part=attempt)
    return calls.confirm(payment_id, order_reference=order_reference, key=key)


def _check_held(payment: Payment, amount: Money) -> None:
    """Raises AmountTooHigh: the card has less than it should pay, or another currency."""
    if payment.held.currency != amount.currency or payment.held < amount:
        raise AmountTooHigh(left_minor=payment.held.amount_minor)


def _withdraw_voids(outbox: Outbox | None, payment_id: str) -> None:
    """Raises TryLater: a deliverer may be voiding this very payment."""
    if outbox is not None and not outbox.withdraw_voids(payment_id, at=utc_now()):
        raise TryLater("try-later", retry_after_s=WITHDRAWN_IN_S)


def _void_all(
    client: Client,
    order_reference: str,
    confirmed: Sequence[Payment],
    unknown: str | None,
    deadline: Deadline,
    outbox: Outbox | None,
) -> tuple[list[str], list[str]]:
    """Those that hold nothing any more, and those of which it is not known."""
    voided, left = [], []
    payment_ids = [payment.id for payment in confirmed]
    for payment_id in [*payment_ids, unknown] if unknown else payment_ids:
        if outbox is not None and any(one.verb == "settle" for one in outbox.list(payment_id=payment_id)):
            continue  # an order stands on it: somebody else has placed this one
        try:
            if payment_id == unknown and is_anothers(client.ask(calls.get(payment_id), deadline), order_reference):
                continue
            client.ask(calls.void(payment_id, key=request_key("void", payment_id, order_reference)), deadline)
            voided.append(payment_id)
        except PaymentClosed as closed:
            if closed.state != "settled":
                voided.append(payment_id)
        except ScripError:
            left.append(payment_id)
    return voided, left


def is_anothers(payment: Payment, order_reference: str) -> bool:
    """Whether another order than this one stands on the payment: two tabs of one shopper may have used it."""
    return payment.confirmed and payment.order_reference != order_reference
