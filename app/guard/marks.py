"""Marks: what is kept of an address, by which the same network is known again, and by nobody without our key."""

from ipaddress import IPv4Network, IPv6Network

from app.config import settings
from app.secrecy import keyed_hash

MARK_BYTES = 8


def prefix_mark(network: IPv4Network | IPv6Network) -> str:
    """A short keyed hash of a network in hexadecimal digits; another one when the hashing key is another."""
    _, *digest = keyed_hash(settings().keys.hashing, "origin of an event", str(network))
    return bytes(digest[:MARK_BYTES]).hex()
