"""The demo's processes: started together, started again when one dies, ended in order, found again after a kill -9."""

import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from app.demo.folder import ROOT, DataFolder, DemoError
from app.processes import birth_of, end_process, is_alive, kill_group, open_log, start_child, wait_until

NOTE = "children.json"
#: A gunicorn that ends in order waits for its requests; after that it is killed.
ENDING = ((signal.SIGTERM, 5.0), (signal.SIGKILL, 5.0))
#: Nobody waits for the answers of a killed demo's service any more.
LEFTOVER_PATIENCE_S = 1.0
DEATHS_FORGIVEN, DEATHS_WITHIN_S = 5, 60.0


@dataclass
class Child:
    """One process that the demo keeps running."""

    name: str
    arguments: Sequence[str]
    environment: Mapping[str, str]
    pass_fds: Sequence[int] = ()
    #: Which Python runs it, and where: the shop has an environment of its own.
    python: str = sys.executable
    cwd: Path = ROOT
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)


class Children:
    """All of them. Their output goes to `logs/NAME.log` in the data folder."""

    def __init__(self, folder: DataFolder, say: Callable[[str], None]) -> None:
        self._folder = folder
        self._say = say
        self._children: list[Child] = []
        self._deaths: deque[float] = deque(maxlen=DEATHS_FORGIVEN)

    def start(self, child: Child) -> None:
        """Starts a Python process and keeps it in mind, also for a start after a kill -9 of this one."""
        with open_log(self.log_of(child.name)) as log:
            child.process = start_child(
                [child.python, "-P", *child.arguments],
                log=log,
                env=child.environment,
                cwd=child.cwd,
                pass_fds=child.pass_fds,
            )
        if child not in self._children:
            self._children.append(child)
        self._write_note()

    def run(self, child: Child, *, patience_s: float) -> None:
        """Runs a process to its end. Raises DemoError with the end of its log when it fails."""
        self.start(child)
        process = child.process
        if process is None or not wait_until(lambda: process.poll() is not None, patience_s):
            raise DemoError(f"{child.name} is not done after {patience_s:.0f} s; {self._end_of_log(child.name)}")
        self._children.remove(child)
        if process.returncode != 0:
            raise DemoError(f"{child.name} failed; {self._end_of_log(child.name)}")

    def refuse_deaths(self) -> None:
        """Raises DemoError when one has ended: while all is starting, that is no accident."""
        for child in self._children:
            if child.process is not None and (status := child.process.poll()) is not None:
                raise DemoError(f"{child.name} ended ({_in_words(status)}); {self._end_of_log(child.name)}")

    def revive(self) -> None:
        """Starts again what died. Raises DemoError when that happens too often to be an accident."""
        for child in self._children:
            if child.process is not None and (status := child.process.poll()) is not None:
                kill_group(child.process.pid)  # its own workers, which still hold its sockets
                self.count_death(f"{child.name} ended ({_in_words(status)})", self.log_of(child.name))
                self.start(child)

    def count_death(self, what: str, log: Path) -> None:
        """Says that a process died, and gives up when too many did."""
        now = time.monotonic()
        if len(self._deaths) == DEATHS_FORGIVEN and now - self._deaths[0] < DEATHS_WITHIN_S:
            raise DemoError(f"{what}, after {DEATHS_FORGIVEN} such deaths in a minute; {_end_of(log)}")
        self._deaths.append(now)
        self._say(f"{what}; starting it again. Its log: {log}")

    def stop(self) -> None:
        """Ends all of them at once, and waits until nothing of theirs is left."""
        running = [child.process for child in self._children if child.process is not None]
        for process in running:
            if process.poll() is None:
                process.terminate()
        for process in running:
            _end(process)
        self._children.clear()
        (self._folder.path / NOTE).unlink(missing_ok=True)

    def log_of(self, name: str) -> Path:
        """Where a child's output goes."""
        return self._folder.private("logs") / f"{name}.log"

    def _write_note(self) -> None:
        births = {str(child.process.pid): birth_of(child.process.pid) for child in self._children if child.process}
        self._folder.write(NOTE, births)

    def _end_of_log(self, name: str) -> str:
        return _end_of(self.log_of(name))


def end_leftovers(folder: DataFolder) -> bool:
    """Ends what a killed start of this folder left running, and nothing else; returns whether there was anything."""
    left = [int(pid) for pid, birth in folder.read(NOTE).items() if birth and birth_of(int(pid)) == birth]
    for pid in left:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
    wait_until(lambda: not any(is_alive(pid) for pid in left), LEFTOVER_PATIENCE_S)
    for pid in left:
        kill_group(pid)
    (folder.path / NOTE).unlink(missing_ok=True)
    return bool(left)


def _end(process: subprocess.Popen[bytes]) -> None:
    end_process(process.pid, ENDING, lambda: process.poll() is not None)
    kill_group(process.pid)


def _end_of(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines()[-20:] if log.exists() else []
    return f"its log ({log}) ends with:\n" + "\n".join(lines)


def _in_words(status: int) -> str:
    return f"killed by {signal.Signals(-status).name}" if status < 0 else f"status {status}"
