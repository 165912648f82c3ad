"""Identifiers: a prefix that says what it names, and a UUIDv7 that sorts by time and cannot be guessed."""

import re
import secrets
from typing import NewType

from app import clock

IssuerId = NewType("IssuerId", str)
ProgrammeId = NewType("ProgrammeId", str)
CardId = NewType("CardId", str)
LinkId = NewType("LinkId", str)
CodeId = NewType("CodeId", str)
StoreId = NewType("StoreId", str)
PaymentId = NewType("PaymentId", str)
SecretId = NewType("SecretId", str)

ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
PATTERN = re.compile(r"[a-z]+_[0-7][0-9a-z]{25}")


def new_id(prefix: str) -> str:
    """A fresh identifier `prefix_` and 26 lower-case Crockford characters (RFC 9562, section 5.7, UUIDv7).

    The first 48 bits are Unix milliseconds, by the database's clock on every machine, so that rows sort and index by
    age; 74 bits are random.
    """
    value = int(clock.here_s() * 1_000) << 80
    value |= 0x7 << 76 | secrets.randbits(12) << 64
    value |= 0b10 << 62 | secrets.randbits(62)
    return f"{prefix}_{''.join(ALPHABET[value >> shift & 31] for shift in range(125, -1, -5))}"


def pattern_of(prefix: str) -> str:
    """The regular expression of identifiers with this prefix, as `new_id` writes them."""
    return f"{prefix}_[0-7][0-9a-hjkmnp-tv-z]{{25}}"


def is_id(value: str, prefix: str) -> bool:
    """Whether `value` has the shape of an identifier with this prefix."""
    return value.startswith(prefix + "_") and PATTERN.fullmatch(value) is not None
