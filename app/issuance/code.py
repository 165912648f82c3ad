"""The shape of a code: sixteen Crockford characters, the last one a check over GF(32)."""

import secrets

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
LENGTH = 16
RANDOM_LENGTH = LENGTH - 1

_VALUE = {character: value for value, character in enumerate(ALPHABET)}
_READ_AS = str.maketrans({"O": "0", "I": "1", "L": "1", " ": None, "-": None})
#: Text longer than this is no typed code, whatever spaces and dashes are in it.
LONGEST_TYPED = 64


def _times_alpha(value: int) -> int:
    """Multiplies by α = x in GF(2)[x] modulo x⁵+x²+1."""
    value <<= 1
    return value ^ 0b100101 if value & 32 else value


def _table() -> tuple[tuple[int, ...], ...]:
    """For each place i and value c the product αⁱ·c."""
    row = tuple(range(32))
    rows = []
    for _ in range(LENGTH):
        rows.append(row)
        row = tuple(_times_alpha(value) for value in row)
    return tuple(rows)


_WEIGHTED = _table()
#: The value v of the last place by its weighted product, to solve for the check character.
_LAST = {product: value for value, product in enumerate(_WEIGHTED[RANDOM_LENGTH])}


def check_character(body: str) -> str:
    """The sixteenth character: it makes Σ αⁱ·cᵢ = 0 for i = 0…15, so every wrong character and every swap shows."""
    return ALPHABET[_LAST[_weighted_sum(body)]]


def has_check(code: str) -> bool:
    """Whether sixteen normalised characters satisfy the check."""
    return _weighted_sum(code) == 0


def draw_code() -> str:
    """A fresh code: 75 random bits from the operating system, and the check character."""
    body = "".join(secrets.choice(ALPHABET) for _ in range(RANDOM_LENGTH))
    return body + check_character(body)


def read_code(typed: str) -> str | None:
    """What somebody typed, as sixteen capitals; None when it has a typing mistake.

    Case, spaces and dashes do not count; O is read as 0, I and L as 1. No character outside ASCII is accepted.
    """
    if len(typed) > LONGEST_TYPED or not typed.isascii():
        return None
    code = typed.upper().translate(_READ_AS)
    if len(code) != LENGTH or not all(character in _VALUE for character in code):
        return None
    return code if has_check(code) else None


def show_code(code: str) -> str:
    """Four groups of four, as people read and type it: `XXXX-XXXX-XXXX-XXXX`."""
    return "-".join(code[place : place + 4] for place in range(0, LENGTH, 4))


def _weighted_sum(characters: str) -> int:
    total = 0
    for place, character in enumerate(characters):
        total ^= _WEIGHTED[place][_VALUE[character]]
    return total
