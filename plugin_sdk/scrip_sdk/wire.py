"""Connections that keep their time: urllib3's, with every wait measured against one end, and answers of bounded length.

A timeout of a socket begins anew with each byte. So whoever looks up names slowly, has many dead addresses, or sends a
header or a body drop by drop could keep a shop waiting for as long as he likes; here he cannot.
"""

import http.client
import io
import queue
import socket
import ssl
import threading
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import ConnectTimeoutError, HTTPError, NewConnectionError

from scrip_sdk.calls import LONGEST_ANSWER, Answer
from scrip_sdk.steps import Lost, Send

#: What fits into one read of an answer.
_PIECE = 65_536


class Wire:
    """A pool of connections to one origin; many threads share it. It follows no redirect and uses no proxy."""

    def __init__(
        self,
        origin: str,
        *,
        ssl_context: ssl.SSLContext | None,
        connections: int,
        may_connect: Callable[[str], bool] | None = None,
    ) -> None:
        parts = urlsplit(origin)
        assert parts.hostname is not None
        more: dict[str, Any] = {"maxsize": connections, "retries": False}
        if parts.scheme == "https":
            context = ssl_context or ssl.create_default_context()
            self._pool: urllib3.HTTPConnectionPool = urllib3.HTTPSConnectionPool(
                parts.hostname, parts.port, ssl_context=context, **more
            )
            self._pool.ConnectionCls = _asking(_Https, may_connect)
        else:
            self._pool = urllib3.HTTPConnectionPool(parts.hostname, parts.port, **more)
            self._pool.ConnectionCls = _asking(_Http, may_connect)

    def send(self, request: Send) -> Answer | Lost:
        """Sends it once. No error of the libraries below leaves here, for theirs name headers and bodies."""
        within = request.timeouts
        ends_at = time.monotonic() + within.total_s
        try:
            response = self._pool.urlopen(
                request.method,
                request.path,
                body=_sent(request.body),
                headers={**request.headers, **({"Content-Length": str(len(request.body))} if request.body else {})},
                redirect=False,
                retries=False,
                timeout=urllib3.Timeout(connect=within.connect_s, read=within.read_s, total=within.total_s),
                preload_content=False,
                decode_content=False,
            )
            return _read(response, ends_at)
        except _AddressRefused:
            return Lost("address-not-allowed")
        except (ConnectTimeoutError, NewConnectionError):
            return Lost("no-connection")
        except (HTTPError, http.client.HTTPException, OSError) as error:
            return Lost("not-trusted" if is_untrusted(error) else "no-answer")

    def close(self) -> None:
        self._pool.close()


def _sent(body: bytes) -> bytes | io.BytesIO | None:
    """What is large goes out in pieces, each of which has its own time: a socket's is for all of one write."""
    return io.BytesIO(body) if len(body) > _PIECE else body or None


def is_untrusted(error: BaseException) -> bool:
    """Whether a certificate that was not accepted is behind the error."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, ssl.SSLCertVerificationError):
            return True
        seen = seen.__cause__ or seen.__context__
    return False


def _read(response: "urllib3.BaseHTTPResponse", ends_at: float) -> Answer | Lost:
    """The whole answer; the connection goes back to the pool, or is closed where anything is left on it."""
    pieces, length = [], 0
    try:
        while piece := response.read(_PIECE, decode_content=False):
            length += len(piece)
            pieces.append(piece)
            if length > LONGEST_ANSWER:
                return Lost("not-understood")
            if time.monotonic() > ends_at:
                return Lost("no-answer")
        response.release_conn()
    finally:
        response.close()
    headers = {name.lower(): value for name, value in response.headers.items()}
    return Answer(response.status, headers, b"".join(pieces))


class _InTime(io.RawIOBase):
    """What a socket receives, until an end that no byte puts off."""

    def __init__(self, sock: socket.socket, received: io.RawIOBase) -> None:
        self._sock, self._received = sock, received
        self._ends_at = time.monotonic() + (sock.gettimeout() or 0)  # urllib3 has set what is left for the answer

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left_s = self._ends_at - time.monotonic()
        if left_s <= 0:
            raise TimeoutError("the answer did not arrive in time")
        self._sock.settimeout(left_s)
        return self._received.readinto(buffer)

    def close(self) -> None:
        self._received.close()
        super().close()


class _Response(http.client.HTTPResponse):
    """An answer whose first line, headers and body together have to arrive in time."""

    def __init__(self, sock: socket.socket, *args: Any, **more: Any) -> None:
        super().__init__(sock, *args, **more)
        self.fp = io.BufferedReader(_InTime(sock, self.fp.detach()))


class _AddressRefused(NewConnectionError):
    """The host has addresses, and this store asks none of them."""


class _Http(HTTPConnection):
    response_class = _Response
    may_connect: Callable[[str], bool] | None = None

    def _new_conn(self) -> socket.socket:
        return _connect(self)


class _Https(HTTPSConnection):
    response_class = _Response
    may_connect: Callable[[str], bool] | None = None

    def _new_conn(self) -> socket.socket:
        return _connect(self)


def _asking(made: Any, may_connect: Callable[[str], bool] | None) -> Any:
    """The class of connections that ask first."""
    return made if may_connect is None else type(made.__name__, (made,), {"may_connect": staticmethod(may_connect)})


def _connect(connection: _Http | _Https) -> socket.socket:
    """A connection to any of the host's addresses, all of them in the time of one; what is left of it is TLS's.

    Whether an address is allowed is asked of the very one that is connected to: a name may mean another by now.
    Raises ConnectTimeoutError, NewConnectionError.
    """
    ends_at = time.monotonic() + float(connection.timeout or 0)
    addresses = _look_up(connection, ends_at)
    if connection.may_connect is not None:
        addresses = [each for each in addresses if connection.may_connect(each[4][0])]
        if not addresses:
            raise _AddressRefused(connection, "none of its addresses is allowed")
    for place, (family, kind, protocol, _, address) in enumerate(addresses):
        left_s = ends_at - time.monotonic()
        if left_s <= 0:
            break
        sock = socket.socket(family, kind, protocol)
        try:
            for option in connection.socket_options or ():
                sock.setsockopt(*option)
            sock.settimeout(left_s / (len(addresses) - place))  # a dead address leaves its share to the others
            sock.connect(address)
        except OSError:
            sock.close()
            continue
        sock.settimeout(max(ends_at - time.monotonic(), 0.01))
        return sock
    raise NewConnectionError(connection, "none of its addresses answers")


def _look_up(connection: HTTPConnection, ends_at: float) -> list[Any]:
    """The host's addresses. A resolver that does not answer knows no timeout, so it is left alone with a thread."""
    found: queue.SimpleQueue[list[Any] | None] = queue.SimpleQueue()
    host, port = connection._dns_host, connection.port

    def ask() -> None:
        try:
            found.put(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except (OSError, UnicodeError):
            found.put(None)

    try:
        threading.Thread(target=ask, name="scrip-look-up", daemon=True).start()
    except RuntimeError:  # this process may have no more threads
        ask()
    try:
        addresses = found.get(timeout=max(ends_at - time.monotonic(), 0))
    except queue.Empty:
        raise ConnectTimeoutError(connection, "its name was not found in time") from None
    if not addresses:
        raise NewConnectionError(connection, "its name is not known")
    return addresses
