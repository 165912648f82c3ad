"""The shape of requests at the fake service: as strict as the real one's, and errors point at the same fields."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from scrip_sdk.money import MINOR_DIGITS, Money
from scrip_sdk.testing.refusals import Refused

MAX_BODY_BYTES = 64 * 1024
MAX_MINOR = 10**12
LONGEST_HOLD_S = 366 * 86_400

#: Gives the value as the verb wants it, or raises Wrong.
Field = Callable[[Any], Any]


class Wrong(Exception):
    """A value is not what its field takes; `inner` has the pointers to what is wrong inside it."""

    def __init__(self, detail: str, inner: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.pointed = dict(inner) if inner else {"": detail}


def read_body(content_type: str, raw: bytes, shape: Mapping[str, tuple[Field, bool]]) -> tuple[dict[str, Any], Any]:
    """The body as fields, missing ones as None, and the JSON that it was.

    Raises Refused `unsupported-media-type`, `too-large`, `malformed-json`, `invalid-request`.
    """
    if content_type.partition(";")[0].strip().lower() != "application/json":
        raise Refused("unsupported-media-type", "Send application/json.")
    if len(raw) > MAX_BODY_BYTES:
        raise Refused("too-large", "The data value transmitted exceeds the capacity limit.")
    body = read_json(raw)
    wrong: dict[str, str] = {}
    found = _read_object(body, shape, wrong)
    if isinstance(body, dict) and "code" in shape:
        given = [name for name in ("code", "code_token") if name in body]
        if len(given) != 1:
            wrong[f"/{given[-1]}" if given else "/code"] = "Give code or code_token, and not both."
    if wrong:
        errors = [{"pointer": pointer, "detail": detail} for pointer, detail in wrong.items()]
        raise Refused("invalid-request", errors[0]["detail"], errors=errors)
    return found, body


def read_json(raw: bytes) -> Any:
    """Strict JSON: UTF-8, no NaN, no name twice. Raises Refused `malformed-json`."""
    try:
        return json.loads(raw.decode("utf-8"), parse_constant=_refuse, object_pairs_hook=_unique)
    except (ValueError, RecursionError):
        raise Refused("malformed-json", "The body must be one JSON value in UTF-8, with no name twice.") from None


def _read_object(body: Any, shape: Mapping[str, tuple[Field, bool]], wrong: dict[str, str]) -> dict[str, Any]:
    if not isinstance(body, dict):
        wrong[""] = "Invalid input type."
        return {}
    found: dict[str, Any] = {}
    for name, (read, is_required) in shape.items():
        found[name] = None
        if name not in body:
            if is_required:
                wrong[f"/{name}"] = "Missing data for required field."
            continue
        if body[name] is None and not is_required and read is not flag:
            if name in _NULL_IS_WRONG:
                wrong[f"/{name}"] = "Field may not be null."
            continue
        try:
            found[name] = read(body[name])
        except Wrong as error:
            wrong.update({f"/{name}{pointer}": detail for pointer, detail in error.pointed.items()})
    wrong.update({f"/{name}": "Unknown field." for name in body if name not in shape})
    return found


#: Optional, but where they are given they say something.
_NULL_IS_WRONG = ("code", "code_token", "address_prefix", "final")


def money(value: Any) -> Money:
    """`{"amount_minor": 3000, "currency": "GBP"}`, above zero."""
    found = _object(value, {"amount_minor": (whole(1, MAX_MINOR), True), "currency": (currency, True)})
    return Money(found["amount_minor"], found["currency"])


def shopper(value: Any) -> dict[str, Any]:
    """Which shopper of the store."""
    prefix = pattern("[0-9a-fA-F:.]{2,43}/[0-9]{1,3}")
    return _object(value, {"key_hash": (pattern("[!-~]{8,128}"), True), "address_prefix": (prefix, False)})


def currency(value: Any) -> str:
    """An ISO 4217 code in capitals, of a currency that has minor units."""
    code = pattern("[A-Z]{3}")(value)
    if code not in MINOR_DIGITS:
        raise Wrong("Not a currency of ISO 4217.")
    return str(code)


def flag(value: Any) -> bool:
    """true or false."""
    if not isinstance(value, bool):
        raise Wrong("Not a valid boolean.")
    return value


def whole(least: int, most: int) -> Field:
    """A whole number within bounds; neither 3.0 nor "3" nor true is one."""

    def read(value: Any) -> int:
        if type(value) is not int:
            raise Wrong("Not a valid integer.")
        if not least <= value <= most:
            raise Wrong(f"Must be greater than or equal to {least} and less than or equal to {most}.")
        return int(value)

    return read


def text(longest: int) -> Field:
    """Text that people wrote, without control characters."""

    def read(value: Any) -> str:
        if not isinstance(value, str):
            raise Wrong("Not a valid string.")
        if not 1 <= len(value) <= longest:
            raise Wrong(f"Length must be between 1 and {longest}.")
        if any(unicodedata.category(character) in ("Cc", "Cs") for character in value):
            raise Wrong("Control characters are not allowed.")
        return value

    return read


def pattern(regular: str) -> Field:
    """Text that matches as a whole."""
    compiled = re.compile(regular)

    def read(value: Any) -> str:
        if not isinstance(value, str):
            raise Wrong("Not a valid string.")
        if not compiled.fullmatch(value):
            raise Wrong("String does not match expected pattern.")
        return value

    return read


def typed(value: Any) -> str:
    """A code as it was typed."""
    if not isinstance(value, str):
        raise Wrong("Not a valid string.")
    if not 1 <= len(value) <= 100:
        raise Wrong("Length must be between 1 and 100.")
    return value


def _object(value: Any, shape: Mapping[str, tuple[Field, bool]]) -> dict[str, Any]:
    inner: dict[str, str] = {}
    found = _read_object(value, shape, inner)
    if inner:
        raise Wrong("Not valid.", inner)
    return found


def _refuse(constant: str) -> NoReturn:
    raise ValueError(constant)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands twice")
    return found


_HOLD = whole(1, LONGEST_HOLD_S)
#: By verb: each field, how it is read, and whether it must be given.
BODIES: Mapping[str, Mapping[str, tuple[Field, bool]]] = {
    "exchange": {
        "code": (typed, False),
        "code_token": (pattern("ct_[0-9A-Za-z_-]{43}"), False),
        "order_reference": (text(200), True),
        "shopper": (shopper, False),
        "amount": (money, False),
        "hold_ttl_s": (_HOLD, False),
    },
    "confirm": {"order_reference": (text(200), True), "amount": (money, False)},
    "settle": {"amount": (money, True), "final": (flag, False), "order_reference": (text(200), False)},
    "void": {},
    "extend": {"hold_ttl_s": (_HOLD, True)},
    "refund": {"amount": (money, True), "reason": (text(500), False)},
    "code_token": {
        "code": (typed, True),
        "order_reference": (text(200), True),
        "amount": (money, True),
        "shopper_key": (pattern("[!-~]{8,128}"), False),
        "nonce": (pattern("[A-Za-z0-9_-]{0,64}"), False),
        "captcha": (text(10_000), False),
    },
}
