"""A server on loopback that does to its callers what networks, proxies and strangers do, and notes what it hears."""

import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

PAYMENT_ID = "pay_01m84qf1bgfsdrt5wy3xxw2v4q"
REQUEST_ID = "req_01m84qf1yqenzsdhs93svbbq7y"
PATIENCE_S = 10


@dataclass(frozen=True)
class Seen:
    """A request as it arrived; `at` by time.monotonic()."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    connection: int
    at: float


#: What is done to a connection once a request has been read from it; the connection is kept where it returns True.
Behaviour = Callable[[socket.socket, Seen], bool]


def payment(**changes: Any) -> dict[str, Any]:
    """The payment that everything here is about, in full."""
    amounts = ("balance", "held", "settled", "released", "refunded")
    return {
        "id": PAYMENT_ID,
        "state": "held",
        "confirmed": False,
        "order_reference": "order-1",
        **{name: {"amount_minor": 5_000 if name in ("balance", "held") else 0, "currency": "GBP"} for name in amounts},
        "created_at": "2026-11-23T17:32:37.615817+00:00",
        "expires_at": "2026-11-23T18:02:37+00:00",
        "balance_token": "eyJ.balance.token",
        **changes,
    }


def answer(status: int, body: object, *, content_type: str = "application/json", **headers: str) -> Behaviour:
    """A whole answer; names of headers have _ for -."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()

    def behave(connection: socket.socket, _seen: Seen) -> bool:
        connection.sendall(head(status, len(raw), content_type, headers) + raw)
        return True

    return behave


def problem(status: int, slug: str, facts: Mapping[str, Any] | None = None, **headers: str) -> Behaviour:
    """A refusal of the service's."""
    body = {"type": f"urn:scrip:problem:{slug}", "title": "A.", "status": status, "detail": "B.", "slug": slug}
    said = {**body, "instance": REQUEST_ID, **(facts or {})}
    return answer(status, said, content_type="application/problem+json", X_Request_Id=REQUEST_ID, **headers)


def head(status: int, length: int | None, content_type: str, headers: Mapping[str, str]) -> bytes:
    lines = [f"HTTP/1.1 {status} Whatever", f"Content-Type: {content_type}"]
    lines += [] if length is None else [f"Content-Length: {length}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode()


GOOD = answer(201, payment())
WHOLE = head(201, len(json.dumps(payment())), "application/json", {}) + json.dumps(payment()).encode()


def cut(_connection: socket.socket, _seen: Seen) -> bool:
    """The work is done, and its answer is lost."""
    return False


def half(connection: socket.socket, _seen: Seen) -> bool:
    """The answer breaks off before the length that it promised."""
    connection.sendall(WHOLE[:-40])
    return False


def half_without_length(connection: socket.socket, _seen: Seen) -> bool:
    """The answer breaks off, and nobody said how long it would be."""
    connection.sendall(head(201, None, "application/json", {}) + json.dumps(payment()).encode()[:-40])
    return False


def silent(connection: socket.socket, _seen: Seen) -> bool:
    """Nothing comes until the caller goes away."""
    connection.recv(1)
    return False


def drops(text: bytes, every_s: float) -> Behaviour:
    """One byte after the other, each well within any timeout of a socket."""

    def behave(connection: socket.socket, _seen: Seen) -> bool:
        for byte in text:
            connection.sendall(bytes([byte]))
            time.sleep(every_s)
        return True

    return behave


@dataclass
class Hostile:
    """Requests under /v1 meet the next of `answers`, others the next of `tokens`; where none is left, a good one."""

    answers: list[Behaviour] = field(default_factory=list)
    tokens: list[Behaviour] = field(default_factory=list)
    token_life_s: int = 300
    seen: list[Seen] = field(default_factory=list)
    tls: ssl.SSLContext | None = None

    def __post_init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.connections = 0

    @property
    def port(self) -> int:
        port: int = self._listener.getsockname()[1]
        return port

    @property
    def url(self) -> str:
        return f"{'http' if self.tls is None else 'https'}://127.0.0.1:{self.port}"

    @property
    def calls(self) -> list[Seen]:
        """What was asked of the API."""
        return [each for each in self.seen if each.path.startswith("/v1")]

    @property
    def fetched(self) -> list[Seen]:
        """What was asked of the token endpoint."""
        return [each for each in self.seen if each.path == "/oauth/token"]

    @contextmanager
    def running(self) -> Iterator["Hostile"]:
        thread = threading.Thread(target=self._accept, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            thread.join(PATIENCE_S)

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self.connections += 1
                threading.Thread(target=self._serve, args=(connection, self.connections), daemon=True).start()

    def _serve(self, connection: socket.socket, number: int) -> None:
        connection.settimeout(PATIENCE_S)
        with suppress(OSError):
            if self.tls is not None:
                connection = self.tls.wrap_socket(connection, server_side=True)
            with connection:
                while (seen := read_request(connection, number)) is not None:
                    self.seen.append(seen)
                    if not self._behaviour(seen)(connection, seen):
                        return

    def _behaviour(self, seen: Seen) -> Behaviour:
        if seen.path.startswith("/v1"):
            return self.answers.pop(0) if self.answers else GOOD
        return self.tokens.pop(0) if self.tokens else self.token()

    def token(self, **changes: Any) -> Behaviour:
        """An access token, another one each time."""
        text = f"token-number-{len(self.fetched)}-{'x' * 40}"
        good = {"access_token": text, "token_type": "Bearer", "expires_in": self.token_life_s}
        return answer(200, good | changes)


def read_request(connection: socket.socket, number: int) -> Seen | None:
    """A whole request, by its Content-Length; None at the connection's end."""
    asked = b""
    while b"\r\n\r\n" not in asked:
        received = connection.recv(65_536)
        if not received:
            return None
        asked += received
    top, _, body = asked.partition(b"\r\n\r\n")
    first, *lines = top.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    while len(body) < int(headers.get("content-length", "0")):
        body += connection.recv(65_536)
    method, path, _ = first.split(" ")
    return Seen(method, path, headers, body, number, time.monotonic())
