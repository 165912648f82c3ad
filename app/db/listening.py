"""What one process changes, others hear of at once (PostgreSQL's NOTIFY and LISTEN), and when they cannot hear."""

import os
import threading

from psycopg import Error, connect
from psycopg.conninfo import make_conninfo
from sqlalchemy import Connection, func, select

from app.config import settings
from app.db.engine import NOTICING
from app.db.migrate import libpq

#: How long a thread that cannot listen waits before it tries again.
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.2, 5.0
#: So often a listening thread looks whether it is still wanted.
LOOK_S = 5.0


def tell(db: Connection, channel: str) -> None:
    """Lets everybody who listens know, when this transaction commits."""
    db.execute(select(func.pg_notify(channel, "")))


class Listener(threading.Thread):
    """Listens on one connection of its own, for as long as the process lives or somebody stops it.

    `changes` grows whenever something was told, or may have been while nobody listened. `is_listening` is False while
    nobody does: whoever must know then has to look for himself.
    """

    def __init__(self, url: str, channel: str) -> None:
        super().__init__(name=f"listening on {channel}", daemon=True)
        self.url, self.channel, self.process_id = url, channel, os.getpid()
        self.changes, self.is_listening = 0, False
        self._stopped = threading.Event()

    def stop(self) -> None:
        """It ends within LOOK_S."""
        self._stopped.set()

    def run(self) -> None:
        """The thread."""
        pause_s = FIRST_PAUSE_S
        while not self._stopped.is_set():
            try:
                self._listen()
                pause_s = FIRST_PAUSE_S
            except Error:  # the server is away, or has ended the connection
                pause_s = FIRST_PAUSE_S if self.is_listening else min(2 * pause_s, LONGEST_PAUSE_S)
            finally:
                self.is_listening = False
            self._stopped.wait(pause_s)

    def _listen(self) -> None:
        conninfo = make_conninfo(libpq(self.url), application_name="scrip listening", **NOTICING)
        with connect(conninfo, autocommit=True) as db:
            db.execute(f'LISTEN "{self.channel}"'.encode())
            self.changes += 1
            self.is_listening = True
            while not self._stopped.is_set():
                for _ in db.notifies(timeout=LOOK_S, stop_after=1):
                    self.changes += 1


_listeners: dict[str, Listener] = {}
_starting = threading.Lock()


def listener(channel: str) -> Listener:
    """This process's listener on a channel of its database, which it starts when there is none that lives."""
    found = _listeners.get(channel)
    if found is not None and _is_ours(found):
        return found
    with _starting:
        found = _listeners.get(channel)
        if found is None or not _is_ours(found):
            if found is not None:
                found.stop()
            found = _listeners[channel] = Listener(settings().database_url, channel)
            found.start()
        return found


def _is_ours(found: Listener) -> bool:
    """A forked process has none of its parent's threads."""
    return found.process_id == os.getpid() and found.url == settings().database_url and found.is_alive()
