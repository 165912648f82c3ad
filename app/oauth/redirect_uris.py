"""Where a store's shoppers may be sent back to: registered in full, and compared as texts (RFC 9700, section 4.1.3)."""

import re
from collections.abc import Sequence
from urllib.parse import SplitResult, parse_qsl, urlsplit

from app.environment import is_loopback
from app.errors import InvalidRequest

MOST_REDIRECT_URIS = 10
LONGEST = 512
#: What we add to the query ourselves: where it stood there before, nobody could say which of the two counts.
OURS = frozenset({"code", "state", "iss", "error", "error_description", "error_uri", "response"})

#: Written in one way only, so that every reader takes it for the same address: no user, no fragment, no backslash, no
#: quote, nothing that is not ASCII, a host in small letters.
_SHAPE = re.compile(
    r"https?://([a-z0-9.-]+|\[[0-9a-f:]+\])(:[1-9][0-9]{0,4})?"
    r"/[A-Za-z0-9_.~!$&'()*+,;=:@%/-]*"
    r"(\?[A-Za-z0-9_.~!$&'()*+,;=:@%/?-]+)?"
)
_DOTS = re.compile(r"/(\.|%2e){1,2}(/|$)", re.IGNORECASE)


def check_redirect_uris(redirect_uris: Sequence[str], *, mode: str, party_kind: str) -> None:
    """Raises InvalidRequest, with a pointer: for an issuer's client, too many, one that stands twice, or one that is no
    plain absolute https address. A client in mode test may have http to this machine, by its port too."""
    if redirect_uris and party_kind != "store":
        raise InvalidRequest("Only a store's client sends shoppers back.", pointer="/redirect_uris")
    if len(redirect_uris) > MOST_REDIRECT_URIS:
        raise InvalidRequest(f"At most {MOST_REDIRECT_URIS} of them.", pointer="/redirect_uris")
    for place, uri in enumerate(redirect_uris):
        if (wrong := _fault_of(uri, mode)) or uri in redirect_uris[:place]:
            raise InvalidRequest(wrong or "It stands twice.", pointer=f"/redirect_uris/{place}")


def origin_of(redirect_uri: str) -> str:
    """Scheme, host and port of a registered address."""
    return "/".join(redirect_uri.split("/", 3)[:3])


def _fault_of(uri: str, mode: str) -> str | None:
    parts = _parts_of(uri)
    if parts is None:
        return "A redirect URI is a whole https address with a path, without user and fragment, in plain ASCII."
    if _DOTS.search(parts.path):
        return "A path has no dots to climb by."
    if parts.scheme == "http" and not (mode == "test" and is_loopback(parts.hostname or "")):
        return "A redirect URI is https; http is for clients in mode test, to this machine."
    if OURS.intersection(name for name, _ in parse_qsl(parts.query, keep_blank_values=True)):
        return f"Its query must leave these names to us: {', '.join(sorted(OURS))}."
    return None


def _parts_of(uri: str) -> SplitResult | None:
    if len(uri) > LONGEST or not _SHAPE.fullmatch(uri):
        return None
    try:
        parts = urlsplit(uri)
        return parts if parts.port != 0 else None
    except ValueError:  # no such port, or no such IPv6 address
        return None
