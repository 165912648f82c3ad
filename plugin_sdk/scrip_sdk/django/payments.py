"""What a store does with gift cards, in the order of a checkout: apply, confirm, place, and later settle or refund.

Confirm comes before the order, place stands in the order's own transaction, and what place wants is told to the
service after the commit. The shopper's session needs to keep payment IDs and nothing else.
"""

import secrets
from collections.abc import Mapping
from typing import Any

from django.db import transaction
from django.db.models import Sum

from scrip_sdk import AmountTooHigh, Code, Money, Payment, PaymentClosed, ScripError, TryLater, calls
from scrip_sdk.budget import Deadline
from scrip_sdk.django import client
from scrip_sdk.django.delivery import deliver_after_commit
from scrip_sdk.django.models import ScripInstruction, ScripPayment
from scrip_sdk.django.outbox import DjangoOutbox
from scrip_sdk.django.records import (
    OPEN,
    ORDERED,
    State,
    alias,
    closed,
    instructions,
    locked,
    note_transaction,
    payment_row,
    payments,
    refuse_same_transaction,
)
from scrip_sdk.django.settings import scrip_settings
from scrip_sdk.django.times import now, stored
from scrip_sdk.keys import request_key
from scrip_sdk.outbox import Instruction, refund_later, settle_later, void_later
from scrip_sdk.shopper import Shopper

#: How soon to ask again for a card that is just being given back.
GIVING_BACK_S = 5


def apply_code(
    code: "Code | str",
    *,
    order_reference: str,
    key: str,
    shopper: "Shopper | None",
    amount: "Money | None" = None,
) -> ScripPayment:
    """Exchanges what the shopper typed for a payment, and writes it down. Keep its `payment_id` in the session.

    `key` comes from the form's nonce (`scrip_sdk.keys.exchange_key`, with the same `shopper` and `amount`), so that a
    form that is sent twice counts once. `shopper` comes from `scrip_sdk.django.shoppers.shopper_of_request`: it lets
    him type the code of a card again that is held for him, and keeps one shopper's tries from blocking another's. None
    is only for what no shopper has typed. `amount`: the most that is held; else all that the card has.

    Raises what `Client.exchange` raises, and what `record` raises.
    """
    paid = client().exchange(code, order_reference=order_reference, key=key, shopper=shopper, amount=amount)
    return record(paid, order_reference=order_reference)


def apply_code_token(
    code_token: str,
    *,
    order_reference: str,
    key: str,
    shopper: "Shopper | None",
    amount: "Money | None" = None,
) -> ScripPayment:
    """The same for the token that the field for codes gave."""
    paid = client().exchange_token(code_token, order_reference=order_reference, key=key, shopper=shopper, amount=amount)
    return record(paid, order_reference=order_reference)


def record(payment: Payment, *, order_reference: str) -> ScripPayment:
    """Writes down a payment that the service has given for this shopper, in whatever way it came.

    One that was about to be given back is wanted again. Raises PaymentClosed when an order stands on it already or it
    is over, TryLater while it is being given back.
    """
    at = stored(now())
    found = {
        "state": State.CONFIRMED if payment.confirmed else State.APPLIED,
        "confirmed_at": at if payment.confirmed else None,
        "order_reference": payment.order_reference or order_reference,
        "currency": payment.held.currency,
        "held_minor": payment.held.amount_minor,
        "expires_at": stored(payment.expires_at),
        "changed_at": at,
    }
    with transaction.atomic(using=alias()):
        row: ScripPayment
        row, is_new = payments().get_or_create(payment_id=payment.id, defaults={**found, "applied_at": at})
        if not is_new:
            row = locked(payments().filter(pk=row.pk)).get()
            if row.state == State.CONFIRMED and not payment.confirmed:  # by another request, just now
                found = {name: found[name] for name in ("currency", "held_minor", "expires_at", "changed_at")}
            if payment.state != "held" or row.state not in (*OPEN, State.VOIDING):
                raise closed(row)
            if row.state == State.VOIDING and not DjangoOutbox().withdraw_voids(payment.id, at=now()):
                raise TryLater(retry_after_s=GIVING_BACK_S)
            payments().filter(pk=row.pk).update(**found)
            row.refresh_from_db()
        note_transaction(payment.id)
    return row


def confirm(order_reference: str, takes: "Mapping[str, Money]", *, deadline: "Deadline | None" = None) -> None:
    """Has the service hold these payments for an order that is about to be created: all, or an error.

    `takes` says for each payment ID how much the order takes of it. Call it before the order is created, as late as
    possible, and again whenever the shopper tries again. All that a card has stays held until the order is settled, so
    that his basket may still grow. It takes `TOTAL_S` at most, for all of them together, or until `deadline`.

    Where one of several is refused, the others are given back and must be typed again; where the service cannot be
    reached they stay, for the shopper's next try. What was confirmed and never became an order is given back by
    `manage.py scrip_deliver`.

    Raises PaymentClosed, AmountTooHigh, TryLater, ServiceUnavailable and the others of `Client.confirm`. On the error
    stand `payment_id`, the card of which it is said, and `given_back`, the payments that were given back for it. And
    TransactionManagementError when the card was taken in this same transaction: then nothing would be left that says
    so if the process died.
    """
    _claim(order_reference, takes)
    deadline = deadline or Deadline.after(scrip_settings().total_s)
    # Of each call of this function: the service's answer to an old key says how things stood then.
    attempt = secrets.token_hex(8)
    for payment_id, amount in sorted(takes.items()):
        key = request_key("confirm", payment_id, order_reference, part=attempt)
        try:
            held = client().ask(calls.confirm(payment_id, order_reference=order_reference, key=key), deadline)
            if held.held.currency != amount.currency or held.held < amount:
                raise AmountTooHigh(left_minor=held.held.amount_minor)
            _note_answer(order_reference, held)
        except ScripError as error:
            error.payment_id = payment_id
            if not error.worth_repeating:
                error.given_back = _give_back_refused(order_reference, takes, error)
            raise


def place(order_reference: str, takes: "Mapping[str, Money]", *, settle: bool = True) -> None:
    """Lets the order stand on its confirmed payments. Call it in the transaction that creates the order.

    With `settle` the amounts are taken for good once that transaction is committed; without it they stay held until
    `settle` is called, when the parcel leaves. The same call again changes nothing.

    Raises PaymentClosed when one of them is no longer held for this order, or `confirm` has never come back without an
    error: the order must not stand then.
    """
    with transaction.atomic(using=alias()):
        for payment_id, amount in sorted(takes.items()):
            row = payment_row(payment_id)
            if row.order_reference != order_reference or row.amount != amount:
                raise closed(row)
            if row.state in ORDERED:
                continue  # by an earlier call
            at = stored(now())
            mine = payments().filter(
                pk=row.pk,
                state=State.CONFIRMED,
                order_reference=order_reference,
                amount_minor=amount.amount_minor,
                answered_at__isnull=False,
                held_minor__gte=amount.amount_minor,
            )
            # Whoever gives it back asks for the same state: one of the two finds it changed.
            if not mine.update(state=State.PLACED, placed_at=at, changed_at=at):
                raise closed(payment_row(payment_id))
            if settle:
                DjangoOutbox().add(settle_later(payment_id, amount, order_reference=order_reference))
        deliver_after_commit(takes)


def settle(payment_id: str, amount: Money, *, final: bool = True, part: str = "") -> Instruction:
    """Takes `amount` for good, after the commit: for stores that settle when the parcel leaves.

    `part` names the parcel where there are several, each but the last with `final=False`. Raises PaymentClosed when no
    order stands on the payment, and InstructionDiffers when this part was settled with another amount.
    """
    with transaction.atomic(using=alias()):
        row = locked(payments().filter(pk=payment_row(payment_id).pk)).get()
        if row.state not in ORDERED:
            raise closed(row)
        wanted = settle_later(payment_id, amount, order_reference=row.order_reference, final=final, part=part)
        return _tell(wanted)


def cancel(payment_id: str) -> bool:
    """The order that stands on the payment falls through before anything was taken: it is given back after the commit.

    For stores that place with `settle=False`. Returns whether it was given back: not when it was told to settle, even
    in part (refund that), nor when no order stands on it (`remove` that).
    """
    with transaction.atomic(using=alias()):
        row = locked(payments().filter(pk=payment_row(payment_id).pk)).get()
        told = instructions().filter(payment_id=payment_id, verb=ScripInstruction.Verb.SETTLE)
        if row.state != State.PLACED or told.exclude(state=ScripInstruction.State.DEAD).exists():
            return False
        payments().filter(pk=row.pk).update(state=State.VOIDING, changed_at=stored(now()))
        _tell(void_later(payment_id, order_reference=row.order_reference))
    return True


def extend(payment_id: str, hold_ttl_s: int) -> ScripPayment:
    """Holds a placed payment for so many seconds from now, up to the programme's limit: the parcel leaves later.

    Returns its row, whose `expires_at` says what was given. Raises PaymentClosed when no order stands on it, and what
    `Client.extend` raises.
    """
    row = payment_row(payment_id)
    if row.state != State.PLACED:
        raise closed(row)
    key = request_key("extend", payment_id, row.order_reference, part=secrets.token_hex(8))
    held = client().extend(payment_id, hold_ttl_s, key=key)
    payments().filter(pk=row.pk).update(expires_at=stored(held.expires_at), changed_at=stored(now()))
    row.refresh_from_db()
    return row


def refund(payment_id: str, amount: Money, *, part: str, reason: str = "") -> Instruction:
    """Returns settled money to the card, after the commit and after its settlement.

    `part` is the store's own name for this refund: under one name it is done once. Raises AmountTooHigh when it is more
    than was settled and not given back, PaymentClosed when no order stands on the payment, and InstructionDiffers when
    the name stands for another amount.
    """
    with transaction.atomic(using=alias()):
        row = locked(payments().filter(pk=payment_row(payment_id).pk)).get()
        if row.state not in ORDERED:
            raise closed(row)
        wanted = refund_later(payment_id, amount, order_reference=row.order_reference, part=part, reason=reason or None)
        left = refundable(row, but=wanted.key)
        if amount > left:
            raise AmountTooHigh("amount-over-settled", left_minor=left.amount_minor)
        return _tell(wanted)


def refundable(row: ScripPayment, *, but: str = "") -> Money:
    """How much can be given back: what the store has told the service to take, less what it has told it to return.

    `but`: the key of an instruction that does not count.
    """
    told = instructions().filter(payment_id=row.payment_id).exclude(state=ScripInstruction.State.DEAD)
    settled, refunded = (
        told.filter(verb=verb).exclude(key=but).aggregate(sum=Sum("amount_minor"))["sum"] or 0
        for verb in (ScripInstruction.Verb.SETTLE, ScripInstruction.Verb.REFUND)
    )
    return Money(max(settled - refunded, 0), row.currency)


def remove(payment_id: str) -> bool:
    """The shopper takes the card off the cart again, or the order falls through: it is given back after the commit.

    The code can be typed again here for a while. Returns whether it was the store's to give back: not when an order
    stands on it.
    """
    with transaction.atomic(using=alias()):
        given = give_back(payments().filter(payment_id=payment_id, state__in=OPEN))
        deliver_after_commit([payment_id])
    return bool(given)


def give_back(rows: Any) -> list[str]:
    """Tells the service to release these; returns the payments' IDs. Call it in a transaction.

    Each is taken over by its state: an order that is placed meanwhile keeps it, or does not come to stand.
    """
    given = []
    for row in rows:
        same = payments().filter(pk=row.pk, state=row.state, confirmed_at=row.confirmed_at)
        if same.update(state=State.VOIDING, changed_at=stored(now())):
            given.append(row.payment_id)
            DjangoOutbox().add(void_later(row.payment_id, order_reference=row.order_reference))
    return given


def _claim(order_reference: str, takes: "Mapping[str, Money]") -> None:
    """Says that these are being confirmed. Outside a transaction this is committed before the service is asked; inside
    one the rows stay locked until the order stands, and were committed when the cards were taken."""
    refuse_same_transaction(takes)
    with transaction.atomic(using=alias()):
        rows = {row.payment_id: row for row in locked(payments().filter(payment_id__in=list(takes)).order_by("pk"))}
        for payment_id, amount in takes.items():
            row = rows.get(payment_id) or payment_row(payment_id)
            if row.state not in OPEN:
                raise closed(row)
            if row.state == State.CONFIRMED and row.order_reference != order_reference:
                raise PaymentClosed(
                    "order-superseded", detail="The payment stands for another order.", payment_id=payment_id
                )
            at = stored(now())
            payments().filter(pk=row.pk).update(
                state=State.CONFIRMED,
                order_reference=order_reference,
                amount_minor=amount.amount_minor,
                confirmed_at=at,
                # What was said to an earlier try for this order is true still, also to whoever places it just now.
                answered_at=row.answered_at if row.state == State.CONFIRMED else None,
                changed_at=at,
            )


def _note_answer(order_reference: str, held: Payment) -> None:
    """The service holds it for the order. Raises PaymentClosed when it was taken off, or placed, while it was asked."""
    mine = payments().filter(payment_id=held.id, state=State.CONFIRMED, order_reference=order_reference)
    at = stored(now())
    if not mine.update(
        held_minor=held.held.amount_minor, expires_at=stored(held.expires_at), answered_at=at, changed_at=at
    ):
        raise closed(payment_row(held.id))


def _give_back_refused(order_reference: str, takes: "Mapping[str, Money]", error: ScripError) -> tuple[str, ...]:
    """Returns the payments that are given back: not the one that is over."""
    mine = payments().filter(order_reference=order_reference, state=State.CONFIRMED, payment_id__in=list(takes))
    with transaction.atomic(using=alias()):
        if isinstance(error, PaymentClosed):
            mine.filter(payment_id=error.payment_id).update(state=State.EXPIRED, changed_at=stored(now()))
        given = give_back(mine.order_by("payment_id"))
        deliver_after_commit(takes)
    return tuple(given)


def _tell(instruction: Instruction) -> Instruction:
    kept = DjangoOutbox().add(instruction)
    deliver_after_commit([instruction.payment_id])
    return kept
