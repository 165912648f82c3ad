"""Which scopes exist, whom they are for, and how long an access token with them lives."""

from collections.abc import Collection

PARTY_SCOPES = {
    "issuer": ("issue",),
    "store": ("exchange", "settle", "refund", "bill"),
}
ALL_SCOPES = tuple(scope for scopes in PARTY_SCOPES.values() for scope in scopes)

ACCESS_TOKEN_TTL_S = 300
#: Scopes that give money away: a stolen access token that holds one is worth little for long.
SHORT_SCOPES = frozenset({"refund"})
SHORT_TTL_S = 120


def ttl_of(scopes: Collection[str]) -> int:
    """The lifetime, in seconds, of an access token with these scopes: that of its most dangerous one."""
    return SHORT_TTL_S if SHORT_SCOPES.intersection(scopes) else ACCESS_TOKEN_TTL_S


def foreign_scopes(scopes: Collection[str], *, party_kind: str) -> list[str]:
    """Those of `scopes` which a client of this kind of party cannot have."""
    return sorted(set(scopes) - set(PARTY_SCOPES[party_kind]))


def in_order(scopes: Collection[str]) -> tuple[str, ...]:
    """The scopes without repeats, in the order in which this module names them."""
    return tuple(scope for scope in ALL_SCOPES if scope in scopes)
