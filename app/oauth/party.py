"""Whose a client is: an issuer's, a store's, or that of the finance of a mode."""

from typing import Literal, Protocol

PartyKind = Literal["issuer", "store", "finance"]
PARTY_KINDS: tuple[PartyKind, ...] = ("issuer", "store", "finance")


class OfParty(Protocol):
    """What says whose a client is: exactly one of the three."""

    @property
    def mode(self) -> str: ...
    @property
    def issuer_id(self) -> str | None: ...
    @property
    def store_id(self) -> str | None: ...
    @property
    def finance(self) -> bool: ...


def party_kind_of(found: OfParty) -> PartyKind:
    """The kind of party that a client acts for."""
    return "finance" if found.finance else "store" if found.issuer_id is None else "issuer"


def party_id_of(found: OfParty) -> str:
    """The party that a client acts for. Finance has no row: of each mode there is one."""
    return f"finance_{found.mode}" if found.finance else found.issuer_id or found.store_id or ""
