"""Another account of the same machine reaches nothing of the embedded server: not its socket, files, or processes."""

import os
import pwd
import shutil

import pytest

from app.db.embedded import EmbeddedPostgres
from app.processes import Account, run_as

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can try as somebody else")

PYTHON = shutil.which("python3", path="/usr/bin:/bin") or ""
CONNECT = "import socket, sys; socket.socket(socket.AF_UNIX).connect(sys.argv[1])"
#: What is tried, in words that the shell or Python of any account understands. {} stand for the server's places.
ATTEMPTS = {
    "read the superuser's password": "cat {folder}/password",
    "list the server's folder": "ls {folder}",
    "list the data": "ls {folder}/data",
    "read the data": "cat {folder}/data/global/pg_control",
    "read who may log in": "cat {folder}/data/pg_hba.conf",
    "read the log": "cat {folder}/log",
    "list the sockets": "ls {sockets}",
    "connect to the socket": f"{PYTHON} -c '{CONNECT}' {{sockets}}/.s.PGSQL.5432",
    "put a socket of its own in the way": "touch {sockets}/mine",
    "put a file into the folder": "touch {folder}/mine",
    "put a file into the data": "touch {folder}/data/mine",
    "replace the password": "rm -f {folder}/password && echo mine > {folder}/password",
    "take the lock": "exec 9>>{folder}/lock",
    "move the data away": "mv {folder}/data {folder}/gone",
    "end the server": "kill -INT {pid}",
    "read the server's environment": "cat /proc/{pid}/environ",
    "look into the server's memory": "head -c 1 /proc/{pid}/mem",
    "open the server's files": "ls /proc/{pid}/fd",
}


@pytest.fixture
def nobody() -> Account:
    """An ordinary account."""
    found = pwd.getpwnam("nobody")
    return Account("nobody", found.pw_uid, found.pw_gid)


def reached(server: EmbeddedPostgres, account: Account, *names: str) -> set[str]:
    """Which of these attempts succeed when that account makes them; of all, where none is named."""
    places = {"folder": server.folder, "sockets": server.socket_folder, "pid": server.pid}
    lines = {name: ATTEMPTS[name].format(**places) for name in names or ATTEMPTS}
    return {name for name, line in lines.items() if run_as(account, ["/bin/sh", "-c", line], env={})[0] == 0}


def test_another_account_reaches_nothing(server: EmbeddedPostgres, nobody: Account) -> None:
    assert PYTHON
    assert reached(server, nobody) == set()
    assert server.pid is not None


def test_the_servers_own_account_reaches_it(server: EmbeddedPostgres) -> None:
    """Else the refusals above would show nothing."""
    owner = (server.folder / "data").stat()
    itself = Account("the server's", owner.st_uid, owner.st_gid)
    harmless = ("list the data", "connect to the socket", "read who may log in", "list the sockets")
    assert reached(server, itself, *harmless) == set(harmless)


@pytest.mark.parametrize(
    ("place", "mode", "attempt"),
    [
        ("password", 0o644, "read the superuser's password"),
        ("log", 0o604, "read the log"),
        ("data", 0o755, "list the data"),
        ("socket", 0o755, "list the sockets"),
        (".", 0o777, "put a file into the folder"),
    ],
)
def test_a_place_that_was_left_open_is_noticed(
    server: EmbeddedPostgres, nobody: Account, place: str, mode: int, attempt: str
) -> None:
    path = server.folder / place
    before = path.stat().st_mode & 0o7777
    try:
        path.chmod(mode)
        assert reached(server, nobody, attempt) == {attempt}
    finally:
        path.chmod(before)
        (server.folder / "mine").unlink(missing_ok=True)
