"""Files sealed with age for whom they are meant: written whole or not at all, and read only when whole.

Sealing needs a public key alone, so a machine that makes backups cannot read them. All of it streams: some kilobytes
are held in memory, however large the file.
"""

import os
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Protocol

from pyrage import DecryptError, EncryptError, IdentityError, RecipientError, decrypt_io, encrypt_io
from pyrage.x25519 import Identity, Recipient

SAY_EVERY_S = 5.0

#: How long work tells a person how far it is.
Say = Callable[[str], None]


class BackupError(Exception):
    """A backup cannot be made or restored; the message says why, and what to do."""


class Source(Protocol):
    """What can be read from."""

    def read(self, size: int = -1, /) -> bytes: ...


class Sink(Protocol):
    """What can be written to."""

    def write(self, part: bytes, /) -> int: ...


class Progress:
    """Says now and then how many bytes went by."""

    def __init__(self, say: Say) -> None:
        self._say, self._size, self._said_at = say, 0, time.monotonic()

    def add(self, size: int) -> None:
        self._size += size
        if time.monotonic() - self._said_at > SAY_EVERY_S:
            self._say(f"… {self._size / 1e6:,.0f} MB")
            self._said_at = time.monotonic()


def seal(source: Source, sink: Sink, recipients: Sequence[Recipient]) -> None:
    """Reads to the end, and writes what only the recipients' identities can read."""
    read, write = _Told(source.read), _Told(sink.write)
    try:
        encrypt_io(_Ends(read=read), _Ends(write=write), recipients)
    except (EncryptError, OSError) as error:
        raise read.failure or write.failure or BackupError(f"cannot encrypt: {error}") from None


def unseal(path: Path, sink: Sink, identities: Sequence[Identity]) -> None:
    """Writes what was sealed, part by part as each proves genuine: only at the end it is known to be whole.

    Raises BackupError when the file is for somebody else, cut short or altered.
    """
    write = _Told(sink.write)
    with _opened(path) as file:
        read = _Told(file.read)
        try:
            decrypt_io(_Ends(read=read), _Ends(write=write), identities)
        except (DecryptError, OSError) as error:
            raise read.failure or write.failure or _unreadable(path, error) from None


@contextmanager
def draft_of(target: Path, *, replace: bool = False) -> Iterator[IO[bytes]]:
    """A file beside the target, for its owner only, that takes the target's name once it is whole and on the disk.

    Whatever is raised meanwhile, the draft goes. Raises BackupError when there is a draft, or a target that it may not
    `replace`.
    """
    draft = target.with_name(f"{target.name}.part")
    if not replace:
        _refuse_overwriting(target)
    with _created(draft) as file:
        try:
            yield file
            file.flush()
            os.fsync(file.fileno())
            if not replace:
                _refuse_overwriting(target)
            draft.rename(target)
        except BaseException as error:
            draft.unlink(missing_ok=True)
            if isinstance(error, OSError):
                raise BackupError(f"{target} cannot be written: {error.strerror}; nothing is left of it") from None
            raise
    _sync_folder(target.parent)


def read_recipients(lines: Sequence[str]) -> list[Recipient]:
    """Public keys of age, `age1…`. Raises BackupError for anything else, and when there is none."""
    if not lines:
        raise BackupError("nobody could read this backup: name a recipient, as `scrip keys identity` prints it")
    try:
        return [Recipient.from_str(line) for line in lines]
    except RecipientError:
        raise BackupError("a recipient is a public key such as age1…, as `scrip keys identity` prints it") from None


def read_identities(path: Path) -> list[Identity]:
    """The private keys in a file, as `scrip keys identity` and age-keygen write them."""
    with _opened(path) as file:
        if stat.S_IMODE(os.fstat(file.fileno()).st_mode) & 0o077:
            raise BackupError(f"{path} can be read by others: chmod 400 it")
        lines = [line.strip() for line in file.read().decode(errors="replace").splitlines()]
    try:
        identities = [Identity.from_str(line) for line in lines if line and not line.startswith("#")]
    except IdentityError:
        raise BackupError(
            f"{path} must hold lines of AGE-SECRET-KEY-1…, as `scrip keys identity` writes them"
        ) from None
    if not identities:
        raise BackupError(f"{path} holds no identity")
    return identities


def make_identity(path: Path) -> str:
    """Draws a private key into a new file; returns its public key."""
    identity = Identity.generate()
    recipient = str(identity.to_public())
    with draft_of(path) as file:
        file.write(f"# public key: {recipient}\n{identity}\n".encode())
    path.chmod(0o400)
    return recipient


class _Told:
    """Calls on, and keeps what was raised: age's library would pass on its words only."""

    def __init__(self, call: Callable[..., Any]) -> None:
        self._call = call
        self.failure: BaseException | None = None

    def __call__(self, *arguments: Any) -> Any:
        try:
            return self._call(*arguments)
        except BaseException as error:
            self.failure = error
            raise


class _Ends:
    """A source or a sink, with the methods that age's library calls."""

    def __init__(self, **methods: Callable[..., Any]) -> None:
        self.__dict__.update(methods)

    def flush(self) -> None:
        """Whoever opened the file flushes it."""


def _unreadable(path: Path, error: Exception) -> BackupError:
    if "No matching keys" in str(error):
        return BackupError(f"{path} was made for another recipient: no identity given here can read it")
    return BackupError(f"{path} is not a whole backup: it was cut short or altered, or is something else ({error})")


def _refuse_overwriting(target: Path) -> None:
    if target.exists() or target.is_symlink():
        raise BackupError(f"{target} exists, and nothing is overwritten: choose another name")


@contextmanager
def _created(draft: Path) -> Iterator[IO[bytes]]:
    try:
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise BackupError(
            f"{draft} is there: it is being written, or what wrote it was killed. Remove it when nothing writes it"
        ) from None
    except OSError as error:
        raise BackupError(f"{draft} cannot be written: {error.strerror}") from None
    with os.fdopen(handle, "wb") as file:
        yield file


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    try:
        file = path.open("rb")
    except OSError as error:
        raise BackupError(f"{path} cannot be read: {error.strerror}") from None
    with file:
        yield file


def _sync_folder(folder: Path) -> None:
    """Only then the name survives a power cut as well."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
