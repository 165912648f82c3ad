"""What the demo listens on: taken before anything else is done, so that a port in use is said at once."""

import errno
import socket
from dataclasses import dataclass

from app.demo.folder import DemoError
from app.processes import wait_until

LOOPBACK = "127.0.0.1"


@dataclass(frozen=True)
class Sockets:
    """What the children listen on. The parent keeps them open: a child that is started again inherits them again."""

    web: socket.socket
    pages: socket.socket
    mail: socket.socket
    store: socket.socket | None = None

    @property
    def store_url(self) -> str | None:
        """Where the shop is, if there is one."""
        return None if self.store is None else f"http://{LOOPBACK}:{port_of(self.store)}/"

    @property
    def base_url(self) -> str:
        """The service's origin."""
        return f"http://{LOOPBACK}:{port_of(self.web)}"

    @property
    def outbox_url(self) -> str:
        """Where the letters are shown."""
        return f"http://{LOOPBACK}:{port_of(self.pages)}/"

    def close(self) -> None:
        """Lets others have the ports."""
        for each in (self.web, self.pages, self.mail, self.store):
            if each is not None:
                each.close()


def open_sockets(port: int, patience_s: float, store_port: int | None = None) -> Sockets:
    """Takes the port for the service, the next one for the outbox if it is free, and any for mail. Raises DemoError.

    `store_port` is the shop's; None: there is no shop.
    """
    web = _listen(port, patience_s)
    store = None if store_port is None else _listen(store_port, patience_s, "--store-port")
    return Sockets(web=web, pages=_listen_near(port_of(web) + 1), mail=_listen(0), store=store)


def _listen(port: int, patience_s: float = 0, option: str = "--port") -> socket.socket:
    """A socket that listens on loopback, handed to a child later. Raises DemoError when the port is taken."""
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if not wait_until(lambda: _binds(listening, port), patience_s):
        listening.close()
        raise DemoError(f"port {port} is in use by another program: choose another with {option}")
    listening.listen(1024)
    return listening


def _listen_near(port: int) -> socket.socket:
    """The outbox's address stays the same from start to start when nobody else has it."""
    try:
        return _listen(port)
    except (DemoError, OverflowError):
        return _listen(0)


def _binds(listening: socket.socket, port: int) -> bool:
    try:
        listening.bind((LOOPBACK, port))
    except PermissionError:
        raise DemoError(f"port {port} is reserved for root: choose one above 1023 with --port") from None
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        return False
    return True


def port_of(listening: socket.socket) -> int:
    """The port that it was given."""
    return int(listening.getsockname()[1])
