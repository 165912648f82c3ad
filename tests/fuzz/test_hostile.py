"""What is sent to break or to stop the service is refused, costs it nothing, and keeps nobody waiting."""

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from http.client import HTTPConnection
from pathlib import Path
from socket import IPPROTO_TCP, SO_RCVBUF, SOL_SOCKET, TCP_MAXSEG, create_connection, socket

import pytest
from flask import Flask

from app import config
from app.oauth.keys import forget_keys
from tests.api import Machine, api_of
from tests.fuzz.hostile import MIB, chunked, head, requests, sized
from tests.fuzz.wire import PATIENCE_S, one_by_one, peaks_kib, send, workers
from tests.service import ROOT, real_keys, served
from tests.world import make_world

#: A worker may grow so much by all of it: caches and pools fill once, bodies leave nothing.
MOST_GROWTH_KIB = 30 * 1024
#: More than the service has threads.
SLOW = 40
ROUNDS = 5
#: gunicorn's own threaded worker; it may give up at once the requests that hold its threads.
GTHREAD = ("-k", "gthread", "--graceful-timeout", "1")

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Served:
    """The service as it runs, and a machine that may issue cards there."""

    port: int
    acme: Machine
    programme_id: str

    def health(self, *, patience_s: float = PATIENCE_S) -> int | None:
        """The status of an honest request, or None when it is not answered."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=patience_s)
        try:
            connection.request("GET", "/healthz")
            return connection.getresponse().status
        except OSError:
            return None
        finally:
            connection.close()


@contextmanager
def serving(
    app: Flask,
    settings: config.Settings,
    keys_dir: Path,
    log: Path,
    *,
    wsgi: str = "wsgi:app",
    options: tuple[str, ...] = (),
) -> Iterator[Served]:
    before = config.settings()
    with served(settings, keys_dir, log, wsgi=wsgi, options=options) as port:
        origin = f"http://127.0.0.1:{port}"
        config.use(replace(settings, public_url=origin, keys=config.read_keys(real_keys(keys_dir))))
        forget_keys()
        try:
            api = api_of(app.test_client(), make_world())
            yield Served(port, api.acme, api.world.programme_id)
        finally:
            config.use(before)  # of another service, which is still running
            forget_keys()


@pytest.fixture(scope="module")
def service(
    app: Flask, database: config.Settings, keys_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    log = tmp_path_factory.mktemp("hostile") / "gunicorn.log"
    with serving(app, database, keys_dir, log) as service:
        yield service
    assert '"bug"' not in log.read_text()
    assert "Traceback" not in log.read_text()


# ── what is refused ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_each_is_refused_soon_and_memory_stays_flat(service: Served) -> None:
    for _ in one_by_one(service.port):
        assert send(service.port, sized(service.acme, b"{}", b"Connection: close")).status == 422
    before = peaks_kib(service.port)
    assert len(before) == 2
    for name, parts in requests(service.acme, service.programme_id).items():
        reply = send(service.port, parts())
        assert reply.status is None or 400 <= reply.status < 500 or reply.status in (501, 505), (name, reply)
        assert reply.took_s < PATIENCE_S, (name, reply.took_s)
        assert b"Traceback" not in reply.text, name
        assert service.health() == 200, name
    after = peaks_kib(service.port)
    assert set(after) == set(before), "a worker died"
    assert max(after[pid] - before[pid] for pid in before) < MOST_GROWTH_KIB, (before, after)


def test_a_smuggled_request_is_never_answered(service: Served) -> None:
    """One answer to one request: whatever its lengths say, what is inside of a body is no request."""
    for name, parts in requests(service.acme, service.programme_id).items():
        if name in ("CL and TE", "TE and CL", "two lengths", "a list of lengths", "a length with a sign"):
            assert b'{"status":"ok"}' not in send(service.port, parts(), ends=True).text, name


def test_a_body_that_breaks_off_is_no_request(service: Served) -> None:
    for announced in (3, 1_000):
        reply = send(service.port, [head(service.acme, b"Content-Length: %d" % announced), b"{}"], ends=True)
        assert reply.status in (None, 400)


@pytest.mark.parametrize("path", ["/v1/cards", "/oauth/token", "/claim/link_01k9qn1d8p0000000000000000"])
@pytest.mark.parametrize("chunk", [b"\r\n{}\r\n", b"zz\r\n", b"2\r\n{}xx\r\n", b"0x2\r\n{}\r\n"], ids=str)
def test_malformed_chunks_are_no_bug(service: Served, path: str, chunk: bytes) -> None:
    begin = head(service.acme, b"Transfer-Encoding: chunked", path=path)
    if path == "/oauth/token":
        begin = begin.replace(b"application/json", b"application/x-www-form-urlencoded")
    assert send(service.port, [begin, chunk, b"0\r\n\r\n"]).status == 400


def test_requests_one_after_the_other_are_each_answered(service: Served) -> None:
    """In one write, the last cut in two: what came too early is kept for its turn."""
    one = b"".join(sized(service.acme, b"{}"))
    last = b"".join(sized(service.acme, b"{}", b"Connection: close"))
    with create_connection(("127.0.0.1", service.port), PATIENCE_S) as connection:
        connection.sendall(one + one + last[:-1])
        time.sleep(0.2)
        connection.sendall(last[-1:])
        text = b""
        while received := connection.recv(65_536):
            text += received
    assert text.count(b"HTTP/1.1 422") == 3


def test_chunks_are_put_together(service: Served) -> None:
    reply = send(service.port, chunked(service.acme, [b"{", b'"a":', b"1}"]))
    assert reply.status == 422


# ── who sends slowly ────────────────────────────────────────────────────────────────────────────────────────────────


def begin_slowly(service: Served, stack: ExitStack) -> list[socket]:
    """Some stop within the head, some within the body, some say nothing, and some never hang up after an answer."""
    whole = b"".join(sized(service.acme, b"{}" + b" " * 60_000))
    begun = [whole[:20], whole[:-50_000], b"", b"garbage\r\n\r\n"]
    slow = []
    for number in range(SLOW):
        connection = stack.enter_context(create_connection(("127.0.0.1", service.port), PATIENCE_S))
        connection.sendall(begun[number % len(begun)])
        slow.append(connection)
    return slow


def drip(slow: list[socket]) -> None:
    """One byte from each."""
    for connection in slow:
        with suppress(OSError):
            connection.send(b" ")


def test_slow_senders_keep_nobody_waiting_and_are_sent_away(service: Served) -> None:
    with ExitStack() as stack:
        slow = begin_slowly(service, stack)
        for _ in range(10):
            drip(slow)
            assert service.health() == 200
            assert send(service.port, sized(service.acme, b"{}", b"Connection: close")).status == 422
        until = time.monotonic() + 3 * PATIENCE_S
        while any(is_open(connection) for connection in slow):
            assert time.monotonic() < until, "somebody may send slowly for ever"
            drip(slow)
            time.sleep(0.5)
    assert len(workers(service.port)) == 2


def is_open(connection: socket) -> bool:
    """Whether the service still listens to it."""
    connection.setblocking(False)
    try:
        while received := connection.recv(65_536):
            del received
    except BlockingIOError:
        return True
    except OSError:
        return False
    with suppress(OSError):  # the service has ended its side; a write tells whether it has closed
        connection.send(b" ")
        return True
    return False


# ── who reads slowly ────────────────────────────────────────────────────────────────────────────────────────────────

LARGEST = "static/web/redoc/redoc.standalone.js"
ASK_FOR_LARGEST = f"GET /{LARGEST} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
#: So long gunicorn's `keepalive` waits for a sign of life, and a little more.
GIVEN_UP_S = 8


def ask_and_read_nothing(service: Served, stack: ExitStack) -> list[socket]:
    """Many ask for a large file, and leave it there.

    Their connections have as little room as those over a network: with the large segments of loopback the kernel would
    take all of the file at once.
    """
    slow = []
    for _ in range(SLOW):
        connection = stack.enter_context(socket())
        connection.setsockopt(SOL_SOCKET, SO_RCVBUF, 4_096)
        connection.setsockopt(IPPROTO_TCP, TCP_MAXSEG, 536)
        connection.settimeout(PATIENCE_S)
        connection.connect(("127.0.0.1", service.port))
        connection.sendall(ASK_FOR_LARGEST)
        slow.append(connection)
    return slow


def test_slow_readers_keep_nobody_waiting_and_are_given_up(service: Served) -> None:
    content = (ROOT / "app" / LARGEST.replace("static/web", "web/static")).read_bytes()
    with ExitStack() as stack:
        slow = ask_and_read_nothing(service, stack)
        for _ in range(10):
            assert service.health() == 200
        assert read_until(slow[0], content).startswith(b"HTTP/1.1 200")
        slow[0].sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert slow[0].recv(65_536).startswith(b"HTTP/1.1 200"), "who goes on gets all of it, and the next answer"
        time.sleep(GIVEN_UP_S)
        assert not read_until(slow[1], content).endswith(content)
    assert len(workers(service.port)) == 2


def read_until(connection: socket, end: bytes) -> bytes:
    """What arrives, until this end or that of the connection."""
    read = b""
    with suppress(ConnectionError):
        while not read.endswith(end) and (received := connection.recv(65_536)):
            read += received
    return read


# ── planted faults ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_threads_that_wait_for_slow_senders_are_noticed(
    app: Flask, database: config.Settings, keys_dir: Path, tmp_path: Path
) -> None:
    """gunicorn's own threaded worker: there every slow sender holds a thread.

    Which worker takes a connection is chance, and one worker alone still answers: so they come in several rounds.
    """
    with serving(app, database, keys_dir, tmp_path / "log", options=GTHREAD) as service, ExitStack() as stack:
        assert service.health() == 200
        for _ in range(ROUNDS):
            begin_slowly(service, stack)
            if service.health(patience_s=4) is None:
                return
    pytest.fail("the service answers, however many senders are slow")


def test_threads_that_wait_for_slow_readers_are_noticed(
    app: Flask, database: config.Settings, keys_dir: Path, tmp_path: Path
) -> None:
    """gunicorn's own threaded worker, as above."""
    with serving(app, database, keys_dir, tmp_path / "log", options=GTHREAD) as service, ExitStack() as stack:
        assert service.health() == 200
        for _ in range(ROUNDS):
            ask_and_read_nothing(service, stack)
            if service.health(patience_s=4) is None:
                return
    pytest.fail("the service answers, however many readers are slow")


def test_a_service_without_a_bound_on_bodies_is_noticed(
    app: Flask, database: config.Settings, keys_dir: Path, tmp_path: Path
) -> None:
    with serving(app, database, keys_dir, tmp_path / "log", wsgi="tests.fuzz.unbounded_wsgi:app") as service:
        before = peaks_kib(service.port)
        body = b" " * 40 * MIB

        def grows() -> bool:
            """Not when a busy machine took so long over the body that its sender was taken for a slow one."""
            send(service.port, [head(service.acme, b"Content-Length: %d" % len(body)), body], ends=True)
            after = peaks_kib(service.port)
            return max(after[pid] - before[pid] for pid in before) > MOST_GROWTH_KIB

        assert any(grows() for _ in range(5))
