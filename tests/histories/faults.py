"""What goes wrong while clients work: web workers are killed, backends ended, connections cut."""

import os
import random
import signal
import socket
import threading
from collections import Counter
from contextlib import suppress
from pathlib import Path

from sqlalchemy import NullPool, create_engine

from app.processes import arguments_of
from tests.cutting_proxy import PATIENCE_S, Cut, CuttingProxy

CUTS: tuple[Cut, ...] = ("request", "half request", "answer", "half answer", "pass")
#: One of so many operations meets the fault; at these many cuts, retries find most outcomes.
KILL_ONE_IN, END_ONE_IN, CUT_ONE_IN = 75, 25, 12
#: How often to look for a backend in the middle of something.
LOOKS = 200


class CuttingCrowd(CuttingProxy):
    """Cuts each connection wherever the dice say, and carries many at once."""

    def __init__(self, server_port: int, dice: random.Random) -> None:
        super().__init__(server_port)
        self._dice = dice

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._cut, args=(client, self._dice.choice(CUTS)), daemon=True).start()

    def _cut(self, client: socket.socket, cut: Cut) -> None:
        """A server that is killed meanwhile cuts as well."""
        with client, suppress(OSError):
            client.settimeout(PATIENCE_S)
            self._carry(client, cut)


class Faults:
    """Strikes at operations that the seed has drawn: by their number and not by the clock, however busy the machine."""

    def __init__(self, seed: int, operations: int, *, port: int, admin_url: str) -> None:
        dice = random.Random(f"faults {seed}")
        kills, ends = max(1, operations // KILL_ONE_IN), max(1, operations // END_ONE_IN)
        self._kills = frozenset(dice.sample(range(operations // 10, operations), kills))
        self._ends = frozenset(dice.sample(range(operations // 10, operations), ends))
        self._port, self._dice = port, dice
        self._admin = create_engine(admin_url, isolation_level="AUTOCOMMIT", poolclass=NullPool)
        self.struck: Counter[str] = Counter()

    def strike(self, number: int) -> None:
        """Whatever is due at this operation, in the thread that is about to carry it out."""
        if number in self._kills:
            self._kill_worker()
        if number in self._ends:
            self._end_backend()

    def _kill_worker(self) -> None:
        workers = workers_of(self._port)
        if len(workers) > 1:  # the master is about to replace the one that is missing
            with suppress(ProcessLookupError):
                os.kill(self._dice.choice(workers), signal.SIGKILL)
                self.struck["workers killed"] += 1

    def _end_backend(self) -> None:
        """One that is in the middle of a transaction, if there is one to be seen."""
        with self._admin.connect() as db:
            for _ in range(LOOKS):
                if db.exec_driver_sql(_END_ONE).first() is not None:
                    self.struck["backends ended"] += 1
                    return


_END_ONE = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE application_name = 'scrip' AND datname = current_database() AND state <> 'idle' AND pid <> pg_backend_pid()
    ORDER BY random() LIMIT 1
"""


def workers_of(port: int) -> list[int]:
    """The web workers behind this port: what has the same command line as its parent, which listens there."""
    bind = f"127.0.0.1:{port}"
    pids = {int(path.name) for path in Path("/proc").glob("[0-9]*") if bind in arguments_of(int(path.name))}
    return sorted(pid for pid in pids if _parent_of(pid) in pids)


def _parent_of(pid: int) -> int | None:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return None
