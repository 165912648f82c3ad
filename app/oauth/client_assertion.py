"""`private_key_jwt`: a client signs who it is, for us alone and for once (RFC 7523, section 3)."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from app.config import settings
from app.db.transaction import transaction
from app.ids import is_id
from app.oauth.client_jwt import SKEW, ClientJwt, read_jwt
from app.oauth.client_keys import find_key
from app.oauth.clients import Client
from app.oauth.keyed_clients import find_keyed_client
from app.oauth.spent import spend

TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
#: No assertion may be good for longer.
LONGEST_LIFE = timedelta(hours=1)
#: Absent or one of these. An access token of ours, or a request object, is signed too, and says something else.
TYPS = frozenset({"jwt", "application/jwt", "client-authentication+jwt", "application/client-authentication+jwt"})


def client_of_assertion(text: str, *, named: str | None = None) -> Client | None:
    """The client that signed this assertion, which is spent by it in every process at once; or None.

    `named` is the client's ID where the request says that too. What is wrong is not told: an unknown or disabled client
    or one without keys, other keys, another audience than our issuer identifier (one text, no list), times that are
    over or too far off, a repeat. Raises Busy.
    """
    said = read_jwt(text, typs=TYPS)
    if said is None or not _is_for_us(said) or named not in (None, said.claims["sub"]):
        return None
    with transaction() as db:
        found = find_keyed_client(db, said.claims["sub"])
        if found is None:
            return None
        client, jwks, now = found
        expires_at = _end_of(said, now)
        if expires_at is None or not _is_signed(said, jwks):
            return None
        return client if spend(db, client.client_id, said.jti, until=expires_at) else None


def _is_for_us(said: ClientJwt) -> bool:
    """By a client, about itself, for our issuer identifier."""
    client_id, kid = said.claims.get("sub"), said.header.get("kid")
    if not isinstance(client_id, str) or not is_id(client_id, "cli") or said.claims.get("iss") != client_id:
        return False
    return said.claims.get("aud") == settings().public_url and (kid is None or isinstance(kid, str))


def _end_of(said: ClientJwt, now: datetime) -> datetime | None:
    """When it ends, where its time is now."""
    try:
        expires_at, starts = said.time("exp"), [said.time("iat"), said.time("nbf")]
    except ValueError:
        return None
    if expires_at is None or any(start > now + SKEW for start in starts if start is not None):
        return None
    return expires_at if now - SKEW < expires_at <= now + LONGEST_LIFE + SKEW else None


def _is_signed(said: ClientJwt, jwks: Mapping[str, Any]) -> bool:
    key = find_key(jwks, kid=said.header.get("kid"), algorithm=said.algorithm)
    return key is not None and said.is_signed_by(key)
