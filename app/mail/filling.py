"""Who fills which letter: mail knows no rooms, so each room registers how its letters are filled."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Connection

from app.mail.letter import DueLetter


@dataclass(frozen=True, slots=True)
class Filled:
    """What a letter needs to be written, for the moment of sending only; its repr shows nothing that is anybody's.

    `context` holds what the templates name: issuer_name, holder_name, message, amount, claim_url, expires_at,
    store_name, taken, refunded, link_valid_until. What a letter has no use for may be left out or None.
    """

    to_address: str = field(repr=False)
    to_name: str | None = field(repr=False)
    locale: str | None
    template: str
    context: Mapping[str, object] = field(repr=False)


class TooLate(Exception):
    """The letter's link lapsed before the letter could be sent: somebody must be told, for the holder never was."""


#: `fill(db, letter, now)` runs in the sender's transaction, draws the claim key where the letter has a link and stores
#: its hash. None: the letter is no longer wanted. May raise TooLate.
Fill = Callable[[Connection, DueLetter, datetime], Filled | None]

_fills: dict[str, Fill] = {}


def register(kind: str, fill: Fill) -> None:
    """Letters of this kind are filled by `fill` from now on."""
    _fills[kind] = fill


def fill_of(kind: str) -> Fill:
    """How letters of this kind are filled. Raises LookupError when nobody registered it: a bug in the factory."""
    try:
        return _fills[kind]
    except KeyError:
        raise LookupError(f"nobody fills letters of the kind {kind}") from None
