"""PostgreSQL's own programs, run as one role of one database: found, new enough, and no password where others look."""

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from psycopg.conninfo import conninfo_to_dict, make_conninfo
from sqlalchemy import make_url

from app.db.embedded_install import client_programs
from app.db.migrate import OWNER, libpq
from app.db.sealed_file import BackupError

#: Where Debian's packages keep each version.
PACKAGED = Path("/usr/lib/postgresql")


@dataclass(frozen=True)
class Program:
    """One program, with the major version of PostgreSQL that it came with."""

    path: Path
    major: int


@dataclass(frozen=True)
class Running:
    """A program at work, with what it has to say."""

    name: str
    process: "subprocess.Popen[bytes]"
    said: IO[bytes]

    def finish(self) -> None:
        """Waits for its end. Raises BackupError with what it said unless all went well."""
        if self.process.wait() != 0:
            raise BackupError(f"{self.name} failed: {self.complaint()}")

    def complaint(self) -> str:
        """Its first complaint, without the rows that may follow it."""
        self.said.seek(0)
        lines = self.said.read(100_000).decode(errors="replace").splitlines() or ["it ended without a word"]
        first = next((line for line in lines if "error:" in line), lines[0])
        return first.partition("error: ")[2] or first


def find_program(name: str, *, least: int, folder: str | None) -> Program:
    """The first that is of major version `least` or newer: in `folder` if that is given, else wherever they are kept.

    Raises BackupError with what it found instead.
    """
    found = []
    for path in _places(name, folder):
        if program := _examined(path):
            if program.major >= least:
                return program
            found.append(f"{path} of version {program.major}")
    seen = ", ".join(found) or "none"
    raise BackupError(
        f"{name} of PostgreSQL {least} or newer is needed, and there is {seen}: "
        f"install postgresql-client-{least}, or name the folder of its programs in POSTGRES_BIN"
    )


@contextmanager
def running(program: Program, url: str, *arguments: str, feeds: bool = False) -> Iterator[Running]:
    """Runs a program that connects by the URL and acts as the owner; its standard output is a pipe, or its input.

    Left early, it is killed before it can come to a good end.
    """
    command = [str(program.path), "--no-password", f"--role={OWNER}", *arguments, "--dbname"]
    with tempfile.TemporaryFile() as said, _password_file(url) as passfile:
        process = subprocess.Popen(
            [*command, _without_password(url, passfile)],
            stdin=subprocess.PIPE if feeds else subprocess.DEVNULL,
            stdout=subprocess.DEVNULL if feeds else subprocess.PIPE,
            stderr=said,
            env=_environment(os.environ),
            pass_fds=[passfile.fileno()],
        )
        try:
            yield Running(program.path.name, process, said)
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                with suppress(BrokenPipeError):  # its reader ended first, and has said why
                    if pipe is not None:
                        pipe.close()


def _password_file(url: str) -> IO[bytes]:
    """The password in a file that has no name, and is gone with the last process that has it open.

    A command line shows it to everybody, an environment to whatever else the account runs.
    """
    password = make_url(url).password or ""
    file = os.fdopen(os.memfd_create("passfile"), "wb")
    os.fchmod(file.fileno(), 0o600)
    file.write(b"*:*:*:*:" + re.sub(r"([:\\])", r"\\\1", password).encode() + b"\n")
    file.flush()
    return file


def _without_password(url: str, passfile: IO[bytes]) -> str:
    """What may stand in the list of processes."""
    words = conninfo_to_dict(libpq(url))
    if words.pop("password", None):
        words["passfile"] = f"/proc/self/fd/{passfile.fileno()}"
    return make_conninfo("", **words)


def _environment(ours: Mapping[str, str]) -> dict[str, str]:
    """libpq's own settings and where it looks for certificates, and none of the service's."""
    kept = {name: value for name, value in ours.items() if name in ("PATH", "HOME") or name.startswith("PG")}
    return {"PATH": os.defpath, **kept, "LC_ALL": "C"}


def _places(name: str, folder: str | None) -> Sequence[Path]:
    if folder:
        return [Path(folder) / name]
    packaged = sorted(PACKAGED.glob(f"*/bin/{name}"), reverse=True)
    carried = client_programs()
    return [
        *([Path(path)] if (path := shutil.which(name)) else []),
        *packaged,
        *([carried / name] if carried else []),
    ]


def _examined(path: Path) -> Program | None:
    """Running it is the only test: a wrapper may stand for nothing."""
    try:
        run = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    version = re.search(r"\(PostgreSQL\) (\d+)", run.stdout)
    return Program(path, int(version[1])) if version else None
