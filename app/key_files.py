"""Key files: made once, kept apart from the database, never overwritten."""

import os
import secrets
from pathlib import Path

from app.config import KEY_FILES, PEPPER_EPOCH, Argon2Cost
from app.secrecy import KEY_BYTES, to_text


def make_key_files(folder: Path, cost: Argon2Cost) -> list[Path]:
    """Makes the key files that are missing, 0400 in a folder of 0700, and returns those that it made.

    `cost`: of the first pepper epoch.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    made = [folder / f"{name}.keys" for name in KEY_FILES if not (folder / f"{name}.keys").exists()]
    for path in made:
        write_key_lines(path, {1: draw_epoch(cost) if path.name == "pepper.keys" else secrets.token_bytes(KEY_BYTES)})
    return made


def draw_epoch(cost: Argon2Cost) -> bytes:
    """A fresh pepper epoch whose codes are hashed at this cost."""
    pepper, salt = secrets.token_bytes(KEY_BYTES), secrets.token_bytes(KEY_BYTES)
    return PEPPER_EPOCH.pack(pepper, salt, cost.memory_kib, cost.time_cost, cost.parallelism)


def write_key_lines(path: Path, lines: dict[int, bytes]) -> None:
    """Replaces the file in one step, so that no reader ever sees half of it."""
    draft = path.with_name(path.name + ".new")
    draft.unlink(missing_ok=True)
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o400)
    with os.fdopen(handle, "w") as file:
        file.writelines(f"{version}:{to_text(secret)}\n" for version, secret in sorted(lines.items()))
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
