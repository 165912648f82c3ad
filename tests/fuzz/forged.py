"""Access tokens that nobody but a forger makes: good claims under a header, a key or a signature that is not ours."""

import base64
import hmac
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from joserfc import jwe
from joserfc.jwk import ECKey, OctKey, RSAKey
from joserfc.jws import JWSRegistry

from app.oauth.key_ring import public_jwk

#: The order of P-256's base point.
ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551

Header = dict[str, Any]


def b64(value: object) -> str:
    """A segment: of bytes, or of JSON."""
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


@dataclass(frozen=True)
class Forger:
    """Knows all that is public about our key, a token of ours that is good, and has keys of his own."""

    good: str
    claims: dict[str, Any]
    kid: str
    ours: ECKey
    own: ECKey

    def header(self, **changes: object) -> Header:
        """Our header with members replaced or added."""
        return {"alg": "ES256", "kid": self.kid, "typ": "at+jwt", **changes}

    def unsigned(self, header: object) -> str:
        return f"{b64(header)}.{b64(self.claims)}"

    def signed(self, header: Header, key: Any = None, alg: str = "ES256") -> str:
        """By a key of the forger's."""
        text = self.unsigned(header)
        return f"{text}.{b64(JWSRegistry.algorithms[alg].sign(text.encode(), key or self.own))}"

    def keyed(self, header: Header, secret: bytes, digest: str = "sha256") -> str:
        text = self.unsigned(header)
        return f"{text}.{b64(hmac.digest(secret, text.encode(), digest))}"

    def all(self) -> Iterator[tuple[str, str]]:
        """Each forgery by a name that says what it tries."""
        for part in (_no_algorithm, _public_key_as_secret, _other_algorithms, _own_key, _key_names, _shapes, _numbers):
            yield from part(self)


_SPELLINGS: tuple[object, ...] = (
    *("none", "None", "NONE", "nOnE", "none ", "none\0", "", "null"),
    *(None, 0, False, ["none"], {}),
)


def _no_algorithm(forger: Forger) -> Iterator[tuple[str, str]]:
    signature = forger.good.split(".")[2]
    for alg in _SPELLINGS:
        text = forger.unsigned(forger.header(alg=alg))
        yield f"alg {alg!r}, no signature", f"{text}."
        yield f"alg {alg!r}, another's signature", f"{text}.{signature}"
    yield "alg none without kid", f"{forger.unsigned({'alg': 'none', 'typ': 'at+jwt'})}."
    yield "alg none without typ", f"{forger.unsigned({'alg': 'none'})}."
    yield "no alg", f"{forger.unsigned({'kid': forger.kid, 'typ': 'at+jwt'})}."


def _public_key_as_secret(forger: Forger) -> Iterator[tuple[str, str]]:
    pem, jwk = forger.ours.as_pem(private=False), public_jwk(forger.ours, kid=forger.kid)
    point = b"".join(base64.urlsafe_b64decode(f"{jwk[name]}==") for name in ("x", "y"))
    secrets = {
        "PEM": pem,
        "PEM without its last line's end": pem.rstrip(),
        "DER": forger.ours.as_der(private=False),
        "JWK": json.dumps(jwk).encode(),
        "JWK without spaces": json.dumps(jwk, separators=(",", ":")).encode(),
        "JWK in order": json.dumps(jwk, sort_keys=True, separators=(",", ":")).encode(),
        "JWK set": json.dumps({"keys": [jwk]}).encode(),
        "point": b"\x04" + point,
        "x": point[:32],
        "name": forger.kid.encode(),
        "nothing": b"",
        "a zero": b"\0",
    }
    for name, secret in secrets.items():
        for bits in ("256", "384", "512"):
            yield f"HS{bits} by our {name}", forger.keyed(forger.header(alg=f"HS{bits}"), secret, f"sha{bits}")
        yield f"HMAC by our {name} under ES256", forger.keyed(forger.header(), secret)


def _other_algorithms(forger: Forger) -> Iterator[tuple[str, str]]:
    rsa = RSAKey.generate_key(2048)
    for alg in ("RS256", "RS512", "PS256", "PS384"):
        yield f"{alg} under our kid", forger.signed(forger.header(alg=alg), rsa, alg)
        yield f"{alg} called ES256", forger.signed(forger.header(), rsa, alg)
    for alg, curve in (("ES384", "P-384"), ("ES512", "P-521")):
        yield f"{alg} under our kid", forger.signed(forger.header(alg=alg), ECKey.generate_key(curve), alg)
        yield f"{alg} called ES256", forger.signed(forger.header(), ECKey.generate_key(curve), alg)


def _own_key(forger: Forger) -> Iterator[tuple[str, str]]:
    """The forger's key, offered in the header in each way that RFC 7515 has, or under a name."""
    jwk = forger.own.as_dict(private=False)
    offers: dict[str, object] = {
        "jwk": jwk,
        "jku": "https://evil.example/jwks.json",
        "x5u": "https://evil.example/certificate.pem",
        "x5c": [base64.b64encode(forger.own.as_der(private=False)).decode()],
        "x5t": "x" * 27,
        "x5t#S256": "x" * 43,
    }
    for kid in (forger.kid, forger.own.thumbprint()):
        yield f"own key as {kid}", forger.signed(forger.header(kid=kid))
        for name, offer in offers.items():
            yield f"{name} as {kid}", forger.signed(forger.header(kid=kid, **{name: offer}))
    yield "jwk instead of a kid", forger.signed({"alg": "ES256", "typ": "at+jwt", "jwk": jwk})
    secret = OctKey.import_key({"kty": "oct", "k": b64(b"secret" * 8)})
    offered = forger.header(alg="HS256", jwk=secret.as_dict())
    yield "a secret as jwk", forger.keyed(offered, b"secret" * 8)


def _key_names(forger: Forger) -> Iterator[tuple[str, str]]:
    names: tuple[object, ...] = (
        *(None, [forger.kid], {"kid": forger.kid}, 0, True, "", " ", forger.kid + " ", forger.kid + "\0", "../key"),
        *("/dev/null", "/proc/sys/kernel/randomize_va_space", "file:///dev/null", "x' UNION SELECT 'secret", "a" * 900),
        *("https://evil.example/key", forger.kid.lower() + "x", forger.kid.swapcase(), "*", "%", "\ud800"),
    )
    for name in names:
        yield f"kid {name!a:.40}", forger.signed(forger.header(kid=name))
        yield f"kid {name!a:.40}, keyed by nothing", forger.keyed(forger.header(alg="HS256", kid=name), b"")


def _shapes(forger: Forger) -> Iterator[tuple[str, str]]:
    """Other things than one compact JWS of ours; most hold a token that is good, taken apart."""
    header, claims, signature = forger.good.split(".")
    yield "another payload", f"{header}.{b64({**forger.claims, 'scope': 'exchange settle refund bill'})}.{signature}"
    yield "flattened JSON", json.dumps({"protected": header, "payload": claims, "signature": signature})
    yield "general JSON", json.dumps({"payload": claims, "signatures": [{"protected": header, "signature": signature}]})
    yield "detached", f"{header}..{signature}"
    yield "payload not encoded", f"{header}.{json.dumps(forger.claims)}.{signature}"
    yield (
        "nested",
        forger.signed({**forger.header(), "cty": "JWT"}).replace(b64(forger.claims), b64(forger.good.encode())),
    )
    encrypted = jwe.encrypt_compact({"alg": "ECDH-ES", "enc": "A128GCM"}, forger.good.encode(), forger.ours)
    yield "encrypted to our key", encrypted
    yield "two tokens", f"{forger.good}.{forger.good}"
    yield "five segments", f"{forger.good}.."
    yield "a line's end inside", f"{header}.{claims}.\t{signature}"
    for place, name in enumerate(("header", "claims", "signature")):
        for what, added in (("padded", "="), ("padded twice", "=="), ("with a star", "*"), ("with a plus", "+")):
            parts = forger.good.split(".")
            parts[place] += added
            yield f"{name} {what}", ".".join(parts)
    twice = b64(json.dumps(forger.header())[:-1].encode() + b', "alg": "none"}')
    yield "alg twice, none last", f"{twice}.{b64(forger.claims)}."
    twice = b64(b'{"alg": "none", ' + json.dumps(forger.header())[1:].encode())
    yield "alg twice, none first", f"{twice}.{b64(forger.claims)}."
    twice = b64(json.dumps(forger.header())[:-1].encode() + b', "kid": "x"}')
    yield "kid twice", f"{twice}.{claims}.{signature}"
    yield "compressed", forger.signed(forger.header(zip="DEF"))
    yield "critical", forger.signed(forger.header(crit=["exp"]))
    yield "not encoded, critical", forger.signed(forger.header(b64=False, crit=["b64"]))


def _numbers(forger: Forger) -> Iterator[tuple[str, str]]:
    """Our own signature of our own token, its two numbers changed without the key (as Wycheproof's vectors are)."""
    text, _, signature = forger.good.rpartition(".")
    raw = base64.urlsafe_b64decode(f"{signature}==")
    r, s = int.from_bytes(raw[:32]), int.from_bytes(raw[32:])
    yield "DER", f"{text}.{b64(encode_dss_signature(r, s))}"
    yield "r and s the other way round", f"{text}.{b64(raw[32:] + raw[:32])}"
    for name, changed in {"r + n": (r + ORDER, s), "s + n": (r, s + ORDER), "both": (r + ORDER, s + ORDER)}.items():
        yield name, f"{text}.{b64(changed[0].to_bytes(33) + changed[1].to_bytes(33))}"
    yield "a zero before each", f"{text}.{b64(bytes(1) + raw[:32] + bytes(1) + raw[32:])}"
    yield "a zero after", f"{text}.{b64(raw + bytes(1))}"
    yield "a byte too few", f"{text}.{b64(raw[:-1])}"
    for r_name, r_forged in _EDGES.items():
        for s_name, s_forged in _EDGES.items():
            yield f"r = {r_name}, s = {s_name}", f"{text}.{b64(r_forged.to_bytes(32) + s_forged.to_bytes(32))}"


_EDGES = {"0": 0, "1": 1, "n - 1": ORDER - 1, "n": ORDER, "n + 1": ORDER + 1, "2^256 - 1": 2**256 - 1}
