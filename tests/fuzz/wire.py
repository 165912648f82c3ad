"""Bytes on a connection to the service, whatever they are; and what the service's processes need meanwhile."""

import os
import re
import signal
import socket
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

PATIENCE_S = 30


@dataclass(frozen=True)
class Reply:
    """The last status that came, or None where the connection was closed without a word; and after how long."""

    status: int | None
    took_s: float
    text: bytes


def send(port: int, parts: Iterable[bytes], *, ends: bool = False) -> Reply:
    """Sends all parts, or as much as is taken, and reads until the service closes. `ends`: says that all was sent."""
    began_s = time.monotonic()
    with socket.create_connection(("127.0.0.1", port), PATIENCE_S) as connection:
        with suppress(ConnectionError):
            for part in parts:
                connection.sendall(part)
            if ends:
                connection.shutdown(socket.SHUT_WR)
        return read(connection, began_s)


def read(connection: socket.socket, began_s: float) -> Reply:
    """What is answered until there is a refusal, or the end."""
    text = b""
    with suppress(ConnectionError):
        while received := connection.recv(65_536):
            text += received
            if re.search(rb"HTTP/1\.1 [45]", text):
                break
    statuses = re.findall(rb"HTTP/1\.1 ([0-9]{3})", text)
    return Reply(int(statuses[-1]) if statuses else None, time.monotonic() - began_s, text)


def workers(port: int) -> list[int]:
    """The process IDs of the gunicorn workers that serve this port."""
    parents = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if f"127.0.0.1:{port}".encode() in (folder / "cmdline").read_bytes().split(b"\0"):
                parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
    return [pid for pid, parent in parents.items() if parent in parents]


def one_by_one(port: int) -> Iterator[int]:
    """Each worker's process ID, while all the others stand still: what is asked meanwhile, this one answers."""
    everyone = workers(port)
    for one in everyone:
        with _stopped([pid for pid in everyone if pid != one]):
            yield one


@contextmanager
def _stopped(pids: list[int]) -> Iterator[None]:
    try:
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def peaks_kib(port: int) -> dict[int, int]:
    """For each worker the most memory that it has ever held."""
    return {
        pid: int(re.findall(r"VmHWM:\s*([0-9]+) kB", Path(f"/proc/{pid}/status").read_text())[0])
        for pid in workers(port)
    }
