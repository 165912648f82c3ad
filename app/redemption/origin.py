"""Origins of a store's pages: exact, spelt as browsers spell them, and safe to stand in a header."""

import re
from collections.abc import Iterable
from urllib.parse import urlsplit

from app.errors import InvalidRequest

MOST = 10
LOOPBACK = ("localhost", "127.0.0.1")

_LABEL = "[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
#: A name, not an address: a Content-Security-Policy cannot name one, but for this machine's.
_HOST = re.compile(rf"(?=.{{1,253}}$){_LABEL}(?:\.{_LABEL})*")
_OWN_PORT = {"https": 443, "http": 80}


def read_origins(texts: Iterable[str], *, mode: str) -> list[str]:
    """Each origin once, in the order given.

    Raises InvalidRequest for what is no exact https origin, and for more than ten. http is for this machine alone,
    and for stores in mode `test`.
    """
    found = list(dict.fromkeys(_read_origin(text, mode) for text in texts))
    if len(found) > MOST:
        raise InvalidRequest(f"A store has {MOST} origins at most.", pointer="/origins")
    return found


def _read_origin(text: str, mode: str) -> str:
    try:
        parts = urlsplit(text.strip())
        host, port = (parts.hostname or ""), parts.port
    except ValueError:
        raise _refused(text) from None
    if parts.path.strip("/") or parts.query or parts.fragment or "@" in parts.netloc or parts.netloc.endswith(":"):
        raise _refused(text)
    if not _is_host(host) or port == 0:
        raise _refused(text)
    if parts.scheme == "http" and not (mode == "test" and host in LOOPBACK):
        raise InvalidRequest(
            f"{text!r} is not https: http is for {' and '.join(LOOPBACK)}, and for stores in mode test.",
            pointer="/origins",
        )
    if parts.scheme not in _OWN_PORT:
        raise _refused(text)
    return f"{parts.scheme}://{host}" + (f":{port}" if port and port != _OWN_PORT[parts.scheme] else "")


def _is_host(host: str) -> bool:
    """A name whose last label is a number would be taken for an address."""
    return host in LOOPBACK or (_HOST.fullmatch(host) is not None and not host.rpartition(".")[2][0].isdigit())


def _refused(text: str) -> InvalidRequest:
    return InvalidRequest(
        f"{text!r} is no origin such as https://shop.example: a scheme, a name and perhaps a port, as the browser "
        "writes them (xn--… for other letters), without a path or a star.",
        pointer="/origins",
    )
