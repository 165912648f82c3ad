"""Secrets: drawing, keyed hashing, sealing, comparing, masking."""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEY_BYTES = 32


class CannotUnseal(Exception):
    """Sealed bytes do not open: another key, another row, or altered."""


@dataclass(frozen=True, slots=True)
class KeyRing:
    """Versions of one secret key; the newest seals and hashes, all of them open. Its repr shows no key."""

    versions: Mapping[int, bytes]

    @property
    def newest(self) -> int:
        return max(self.versions)

    def __repr__(self) -> str:
        return f"KeyRing(versions {sorted(self.versions)})"


def random_secret() -> str:
    """256 random bits as 43 URL-safe characters."""
    return secrets.token_urlsafe(KEY_BYTES)


def fingerprint(secret: str) -> bytes:
    """The SHA-256 of a secret of 256 random bits: nothing slower or keyed is needed where there is no guessing."""
    return hashlib.sha256(secret.encode()).digest()


def keyed_hash(ring: KeyRing, purpose: str, value: str, *, version: int | None = None) -> bytes:
    """HMAC-SHA-256 of `value` under a key for this purpose only: one byte of the key's version, then 32 of digest."""
    chosen = ring.newest if version is None else version
    message = purpose.encode() + b"\0" + value.encode()
    return bytes([chosen]) + hmac.digest(ring.versions[chosen], message, hashlib.sha256)


def keyed_hashes(ring: KeyRing, purpose: str, value: str) -> list[bytes]:
    """The hash of `value` under every version, the newest first, to find what an older version stored."""
    return [keyed_hash(ring, purpose, value, version=version) for version in sorted(ring.versions, reverse=True)]


def seal(ring: KeyRing, plain: bytes, *, bound_to: str) -> bytes:
    """AES-256-GCM under the newest key; opens only with the same `bound_to` (the row's identifier)."""
    nonce = secrets.token_bytes(12)
    cipher = AESGCM(ring.versions[ring.newest])
    return bytes([ring.newest]) + nonce + cipher.encrypt(nonce, plain, bound_to.encode())


def unseal(ring: KeyRing, sealed: bytes, *, bound_to: str) -> bytes:
    """What `seal` was given. Raises CannotUnseal."""
    key = ring.versions.get(sealed[0]) if sealed else None
    if key is None:
        raise CannotUnseal("sealed by a key version that is not in the ring")
    try:
        return AESGCM(key).decrypt(sealed[1:13], sealed[13:], bound_to.encode())
    except (InvalidTag, ValueError) as error:
        raise CannotUnseal("altered, or sealed for another row") from error


def same(left: bytes, right: bytes) -> bool:
    """Whether two secrets are equal, in a time that does not tell where they differ."""
    return hmac.compare_digest(left, right)


def mask_email(address: str) -> str:
    """`sam@example.org` as `s…@e…`: enough for its owner to recognise, too little for anyone else to use."""
    local, _, domain = address.rpartition("@")
    return f"{local[:1]}…@{domain[:1]}…"


def to_text(raw: bytes) -> str:
    """Bytes as URL-safe base64 without padding."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def from_text(text: str) -> bytes:
    """What `to_text` made. Raises ValueError on anything else."""
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
