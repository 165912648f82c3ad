"""A worker that kills itself at the stage of sending that KILLED_AT names; `hasty` is the fault to be noticed."""

import os
import signal
from collections.abc import Callable
from typing import Any

from app import config
from app.issuance.letters import fill_letter
from app.jobs.worker import Task, run
from app.mail import filling, leasing, sending
from app.mail.delivery import MailServer, Parcel
from app.mail.rules import Outcome

#: After which call the worker dies. The mail server has the letter from `handed over` on.
STAGES: dict[str, tuple[Any, str]] = {
    "connected": (MailServer, "open"),
    "leased": (leasing, "lease_next"),
    "filled": (sending, "_prepared"),
    "sender given": (MailServer, "_begin"),
    "recipient given": (leasing, "is_still_ours"),
    "handed over": (MailServer, "hand_over"),
    "written down": (leasing, "write_down"),
}


def die_after(place: Any, name: str) -> None:
    called: Callable[..., Any] = getattr(place, name)

    def call_and_die(*args: Any, **kwargs: Any) -> None:
        called(*args, **kwargs)
        os.kill(os.getpid(), signal.SIGKILL)

    setattr(place, name, call_and_die)


def be_hasty() -> None:
    """Writes down that the letter was sent before it is handed over, and dies between the two."""

    def hand_over(_server: MailServer, _parcel: Parcel, *, is_still_ours: Any) -> Outcome:
        leasing.write_down(is_still_ours.args[0].letter, Outcome("sent"))
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError("unreachable")

    setattr(MailServer, "hand_over", hand_over)  # noqa: B010 – not its signature, on purpose


if __name__ == "__main__":
    config.use(config.Settings.from_env())
    filling.register("claim", fill_letter)
    stage = os.environ["KILLED_AT"]
    if stage == "hasty":
        be_hasty()
    else:
        die_after(*STAGES[stage])
    run([Task("letters", 0.2, sending.send_due_letters)])
