"""A fake service for a store's own tests: no server, no network, and everything that a card can do to a store."""

from scrip_sdk.testing.codes import (
    BUSY_ONCE,
    DOWN,
    EMPTY,
    LOST_ANSWER,
    LOST_ONCE,
    MISTYPED,
    REFUSED,
    SLOW,
    TRY_LATER,
    VALID,
    VALID_EUR,
    VALID_SMALL,
    code_for,
)
from scrip_sdk.testing.fake import Call, FakeScrip
from scrip_sdk.testing.ledger import FakeCard, FakePayment, Letter
from scrip_sdk.testing.parties import FakeClient
from scrip_sdk.testing.refusals import Refused

__all__ = [
    "BUSY_ONCE",
    "DOWN",
    "EMPTY",
    "LOST_ANSWER",
    "LOST_ONCE",
    "MISTYPED",
    "REFUSED",
    "SLOW",
    "TRY_LATER",
    "VALID",
    "VALID_EUR",
    "VALID_SMALL",
    "Call",
    "FakeCard",
    "FakeClient",
    "FakePayment",
    "FakeScrip",
    "Letter",
    "Refused",
    "code_for",
]
