"""The pid file of an embedded server: whether the server is ready, and whether a killed start left one behind."""

import signal
from contextlib import suppress
from pathlib import Path

from app.db.embedded_install import EmbeddedError
from app.processes import arguments_of, end_process, is_alive, name_of

#: First the polite ending, that leaves nothing to recover, then the quick one, then the rude one.
ENDING = ((signal.SIGINT, 10.0), (signal.SIGQUIT, 5.0), (signal.SIGKILL, 5.0))


def end_leftover(data: Path) -> None:
    """Ends the server that a killed parent left over this data folder, and removes the pid file of one long gone.

    The number alone proves nothing: after a restart of the machine any process may bear it.
    """
    pid = _noted_pid(data)
    if pid is None or not is_alive(pid):
        return  # the server itself copes with a dead one's file
    if _serves(pid, data):
        if not end_process(pid, ENDING, lambda: not is_alive(pid)):
            raise EmbeddedError(f"process {pid} still serves {data} and cannot be ended")
    elif not any(_works_in(int(entry.name), data) for entry in Path("/proc").iterdir() if entry.name.isdecimal()):
        (data / "postmaster.pid").unlink()


def _serves(pid: int, data: Path) -> bool:
    """Whether a process is PostgreSQL over this folder, by its name and its -D."""
    arguments = arguments_of(pid)
    return name_of(pid) == "postgres" and "-D" in arguments and arguments[arguments.index("-D") + 1] == str(data)


def _works_in(pid: int, data: Path) -> bool:
    """Whether a process is a part of PostgreSQL over this folder that outlived its head."""
    try:
        return name_of(pid) == "postgres" and Path(f"/proc/{pid}/cwd").readlink() == data.resolve()
    except OSError:
        return False


def _noted_pid(data: Path) -> int | None:
    with suppress(FileNotFoundError, ValueError, IndexError):
        return int((data / "postmaster.pid").read_text().splitlines()[0])
    return None


def is_ready(data: Path, pid: int) -> bool:
    """The server writes its state into the eighth line of its pid file."""
    with suppress(FileNotFoundError):
        lines = (data / "postmaster.pid").read_text().splitlines()
        return len(lines) >= 8 and lines[0] == str(pid) and lines[7].strip() == "ready"
    return False
