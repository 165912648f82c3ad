"""Wire shapes of alarms."""

from marshmallow import fields, validate

from app.guard.alarm_rules import BY_NAME
from app.web.arguments import PageSchema, Shown


class AlarmQuery(PageSchema):
    """Which alarms."""

    state = fields.String(validate=validate.OneOf(["open", "ended"]), load_default=None)


class AlarmOut(Shown):
    """Something unusual, from the first look that found it to the first that no longer did."""

    id = fields.String()
    mode = fields.String()
    rule = fields.String(metadata={"examples": list(BY_NAME)})
    group = fields.Function(
        lambda alarm: {"kind": alarm.group_kind, "id": alarm.group_id},
        metadata={
            "type": "object",
            "properties": {"kind": {"type": ["string", "null"]}, "id": {"type": "string"}},
            "description": "the store, the issuer or the card that it is about",
        },
    )
    currency = fields.String(allow_none=True, metadata={"description": "of figures that are amounts"})
    state = fields.String(metadata={"enum": ["open", "ended"]})
    first_at = fields.AwareDateTime()
    last_at = fields.AwareDateTime()
    ended_at = fields.AwareDateTime(allow_none=True)
    acknowledged_at = fields.AwareDateTime(
        allow_none=True, metadata={"description": "when an operator took it in hand"}
    )
    figure = fields.Integer(metadata={"description": "the last one: a count, or minor units of the currency"})
    peak = fields.Integer()
    threshold = fields.Integer()
    what = fields.String()
    why = fields.String()
    advice = fields.String()


class AlarmPage(Shown):
    """A page of alarms."""

    items = fields.List(fields.Nested(AlarmOut))
    next = fields.String(allow_none=True)
