"""Where a request came from, by our own sight and by the word of proxies that we trust, and by nobody else's."""

from collections.abc import Callable

from flask import request

from app.config import settings
from app.web.networks import Address, Network, prefixes_of, read_address


def client_address() -> Address | None:
    """The address of whoever is on the other side of our proxies; None for one without (a socket in the file system).

    X-Forwarded-For is read from its end, for as long as the address that wrote an entry is a trusted proxy's: what
    stands before the first other one may be anybody's invention.
    """
    found = read_address(request.remote_addr)
    entries = [entry.strip() for line in request.headers.getlist("X-Forwarded-For") for entry in line.split(",")]
    while entries and is_trusted_proxy(found):
        before = read_address(entries.pop())
        if before is None:
            break
        found = before
    return found


def client_country() -> str | None:
    """The two letters by which a trusted proxy says in which country the client is (COUNTRY_HEADER); None without."""
    header = settings().country_header
    if header is None or not is_trusted_proxy(read_address(request.remote_addr)):
        return None
    country = request.headers.get(header, "").strip().upper()
    return country if len(country) == 2 and country.isascii() and country.isalpha() else None


def origin_of_request(mark: Callable[[Network], str]) -> dict[str, str]:
    """What events may keep of where a request came from: the mark of its widest prefix, and its country, if known."""
    address, country = client_address(), client_country()
    marks = {"address": mark(prefixes_of(address)[-1]) if address else None, "country": country}
    return {name: found for name, found in marks.items() if found is not None}


def is_trusted_proxy(address: Address | None) -> bool:
    """Whether what this peer says in its headers about others is believed; without an address it is one on this
    machine, at the other end of a socket in the file system."""
    if address is None:
        return settings().trusts_socket
    return any(address in network for network in settings().trusted_proxies)
