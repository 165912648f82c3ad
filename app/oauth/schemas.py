"""Wire shapes: what a client is told about itself, and the authorization details that a store pushes (RFC 9396)."""

import re
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from typing import Any

from authlib.oauth2 import OAuth2Error
from marshmallow import ValidationError, fields, validate

from app.errors import MalformedJson
from app.money import read_decimal
from app.oauth.authorization_details import ACTIONS, TYPE, GiftcardPayment
from app.oauth.client_secrets import LiveSecret
from app.oauth.clients import Client, NewClient
from app.web.arguments import Pattern, Strict, Text, currency_field, read_json


class InvalidAuthorizationDetails(OAuth2Error):  # type: ignore[misc]
    """RFC 9396, section 5: the details are not what this server knows."""

    error = "invalid_authorization_details"


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


def _what_is_wrong(error: ValidationError) -> str:
    """The members that are wrong, by name, in the few characters that RFC 6749 allows in a description."""
    named = ", ".join(re.sub(r"[^A-Za-z0-9_]", "?", str(name))[:40] for name in error.messages_dict)
    return f"authorization_details: not as this server knows it: {named}."


def dump_client(client: Client, secrets: Collection[LiveSecret]) -> dict[str, Any]:
    """A client and its live secrets, without any secret; times in UTC."""
    return {
        "client_id": client.client_id,
        "client_name": client.name,
        "mode": client.mode,
        "party": client.party_id,
        "tier": client.tier,
        "token_endpoint_auth_method": client.auth_method,
        "scope": " ".join(client.scopes),
        "kids": list(client.kids),
        "secrets": [
            {"id": secret.id, "created_at": _time(secret.created_at), "last_used_at": _time(secret.last_used_at)}
            for secret in secrets
        ],
    }


def dump_new_secret(made: NewClient) -> dict[str, Any]:
    """A secret that was just drawn: the only answer that shows it."""
    return {"id": made.secret_id, "client_id": made.client_id, "client_secret": made.client_secret}


def _time(at: datetime | None) -> str | None:
    return at.astimezone(UTC).isoformat() if at else None
