"""Child processes that die with their parent, and how a later start recognises what a killed one left behind."""

import ctypes
import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

PR_SET_PDEATHSIG = 1
POLL_S = 0.01
LOG_LIMIT_BYTES = 5_000_000

_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


@dataclass(frozen=True, slots=True)
class Account:
    """An account of the operating system that a child runs as."""

    name: str
    uid: int
    gid: int


class InUse(Exception):
    """Another process holds the lock; the message says which."""


def start_child(
    argv: Sequence[str | Path],
    *,
    log: IO[bytes],
    env: Mapping[str, str],
    cwd: Path,
    account: Account | None = None,
    when_parent_dies: signal.Signals = signal.SIGTERM,
    pass_fds: Sequence[int] = (),
) -> subprocess.Popen[bytes]:
    """Starts a child in a session of its own, so that a terminal's Ctrl-C reaches only the parent, which ends all.

    The kernel sends `when_parent_dies` when the *thread* that called this ends: call it from a thread that lives on.
    """
    return subprocess.Popen(
        [str(part) for part in argv],
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        env=dict(env),
        cwd=cwd,
        start_new_session=True,
        pass_fds=pass_fds,
        preexec_fn=_die_with(os.getpid(), when_parent_dies),
        **_as_account(account),
    )


def open_log(path: Path) -> IO[bytes]:
    """A child's log, which only its owner reads; one that grew large starts afresh."""
    if path.exists() and path.stat().st_size > LOG_LIMIT_BYTES:
        path.unlink()
    return open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "wb")


def run_as(account: Account | None, argv: Sequence[str | Path], *, env: Mapping[str, str]) -> tuple[int, str]:
    """Runs a command as an account; returns its status and what it said. Interrupted, it leaves no child of its own."""
    process = subprocess.Popen(
        [str(part) for part in argv],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env=dict(env),
        cwd="/",
        start_new_session=True,
        preexec_fn=_die_with(os.getpid(), signal.SIGTERM),
        **_as_account(account),
    )
    try:
        said, _ = process.communicate()
    except BaseException:
        kill_group(process.pid)
        process.communicate()
        raise
    return process.returncode, said


def end_process(pid: int, steps: Sequence[tuple[signal.Signals, float]], gone: Callable[[], bool]) -> bool:
    """Sends signal after signal, each with its seconds of patience; returns whether the process is gone."""
    for signum, patience_s in steps:
        with suppress(ProcessLookupError):
            os.kill(pid, signum)
        if wait_until(gone, patience_s):
            return True
    return gone()


def kill_group(pid: int) -> None:
    """Kills whatever is left in the session that a child led: a server's own workers."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def wait_until(true: Callable[[], bool], patience_s: float) -> bool:
    """Looks every few milliseconds; returns whether it became true in time."""
    deadline = time.monotonic() + patience_s
    while not true():
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_S)
    return True


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that ended and was not yet waited for does not."""
    state = _stat(pid)
    return state is not None and state[0] != "Z"


def birth_of(pid: int) -> str | None:
    """What tells a process from a later one with the same number: this boot, and the tick at which it started."""
    state = _stat(pid)
    if state is None:
        return None
    return f"{Path('/proc/sys/kernel/random/boot_id').read_text().strip()}:{state[19]}"


def name_of(pid: int) -> str | None:
    """The name of a process's program."""
    return _read(f"/proc/{pid}/comm")


def arguments_of(pid: int) -> list[str]:
    """A process's command line; empty when it is gone."""
    return (_read(f"/proc/{pid}/cmdline") or "").split("\0")[:-1]


def lock_file(path: Path, *, patience_s: float) -> IO[str]:
    """Takes a lock that ends with this process, however it ends. Raises InUse with the holder's number."""
    file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600), "r+")
    if not wait_until(lambda: _locks(file), patience_s):
        holder = file.read().strip() or "unknown"
        file.close()
        raise InUse(f"{path.parent} is in use by process {holder}")
    file.truncate(0)
    file.write(f"{os.getpid()}\n")
    file.flush()
    return file


def _locks(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _die_with(parent: int, signum: signal.Signals) -> Callable[[], None]:
    """What a child does between fork and exec: after privileges were dropped, because a change of account undoes it."""

    def die_with_parent() -> None:
        if _libc is not None:
            _libc.prctl(PR_SET_PDEATHSIG, int(signum), 0, 0, 0)
            if os.getppid() != parent:  # it died before we asked
                os._exit(1)

    return die_with_parent


def _as_account(account: Account | None) -> dict[str, Any]:
    """The arguments of subprocess that drop privileges."""
    if account is None:
        return {}
    return {"user": account.uid, "group": account.gid, "extra_groups": []}


def _stat(pid: int) -> list[str] | None:
    """The fields of /proc/PID/stat from the third on: the second, a name, may hold anything."""
    text = _read(f"/proc/{pid}/stat")
    return text.rpartition(")")[2].split() if text else None


def _read(path: str) -> str | None:
    try:
        return Path(path).read_text(errors="replace").removesuffix("\n")
    except (FileNotFoundError, ProcessLookupError):
        return None
