"""A disk that can be filled: a small file system in memory, in the place of one of the server's folders."""

import errno
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MIB = 1 << 20


class SmallDisk:
    """The file system over one folder."""

    def __init__(self, folder: Path) -> None:
        self._ballast = folder / "ballast"

    def fill(self) -> None:
        """Leaves nothing of it free."""
        with self._ballast.open("ab", buffering=0) as file:
            for size in (MIB, 4_096):
                while _takes(file.fileno(), size):
                    pass

    def free(self) -> None:
        """Gives back what `fill` took."""
        self._ballast.unlink(missing_ok=True)


@contextmanager
def small_disk(folder: Path, *, spare_mib: int) -> Iterator[SmallDisk]:
    """Copies the folder, which nobody uses, onto a file system with so much to spare, which is there until the end.

    Only root may mount. What stands there at the end is gone.
    """
    aside = folder.with_name(f"{folder.name}-aside")
    size = spare_mib * MIB + sum(path.lstat().st_blocks * 512 for path in folder.rglob("*"))
    owner = folder.stat()
    folder.rename(aside)
    folder.mkdir()
    options = f"size={size},uid={owner.st_uid},gid={owner.st_gid},mode=0700"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "scrip-test", folder], check=True)
    try:
        subprocess.run(["cp", "-a", f"{aside}/.", folder], check=True)
        yield SmallDisk(folder)
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)
        folder.rmdir()
        aside.rename(folder)


def can_mount() -> bool:
    """Whether this process may: root, outside of some containers. It is tried."""
    if os.geteuid() != 0 or shutil.which("mount") is None:
        return False
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4k", "scrip-test", folder], capture_output=True)
        if done.returncode == 0:
            subprocess.run(["umount", folder], check=True)
        return done.returncode == 0


def _takes(file: int, size: int) -> bool:
    try:
        return os.write(file, bytes(size)) > 0
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        return False
