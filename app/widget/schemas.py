"""Wire shapes between the frame and us."""

from marshmallow import fields, validate

from app.web.arguments import MoneyField, Pattern, Strict, Text


class CodeTokenIn(Strict):
    """What the shopper typed, what the frame showed beside it, and where a captcha was asked, of which frame, its
    solution."""

    code = fields.String(required=True, validate=validate.Length(1, 100), load_only=True)
    order_reference = Text(longest=200, required=True)
    amount = MoneyField(required=True)
    nonce = fields.String(validate=Pattern("[A-Za-z0-9_-]{1,64}"), load_default="")
    captcha = fields.String(load_default=None)
    shopper_key = fields.String(validate=Pattern("[!-~]{8,128}"), load_default=None)
