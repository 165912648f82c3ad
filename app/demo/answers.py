"""Whether a server of the demo answers yet: all of them accept connections before they are loaded."""

from collections.abc import Callable
from http.client import HTTPConnection, HTTPException

from app.demo.folder import DemoError
from app.demo.sockets import LOOPBACK
from app.processes import wait_until

PATIENCE_S = 60.0


def wait_for_answer(port: int, path: str, look: Callable[[], None], *, name: str = "web") -> None:
    """Waits for a 200. `look` raises when waiting is in vain. Raises DemoError when it takes too long."""

    def answers() -> bool:
        look()
        connection = HTTPConnection(LOOPBACK, port, timeout=2)
        try:
            connection.request("GET", path)
            return connection.getresponse().status == 200
        except (OSError, HTTPException):
            return False
        finally:
            connection.close()

    if not wait_until(answers, PATIENCE_S):
        raise DemoError(f"{path} does not answer after {PATIENCE_S:.0f} s: see logs/{name}.log in the data folder")
