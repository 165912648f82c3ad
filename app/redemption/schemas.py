"""Wire shapes of payments, settlements and refunds."""

from marshmallow import fields, validate

from app.issuance.schemas import LONGEST_HOLD_S
from app.redemption.payment import sign_balance
from app.web.arguments import Flag, MoneyField, MoneyShown, Pattern, Shown, Strict, Text, whole

_PREFIX = "[0-9a-fA-F:.]{2,43}/[0-9]{1,3}"


class ShopperIn(Strict):
    """Which shopper of the store: a keyed hash that the store makes, never a name or an address."""

    key_hash = fields.String(required=True, validate=Pattern("[!-~]{8,128}"))
    address_prefix = fields.String(
        validate=Pattern(_PREFIX), metadata={"description": "IPv4 /24 or IPv6 /64", "example": "192.0.2.0/24"}
    )


class ExchangeIn(Strict):
    """A code to exchange for a payment: itself, or the code token that our field in the store's page gave for it."""

    code = fields.String(
        validate=validate.Length(1, 100),
        load_only=True,
        metadata={"description": "As the shopper typed it", "format": "password", "example": "7KQ4-ZX9M-2FHN-C0NY"},
    )
    code_token = fields.String(
        validate=Pattern("ct_[0-9A-Za-z_-]{43}"),
        load_only=True,
        metadata={"description": "In place of a code: one use, within 60 seconds", "format": "password"},
    )
    order_reference = Text(longest=200, required=True)
    shopper = fields.Nested(ShopperIn, load_default=None)
    amount = MoneyField(load_default=None)
    hold_ttl_s = whole(1, LONGEST_HOLD_S, load_default=None)

    exactly_one = ("code", "code_token")


class ConfirmIn(Strict):
    """The order that stands on the payment."""

    order_reference = Text(longest=200, required=True)
    amount = MoneyField(load_default=None)


class SettleIn(Strict):
    """How much to take for good."""

    amount = MoneyField(required=True)
    final = Flag(load_default=True)
    order_reference = Text(longest=200, load_default=None)


class VoidIn(Strict):
    """Nothing: the whole hold is released."""


class ExtendIn(Strict):
    """For how long from now."""

    hold_ttl_s = whole(1, LONGEST_HOLD_S, required=True)


class RefundIn(Strict):
    """How much goes back to the card."""

    amount = MoneyField(required=True)
    reason = Text(longest=500, load_default=None)


class PaymentOut(Shown):
    """A payment."""

    id = fields.String()
    state = fields.String(metadata={"enum": ["held", "settled", "voided", "expired"]})
    confirmed = fields.Boolean()
    order_reference = fields.String()
    balance = MoneyShown(metadata={"description": "The card's, when this payment last moved"})
    held = MoneyShown()
    settled = MoneyShown()
    released = MoneyShown()
    refunded = MoneyShown()
    expires_at = fields.AwareDateTime()
    created_at = fields.AwareDateTime()
    balance_token = fields.Function(
        sign_balance, metadata={"type": ["string", "null"], "description": "A signed JWT while held, else null"}
    )


class SettlementOut(Shown):
    """What one settle took, gave free and left held."""

    id = fields.String()
    settled = MoneyShown()
    released = MoneyShown()
    remaining = MoneyShown()
    payment = fields.Nested(PaymentOut)


class RefundOut(Shown):
    """Money that went back to the card."""

    id = fields.String()
    amount = MoneyShown()
    payment = fields.Nested(PaymentOut)
