"""HTTP/1.1 by hand over one kept connection: cheap enough for an attacker, and exact in what stands in a header."""

import json
import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

PATIENCE_S = 60
Headers = Sequence[tuple[str, str]]
JSON: Headers = [("Content-Type", "application/json")]
FORM: Headers = [("Content-Type", "application/x-www-form-urlencoded")]


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back. Names of headers in small letters, the last of each."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    began_at: float
    took_ms: float

    @property
    def told(self) -> dict[str, Any]:
        """The body, where it is JSON."""
        if "json" not in self.headers.get("content-type", ""):
            return {}
        found: dict[str, Any] = json.loads(self.body)
        return found

    @property
    def outcome(self) -> str:
        """The problem's slug, or the status."""
        return str(self.told.get("slug", self.status))

    @property
    def retry_after_s(self) -> int | None:
        """When to come again, where it was too early."""
        return int(self.headers["retry-after"]) if self.status in (429, 503) and "retry-after" in self.headers else None


class Line:
    """One connection to the service, made again when the service closes it."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._socket: socket.socket | None = None

    def __enter__(self) -> "Line":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def ask(self, method: str, path: str, body: bytes = b"", headers: Headers = ()) -> Answer:
        """Sends one request; again, where a kept connection turns out to be closed. Raises OSError."""
        head = [f"{method} {path} HTTP/1.1", f"Host: 127.0.0.1:{self._port}", f"Content-Length: {len(body)}"]
        raw = "\r\n".join([*head, *(f"{name}: {value}" for name, value in headers), "", ""]).encode() + body
        is_kept = self._socket is not None
        began_at, began_s = time.time(), time.perf_counter()
        try:
            status, told, content = self._exchanged(raw)
        except ConnectionError:
            self.close()
            if not is_kept:
                raise
            began_at, began_s = time.time(), time.perf_counter()
            status, told, content = self._exchanged(raw)
        took_ms = (time.perf_counter() - began_s) * 1000
        if told.get("connection", "").lower() == "close":
            self.close()
        return Answer(status, told, content, began_at, took_ms)

    def post(self, path: str, body: object, headers: Headers = ()) -> Answer:
        """Posts JSON."""
        return self.ask("POST", path, json.dumps(body).encode(), [*JSON, *headers])

    def close(self) -> None:
        """Ends the connection; the next request makes another."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _exchanged(self, raw: bytes) -> tuple[int, dict[str, str], bytes]:
        if self._socket is None:
            self._socket = socket.create_connection(("127.0.0.1", self._port), PATIENCE_S)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.sendall(raw)
        received = b""
        while b"\r\n\r\n" not in received:
            received += self._some()
        head, _, content = received.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        while len(content) < int(headers.get("content-length", 0)):
            content += self._some()
        return int(first.split(" ", 2)[1]), headers, content

    def _some(self) -> bytes:
        assert self._socket is not None
        if received := self._socket.recv(65_536):
            return received
        raise ConnectionError("the service closed the connection")
