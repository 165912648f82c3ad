"""A gift card's code: what a shopper typed, checked before any call, and shown by nothing."""

import hmac
from typing import NoReturn

from scrip_sdk.errors import CodeMistyped

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
LENGTH = 16
#: Text longer than this is no typed code, whatever spaces and dashes are in it.
LONGEST_TYPED = 64

_READ_AS = str.maketrans({"O": "0", "I": "1", "L": "1", " ": None, "-": None})


class Code:
    """What a shopper typed, as the sixteen characters of a code. Only `reveal` shows them.

    repr, str and format reveal nothing, a copy is the object itself, and pickling it is refused, so that it reaches
    no log, session, cache or job queue by accident.
    """

    __slots__ = ("__code",)

    def __init__(self, typed: str) -> None:
        """Raises CodeMistyped: it has not the shape of a code, or its check character does not fit."""
        # Bytes too, whatever the types promise: reading them would fail in frames that show them.
        code = read_code(typed) if isinstance(typed, str) else None  # type: ignore[redundant-expr]
        del typed  # a report of the error may show the variables of this frame
        if code is None:
            raise CodeMistyped()
        self.__code = code

    def reveal(self) -> str:
        """The sixteen characters, to be sent to the service and to nobody else."""
        return self.__code

    def __repr__(self) -> str:
        return "Code(…)"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Code):
            return NotImplemented
        return hmac.compare_digest(self.__code, other.__code)

    __hash__ = None  # type: ignore[assignment]  # as a key of a dict it would stay there

    def __copy__(self) -> "Code":
        return self

    def __deepcopy__(self, memo: object) -> "Code":
        return self

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a code is never pickled: exchange it, and keep the payment's ID")


def read_code(typed: str) -> str | None:
    """What somebody typed, as sixteen capitals; None when it has a typing mistake (docs/codes.md).

    Case, spaces and dashes do not count; O is read as 0, I and L as 1. No character outside ASCII is accepted.
    """
    if len(typed) > LONGEST_TYPED or not typed.isascii():
        return None
    code = typed.upper().translate(_READ_AS)
    if len(code) != LENGTH or any(character not in ALPHABET for character in code):
        return None
    return code if _has_check(code) else None


def _has_check(code: str) -> bool:
    """Whether Σ αⁱ·cᵢ = 0 over GF(32), by Horner's rule from the last character to the first."""
    total = 0
    for character in reversed(code):
        total <<= 1
        if total & 32:
            total ^= 0b100101  # α = x modulo x⁵+x²+1
        total ^= ALPHABET.index(character)
    return total == 0
