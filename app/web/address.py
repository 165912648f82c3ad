"""Where a request came from, by our own sight and by the word of proxies that we trust, and by nobody else's."""

from flask import request

from app.config import settings
from app.web.networks import Address, read_address


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


def is_trusted_proxy(address: Address | None) -> bool:
    """Whether what this peer says in its headers about others is believed."""
    return address is not None and any(address in network for network in settings().trusted_proxies)
