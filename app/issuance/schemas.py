"""Wire shapes of programmes and cards."""

import re
import unicodedata
from typing import Any

from marshmallow import ValidationError, fields, validate, validates_schema

from app.ids import pattern_of
from app.issuance.holder_data import HolderData
from app.issuance.programme import ProgrammeTerms
from app.issuance.rules import FRESH_CODE_EACH_OPEN, SINGLE_USE
from app.money import MAX_MINOR
from app.web.arguments import (
    Identifier,
    MoneyField,
    MoneyShown,
    PageSchema,
    Pattern,
    Shown,
    Strict,
    Text,
    Texts,
    currency_field,
    whole,
)

DAY_S = 86_400
LONGEST_HOLD_S = 366 * DAY_S
_LINK = re.compile(
    r"(?i)\b(?:https?://|www\.)|\b[a-z0-9-]+\.(?:com|net|org|io|co|uk|de|info|biz|ru|cn|xyz|shop|link)\b"
)


def _no_controls(address: str) -> None:
    """A quoted local part may hold control characters by RFC 5321; no mailbox of a person does."""
    if any(unicodedata.category(character).startswith("C") for character in address):
        raise ValidationError("Not a valid email address.")


def _no_links(text: str) -> None:
    if _LINK.search(text):
        raise ValidationError("Links are not allowed: a letter has one link, ours.")


class StoresField(fields.Field[Any]):
    """`"all"`, or a list of store IDs; loaded as None for all."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **more: Any) -> list[str] | None:
        if value == "all":
            return None
        ids = fields.List(Identifier("str"), validate=validate.Length(1, 1_000)).deserialize(value)
        if len(set(ids)) != len(ids):
            raise ValidationError("A store stands twice.")
        return list(ids)

    def _serialize(self, value: Any, attr: str | None, obj: Any, **more: Any) -> Any:
        return "all" if value is None else value


#: How the OpenAPI document shows them.
STORES = {
    "description": '"all" or a list of store IDs',
    "oneOf": [
        {"const": "all"},
        {"type": "array", "items": {"type": "string", "pattern": f"^{pattern_of('str')}$"}, "maxItems": 1_000},
    ],
}


class ProgrammeIn(Strict):
    """Terms to issue cards by."""

    name = Text(longest=100, required=True)
    currency = currency_field()
    card_min_minor = whole(1, MAX_MINOR, required=True)
    card_max_minor = whole(1, MAX_MINOR, required=True)
    valid_days = whole(1, 36_500, required=True)
    link_policy = fields.String(validate=validate.OneOf([SINGLE_USE, FRESH_CODE_EACH_OPEN]), load_default=SINGLE_USE)
    hold_ttl_s = whole(1, LONGEST_HOLD_S, load_default=1_800)
    confirmed_ttl_s = whole(1, LONGEST_HOLD_S, load_default=7 * DAY_S)
    hold_max_s = whole(1, LONGEST_HOLD_S, load_default=30 * DAY_S)
    stores = StoresField(load_default=None, allow_none=False, metadata={**STORES, "default": "all"})

    @validates_schema
    def check_order(self, terms: dict[str, Any], **_: Any) -> None:
        """Limits must be in order."""
        if terms["card_min_minor"] > terms["card_max_minor"]:
            raise ValidationError("Must not be below card_min_minor.", "card_max_minor")
        for name in ("hold_ttl_s", "confirmed_ttl_s"):
            if terms[name] > terms["hold_max_s"]:
                raise ValidationError("Must not be above hold_max_s.", name)


class ProgrammeOut(Shown):
    """A programme."""

    id = fields.String()
    mode = fields.String()
    name = fields.String()
    currency = fields.String()
    card_min_minor = fields.Integer()
    card_max_minor = fields.Integer()
    valid_days = fields.Integer()
    link_policy = fields.String()
    hold_ttl_s = fields.Integer()
    confirmed_ttl_s = fields.Integer()
    hold_max_s = fields.Integer()
    stores = StoresField(metadata=STORES)
    created_at = fields.AwareDateTime()


class ProgrammePage(Shown):
    """A page of programmes."""

    items = fields.List(fields.Nested(ProgrammeOut))
    next = fields.String(allow_none=True)


class HolderIn(Strict):
    """Who the card is for."""

    email = fields.Email(required=True, validate=[validate.Length(max=254), _no_controls])
    name = Text(longest=100, load_default=None)
    locale = fields.String(
        validate=Pattern("[A-Za-z]{2,3}([-_][A-Za-z0-9]{2,8}){0,3}"),
        load_default="en-GB",
        metadata={"description": "BCP 47"},
    )


class CardIn(Strict):
    """A card to issue."""

    programme = Identifier("prg", required=True)
    amount = MoneyField(required=True)
    holder = fields.Nested(HolderIn, required=True)
    order_reference = Text(longest=200, load_default=None)
    deliver = fields.String(validate=validate.OneOf(["email", "link"]), load_default="email")
    not_before = fields.AwareDateTime(load_default=None, metadata={"description": "The letter waits until then"})
    message = Text(longest=500, lines=True, also=_no_links, load_default=None)
    metadata = Texts(
        keys=Text(longest=40),
        values=Text(longest=500, least=0),
        most=20,
        load_default=dict,
        metadata={"description": "Up to 20 of your own names and texts; nothing personal, nothing secret"},
    )


class ReissueIn(Strict):
    """How the new link reaches the holder."""

    deliver = fields.String(validate=validate.OneOf(["email", "link"]), load_default="email")


class AddressIn(Strict):
    """The corrected address."""

    email = fields.Email(required=True, validate=[validate.Length(max=254), _no_controls])


class CardQuery(PageSchema):
    """Which cards."""

    order_reference = Text(longest=200, load_default=None)
    state = fields.String(validate=validate.OneOf(["active", "spent", "lapsed"]), load_default=None)


class ReachedThroughOut(Shown):
    """The one key of the card now."""

    kind = fields.String(metadata={"enum": ["link", "code", "payment"]})
    id = fields.String()
    state = fields.String()
    until = fields.AwareDateTime()
    store_id = fields.String(allow_none=True)


class CardOut(Shown):
    """A card: never a code, a key, or an address in clear."""

    id = fields.String()
    programme = fields.String(attribute="programme_id")
    mode = fields.String()
    state = fields.String(metadata={"enum": ["active", "spent", "lapsed"]})
    balance = MoneyShown()
    issued = MoneyShown()
    expires_at = fields.AwareDateTime()
    created_at = fields.AwareDateTime()
    not_before = fields.AwareDateTime(allow_none=True)
    order_reference = fields.String(allow_none=True)
    metadata = fields.Dict()
    holder = fields.Function(
        lambda card: {"email": card.holder_email},
        metadata={"type": "object", "properties": {"email": {"type": "string"}}, "description": "masked"},
    )
    reached_through = fields.Nested(ReachedThroughOut, allow_none=True)
    letter = fields.String(allow_none=True, metadata={"description": "queued, sent or failed"})


class IssuedOut(CardOut):
    """A card with its claim link, where it was asked for: in this one answer and never again."""

    claim_link = fields.String(allow_none=True)


class CardPage(Shown):
    """A page of cards."""

    items = fields.List(fields.Nested(CardOut))
    next = fields.String(allow_none=True)


class EventOut(Shown):
    """Something that happened to a card."""

    id = fields.String()
    at = fields.AwareDateTime()
    kind = fields.String()
    actor = fields.String()
    request_id = fields.String(allow_none=True)
    payment_id = fields.String(allow_none=True)
    facts = fields.Dict()


class EventPage(Shown):
    """A page of a card's history."""

    items = fields.List(fields.Nested(EventOut))
    next = fields.String(allow_none=True)


def terms_of(body: dict[str, Any]) -> ProgrammeTerms:
    """Programme terms from a loaded body."""
    return ProgrammeTerms(**body)


def holder_of(body: dict[str, Any]) -> HolderData:
    """The holder, with the giver's message, from a loaded card body."""
    return HolderData(**body["holder"], message=body["message"])
