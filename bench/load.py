"""Clients that ask over kept connections as fast as they are answered, and take little of the machine themselves."""

import json
import secrets
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

PATIENCE_S = 60


@dataclass(frozen=True, slots=True)
class Load:
    """What came back: the answers' bodies, and how long each took; all of them good."""

    bodies: Sequence[bytes]
    took_ms: Sequence[float]
    lasted_s: float

    @property
    def per_s(self) -> float:
        """Answers a second."""
        return len(self.bodies) / self.lasted_s

    def percentile_ms(self, share: float) -> float:
        """How long at most this share of the answers took."""
        return sorted(self.took_ms)[min(len(self.took_ms) - 1, int(len(self.took_ms) * share))]


def post(path: str, body: object, *, access_token: str | None = None) -> bytes:
    """A whole request as it goes over the wire, with an Idempotency-Key of its own where it has an access token."""
    raw = json.dumps(body).encode()
    head = [f"POST {path} HTTP/1.1", "Host: bench", "Content-Type: application/json", f"Content-Length: {len(raw)}"]
    if access_token:
        head += [f"Authorization: Bearer {access_token}", f"Idempotency-Key: {secrets.token_urlsafe(16)}"]
    return "\r\n".join([*head, "", ""]).encode() + raw


def drive(port: int, requests: Sequence[bytes], *, clients: int) -> Load:
    """Has all requests answered by the service on the port. Raises RuntimeError for an answer that is not 2xx."""
    left = iter(requests)
    shares: list[list[tuple[bytes, float]]] = [[] for _ in range(clients)]
    troubles: list[Exception] = []

    def ask(share: list[tuple[bytes, float]]) -> None:
        try:
            share.extend(_answers(port, left))
        except Exception as error:  # noqa: BLE001 – a thread's trouble is the caller's
            troubles.append(error)

    threads = [threading.Thread(target=ask, args=(share,)) for share in shares]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lasted_s = time.perf_counter() - began
    if troubles:
        raise troubles[0]
    answers = [answer for share in shares for answer in share]
    return Load([body for body, _ in answers], [took_ms for _, took_ms in answers], lasted_s)


def _answers(port: int, left: Iterator[bytes]) -> Iterator[tuple[bytes, float]]:
    with socket.create_connection(("127.0.0.1", port), PATIENCE_S) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for request in left:
            began = time.perf_counter()
            connection.sendall(request)
            status, body = _read(connection)
            if status[:1] != b"2":
                raise RuntimeError(f"{status.decode()}: {body.decode()}")
            yield body, (time.perf_counter() - began) * 1000


def _read(connection: socket.socket) -> tuple[bytes, bytes]:
    received = b""
    while b"\r\n\r\n" not in received:
        received += _some(connection)
    head, _, body = received.partition(b"\r\n\r\n")
    lowered = head.lower()
    at = lowered.index(b"content-length:") + len(b"content-length:")
    length = int(lowered[at:].split(b"\r\n", 1)[0])
    while len(body) < length:
        body += _some(connection)
    return head.split(b" ", 2)[1], body


def _some(connection: socket.socket) -> bytes:
    received = connection.recv(65_536)
    if not received:
        raise ConnectionError("the service closed the connection")
    return received


def told(load: Load) -> list[dict[str, Any]]:
    """The bodies, read."""
    return [json.loads(body) for body in load.bodies]
