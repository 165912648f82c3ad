"""Access tokens (RFC 9068): what we say in one, and what one must say to be believed."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

from joserfc import jws, jwt
from joserfc.errors import JoseError

from app.config import settings
from app.db.time import current_time
from app.errors import InsufficientScope, InvalidAccessToken
from app.ids import IssuerId, PaymentId, StoreId, is_id, new_id
from app.oauth import keys
from app.oauth.authorization_details import claimed_details
from app.oauth.clients import Client
from app.oauth.key_ring import ALGORITHM
from app.oauth.party import PARTY_KINDS, PartyKind
from app.oauth.refused import is_refused
from app.oauth.scopes import ACCESS_TOKEN_TTL_S
from app.oauth.sender import Confirmation, check_sender, is_confirmation

TYP = "at+jwt"
#: RFC 9068, section 4, lets a sender write the media type in full.
TYPS = frozenset({TYP, f"application/{TYP}"})
#: So far in the future may `iat` lie: a machine knows the database's time nearly, not exactly. `exp` is never
#: stretched.
SKEW_S = 15
MAX_LENGTH = 4096
#: How many good tokens a process remembers, so that it verifies each signature once.
REMEMBERED = 1024

Mode = Literal["live", "test"]


@dataclass(frozen=True, slots=True)
class Caller:
    """Who is calling: a client, and the party on whose behalf and in whose mode it acts.

    `tier`: of the client, by how it says who it is. `holds_key`: the access token is bound to a key, and the request
    has proven to hold that.
    `payment_id`: the one payment that its access token is good for, where a holder approved it at our page.
    """

    client_id: str
    party_id: str
    party_kind: PartyKind
    mode: Mode
    scopes: frozenset[str]
    tier: str = "basic"
    holds_key: bool = False
    payment_id: PaymentId | None = None

    @property
    def issuer_id(self) -> IssuerId:
        """The issuer that calls. Raises InsufficientScope for any other party, whatever its scopes."""
        if self.party_kind != "issuer":
            raise InsufficientScope
        return IssuerId(self.party_id)

    @property
    def store_id(self) -> StoreId:
        """The store that calls. Raises InsufficientScope for any other party, whatever its scopes."""
        if self.party_kind != "store":
            raise InsufficientScope
        return StoreId(self.party_id)

    @property
    def finance_mode(self) -> Mode:
        """The mode whose finance calls. Raises InsufficientScope for any other party, whatever its scopes."""
        if self.party_kind != "finance":
            raise InsufficientScope
        return self.mode


def make_access_token(
    client: Client,
    scopes: Collection[str],
    *,
    lifetime_s: int = ACCESS_TOKEN_TTL_S,
    confirmation: Confirmation | None = None,
    payment_id: PaymentId | None = None,
) -> str:
    """An access token with these scopes, for `lifetime_s` seconds, and where one is named, for this payment alone.

    It says all that a call needs to know.

    With `confirmation` it is bound to that key, without one it is good for whoever has it.
    `aud` is the service itself, so that one which leaked from another service of the same issuer is worth nothing here.
    Raises Busy.
    """
    issued_at = int(current_time().timestamp())
    claims = {
        "iss": settings().public_url,
        "aud": settings().public_url,
        "sub": client.client_id,
        "client_id": client.client_id,
        "scope": " ".join(scopes),
        "jti": new_id("at"),
        "iat": issued_at,
        "exp": issued_at + lifetime_s,
        "party": client.party_id,
        "party_kind": client.party_kind,
        "mode": client.mode,
        "tier": client.tier,
    }
    if confirmation is not None:
        claims["cnf"] = dict(confirmation)
    if payment_id is not None:
        claims["authorization_details"] = claimed_details(payment_id)
    return keys.sign("access", claims, typ=TYP)


def admit(claims: Mapping[str, Any], *, scheme: str, text: str) -> Caller:
    """The caller that a good access token vouches for, which the request at hand sent by this scheme.

    Raises InvalidAccessToken when it was revoked or is bound to a key that the request does not prove to hold;
    InvalidDpopProof, UseDpopNonce, Busy.
    """
    if is_refused(client_id=claims["client_id"], jti=claims["jti"]):
        raise InvalidAccessToken()
    check_sender(claims, scheme=scheme, access_token=text)
    return Caller(
        client_id=claims["client_id"],
        party_id=claims["party"],
        party_kind=claims["party_kind"],
        mode=claims["mode"],
        scopes=frozenset(claims["scope"].split(" ")),
        tier=claims["tier"],
        holds_key="cnf" in claims,
        payment_id=_payment_of(claims),
    )


def read_claims(text: str) -> Mapping[str, Any]:
    """All that an access token says, when it is one of ours and in its time, whether or not it was revoked.

    Hardly ever with a look at the database. Raises InvalidAccessToken, which does not say what is wrong with it, expiry
    apart: an honest client asks for another in any case. Raises Busy.
    """
    claims = _verified_claims(text)
    _check_origin(claims)
    _check_times(claims, now_s=int(current_time().timestamp()))
    _check_caller(claims)
    return claims


def _verified_claims(text: str) -> Mapping[str, Any]:
    """Only what we write ourselves is in the header, so `jku`, `jwk`, `crit` and the like are refused unread."""
    if len(text) > MAX_LENGTH:
        raise InvalidAccessToken()
    try:
        kid = _kid_of(text)
        if keys.public_key(kid) is None:
            raise InvalidAccessToken()
        return _claims_signed_by(kid, text)
    except (JoseError, ValueError, TypeError, RecursionError) as error:
        raise InvalidAccessToken() from error


@lru_cache(maxsize=REMEMBERED)
def _kid_of(text: str) -> str:
    """The name of the key in a token's header. Remembered: a token comes hundreds of times in its five minutes."""
    return _checked_kid(jws.extract_compact(text.encode("ascii")).headers())


@lru_cache(maxsize=REMEMBERED)
def _claims_signed_by(kid: str, text: str) -> Mapping[str, Any]:
    """The claims, where that key signed them. A key's name is its thumbprint, so it never comes to mean another key.

    Whether the key is still good, and the token in its time, is asked anew each time.
    """
    key = keys.public_key(kid)
    if key is None:
        raise InvalidAccessToken()
    claims: Mapping[str, Any] = jwt.decode(text, key, algorithms=[ALGORITHM]).claims
    return claims


def _checked_kid(header: object) -> str:
    """The name of the key. A balance token has another `typ`, and a key of its own; without `typ` it could be anything.

    joserfc promises a dict, but lets any JSON value through in which it finds `alg`, the text "alg" for one.
    """
    if not isinstance(header, dict) or set(header) != {"alg", "kid", "typ"}:
        raise InvalidAccessToken()
    kid, typ = header["kid"], header["typ"]
    if header["alg"] != ALGORITHM or not isinstance(kid, str) or not isinstance(typ, str) or typ.lower() not in TYPS:
        raise InvalidAccessToken()
    return kid


def _check_origin(claims: Mapping[str, Any]) -> None:
    ours = settings().public_url
    if claims.get("iss") != ours or claims.get("aud") not in (ours, [ours]):
        raise InvalidAccessToken()


def _check_times(claims: Mapping[str, Any], *, now_s: int) -> None:
    """A token that claims to live longer than any of ours is not one of ours, whoever signed it."""
    issued_at, expires_at = _seconds(claims, "iat"), _seconds(claims, "exp")
    not_before = _seconds(claims, "nbf") if "nbf" in claims else issued_at
    if max(issued_at, not_before) > now_s + SKEW_S or expires_at - issued_at > ACCESS_TOKEN_TTL_S:
        raise InvalidAccessToken()
    if expires_at <= now_s:
        raise InvalidAccessToken("The access token has expired.")


def _seconds(claims: Mapping[str, Any], name: str) -> int:
    """A time in whole seconds, as we write it: true, "soon", NaN and a time that is missing are none."""
    value = claims.get(name)
    if type(value) is not int:
        raise InvalidAccessToken()
    return value


def _check_caller(claims: Mapping[str, Any]) -> None:
    names = ("sub", "client_id", "scope", "jti", "party", "party_kind", "mode", "tier")
    if not all(isinstance(claims.get(name), str) and claims[name] for name in names):
        raise InvalidAccessToken()
    if claims["sub"] != claims["client_id"] or ("cnf" in claims and not is_confirmation(claims["cnf"])):
        raise InvalidAccessToken()
    if claims["party_kind"] not in PARTY_KINDS or claims["mode"] not in ("live", "test"):
        raise InvalidAccessToken()


def _payment_of(claims: Mapping[str, Any]) -> PaymentId | None:
    """The payment that a token is bound to; a bound that we do not know is not overlooked."""
    if "authorization_details" not in claims:
        return None
    match claims["authorization_details"]:
        case [{"payment_id": str(payment_id)}] if is_id(payment_id, "pay"):
            if claims["authorization_details"] == claimed_details(PaymentId(payment_id)):
                return PaymentId(payment_id)
    raise InvalidAccessToken()
