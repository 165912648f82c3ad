"""A TCP proxy on loopback that cuts connections: before the request arrives, half-way, or once it was answered."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Literal

#: `request`: the server never hears of it. `half request`: it hears the beginning. `answer`: it has answered, and the
#: client gets nothing. `half answer`: the client gets the beginning. `pass`: nothing is cut.
Cut = Literal["request", "half request", "answer", "half answer", "pass"]
PATIENCE_S = 10


class CuttingProxy:
    """Cuts each connection as the next entry of `cuts` says; when there are none left, all pass."""

    def __init__(self, server_port: int) -> None:
        self.server_port = server_port
        self.cuts: list[Cut] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._accept, daemon=True)

    @property
    def port(self) -> int:
        port: int = self._listener.getsockname()[1]
        return port

    @contextmanager
    def running(self) -> Iterator["CuttingProxy"]:
        self._thread.start()
        try:
            yield self
        finally:
            self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            self._thread.join(PATIENCE_S)

    def _accept(self) -> None:
        """One connection after the other: whoever asks here waits for the answer before asking again."""
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                client.settimeout(PATIENCE_S)
                with client:
                    self._carry(client, self.cuts.pop(0) if self.cuts else "pass")

    def _carry(self, client: socket.socket, cut: Cut) -> None:
        asked = _read_request(client)
        if cut == "request":
            return
        with socket.create_connection(("127.0.0.1", self.server_port), PATIENCE_S) as server:
            server.sendall(asked[: len(asked) // 2] if cut == "half request" else asked)
            if cut == "half request":
                return
            answer = _read_to_end(server)
        if cut == "answer":
            return
        client.sendall(answer[: len(answer) // 2] if cut == "half answer" else answer)


def _read_request(client: socket.socket) -> bytes:
    """A whole request, by its Content-Length; it must ask for the connection to be closed after the answer."""
    asked = b""
    while b"\r\n\r\n" not in asked:
        asked += _some(client)
    head, _, body = asked.partition(b"\r\n\r\n")
    lines = [line.lower() for line in head.split(b"\r\n")]
    assert b"connection: close" in lines
    length = next(int(line.partition(b":")[2]) for line in lines if line.startswith(b"content-length:"))
    while len(body) < length:
        body += _some(client)
    return head + b"\r\n\r\n" + body


def _some(client: socket.socket) -> bytes:
    received = client.recv(65_536)
    if not received:
        raise ConnectionError("the client went away")
    return received


def _read_to_end(server: socket.socket) -> bytes:
    answer = b""
    while received := server.recv(65_536):
        answer += received
    return answer
