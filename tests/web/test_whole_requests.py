"""A request is whole when the parser can read all of it without waiting."""

import re
import socket
from types import SimpleNamespace

import pytest

from app.web import whole_requests
from app.web.requests import MAX_BODY_BYTES
from app.web.whole_requests import is_whole

HEAD = b"POST /v1/cards HTTP/1.1\r\nHost: x\r\n"
WHOLE = {
    "no body": HEAD + b"\r\n",
    "a body": HEAD + b"Content-Length: 2\r\n\r\n{}",
    "more than its body": HEAD + b"Content-Length: 2\r\n\r\n{}GET",
    "an empty body": HEAD + b"Content-Length: 0\r\n\r\n",
    "a name in capitals": HEAD + b"CONTENT-LENGTH:2\r\n\r\n{}",
    "chunks": HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    "chunks with extension and trailer": HEAD + b"Transfer-Encoding: chunked\r\n\r\n2;a=b\r\n{}\r\n0\r\nX: y\r\n\r\n",
    "a chunk that looks like an end": HEAD + b"Transfer-Encoding: chunked\r\n\r\n7\r\n\r\n0\r\n\r\n\r\n0\r\n\r\n",
    "a length that is refused": HEAD + b"Content-Length: %d\r\n\r\n" % (MAX_BODY_BYTES + 1),
    "a length that is no number": HEAD + b"Content-Length: two\r\n\r\n",
    "chunks that are none": HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
    "an empty line before it": b"\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n",
}


@pytest.mark.parametrize("request_", WHOLE.values(), ids=WHOLE)
def test_whole(request_: bytes) -> None:
    assert is_whole(request_)


#: These are refused whatever follows, and so before their end.
REFUSED = {"a length that is refused", "a length that is no number", "chunks that are none"}
CUT = [name for name in WHOLE if name != "more than its body" and name not in REFUSED]


@pytest.mark.parametrize("name", CUT)
def test_nothing_less_is_whole(name: str) -> None:
    assert [end for end in range(len(WHOLE[name])) if is_whole(WHOLE[name][:end])] == []


def test_a_body_of_the_largest_size_is_waited_for() -> None:
    head = HEAD + b"Content-Length: %d\r\n\r\n" % MAX_BODY_BYTES
    assert not is_whole(head + b" " * (MAX_BODY_BYTES - 1))
    assert is_whole(head + b" " * MAX_BODY_BYTES)


NEVER = {
    "lines of one character": b"GET / HTTP/1.1\nHost: x\n\n",
    "two empty lines": b"\r\n\r\nGET / HTTP/1.1\r\n",
    "a chunk of 2^64": HEAD + b"Transfer-Encoding: chunked\r\n\r\n10000000000000000\r\n{}\r\n0\r\n\r\n",
    "a chunk without end": HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"1" * 20_000,
    "a chunk with an odd extension": HEAD + b"Transfer-Encoding: chunked\r\n\r\n5;a=\nb\r\nxy",
}


@pytest.mark.parametrize("request_", NEVER.values(), ids=NEVER)
def test_what_the_parser_would_wait_for_is_not_whole(request_: bytes) -> None:
    assert not is_whole(request_)


def test_each_chunk_is_looked_at_once_however_slowly_they_come(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else some dozens of clients that send many small ones keep a processor at work."""
    looked: list[bytes] = []
    size = whole_requests._SIZE

    class Counting:
        def fullmatch(self, text: bytes) -> re.Match[bytes] | None:
            looked.append(text)
            return size.fullmatch(text)

    monkeypatch.setattr(whole_requests, "_SIZE", Counting())
    worker = whole_requests.WholeRequestWorker.__new__(whole_requests.WholeRequestWorker)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        conn = SimpleNamespace(sock=ours, parser=None)
        theirs.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
        for _ in range(50):
            theirs.sendall(b"1\r\nx\r\n")
            assert worker.handle(conn) is not False
    assert len(looked) == 50
