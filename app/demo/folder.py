"""The demo's data folder: marked as ours, used by one start at a time, and deleted only when it bears the mark."""

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import IO, Any

from app.db.embedded_install import can_traverse, install, refuse_unreachable
from app.processes import InUse, lock_file

ROOT = Path(__file__).resolve().parents[2]
MARK = ".scrip-demo"
MARK_TEXT = "The Scrip demo keeps its data in this folder, and `./run demo --fresh` deletes all of it.\n"
LOCK = "lock"
LOCK_PATIENCE_S = 5.0


class DemoError(Exception):
    """The demo cannot do what is asked; the message says why, and what to do."""


def default_folder() -> Path:
    """`.scrip` in the checkout; as root, where PostgreSQL's account cannot reach that, a folder under /var/lib."""
    account = install().account
    if account is None or can_traverse(ROOT, account):
        return ROOT / ".scrip"
    return Path("/var/lib/scrip") / f"demo-{hashlib.sha256(os.fsencode(ROOT)).hexdigest()[:8]}"


class DataFolder:
    """Where everything of one demo lies. Opening takes its lock, which ends with the process.

    Raises DemoError for a folder that holds somebody else's files or is in use, EmbeddedError for one that PostgreSQL
    cannot reach.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.resolve()
        self._lock: IO[str] | None = None

    def open(self) -> None:
        """Makes the folder, or takes the one that is there."""
        self._refuse_foreign()
        account = install().account
        if account is not None:
            refuse_unreachable(next(folder for folder in self.path.parents if folder.exists()), account)
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.path.chmod(0o711 if account else 0o700)  # PostgreSQL's account passes through, and reads nothing
            (self.path / MARK).write_text(MARK_TEXT)
        except PermissionError as error:
            raise DemoError(f"{error.filename} cannot be written: choose another folder with --data") from None
        try:
            self._lock = lock_file(self.path / LOCK, patience_s=LOCK_PATIENCE_S)
        except InUse as error:
            raise DemoError(f"{error}: stop that demo first, or choose another folder with --data") from None

    def close(self) -> None:
        """Lets others have it."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def clear(self) -> None:
        """Deletes everything but the mark and the lock that is held, so that an interrupted clearing can go on."""
        for entry in self.path.iterdir():
            if entry.name in (LOCK, MARK):
                continue
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            else:
                entry.unlink()

    def private(self, name: str) -> Path:
        """A folder in it that only its owner opens."""
        folder = self.path / name
        folder.mkdir(mode=0o700, exist_ok=True)
        return folder

    def read(self, name: str) -> dict[str, Any]:
        """A JSON file in it; empty when there is none."""
        try:
            kept = json.loads((self.path / name).read_text())
        except FileNotFoundError:
            return {}
        return kept if isinstance(kept, dict) else {}

    def write(self, name: str, kept: dict[str, Any]) -> None:
        """Writes a JSON file that only its owner reads, as a whole or not at all."""
        self.write_text(name, json.dumps(kept, indent=2) + "\n")

    def write_text(self, name: str, text: str) -> None:
        """Writes any file likewise."""
        unfinished = self.path / f".{name}"
        unfinished.unlink(missing_ok=True)
        with open(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(text)
        unfinished.rename(self.path / name)

    def _refuse_foreign(self) -> None:
        """A folder with files in it but without our mark is somebody else's."""
        if self.path.exists() and not self.path.is_dir():
            raise DemoError(f"{self.path} is not a folder: choose another with --data")
        try:
            names = {entry.name for entry in self.path.iterdir()} if self.path.exists() else set()
        except PermissionError:
            raise DemoError(f"{self.path} belongs to another account: choose another with --data") from None
        if names and MARK not in names:
            raise DemoError(f"{self.path} holds files that are not the demo's: choose an empty folder with --data")
