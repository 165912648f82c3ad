"""A proxy on loopback between a store's plugin and the service, which does to each request what a test tells it to."""

import contextlib
import fnmatch
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException, HTTPResponse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal

Fault = Literal["lose", "drop", "twice", "refuse", "slow"]
PATIENCE_S = 30
#: They belong to one connection, not to the request (RFC 9110, 7.6.1).
HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "upgrade"}


@dataclass
class Rule:
    """What is done to requests of this method and path (`*` stands for anything), `times` times: -1 without an end."""

    method: str
    path: str
    fault: Fault
    times: int = 1
    seconds: float = 0
    status: int = 503
    retry_after_s: int | None = 1
    #: How often it was applied.
    met: int = 0

    def takes(self, method: str, path: str) -> bool:
        wanted = self.times < 0 or self.met < self.times
        return wanted and self.method in ("*", method) and fnmatch.fnmatchcase(path, self.path)


@dataclass(frozen=True)
class Passed:
    """One request as the proxy saw it, without its body. `status` is what the client was told, None for nothing."""

    method: str
    path: str
    fault: Fault | None
    status: int | None
    at: float = field(default_factory=time.monotonic)


class FaultProxy:
    """Listens on a port of its own. Rules are asked in the order in which they were added; without one all passes."""

    def __init__(self) -> None:
        # Bound and never listening: while the proxy is down, connections are refused and nobody else gets its port.
        self._reserved = _bound(("127.0.0.1", 0))
        self.port: int = self._reserved.getsockname()[1]
        self.server_port = 0
        self.passed: list[Passed] = []
        self._rules: list[Rule] = []
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._server: ThreadingHTTPServer | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    # ── what a test says ────────────────────────────────────────────────────────────────────────────────────────────

    def lose(self, method: str, path: str, *, times: int = 1) -> Rule:
        """The service does it, and its answer is lost."""
        return self._add(Rule(method, path, "lose", times))

    def drop(self, method: str, path: str, *, times: int = 1) -> Rule:
        """The connection breaks before the service hears of it."""
        return self._add(Rule(method, path, "drop", times))

    def twice(self, method: str, path: str, *, times: int = 1) -> Rule:
        """The service gets it twice at the same time; one of the answers is given."""
        return self._add(Rule(method, path, "twice", times))

    def refuse(
        self, method: str, path: str, *, status: int = 503, retry_after_s: int | None = 1, times: int = 1
    ) -> Rule:
        """Answered in the service's place, which hears nothing of it."""
        return self._add(Rule(method, path, "refuse", times, status=status, retry_after_s=retry_after_s))

    def slow(self, method: str, path: str, *, seconds: float, times: int = 1) -> Rule:
        """The service does it at once, and the answer comes late."""
        return self._add(Rule(method, path, "slow", times, seconds=seconds))

    def clear(self) -> None:
        """No rules, an empty record, and up."""
        with self._lock:
            self._rules.clear()
            self.passed.clear()
        self.up()

    def down(self) -> None:
        """Connections are refused, and the open ones break."""
        server, self._server = self._server, None
        if server is not None:
            server.shutdown()
            server.server_close()
        with self._lock:
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def up(self) -> None:
        """Connections are taken."""
        if self._server is None:
            self._server = _Server(self)
            threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    @contextlib.contextmanager
    def away(self) -> Iterator[None]:
        """Down as long as the block lasts."""
        self.down()
        try:
            yield
        finally:
            self.up()

    def seen(self, method: str = "*", path: str = "*") -> list[Passed]:
        """The requests of this method and path, in order."""
        with self._lock:
            return [one for one in self.passed if method in ("*", one.method) and fnmatch.fnmatchcase(one.path, path)]

    @contextlib.contextmanager
    def running(self) -> Iterator["FaultProxy"]:
        """Up, until the block ends."""
        self.up()
        try:
            yield self
        finally:
            self.down()
            self._reserved.close()

    # ── what its handlers ask ───────────────────────────────────────────────────────────────────────────────────────

    def rule_for(self, method: str, path: str) -> Rule | None:
        """The rule that this request meets, which is used up by it."""
        with self._lock:
            for rule in self._rules:
                if rule.takes(method, path):
                    rule.met += 1
                    return rule
        return None

    def note(self, passed: Passed) -> None:
        with self._lock:
            self.passed.append(passed)

    def opened(self, connection: socket.socket) -> None:
        with self._lock:
            self._open.add(connection)

    def closed(self, connection: socket.socket) -> None:
        with self._lock:
            self._open.discard(connection)

    def _add(self, rule: Rule) -> Rule:
        with self._lock:
            self._rules.append(rule)
        return rule


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128
    allow_reuse_address = True

    def __init__(self, proxy: FaultProxy) -> None:
        self.proxy = proxy
        super().__init__(("127.0.0.1", proxy.port), _Handler)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server
    timeout = PATIENCE_S
    _fault: Fault | None = None

    def setup(self) -> None:
        super().setup()
        self.server.proxy.opened(self.connection)

    def finish(self) -> None:
        self.server.proxy.closed(self.connection)
        with contextlib.suppress(OSError):
            super().finish()

    def handle(self) -> None:
        with contextlib.suppress(OSError):  # the client, or `down`, has broken the connection
            super().handle()

    def handle_one_request(self) -> None:
        self.raw_requestline = self.rfile.readline(65_537)
        if not self.raw_requestline or not self.parse_request():
            self.close_connection = True
            return
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        rule = self.server.proxy.rule_for(self.command, self._path)
        self._fault = rule.fault if rule else None
        if self._fault == "drop":
            self._break()
        elif rule is not None and self._fault == "refuse":
            self._refuse(rule)
        else:
            self._carry(rule, body)

    def _carry(self, rule: Rule | None, body: bytes) -> None:
        """The service hears of it."""
        try:
            if self._fault == "twice":
                answer, content = _at_once(lambda: self._ask(body), lambda: self._ask(body))
            else:
                answer, content = self._ask(body)
        except (OSError, HTTPException):
            return self._break()  # the service is not there: neither is the proxy
        if self._fault == "lose":
            return self._break()
        if rule is not None:
            time.sleep(rule.seconds)
        return self._give(answer.status, answer.getheaders(), content)

    @property
    def _path(self) -> str:
        return self.path.partition("?")[0]

    def _note(self, status: int | None) -> None:
        """Before the client can know of it, and so before a test looks."""
        self.server.proxy.note(Passed(self.command, self._path, self._fault, status))

    def _ask(self, body: bytes) -> tuple[HTTPResponse, bytes]:
        asked = HTTPConnection("127.0.0.1", self.server.proxy.server_port, timeout=PATIENCE_S)
        with contextlib.closing(asked):
            asked.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                if name.lower() not in HOP_BY_HOP:
                    asked.putheader(name, value)
            if body or self.command in ("POST", "PUT"):
                asked.putheader("Content-Length", str(len(body)))
            asked.endheaders(body)
            answer = asked.getresponse()
            return answer, answer.read()

    def _refuse(self, rule: Rule) -> None:
        slug = {429: "try-later", 409: "payment-closed"}.get(rule.status, "busy")
        problem = {"type": f"urn:scrip:problem:{slug}", "slug": slug, "title": slug, "status": rule.status}
        headers = [("Content-Type", "application/problem+json")]
        if rule.retry_after_s is not None:
            headers.append(("Retry-After", str(rule.retry_after_s)))
        self._give(rule.status, headers, json.dumps(problem).encode())

    def _give(self, status: int, headers: list[tuple[str, str]], content: bytes) -> None:
        self._note(status)
        self.send_response_only(status)
        for name, value in headers:
            if name.lower() not in HOP_BY_HOP:
                self.send_header(name, value)
        if status not in (204, 304):
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def _break(self) -> None:
        self._note(None)
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, *args: Any) -> None:
        """Says nothing."""


def _bound(address: tuple[str, int]) -> socket.socket:
    reserved = socket.socket()
    reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    reserved.bind(address)
    return reserved


def _at_once(*calls: Callable[[], tuple[HTTPResponse, bytes]]) -> tuple[HTTPResponse, bytes]:
    """Both at the same time; what the last one gave."""
    given: list[tuple[HTTPResponse, bytes]] = []
    threads = [threading.Thread(target=lambda call=call: given.append(call())) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
    return given[-1]
