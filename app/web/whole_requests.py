"""How gunicorn's threads are kept for requests that are here whole: whoever sends or reads slowly holds none of them.

gunicorn's own threaded worker gives a connection a thread with its first byte, and then waits in it without an end, for
the rest of the request and for room for the answer: as many slow clients as there are threads stop the service. It also
lingers for two seconds, in the one loop that accepts connections, over each that it closes. Here all of them wait in
the poller, and large bodies, where a route takes them, in files (spool.py). TLS ends in the proxy: this worker speaks
none.
"""

import mmap
import re
import selectors
import socket
from functools import partial
from time import monotonic
from typing import Any

from gunicorn import http, util
from gunicorn.workers.gthread import _DEFER, ThreadWorker

from app.web.requests import MAX_BODY_BYTES
from app.web.spool import RETRY_AFTER_S, Announced, NoRoom, Spool, announced

#: From its first byte a request must be here within this time. On a connection that is silent gunicorn's `keepalive`
#: is the end, if it comes sooner.
ARRIVES_WITHIN_S = 10
#: A body of the largest size with its head; chunks have some more around them. What is longer is cut off.
MOST_BYTES = MAX_BODY_BYTES + 32 * 1024
#: Within this time an answer must be taken; some of it within gunicorn's `keepalive`, again and again.
TAKEN_WITHIN_S = 60
#: So long, in a thread, the rest of a body is read that was refused by its length.
DRAINS_WITHIN_S = 0.05
#: So much of what a client goes on sending after its answer is read, so that the answer is not lost to a reset.
MOST_IGNORED_BYTES = 256 * 1024

#: So much of a large request is taken before the next connection's turn comes.
PIECE_BYTES = 4 * 1024 * 1024

#: What `handle` returns for a connection that waits until more of its answer can be sent.
_UNSENT = object()

_TOO_LONG = b"HTTP/1.1 413 Content Too Large\r\n"
_NO_ROOM = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: %d\r\n" % RETRY_AFTER_S

_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]{1,20})[ \t]*\r\n", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding:", re.IGNORECASE)
_SIZE = re.compile(rb"([0-9a-fA-F]+)[ \t]*")


class Progress:
    """How far the chunks of a request were looked at: whoever sends many small ones has each looked at once."""

    def __init__(self) -> None:
        self.at = 0


def is_whole(request: bytes, progress: Progress | None = None) -> bool:
    """Whether the parser can read all of the request without waiting; so it is for one that the parser will refuse.

    A body that is longer than any that is taken need not be here: it is refused by its length, and never read. What
    ends lines and chunks must be as gunicorn has it, or else a thread would wait for the rest. `progress` is of the
    same request when less of it was here.
    """
    progress = progress or Progress()
    if progress.at:
        return _are_chunks_whole(request, progress)
    begins = 2 if request.startswith(b"\r\n") else 0  # an empty line before the first is allowed
    end = request.find(b"\r\n\r\n", begins) + 4
    if end < 4:
        return False
    head = request[:end]
    if _CHUNKED.search(head):
        progress.at = end
        return _are_chunks_whole(request, progress)
    length = _LENGTH.search(head)
    wanted = int(length[1]) if length else 0
    return wanted > MAX_BODY_BYTES or len(request) - end >= wanted


def _are_chunks_whole(request: bytes, progress: Progress) -> bool:
    while (end := request.find(b"\r\n", progress.at)) >= 0:
        size = _SIZE.fullmatch(request[progress.at : end].partition(b";")[0])
        if size is None:
            return True  # no chunk at all: the parser says so
        if int(size[1], 16) == 0:
            return request.find(b"\r\n\r\n", end) >= 0
        progress.at = end + 2 + int(size[1], 16) + 2
    return False


class WholeRequestWorker(ThreadWorker):  # type: ignore[misc]
    """gunicorn's threaded worker, with a thread for a request only once that is whole."""

    def handle(self, conn: Any) -> Any:
        """What to do with a connection where something has arrived: called in a thread, which it does not make wait.

        True keeps the connection, False closes it, `_DEFER` puts it into the poller until there is more, and `_UNSENT`
        until there is room for more.
        """
        if not hasattr(conn, "arrived"):
            conn.arrived, conn.began_s, conn.is_answered, conn.ignored, conn.outbox = b"", None, False, 0, None
            conn.progress, conn.spool, conn.is_looked_at = Progress(), None, False
            conn.close = lambda graceful=False: _close(conn)
        try:
            return self._go_on(conn)
        except OSError:
            return False

    def _go_on(self, conn: Any) -> Any:
        if conn.outbox is not None:
            return self._send_on(conn)
        if conn.is_answered:
            return self._ignore(conn)
        if conn.spool is not None:
            return self._spool_on(conn)
        has_ended = self._take(conn)
        if not conn.is_looked_at and b"\r\n\r\n" in conn.arrived[2:]:
            conn.is_looked_at = True
            if (large := announced(conn.arrived)) is not None:
                return self._begin_spool(conn, large)
        if is_whole(conn.arrived, conn.progress):
            return self._answer(conn)
        if has_ended or _is_late(conn):
            return False
        return self._turn_away(conn, _TOO_LONG) if len(conn.arrived) > MOST_BYTES else _DEFER

    def _take(self, conn: Any) -> bool:
        """Takes what is here. Whether the client has said that there will be no more."""
        if conn.parser is not None:
            conn.arrived += conn.parser.unreader.take_buffered()
        has_ended = False
        while not has_ended and len(conn.arrived) <= MOST_BYTES and (received := _received(conn)) is not None:
            conn.arrived += received
            has_ended = not received
        if conn.arrived and conn.began_s is None:
            conn.began_s = monotonic()
        return has_ended

    def _begin_spool(self, conn: Any, large: Announced) -> Any:
        try:
            conn.spool = Spool(large, conn.arrived)
        except NoRoom:
            return self._turn_away(conn, _NO_ROOM)
        conn.arrived, conn.began_s = b"", None
        return self._spool_on(conn)

    def _spool_on(self, conn: Any) -> Any:
        """Keeps what is here of a large request, until that is whole, or whoever sends it has had his time."""
        spool, has_ended, until = conn.spool, False, conn.spool.size + PIECE_BYTES
        try:
            while not has_ended and spool.size < until and (received := _received(conn)) is not None:
                spool.take(received)
                has_ended = not received
        except NoRoom:
            return self._turn_away(conn, _NO_ROOM)
        if spool.is_whole:
            return self._answer(conn)
        if has_ended or spool.is_late:
            return False
        return self._turn_away(conn, _TOO_LONG) if spool.is_too_long else _DEFER

    def _ignore(self, conn: Any) -> Any:
        """Reads on after the last answer, which a reset might take away from the client, until that ends too."""
        while (received := _received(conn)) is not None:
            conn.ignored += len(received)
            if not received or conn.ignored > MOST_IGNORED_BYTES:
                return False
        return False if _is_late(conn) else _DEFER

    def _answer(self, conn: Any) -> Any:
        """Lets gunicorn read and answer the request. What came after it stays for the next."""
        if conn.spool is not None:
            conn.parser = http.get_parser(self.cfg, conn.spool, conn.client)
        else:
            conn.parser = conn.parser or http.get_parser(self.cfg, conn.sock, conn.client)
            conn.parser.unreader.unread(conn.arrived)
        conn.arrived, conn.began_s, conn.data_ready, conn.progress = b"", None, True, Progress()
        conn.is_looked_at = False
        keeps = super().handle(conn)
        if conn.outbox is None:
            return keeps or self._end(conn)
        conn.keeps, conn.began_s = keeps, monotonic()
        return self._send_on(conn)

    def handle_request(self, req: Any, conn: Any) -> Any:
        """Has the service answer one request, whose body is read as ours are, and whose answer waits for nobody."""
        req.body = _Body(req.body, is_here=conn.spool is not None or _announced_length(req) <= MAX_BODY_BYTES)
        if conn.spool is not None:
            req.force_close()
        own, conn.sock = conn.sock, _Outbox(conn.sock)
        try:
            return super().handle_request(req, conn)
        finally:
            conn.outbox, conn.sock = conn.sock if conn.sock.unsent else None, own

    def _send_on(self, conn: Any) -> Any:
        """Sends what there is room for. When all is sent, the connection goes on as if it had been at once."""
        if not conn.outbox.flush():
            return False if monotonic() - conn.began_s > TAKEN_WITHIN_S else _UNSENT
        conn.outbox, conn.began_s = None, None
        return conn.keeps or self._end(conn)

    def finish_request(self, conn: Any, fs: Any) -> None:
        """Puts a connection into the poller: one whose answer is not all sent, until there is room for more of it."""
        if fs.cancelled() or fs.exception() is not None or fs.result() is not _UNSENT:
            super().finish_request(conn, fs)
            return
        conn.sock.setblocking(False)
        conn.timeout = monotonic() + self.cfg.keepalive
        self.pending_conns.append(conn)
        go_on = partial(self.on_pending_socket_readable, conn)
        self.poller.register(conn.sock, selectors.EVENT_WRITE, go_on)

    def handle_error(self, req: Any, client: Any, addr: Any, exc: Any) -> None:
        """Refuses what the parser does not take."""
        super().handle_error(req, _StatusOnly(client), addr, exc)

    def _keepalive_after(self, conn: Any, keepalive: bool) -> bool:
        """A body that is not here is hardly waited for: the connection ends."""
        return keepalive and bool(conn.parser.finish_body(deadline=monotonic() + DRAINS_WITHIN_S))

    def _turn_away(self, conn: Any, answer: bytes) -> Any:
        conn.sock.send(answer + b"Connection: close\r\nCache-Control: no-store\r\nContent-Length: 0\r\n\r\n")
        return self._end(conn)

    def _end(self, conn: Any) -> Any:
        """Says that nothing follows, and waits in the poller for the client to say so too (RFC 9112, section 9.6)."""
        if conn.spool is not None:
            conn.spool.close()
            conn.spool = None
        conn.sock.setblocking(False)
        conn.sock.shutdown(socket.SHUT_WR)
        conn.is_answered, conn.arrived, conn.began_s = True, b"", monotonic()
        return self._go_on(conn)


class _StatusOnly:
    """A socket for gunicorn's own refusals, whose pages would quote the request, and have no headers of ours."""

    def __init__(self, sock: Any) -> None:
        self._sock = sock

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)

    def sendall(self, answer: bytes) -> None:
        status = answer.partition(b"\r\n")[0]
        self._sock.sendall(status + b"\r\nConnection: close\r\nCache-Control: no-store\r\nContent-Length: 0\r\n\r\n")


class _Outbox:
    """Takes an answer as a socket does, and keeps what the client has no room for yet. Files are kept as they lie."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self.unsent: list[memoryview] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)

    def sendall(self, part: bytes | memoryview) -> None:
        self.unsent.append(memoryview(part))
        self.flush()

    def sendfile(self, file: Any, offset: int = 0, count: int | None = None) -> None:
        lies = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        self.sendall(lies[offset : None if count is None else offset + count])

    def flush(self) -> bool:
        """Sends what there is room for; whether that is all. Raises OSError when the client has gone."""
        while self.unsent:
            try:
                sent = self._sock.send(self.unsent[0], socket.MSG_DONTWAIT)
            except BlockingIOError:
                return False
            self.unsent[0] = self.unsent[0][sent:]
            if not self.unsent[0]:
                del self.unsent[0]
        return True


class _Body:
    """A body whose chunks may be malformed: that is told as a client who broke off, which is refused and is no bug.

    One that is not here is never waited for, in a thread, whatever the view thinks of it.
    """

    def __init__(self, body: Any, *, is_here: bool) -> None:
        self._body, self._is_here = body, is_here

    def __getattr__(self, name: str) -> Any:
        return getattr(self._body, name)

    @property
    def failed(self) -> bool:
        """Whether nobody knows where the next request begins."""
        return not self._is_here or self._body.failed is True

    def read(self, size: int | None = None) -> bytes:
        if not self._is_here:
            raise OSError("the body is not here")
        try:
            found: bytes = self._body.read(size)
        except http.errors.ParseException as error:
            raise OSError("the body is malformed") from error
        return found


def _close(conn: Any) -> None:
    if conn.spool is not None:
        conn.spool.close()
    util.close(conn.sock)


def _announced_length(req: Any) -> int:
    """What the head says of the body's length, as the parser has found it good; 0 where it says nothing."""
    return next((int(value) for name, value in req.headers if name == "CONTENT-LENGTH"), 0)


def _received(conn: Any) -> bytes | None:
    """What is here; nothing when the client has ended its side, None when it may send more."""
    conn.sock.setblocking(False)
    try:
        received: bytes = conn.sock.recv(65_536)
    except BlockingIOError:
        return None
    return received


def _is_late(conn: Any) -> bool:
    return conn.began_s is not None and monotonic() - conn.began_s > ARRIVES_WITHIN_S
