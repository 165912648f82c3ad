"""The rows of `ScripPayment` as the verbs of this app use them: which database, which locks, which transaction."""

from collections.abc import Iterable
from typing import Any

from django.db import connections, router, transaction

from scrip_sdk import PaymentClosed
from scrip_sdk.django.models import ScripInstruction, ScripPayment

State = ScripPayment.State
#: States in which the payment is a shopper's, and no order stands on it.
OPEN = (State.APPLIED, State.CONFIRMED)
#: States in which an order stands on it.
ORDERED = (State.PLACED, State.SETTLED)


def alias() -> str:
    """The database of this app's tables; both must be in the one of the store's orders."""
    found: str = router.db_for_write(ScripPayment)
    return found


def payments() -> Any:
    """The rows of payments."""
    return ScripPayment.objects.using(alias())


def instructions() -> Any:
    """The rows of the outbox."""
    return ScripInstruction.objects.using(alias())


def payment_row(payment_id: str) -> ScripPayment:
    """Raises PaymentClosed for one that this store has never taken."""
    row: ScripPayment | None = payments().filter(payment_id=payment_id).first()
    if row is None:
        raise PaymentClosed(detail="The store has no record of this payment.", payment_id=payment_id)
    return row


def locked(rows: Any, *, skip_locked: bool = False) -> Any:
    """The rows, kept from others until the transaction ends; where the database locks rows at all."""
    features = connections[rows.db].features
    if not features.has_select_for_update:
        return rows
    return rows.select_for_update(skip_locked=skip_locked and features.has_select_for_update_skip_locked)


def closed(row: ScripPayment) -> PaymentClosed:
    """What to raise for a payment that is not there for this order."""
    said = f"The payment is {row.get_state_display()}."
    if row.state == State.CONFIRMED and row.answered_at is None:
        said = "The service has not said that it holds the payment for this order."
    return PaymentClosed(state=str(row.state), detail=said, payment_id=row.payment_id)


# ── one transaction ─────────────────────────────────────────────────────────────────────────────────────────────────


class _Uncommitted:
    """Stands among what a transaction does after its commit, and is gone with it, however it ends."""

    def __init__(self, payment_id: str) -> None:
        self.payment_id = payment_id

    def __call__(self) -> None:
        """Nothing is left to do."""


def note_transaction(payment_id: str) -> None:
    """Keeps in mind that this row is not committed yet, until it is, or is rolled back."""
    connection = connections[alias()]
    if connection.in_atomic_block and not _is_of_a_test(connection):
        transaction.on_commit(_Uncommitted(payment_id), using=connection.alias)


def refuse_same_transaction(payment_ids: Iterable[str]) -> None:
    """Raises TransactionManagementError where the record of one of these could still be rolled back.

    Whoever confirms a payment must leave something behind that says so, whatever happens next. The record that was
    written when the card was taken is that, once it is committed.
    """
    marks = [hook for _, hook, *_ in connections[alias()].run_on_commit if isinstance(hook, _Uncommitted)]
    if {mark.payment_id for mark in marks}.intersection(payment_ids):
        raise transaction.TransactionManagementError(
            "A gift card is taken and confirmed in one transaction, so nothing would be left of it if this fails. "
            "Take it in a request of its own, or mark the view with transaction.non_atomic_requests."
        )


def _is_of_a_test(connection: Any) -> bool:
    """A test case of Django's never commits; what is confirmed in it, no real service has heard."""
    return any(getattr(block, "_from_testcase", False) for block in connection.atomic_blocks)
