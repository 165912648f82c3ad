"""The fake service on a port of this machine: for stores in other languages, and for tests from end to end."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from scrip_sdk.testing.wire import Answer, AnswerLost, Asked, Unreachable

if TYPE_CHECKING:
    from scrip_sdk.testing.fake import FakeScrip


@contextmanager
def served(fake: FakeScrip, port: int = 0) -> Iterator[str]:
    """Answers on 127.0.0.1 until the block ends, on a free port unless one is named; yields the address.

    The fake's `url`, which is its issuer too, is that address from then on. While it is down connections are closed
    without a word, as by a proxy that finds nobody behind it.
    """
    server = _Server(("127.0.0.1", port), _handler(fake))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    url = f"http://127.0.0.1:{server.server_address[1]}"
    fake.moved_to(url)
    try:
        yield url
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Server(ThreadingHTTPServer):
    """A store's client that goes away meanwhile is no error."""

    def handle_error(self, request: object, client_address: object) -> None:
        """Says nothing."""


def _handler(fake: FakeScrip) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 30

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  as the base class has it
            """Says nothing: what is asked may have a code in it."""

        def _serve(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            place = urlsplit(self.path)
            headers = {name.lower(): value for name, value in self.headers.items()}
            asked = Asked(self.command, place.path, place.query, headers, self.rfile.read(length))
            try:
                answer = fake.handle(asked)
            except (Unreachable, AnswerLost):
                self.close_connection = True
                return
            self._send(answer)

        def _send(self, answer: Answer) -> None:
            time.sleep(answer.delay_s)
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(answer.body)

        do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = do_PATCH = _serve

    return Handler
