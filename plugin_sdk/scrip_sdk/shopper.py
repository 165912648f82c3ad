"""The shopper as the service may know him: a keyed hash of the store's session or customer, and his network."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
from dataclasses import dataclass

#: What the key is made for: the same secret gives other keys for other things.
PURPOSE = b"scrip-sdk: who the shopper is, 1"
SHORTEST_SECRET = 16


@dataclass(frozen=True)
class Shopper:
    """`key_hash`: 64 hexadecimal digits, of use to the store alone. `address_prefix`: IPv4 /24 or IPv6 /64."""

    key_hash: str
    address_prefix: str | None = None


def shopper_of(secret: str | bytes, session_or_customer_id: str, address: str | None = None) -> Shopper:
    """Who is at the checkout. With it the same shopper may type the same code again, and nobody else may.

    `secret` is the store's own (Django's SECRET_KEY, say), of 16 bytes at least, and only a key made from it is used.
    `session_or_customer_id` must stay the same while he fills his basket. `address` is his own, not that of a proxy in
    front of the store; one that is no address counts as none.

    Raises ValueError: the secret is too short, or there is no ID, which all strangers would share.
    """
    raw = secret.encode() if isinstance(secret, str) else secret
    if len(raw) < SHORTEST_SECRET:
        raise ValueError(f"the secret must have {SHORTEST_SECRET} bytes at least")
    if not session_or_customer_id:
        raise ValueError("a shopper needs the ID of his session or account")
    key = hmac.digest(raw, PURPOSE, hashlib.sha256)
    key_hash = hmac.new(key, session_or_customer_id.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()
    return Shopper(key_hash, prefix_of(address))


def prefix_of(address: str | None) -> str | None:
    """The network of an address: IPv4 /24, IPv6 /64, an IPv4 address inside IPv6 as IPv4; None for anything else."""
    try:
        read = ipaddress.ip_address((address or "").strip().partition("%")[0])
    except ValueError:
        return None
    if isinstance(read, ipaddress.IPv6Address) and read.ipv4_mapped is not None:
        read = read.ipv4_mapped
    return str(ipaddress.ip_network(f"{read}/{24 if read.version == 4 else 64}", strict=False))
