"""Which scopes exist, whom they are for, and how long an access token with them lives."""

from collections.abc import Collection

PARTY_SCOPES = {
    "issuer": ("issue", "statement", "guard.read"),
    "store": ("exchange", "settle", "refund", "bill", "guard.read"),
    "finance": ("finance.read", "finance.work"),
}
#: A client of any kind may hold these besides; it has them only when they are named.
SELF_SCOPES = ("introspect", "client.manage")
ALL_SCOPES = (
    "issue",
    "exchange",
    "settle",
    "refund",
    "bill",
    "statement",
    "guard.read",
    "finance.read",
    "finance.work",
    *SELF_SCOPES,
)

ACCESS_TOKEN_TTL_S = 300
#: Scopes that a client with a secret is given only when an operator insists: who issues cards, or decides about
#: stores' bills, should hold a key.
KEYED_SCOPES = frozenset({"issue", "finance.read", "finance.work"})
#: Scopes that give money away: who asks for one by name gets an access token that dies sooner.
SHORT_SCOPES = frozenset({"refund"})
SHORT_TTL_S = 120


def ttl_s(scopes: Collection[str], *, named: bool) -> int:
    """The lifetime, in seconds, of an access token with these scopes.

    A request that names its scopes gets the time of the most dangerous one; one that names none, as plain plugins do,
    gets the ordinary time.
    """
    return SHORT_TTL_S if named and SHORT_SCOPES.intersection(scopes) else ACCESS_TOKEN_TTL_S


def foreign_scopes(scopes: Collection[str], *, party_kind: str) -> list[str]:
    """Those of `scopes` which a client of this kind of party cannot have."""
    return sorted(set(scopes) - set(PARTY_SCOPES[party_kind]) - set(SELF_SCOPES))


def in_order(scopes: Collection[str]) -> tuple[str, ...]:
    """The known ones of `scopes` without repeats, in the order in which this module names them."""
    return tuple(scope for scope in ALL_SCOPES if scope in scopes)


def granted_scopes(asked: str | None, *, held: Collection[str]) -> tuple[str, ...] | None:
    """The scopes for a request that asked for `asked` (RFC 6749, section 3.3), by a client that holds `held`.

    None asked for means all that are held. Returns None, a refusal, when anything asked for is not held: a client that
    is given less than it asked for finds out when money is already under way.
    """
    wanted = tuple(held) if asked is None else tuple(asked.split(" "))
    return in_order(wanted) if set(wanted) <= set(held) else None
