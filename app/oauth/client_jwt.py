"""A JWT that a client signed: what it says is read with care, and believed only once its signature is verified."""

import json
import warnings
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from joserfc import jws, jwt
from joserfc.errors import JoseError, SecurityWarning

from app.oauth.client_keys import ALGORITHMS, AnyKey

MAX_LENGTH = 4096
MAX_JTI_LENGTH = 255
#: A clock of a client may be off by so much, either way.
SKEW = timedelta(seconds=15)
#: A client that means them relies on something that we do not do.
_NOT_UNDERSTOOD = frozenset({"crit", "b64"})
#: Members of the header that nobody registered are ignored (RFC 7515, section 4), a chain of certificates too.
_REGISTRY = jws.JWSRegistry(algorithms=ALGORITHMS, strict_check_header=False)
_REGISTRY.max_header_length = MAX_LENGTH

# RFC 9864 gives Ed25519 another name; until its clients know that, the old one is not worth a line in the log.
warnings.filterwarnings("ignore", "EdDSA is deprecated", SecurityWarning)


@dataclass(frozen=True, slots=True)
class ClientJwt:
    """Header and claims of a JWT by one of our algorithms, with a `jti` that can be spent; nothing of it is proven."""

    text: str
    header: Mapping[str, Any]
    claims: Mapping[str, Any]

    @property
    def algorithm(self) -> str:
        algorithm: str = self.header["alg"]
        return algorithm

    @property
    def jti(self) -> str:
        jti: str = self.claims["jti"]
        return jti

    def time(self, claim: str) -> datetime | None:
        """A NumericDate (RFC 7519, section 2); None where it is missing.

        Raises ValueError for anything else: "soon", true, NaN, 1e17.
        """
        if claim not in self.claims:
            return None
        value = self.claims[claim]
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError(f"{claim} is no number")
        try:
            return datetime.fromtimestamp(value, UTC)
        except (OverflowError, OSError) as error:
            raise ValueError(f"{claim} is no time") from error

    def is_signed_by(self, key: AnyKey) -> bool:
        """Whether this key made the signature, by the algorithm that the header names."""
        try:
            jwt.decode(self.text, key, algorithms=[self.algorithm], registry=_REGISTRY)
        except (JoseError, ValueError, RecursionError):
            return False
        return True


def read_jwt(text: str, *, typs: Collection[str]) -> ClientJwt | None:
    """What it says, where it has the shape of a JWT of one of these `typ` (in lower case); None for anything else.

    `jku`, `x5u` and the like are never followed.
    """
    if len(text) > MAX_LENGTH:
        return None
    try:
        signed = jws.extract_compact(text.encode("ascii"), registry=_REGISTRY)
        header: object = signed.headers()  # a dict, joserfc promises, but it lets any JSON value through
        claims = json.loads(signed.payload)
    except (JoseError, ValueError, TypeError, RecursionError):
        return None
    if not isinstance(header, dict) or not isinstance(claims, dict) or not is_short_text(claims.get("jti")):
        return None
    typ = header.get("typ", "jwt")
    if header.get("alg") not in ALGORITHMS or not isinstance(typ, str) or typ.lower() not in typs:
        return None
    return None if _NOT_UNDERSTOOD.intersection(header) else ClientJwt(text, header, claims)


def is_short_text(value: object) -> bool:
    """Whether it can name something: printable, and no longer than MAX_JTI_LENGTH."""
    return isinstance(value, str) and 1 <= len(value) <= MAX_JTI_LENGTH and value.isprintable()
