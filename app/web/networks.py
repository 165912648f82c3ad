"""Addresses as sockets and proxies write them, and the networks by which they are known."""

import re
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

#: A v4 network is shared by many; of v6 every subscriber has a /64, and many have a /48 full of them.
PREFIX_LENGTHS = {4: (24,), 6: (64, 48)}


def read_address(text: str | None) -> Address | None:
    """An address, without the port that some proxies add, or zone; None for anything else.

    A v4 address that came through a socket for both families is the v4 address.
    """
    bare = re.sub(r"^\[(.*)\](:\d+)?$|^(\d+(?:\.\d+){3}):\d+$", r"\1\3", text or "")
    try:
        found = ip_address(bare.partition("%")[0])
    except ValueError:
        return None
    return getattr(found, "ipv4_mapped", None) or found


def prefixes_of(address: Address) -> tuple[Network, ...]:
    """The networks by which an address is known, the narrowest first."""
    return tuple(ip_network((int(address), length), strict=False) for length in PREFIX_LENGTHS[address.version])
