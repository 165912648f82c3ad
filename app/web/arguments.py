"""The shape of requests: strict JSON, strict fields, and errors that point at the field that is wrong."""

import json
import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from tempfile import SpooledTemporaryFile
from typing import Any, BinaryIO, ClassVar, NoReturn

from flask import Request, request
from marshmallow import EXCLUDE, RAISE, Schema, ValidationError, fields, validate, validates_schema
from webargs.flaskparser import FlaskParser
from werkzeug.exceptions import RequestEntityTooLarge, UnsupportedMediaType

from app.errors import Busy, InvalidRequest, MalformedJson
from app.ids import is_id, pattern_of
from app.money import MAX_MINOR, Money, is_currency
from app.web.requests import MAX_BODY_BYTES

#: A number with more digits is beyond every bound here; int() would take its time, or refuse to read it at all.
MOST_DIGITS = 40
_PART_BYTES = 1024 * 1024


class InvalidShape(InvalidRequest):
    """The request is not valid."""

    def __init__(self, errors: list[dict[str, str]]) -> None:
        """`errors`: a JSON pointer and a sentence for each field that is wrong."""
        super().__init__(errors[0]["detail"], pointer=errors[0]["pointer"])
        self.facts = {"errors": errors}


class StrictParser(FlaskParser):
    """Refuses what is not JSON, and whatever field nobody asked for."""

    DEFAULT_UNKNOWN_BY_LOCATION: dict[str, str | None] = {  # noqa: RUF012  as the base class has it
        "json": RAISE,
        "query": RAISE,
        "headers": EXCLUDE,
    }

    def load_json(self, req: Request, schema: Schema) -> Any:
        """The body as an object. Raises UnsupportedMediaType, RequestEntityTooLarge, MalformedJson."""
        if req.mimetype != "application/json":
            raise UnsupportedMediaType("Send application/json.")
        return read_json(_whole_body(req))

    def load_querystring(self, req: Request, schema: Schema) -> Any:
        """The query. Raises InvalidShape for a name that stands twice: two readers might each take another."""
        if twice := [name for name, values in req.args.lists() if len(values) > 1]:
            raise InvalidShape([{"pointer": f"/{_escaped(name)}", "detail": "It stands twice."} for name in twice])
        return super().load_querystring(req, schema)

    def handle_error(self, error: ValidationError, *_: Any, **__: Any) -> NoReturn:
        """Every field that is wrong, by its pointer."""
        messages = error.messages_dict
        body = messages.get("json") or messages.get("query") or messages
        raise InvalidShape(list(_pointed(body, "")))


def read_json(raw: bytes) -> Any:
    """Strict JSON (RFC 8259): UTF-8, no NaN, no name twice, no depth that only an attack has. Raises MalformedJson."""
    try:
        return json.loads(raw.decode("utf-8"), parse_constant=_refuse, parse_int=_bounded, object_pairs_hook=_unique)
    except (ValueError, RecursionError):
        raise MalformedJson("The body must be one JSON value in UTF-8, with no name twice.") from None


def _whole_body(req: Request) -> bytes:
    """One byte more than is allowed is asked for: of a chunked body, werkzeug silently leaves off what is too much."""
    req.max_content_length = MAX_BODY_BYTES + 1
    body = req.get_data(cache=True)
    if len(body) > MAX_BODY_BYTES:
        raise RequestEntityTooLarge(f"A body has {MAX_BODY_BYTES} bytes at most.")
    return body


@contextmanager
def body_file(*, most_bytes: int) -> Iterator[BinaryIO]:
    """The body of this request as a file, however large; for the routes of `requests.allow_large`.

    Raises RequestEntityTooLarge; Busy: there is no room on the disk.
    """
    request.max_content_length = most_bytes + 1
    length = 0
    with SpooledTemporaryFile(max_size=MAX_BODY_BYTES) as file:
        while part := request.stream.read(_PART_BYTES):
            length += len(part)
            if length > most_bytes:
                raise RequestEntityTooLarge(f"A body has {most_bytes} bytes at most.")
            try:
                file.write(part)
            except OSError:
                raise Busy(retry_after_s=5) from None
        yield file  # type: ignore[misc]


def body_json() -> Any:
    """The body of this request as it was parsed for its shape."""
    return read_json(request.get_data(cache=True))


class Strict(Schema):
    """The shape of a request: it refuses unknown fields."""

    #: Of these fields one is given and no other; where none is, the first of them is missing.
    exactly_one: ClassVar[tuple[str, ...]] = ()

    class Meta:
        unknown = RAISE

    @validates_schema(pass_original=True, skip_on_field_errors=False)
    def _check_exactly_one(self, _loaded: object, original: object, **_: Any) -> None:
        """By what was sent: a field that is given and wrong is given."""
        if not self.exactly_one or not isinstance(original, Mapping):
            return
        given = [name for name in self.exactly_one if name in original]
        if not given:
            raise ValidationError("Missing data for required field.", self.exactly_one[0])
        if len(given) > 1:
            raise ValidationError(f"Give {' or '.join(self.exactly_one)}, not both.", given[-1])


class Shown(Schema):
    """The shape of an answer. Readers must take further fields: later releases add some."""

    class Meta:
        unknown = EXCLUDE


class Pattern(validate.Regexp):
    """A pattern of the whole text, which OpenAPI's readers (ECMA-262) take for the same; they know no \\Z."""

    def __init__(self, pattern: str) -> None:
        super().__init__(f"^{pattern}$")
        self._whole = re.compile(pattern)

    def __call__(self, value: Any) -> Any:
        if self._whole.fullmatch(value) is None:
            raise ValidationError(self._format_error(value))
        return value


class Text(fields.String):
    """Text that people wrote: no control or unpaired surrogate characters; `lines` allows new lines."""

    def __init__(
        self,
        *,
        longest: int,
        least: int = 1,
        lines: bool = False,
        also: Callable[[str], None] | None = None,
        **more: Any,
    ) -> None:
        length = validate.Length(min=least, max=longest)
        super().__init__(validate=[length, also] if also else length, **more)
        self.lines = lines

    def _deserialize(self, value: Any, attr: str | None, data: Any, **more: Any) -> str:
        text = super()._deserialize(value, attr, data, **more)
        allowed = "\n" if self.lines else ""
        if any(unicodedata.category(character) in ("Cc", "Cs") and character not in allowed for character in text):
            raise ValidationError("Control characters are not allowed.")
        return text


class Texts(fields.Dict):
    """At most so many names and texts of the caller's own. An error points at the name, whatever it is about."""

    def __init__(self, *, most: int, metadata: Mapping[str, Any], **more: Any) -> None:
        super().__init__(metadata={"maxProperties": most, **metadata}, **more)
        self.most = most

    def _deserialize(self, value: Any, attr: str | None, data: Any, **more: Any) -> Any:
        try:
            texts = super()._deserialize(value, attr, data, **more)  # type: ignore[no-untyped-call]
        except ValidationError as error:
            if not isinstance(error.messages, dict):
                raise
            flat = {name: [text for texts in of.values() for text in texts] for name, of in error.messages.items()}
            raise ValidationError(flat) from None
        if len(texts) > self.most:
            raise ValidationError(f"At most {self.most} of them.")
        return texts


class Flag(fields.Boolean):
    """true or false. Not 0 and 1, which Python takes for the same."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **more: Any) -> bool:
        if not isinstance(value, bool):
            raise self.make_error("invalid", input=value)
        return value


class Identifier(fields.String):
    """An identifier of one kind."""

    def __init__(self, prefix: str, **more: Any) -> None:
        super().__init__(metadata={"pattern": f"^{pattern_of(prefix)}$"}, **more)
        self.prefix = prefix

    def _deserialize(self, value: Any, attr: str | None, data: Any, **more: Any) -> str:
        text = super()._deserialize(value, attr, data, **more)
        if not is_id(text, self.prefix):
            raise ValidationError(f"Not an identifier that begins with {self.prefix}_.")
        return text


class MoneyField(fields.Nested):
    """`{"amount_minor": 3000, "currency": "GBP"}`, loaded as Money above zero."""

    def __init__(self, **more: Any) -> None:
        super().__init__(PositiveMoneySchema, **more)

    def _deserialize(self, value: Any, attr: str | None, data: Any, partial: Any = None, **more: Any) -> Money:
        loaded = super()._deserialize(value, attr, data, partial=partial, **more)
        return Money(loaded["amount_minor"], loaded["currency"])


class MoneyShown(fields.Nested):
    """Money in an answer; it may be nothing."""

    def __init__(self, **more: Any) -> None:
        super().__init__(MoneySchema, **more)


def currency_field() -> fields.String:
    """An ISO 4217 code in capitals that cards can be issued in."""
    return fields.String(
        required=True,
        validate=[Pattern("[A-Z]{3}"), _known_currency],
        metadata={"description": "ISO 4217 code", "example": "GBP"},
    )


def whole(least: int, most: int, **more: Any) -> fields.Integer:
    """A whole number within bounds; neither 3.0 nor "3" nor true is one."""
    return fields.Integer(strict=True, validate=validate.Range(min=least, max=most), **more)


def _known_currency(code: str) -> None:
    if not is_currency(code):
        raise ValidationError("Not a currency of ISO 4217.")


class MoneySchema(Shown):
    """A whole number of minor units of a currency."""

    amount_minor = fields.Integer(required=True, metadata={"minimum": 0, "example": 3000})
    currency = fields.String(required=True, metadata={"description": "ISO 4217 code", "example": "GBP"})


class SignedMoney(Shown):
    """A whole number of minor units of a currency, which may be below zero."""

    amount_minor = fields.Integer(required=True, metadata={"example": -3000})
    currency = fields.String(required=True, metadata={"description": "ISO 4217 code", "example": "GBP"})


class PositiveMoneySchema(Strict):
    """A whole number of minor units of a currency, above zero."""

    amount_minor = whole(1, MAX_MINOR, required=True, metadata={"example": 3000})
    currency = currency_field()


class QueryWhole(fields.Integer):
    """A whole number in a query string, where everything is text: ASCII digits and nothing else."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **more: Any) -> int:
        if not re.fullmatch(r"[0-9]{1,9}", value):
            raise self.make_error("invalid", input=value)
        return super()._deserialize(value, attr, data, **more)


class PageSchema(Strict):
    """Where in a list, and how much of it."""

    limit = QueryWhole(validate=validate.Range(min=1, max=100), load_default=50)
    after = fields.String(validate=Pattern("[a-z]+_[0-7][0-9a-z]{25}"), load_default=None)


def _pointed(messages: Any, pointer: str) -> Iterator[dict[str, str]]:
    if isinstance(messages, Mapping):
        for name, inner in messages.items():
            yield from _pointed(inner, pointer if name == "_schema" else f"{pointer}/{_escaped(name)}")
    else:
        for message in messages if isinstance(messages, list) else [messages]:
            yield {"pointer": pointer, "detail": str(message)}


def _escaped(name: object) -> str:
    """A reference token of a JSON pointer (RFC 6901), shortened: the name may be the caller's."""
    return str(name)[:100].replace("~", "~0").replace("/", "~1")


def _bounded(digits: str) -> int | float:
    """What is too long for a whole number here becomes a float, which no field takes: so the field is named."""
    return int(digits) if len(digits) <= MOST_DIGITS else float(digits)


def _refuse(constant: str) -> NoReturn:
    raise ValueError(constant)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands twice")
    return found
