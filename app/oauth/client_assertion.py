"""`private_key_jwt`: a client signs who it is, for us alone and for once (RFC 7523, section 3)."""

import hashlib
import json
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from joserfc import jws, jwt
from joserfc.errors import JoseError, SecurityWarning
from sqlalchemy import Connection, delete, literal_column, select
from sqlalchemy.dialects.postgresql import insert

from app import clock
from app.config import settings
from app.db.transaction import transaction
from app.ids import is_id
from app.oauth.client_keys import ALGORITHMS, find_key
from app.oauth.clients import Client, find_keyed_client
from app.oauth.models import SpentAssertion

TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
MAX_LENGTH = 4096
#: No assertion may be good for longer, and a clock of a client may be off by so much, either way.
LONGEST_LIFE = timedelta(hours=1)
SKEW = timedelta(seconds=15)
MAX_JTI_LENGTH = 255
#: Absent or one of these. An access token of ours, or a request object, is signed too, and says something else.
TYPS = frozenset({"jwt", "application/jwt", "client-authentication+jwt", "application/client-authentication+jwt"})
#: A client that means them relies on something that we do not do.
_NOT_UNDERSTOOD = frozenset({"crit", "b64"})
#: So long one is kept after its end: longer than any repeat can be under way, or a clock be set back.
KEPT_AFTER = timedelta(hours=1)
FORGET_BATCH = 1_000
#: Members of the header that nobody registered are ignored (RFC 7515, section 4), a chain of certificates too.
_REGISTRY = jws.JWSRegistry(algorithms=ALGORITHMS, strict_check_header=False)
_REGISTRY.max_header_length = MAX_LENGTH

# RFC 9864 gives Ed25519 another name; until its clients know that, the old one is not worth a line in the log.
warnings.filterwarnings("ignore", "EdDSA is deprecated", SecurityWarning)


@dataclass(frozen=True, slots=True)
class _Assertion:
    """What an assertion says of itself, believed only once its signature is verified."""

    text: str
    client_id: str
    jti: str
    kid: str | None
    algorithm: str
    expires_at: datetime
    not_before: datetime | None


def client_of_assertion(text: str, *, named: str | None = None) -> Client | None:
    """The client that signed this assertion, which is spent by it in every process at once; or None.

    `named` is the client's ID where the request says that too. What is wrong is not told: an unknown or disabled client
    or one with a secret, other keys, another audience than our issuer identifier (one text, no list), times that are
    over or too far off, a repeat. Raises Busy.
    """
    said = _read(text)
    if said is None or not is_id(said.client_id, "cli") or named not in (None, said.client_id):
        return None
    with transaction() as db:
        found = find_keyed_client(db, said.client_id)
        if found is None:
            return None
        client, jwks, now = found
        is_good = _is_timely(said, now) and _is_signed(said, jwks) and _spend(db, said)
        return client if is_good else None


def forget_spent_assertions() -> int:
    """Drops a batch of those that ended long ago, which nobody can repeat; returns how many. Raises Busy."""
    with transaction() as db:
        over = select(SpentAssertion.hash).where(SpentAssertion.expires_at < clock.now(db) - KEPT_AFTER)
        return db.execute(delete(SpentAssertion).where(SpentAssertion.hash.in_(over.limit(FORGET_BATCH)))).rowcount


def _read(text: str) -> _Assertion | None:
    """What it says, where that has the shape of an assertion. Every name but those below is ignored."""
    if len(text) > MAX_LENGTH:
        return None
    try:
        signed = jws.extract_compact(text.encode("ascii"), registry=_REGISTRY)
        header, claims = signed.headers(), json.loads(signed.payload)
    except (JoseError, ValueError, TypeError, RecursionError):
        return None
    if not isinstance(claims, dict) or not _has_a_good_header(header):
        return None
    client_id, jti, aud = claims.get("sub"), claims.get("jti"), claims.get("aud")
    if not isinstance(client_id, str) or claims.get("iss") != client_id or aud != settings().public_url:
        return None
    if not isinstance(jti, str) or not 1 <= len(jti) <= MAX_JTI_LENGTH or not jti.isprintable():
        return None
    try:
        times = {name: _time(claims[name]) for name in ("exp", "iat", "nbf") if name in claims}
    except (TypeError, ValueError, OverflowError, OSError):
        return None
    if "exp" not in times:
        return None
    starts = [times[name] for name in ("iat", "nbf") if name in times]
    return _Assertion(text, client_id, jti, header.get("kid"), header["alg"], times["exp"], max(starts, default=None))


def _has_a_good_header(header: object) -> bool:
    """`jwk`, `jku`, `x5u` and the like are never read: keys are those that were registered."""
    if not isinstance(header, dict):
        return False
    kid, typ = header.get("kid"), header.get("typ", "jwt")
    return (
        header.get("alg") in ALGORITHMS
        and (kid is None or isinstance(kid, str))
        and isinstance(typ, str)
        and typ.lower() in TYPS
        and not _NOT_UNDERSTOOD.intersection(header)
    )


def _time(value: object) -> datetime:
    """A NumericDate (RFC 7519, section 2). Raises TypeError, ValueError, OverflowError, OSError: "soon", NaN, 1e17."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError("not a number")
    return datetime.fromtimestamp(value, UTC)


def _is_timely(said: _Assertion, now: datetime) -> bool:
    if said.not_before is not None and said.not_before > now + SKEW:
        return False
    return now - SKEW < said.expires_at <= now + LONGEST_LIFE + SKEW


def _is_signed(said: _Assertion, jwks: Mapping[str, Any]) -> bool:
    key = find_key(jwks, kid=said.kid, algorithm=said.algorithm)
    if key is None:
        return False
    try:
        jwt.decode(said.text, key, algorithms=[said.algorithm], registry=_REGISTRY)
    except (JoseError, ValueError, RecursionError):
        return False
    return True


def _spend(db: Connection, said: _Assertion) -> bool:
    """Of many at once, in whatever processes, one inserts the row. It stays for as long as the assertion is good."""
    spent = insert(SpentAssertion).values(
        hash=hashlib.sha256(f"{said.client_id}\0{said.jti}".encode()).digest(), expires_at=said.expires_at
    )
    return db.execute(spent.on_conflict_do_nothing().returning(literal_column("1"))).first() is not None
