"""An online store takes Scrip's gift cards: what stores import."""

__version__ = "0.1.0"

from scrip_sdk.budget import Budget
from scrip_sdk.client import Client
from scrip_sdk.code import Code
from scrip_sdk.errors import (
    AmountTooHigh,
    CodeMistyped,
    CodeRefused,
    NotAllowed,
    PaymentClosed,
    RequestRejected,
    ScripError,
    ServiceUnavailable,
    TryLater,
)
from scrip_sdk.money import Money
from scrip_sdk.payment import Payment, Refund, SentBill, Settlement
from scrip_sdk.shopper import Shopper, shopper_of

__all__ = [
    "AmountTooHigh",
    "Budget",
    "Client",
    "Code",
    "CodeMistyped",
    "CodeRefused",
    "Money",
    "NotAllowed",
    "Payment",
    "PaymentClosed",
    "Refund",
    "RequestRejected",
    "ScripError",
    "SentBill",
    "ServiceUnavailable",
    "Settlement",
    "Shopper",
    "TryLater",
    "__version__",
    "shopper_of",
]
