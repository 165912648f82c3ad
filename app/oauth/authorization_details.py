"""Rich authorization requests (RFC 9396): what a store asks the holder for, to the penny, and what it is answered."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from authlib.oauth2 import OAuth2Error
from marshmallow import ValidationError, fields, validate

from app.errors import MalformedJson
from app.ids import PaymentId
from app.money import Money, read_decimal
from app.web.arguments import Pattern, Strict, Text, currency_field, read_json

TYPE = "giftcard_payment"
ACTIONS = ("settle",)
TYPES = (TYPE,)


class InvalidAuthorizationDetails(OAuth2Error):  # type: ignore[misc]
    """RFC 9396, section 5: the details are not what this server knows."""

    error = "invalid_authorization_details"


@dataclass(frozen=True, slots=True)
class GiftcardPayment:
    """The one thing that can be asked for: at most this much, for this order, of this shopper of the store's."""

    amount: Money
    order_reference: str
    shopper_key: str | None


class _AmountIn(Strict):
    """An amount as RFC 9396 writes it: a decimal text beside its currency."""

    currency = currency_field()
    amount = fields.String(required=True, validate=validate.Length(max=20))


class _ShopperIn(Strict):
    """Which shopper of the store, as in the API."""

    key_hash = fields.String(required=True, validate=Pattern("[!-~]{8,128}"))


class _GiftcardPaymentIn(Strict):
    """The only type of details."""

    type = fields.String(required=True, validate=validate.Equal(TYPE))
    actions = fields.List(fields.String(), required=True, validate=validate.Equal(list(ACTIONS)))
    instructed_amount = fields.Nested(_AmountIn, required=True)
    order = Text(longest=200, required=True)
    shopper = fields.Nested(_ShopperIn, load_default=None)


_shape = _GiftcardPaymentIn()


def read_details(text: str) -> GiftcardPayment:
    """What the parameter `authorization_details` asks for: a JSON array of exactly one object, with nothing unknown.

    The amount has all the decimals of its currency, so that there is one way to write it. Raises
    InvalidAuthorizationDetails.
    """
    try:
        details = read_json(text.encode())
    except MalformedJson as error:
        raise InvalidAuthorizationDetails("authorization_details must be JSON, with no name twice.") from error
    if not isinstance(details, list) or len(details) != 1 or not isinstance(details[0], dict):
        raise InvalidAuthorizationDetails(f"authorization_details must be an array of one object of type {TYPE}.")
    try:
        asked: Mapping[str, Any] = _shape.load(details[0])
    except ValidationError as error:
        raise InvalidAuthorizationDetails(_what_is_wrong(error)) from error
    amount = read_decimal(asked["instructed_amount"]["amount"], asked["instructed_amount"]["currency"])
    if amount is None:
        raise InvalidAuthorizationDetails("instructed_amount: above zero, with all decimals of its currency, as 30.00.")
    return GiftcardPayment(amount, asked["order"], (asked["shopper"] or {}).get("key_hash"))


def answered_details(asked: GiftcardPayment, payment_id: PaymentId, approved: Money) -> list[dict[str, Any]]:
    """The same object, with what came of it (RFC 9396, section 7): the payment, and how much of it was approved."""
    shopper = {"shopper": {"key_hash": asked.shopper_key}} if asked.shopper_key is not None else {}
    return [
        {
            "type": TYPE,
            "actions": list(ACTIONS),
            "instructed_amount": _dump_amount(asked.amount),
            "order": asked.order_reference,
            **shopper,
            "payment_id": payment_id,
            "approved_amount": _dump_amount(approved),
        }
    ]


def claimed_details(payment_id: PaymentId) -> list[dict[str, Any]]:
    """What an access token says of it (RFC 9396, section 9.1): for which payment alone it is good."""
    return [{"type": TYPE, "actions": list(ACTIONS), "payment_id": payment_id}]


def _dump_amount(amount: Money) -> dict[str, str]:
    return {"currency": amount.currency, "amount": amount.decimal}


def _what_is_wrong(error: ValidationError) -> str:
    """The members that are wrong, by name, in the few characters that RFC 6749 allows in a description."""
    named = ", ".join(re.sub(r"[^A-Za-z0-9_]", "?", str(name))[:40] for name in error.messages_dict)
    return f"authorization_details: not as this server knows it: {named}."
