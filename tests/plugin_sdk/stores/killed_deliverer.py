"""A deliverer as a process of its own, which kills itself as kill -9 does, at the moment that it is told.

Asked as `killed_deliverer.py MOMENT AHEAD_S TABLE`, with the settings of `python -m scrip_sdk` in its environment.
"""

import argparse
import os
import signal
import sys
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from scrip_sdk.__main__ import _client, _outbox
from scrip_sdk.outbox import utc_now
from scrip_sdk.outbox.deliver import deliver

#: Claimed and not yet sent; answered and not yet written down; written down and not yet said; and not at all.
MOMENTS = ("claimed", "answered", "written", "never")


def dying(call: Callable[..., Any]) -> Callable[..., Any]:
    """The same, and then the end."""

    def call_and_die(*args: Any, **named: Any) -> Any:
        call(*args, **named)
        os.kill(os.getpid(), signal.SIGKILL)

    return call_and_die


def main() -> None:
    moment, ahead_s, table = sys.argv[1:]
    outbox: Any = _outbox(argparse.Namespace(outbox=None, table=table))
    client: Any = _client()
    where = {"claimed": (outbox, "claim"), "answered": (client, "settle"), "written": (outbox, "done")}
    if moment in where:
        of, name = where[moment]
        setattr(of, name, dying(getattr(of, name)))
    deliver(outbox, client, now=lambda: utc_now() + timedelta(seconds=float(ahead_s)))


if __name__ == "__main__":
    main()
