"""What the tests of the mail's faults share: a database with its post office, real letters, workers in processes."""

import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from email.message import EmailMessage
from pathlib import Path

from sqlalchemy import NullPool, create_engine

from app import clock, config
from app.factory import LETTERS
from app.issuance.letters import fill_letter
from app.ledger.audit import audit
from app.mail import filling
from app.mail.rules import LEASE
from app.mail.sending import send_due_letters
from tests.mail.post_office import PostOffice
from tests.service import ROOT, environment, free_port
from tests.world import rows

CLAIM_LINK = re.compile(r"\S+/claim/\S+#\S+")


def post_office() -> PostOffice:
    """A closed one, which the process's settings name from now on; letters are filled as in production."""
    office = PostOffice(free_port())
    smtp = config.Smtp("127.0.0.1", office.port, "none", "Scrip <letters@scrip.example>")
    config.use(replace(config.settings(), smtp=smtp))
    for kind in LETTERS:
        filling.register(kind, fill_letter)
    return office


@contextmanager
def worker(keys_dir: Path, *program: str, **more: str) -> Iterator["subprocess.Popen[bytes]"]:
    """A worker in a process of its own, with this process's settings: `scrip worker`, unless a program is named."""
    command = [sys.executable, "-m", *(program or ("app.cli", "worker"))]
    variables = {**environment(config.settings(), keys_dir, 8000), **more}
    with subprocess.Popen(command, cwd=ROOT, env=variables, stderr=subprocess.DEVNULL) as process:
        try:
            yield process
        finally:
            process.kill()


def send_after_the_lease() -> int:
    """What the next worker sends once the lease of a killed one is over."""
    with clock.ahead(LEASE + (LEASE / 100)):
        return send_due_letters()


def eventually(holds: Callable[[], bool], what: str, *, within_s: float = 60) -> float:
    """Waits until something holds; returns the seconds that it took."""
    began = time.monotonic()
    while not holds():
        assert time.monotonic() < began + within_s, f"never came to hold: {what}"
        time.sleep(0.05)
    return time.monotonic() - began


def states_of_letters() -> list[tuple[str, int]]:
    """How many letters are in which state."""
    query = "SELECT state, count(*) AS many FROM letter GROUP BY state ORDER BY state"
    return [(row.state, row.many) for row in rows(query)]


def link_in(message: EmailMessage) -> str | None:
    """The claim link of a letter, where it has one."""
    body = message.get_body(("plain",))
    assert body is not None
    found = CLAIM_LINK.search(str(body.get_content()))
    return found[0] if found else None


def differences() -> list[str]:
    """What `scrip audit` finds in the database of the process."""
    engine = create_engine(config.settings().database_url, isolation_level="REPEATABLE READ", poolclass=NullPool)
    with engine.begin() as db:
        return [f"{check.name}: {findings}" for check, count, findings in audit(db) if count]
