"""Large bodies on their way in: in files without a name, some at once, each no longer than its size may take.

Only the routes that `requests.allow_large` names have any, and only whoever shows a good access token for them gets a
file: of all others no more than the head is ever kept.
"""

import os
import re
import tempfile
import threading
from collections import Counter
from dataclasses import dataclass
from time import monotonic

from app.web.requests import MAX_BODY_BYTES, Large, large_at

#: In one process; who comes while so many are on their way is asked to come again.
MOST_AT_ONCE = 4
#: And of one sender, so that the others find room.
MOST_OF_ONE = 2
#: Of whom is slower than this on the whole, after the first seconds, the connection is closed.
LEAST_BYTES_PER_S, FIRST_S, MOST_S = 128 * 1024, 10, 240
#: Chunks have something around them.
MORE_BYTES = 1024 * 1024
#: The longest line before a chunk, and the longest trailer, as gunicorn has them by default; what is longer it refuses.
LONGEST_CHUNK_LINE = 8_190
#: Each chunk costs the same, however small. Beyond the first ones they have so many bytes on average.
LEAST_CHUNK_BYTES, FREE_CHUNKS = 256, 1_000
RETRY_AFTER_S = 5

_REQUEST = re.compile(rb"(?:\r\n)?POST (/[!->@-~]*)(?:\?[!-~]*)? HTTP/1\.[01]\r\n")
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]{1,20})[ \t]*(?=\r\n)", re.IGNORECASE)
_CODING = re.compile(rb"\r\ntransfer-encoding:[ \t]*([!-~ \t]*)(?=\r\n)", re.IGNORECASE)
_AUTHORIZATION = re.compile(rb"\r\nauthorization:[ \t]*([!-~ ]{1,8190})(?=\r\n)", re.IGNORECASE)
_SIZE = re.compile(rb"([0-9a-fA-F]+)[ \t]*")

#: Who has how much room now.
_taken: Counter[str] = Counter()
_taking = threading.Lock()


class NoRoom(Exception):
    """There is no room for another body: on the disk, or beside the others."""


@dataclass(frozen=True, slots=True)
class Announced:
    """A large request by its head, which ends at `body_at`; `length` is None where it comes in chunks."""

    body_at: int
    length: int | None
    most_bytes: int
    sender: str


def announced(arrived: bytes) -> Announced | None:
    """What the head says, where it is all here and announces a large body from somebody who may send one.

    Everything odd is left to the parser, which refuses it.
    """
    found = _REQUEST.match(arrived)
    large = large_at(found[1].decode("ascii")) if found else None
    body_at = arrived.find(b"\r\n\r\n", 2) + 4
    if large is None or body_at < 4:
        return None
    head = arrived[: body_at - 2]
    lengths, codings = _LENGTH.findall(head), _CODING.findall(head)
    if codings and not lengths and [each.strip().lower() for each in codings] == [b"chunked"]:
        length = None
    elif len(lengths) == 1 and not codings and MAX_BODY_BYTES < int(lengths[0]) <= large.most_bytes:
        length = int(lengths[0])
    else:
        return None
    sender = _sender_of(head, large)
    return None if sender is None else Announced(body_at, length, large.most_bytes, sender)


def _sender_of(head: bytes, large: Large) -> str | None:
    shown = _AUTHORIZATION.findall(head)
    return large.admits(shown[0].decode("ascii").strip(" ")) if len(shown) == 1 else None


def _take_place(sender: str) -> bool:
    with _taking:
        if _taken.total() >= MOST_AT_ONCE or _taken[sender] >= MOST_OF_ONE:
            return False
        _taken[sender] += 1
        return True


def _give_place_back(sender: str) -> None:
    with _taking:
        _taken[sender] -= 1
        if not _taken[sender]:
            del _taken[sender]


class Spool:
    """A request that is being kept, head and all; then what gunicorn's parser reads from in place of the socket."""

    def __init__(self, what: Announced, arrived: bytes) -> None:
        """Raises NoRoom."""
        self._what, self._began_s, self._chunk_at = what, monotonic(), what.body_at
        self.size, self._read_at, self._chunks, self._is_closed = 0, 0, 0, False
        if not _take_place(what.sender):
            raise NoRoom
        try:
            self._file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 – it lives as long as this does
            self.take(arrived)
        except (OSError, NoRoom):
            self._is_closed = True
            _give_place_back(what.sender)
            raise NoRoom from None

    def take(self, part: bytes) -> None:
        """Keeps some more. Raises NoRoom: the disk is full."""
        try:
            while part:
                part = part[self._file.write(part) or 0 :]
        except OSError:
            raise NoRoom from None
        self.size = self._file.tell()

    @property
    def is_late(self) -> bool:
        allowed_s = min(MOST_S, FIRST_S + self.size / LEAST_BYTES_PER_S)
        return monotonic() - self._began_s > allowed_s

    @property
    def is_too_long(self) -> bool:
        return self.size > self._what.body_at + self._what.most_bytes + MORE_BYTES or self._is_minced

    @property
    def _is_minced(self) -> bool:
        so_far = self._chunk_at - self._what.body_at
        return self._chunks > FREE_CHUNKS and so_far < self._chunks * LEAST_CHUNK_BYTES

    @property
    def is_whole(self) -> bool:
        """Whether the parser can read all of it, or as much as it needs to refuse it."""
        if self._what.length is not None:
            return self.size - self._what.body_at >= self._what.length
        while self._chunk_at < self.size and not self._is_minced:
            window = os.pread(self._file.fileno(), 2 * LONGEST_CHUNK_LINE, self._chunk_at)
            line, ends, rest = window.partition(b"\r\n")
            if not ends:
                return len(window) > LONGEST_CHUNK_LINE
            size = _SIZE.fullmatch(line.partition(b";")[0])
            if size is None:
                return True
            if int(size[1], 16) == 0:
                return rest.startswith(b"\r\n") or b"\r\n\r\n" in rest or len(rest) >= LONGEST_CHUNK_LINE
            self._chunk_at += len(line) + 2 + int(size[1], 16) + 2
            self._chunks += 1
        return False

    def recv(self, size: int) -> bytes:
        """As a socket has it, whose sender has ended: nothing, after the last byte."""
        part = os.pread(self._file.fileno(), size, self._read_at)
        self._read_at += len(part)
        return part

    def close(self) -> None:
        """Gives the room back; again does nothing."""
        if not self._is_closed:
            self._is_closed = True
            self._file.close()
            _give_place_back(self._what.sender)
