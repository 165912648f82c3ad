"""A client's public keys (RFC 7517), registered by value: nothing is fetched from an address that a client names."""

import base64
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey, RSAKey

from app.errors import InvalidRequest

#: Enough to change over from one to the next, with some to spare.
MOST_KEYS = 5
RSA_BITS = range(2048, 4096 + 1)
MAX_KID_LENGTH = 255

AnyKey = ECKey | OKPKey | RSAKey


@dataclass(frozen=True, slots=True)
class _Kind:
    """A kind of key: its members in a JWK, and the names of the algorithm that it signs by, the usual one first."""

    members: tuple[str, ...]
    algorithms: tuple[str, ...]
    curve: str | None = None


#: FAPI 2.0, section 5.4.1, allows these and no other. Ed25519 has a name of its own since RFC 9864.
_KINDS: Mapping[str, _Kind] = {
    "EC": _Kind(("crv", "x", "y"), ("ES256",), "P-256"),
    "OKP": _Kind(("crv", "x"), ("EdDSA", "Ed25519"), "Ed25519"),
    "RSA": _Kind(("n", "e"), ("PS256",)),
}
ALGORITHMS = tuple(algorithm for kind in _KINDS.values() for algorithm in kind.algorithms)
#: What a JWK must not have here: the private halves, and the keys of both sides.
_PRIVATE = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})


def read_jwks(document: object) -> dict[str, list[dict[str, str]]]:
    """A JWK Set as it is stored: public keys with a `kid` each, which is the thumbprint where the client named none.

    Raises InvalidRequest, with a pointer: no set, no key or too many, a private key, another kind of key than P-256,
    Ed25519 and RSA of 2,048 to 4,096 bits, one that is for something else than signing, a `kid` twice.
    """
    keys = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(keys, list) or not 1 <= len(keys) <= MOST_KEYS:
        raise InvalidRequest(f"A JWK Set has 1 to {MOST_KEYS} keys, in `keys`.", pointer="/jwks/keys")
    found = [_read_jwk(key, pointer=f"/jwks/keys/{place}") for place, key in enumerate(keys)]
    if len({key["kid"] for key in found}) != len(found):
        raise InvalidRequest("Two keys have the same `kid`.", pointer="/jwks/keys")
    return {"keys": found}


def find_key(jwks: Mapping[str, Any], *, kid: str | None, algorithm: str) -> AnyKey | None:
    """The registered key of this name that signs by this algorithm; without a name, the only one that does."""
    found = [
        key for key in jwks["keys"] if algorithm in _KINDS[key["kty"]].algorithms and (kid is None or key["kid"] == kid)
    ]
    return _imported(found[0]) if len(found) == 1 else None


def names_of(jwks: Mapping[str, Any]) -> Collection[str]:
    """The `kid` of each key."""
    return [key["kid"] for key in jwks["keys"]]


def _read_jwk(key: object, *, pointer: str) -> dict[str, str]:
    if not isinstance(key, dict) or not isinstance(key.get("kty"), str) or key["kty"] not in _KINDS:
        raise InvalidRequest(f"A key has a `kty`: one of {', '.join(_KINDS)}.", pointer=pointer)
    if _PRIVATE & set(key):
        raise InvalidRequest("This is a private key. Keep it, and register its public half.", pointer=pointer)
    kind = _KINDS[key["kty"]]
    _check_purpose(key, kind, pointer)
    public = {name: key.get(name) for name in ("kty", *kind.members)}
    try:
        if not all(isinstance(value, str) for value in public.values()):
            raise ValueError("a member is no text")
        if key["kty"] == "RSA" and _bits_of(key["n"]) not in RSA_BITS:
            raise InvalidRequest(f"An RSA key has {RSA_BITS[0]} to {RSA_BITS[-1]} bits.", pointer=f"{pointer}/n")
        imported = _imported(public)
    except (JoseError, ValueError, TypeError) as error:
        raise InvalidRequest("The key cannot be read.", pointer=pointer) from error
    kid = key.get("kid", imported.thumbprint())
    if not isinstance(kid, str) or not 1 <= len(kid) <= MAX_KID_LENGTH or not kid.isprintable():
        raise InvalidRequest("A `kid` is a short text.", pointer=f"{pointer}/kid")
    return {**{name: key[name] for name in public}, "kid": kid}


def _check_purpose(key: Mapping[str, object], kind: _Kind, pointer: str) -> None:
    if key.get("use", "sig") != "sig" or "verify" not in _as_list(key.get("key_ops", ["verify"])):
        raise InvalidRequest("The key is for something else than signatures.", pointer=pointer)
    if key.get("alg", kind.algorithms[0]) not in kind.algorithms:
        raise InvalidRequest(f"Such a key signs by {' or '.join(kind.algorithms)}.", pointer=f"{pointer}/alg")
    if kind.curve is not None and key.get("crv") != kind.curve:
        raise InvalidRequest(f"The curve of such a key is {kind.curve}.", pointer=f"{pointer}/crv")


def _as_list(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _bits_of(modulus: str) -> int:
    """Raises ValueError."""
    return int.from_bytes(base64.urlsafe_b64decode(modulus + "==")).bit_length()


def _imported(key: Mapping[str, Any]) -> AnyKey:
    """Raises JoseError, ValueError, TypeError."""
    kinds: Mapping[str, type[AnyKey]] = {"EC": ECKey, "OKP": OKPKey, "RSA": RSAKey}
    return kinds[key["kty"]].import_key(dict(key))
