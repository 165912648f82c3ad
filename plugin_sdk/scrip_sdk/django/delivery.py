"""Tells the service what stands in the outbox: right after the commit where there is time, and by a command always."""

import time
from collections.abc import Collection, Iterable
from functools import partial
from typing import TypeVar

from django.core.mail import mail_admins
from django.db import transaction

from scrip_sdk import Client
from scrip_sdk.budget import Deadline
from scrip_sdk.calls import Call
from scrip_sdk.django import brings_clients, client
from scrip_sdk.django.outbox import DjangoOutbox
from scrip_sdk.django.records import alias
from scrip_sdk.django.settings import scrip_settings
from scrip_sdk.django.signals import instruction_given_up
from scrip_sdk.outbox import Instruction
from scrip_sdk.outbox.deliver import Delivery, deliver

T = TypeVar("T")

#: How long no request of this process tries after one found the service away; and which is, by its origin.
PAUSE_S = 30.0
_away_until: dict[str, float] = {}


def deliver_after_commit(payment_ids: "Iterable[str]") -> None:
    """Delivers what stands in the outbox for these payments once the present transaction is committed, at once where
    there is none. It takes `DELIVER_BUDGET_S` at most, raises nothing, and may be switched off: `DELIVER_ON_COMMIT`.
    """
    if scrip_settings().deliver_on_commit:
        # At the commit the block of `with_client` may be over.
        told = partial(_deliver_soon, frozenset(payment_ids), client() if brings_clients() else None)
        transaction.on_commit(told, using=alias(), robust=True)


def deliver_all(*, seconds: float = 60, only: "Iterable[str] | None" = None) -> Delivery:
    """Delivers all that is due, for some `seconds`; `only` for these payments, which are this client's."""
    return deliver(DjangoOutbox(only), client(), seconds=seconds, on_dead=give_up)


def give_up(instruction: Instruction) -> None:
    """Says aloud that a person must look: beside the error in the log, a mail to ADMINS, and the signal."""
    one = DjangoOutbox().list(payment_id=instruction.payment_id, state="dead", limit=1_000)
    instruction = next((each for each in one if each.id == instruction.id), instruction)
    if scrip_settings().mail_admins:
        mail_admins(
            f"Gift card: {instruction.verb} of order {instruction.order_reference} was given up",
            f"The gift card service refuses to {instruction.verb} {instruction.amount or 'payment'} "
            f"({instruction.payment_id}, order {instruction.order_reference}): {instruction.last_error}.\n\n"
            "It is not tried again until somebody says so, in the admin's list of instructions.\n",
        )
    instruction_given_up.send_robust(sender=DjangoOutbox, instruction=instruction)


def _deliver_soon(payment_ids: "Collection[str]", brought: "Client | None" = None) -> None:
    told_by = brought or client()
    if time.monotonic() < _away_until.get(told_by.service.origin, 0.0):
        return
    outbox = DjangoOutbox(only=payment_ids)
    budget_s = scrip_settings().deliver_budget_s
    in_time = _InTime(told_by, Deadline.after(budget_s))
    told = deliver(outbox, in_time, limit=10, seconds=budget_s, on_dead=give_up)
    if told.away_s is not None:
        _away_until[told_by.service.origin] = time.monotonic() + PAUSE_S


class _InTime(Client):
    """The store's client, all of whose calls together end at a deadline: a shopper waits, and all is done already."""

    def __init__(self, asked: Client, deadline: Deadline) -> None:
        self.service, self._asked, self._deadline = asked.service, asked, deadline

    def ask(self, call: "Call[T]", deadline: "Deadline | None" = None) -> T:
        """As the store's own, by the deadline of all."""
        return self._asked.ask(call, self._deadline)
