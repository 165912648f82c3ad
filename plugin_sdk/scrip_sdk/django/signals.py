"""What a store can listen to, and what this app itself listens to."""

from typing import Any

from django.core.signals import setting_changed
from django.dispatch import Signal

from scrip_sdk.django import forget_client

#: The service has done what an instruction said. Sent with `instruction`, a `scrip_sdk.outbox.Instruction`, and
#: `answer_id`, the service's name for what it did, once for each, in the transaction that notes it.
instruction_done = Signal()

#: An instruction was given up: a person must look. Sent with `instruction`, a `scrip_sdk.outbox.Instruction`, once for
#: each; an error in the log and a mail to ADMINS come anyway.
instruction_given_up = Signal()


def connect() -> None:
    """Settings that a test changes are read anew."""
    setting_changed.connect(_forget, dispatch_uid="scrip_sdk.django")


def _forget(*, setting: str, **_: Any) -> None:
    if setting in ("SCRIP", "SECRET_KEY"):
        forget_client()
