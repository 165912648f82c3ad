"""Where a code could have stayed in a store: its tables, sessions, logs, mails, and the pages that were seen."""

import base64
import binascii
import email
import email.policy
import re
import secrets
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import text

from tests.plugin_sdk.stores.store_process import Database
from tests.secrets_search import cells, found_in

#: Django's and Flask's signed values: what is signed, packed or not, before its time and signature.
SIGNED = re.compile(rb"(\.?)([A-Za-z0-9_-]{16,}={0,2})[:.][A-Za-z0-9_-]{4,}[:.][A-Za-z0-9_-]{20,}")


@dataclass
class Traces:
    """All that a store leaves behind. Logs and mails are files or folders; pages, addresses and cookies are added as
    they are seen."""

    database: Database | None = None
    files: list[Path] = field(default_factory=list)
    seen: list[tuple[str, str]] = field(default_factory=list)

    def saw(self, url: str, page: str = "") -> None:
        """An address that a browser was at, and what it was shown."""
        self.seen.append((url, page))

    def places(self) -> Iterator[tuple[str, bytes]]:
        """Everything, by where it stands; what is packed or encoded also as what it says."""
        for place, content in self._as_kept():
            yield place, content
            if unpacked := b"\n".join(_unpacked(content)):
                yield f"{place}, unpacked", unpacked

    def search(self, secrets_by_name: Mapping[str, str]) -> set[tuple[str, str, str]]:
        """Place, name of the secret, and how it is written there: in the encodings and digests of `secrets_search`."""
        return {
            (place, name, how)
            for place, content in self.places()
            for name, how in found_in(content, secrets_by_name, also_hashed=True)
        }

    def assert_without(self, *codes: str) -> None:
        """None of the codes stands anywhere, and the search finds what does: a probe in each place is found."""
        found = self.search({f"code {number}": code for number, code in enumerate(codes)})
        assert not found, sorted(found)
        self.assert_finds()

    def assert_finds(self) -> None:
        """What is planted in each place is found there."""
        probe = "PR0B-" + "-".join(secrets.token_hex(2).upper() for _ in range(3))
        expected = {"page", "address"}
        seen, files = self.seen, self.files
        self.seen, self.files = [*seen, (f"/?code={probe}", f"<b>{probe}</b>")], list(files)
        planted: list[Path] = []
        try:
            for number, folder in enumerate({path if path.is_dir() else path.parent for path in files}):
                planted.append(folder / f"probe-{number}.log")
                planted[-1].write_bytes(_mail(probe))
                self.files.append(planted[-1])
                expected.add(f"file {planted[-1].name}, unpacked")
            if self.database is not None:
                expected |= {"table scrip_probe", "table scrip_probe, unpacked"}
                self._plant(probe)
            found = {place for place, _, _ in self.search({"probe": probe})}
            assert expected <= found, f"the search is blind at {sorted(expected - found)}"
        finally:
            self.seen, self.files = seen, files
            for path in planted:
                path.unlink()
            if self.database is not None:
                self._run("DROP TABLE IF EXISTS scrip_probe")

    def _as_kept(self) -> Iterator[tuple[str, bytes]]:
        if self.database is not None:
            engine = self.database.engine()
            with engine.connect() as db:
                for table, content in cells(db):
                    yield f"table {table}", content
            engine.dispose()
        for path in _files(self.files):
            yield f"file {path.name}", path.read_bytes()
        for url, page in self.seen:
            yield "address", url.encode()
            yield "page", page.encode()

    def _plant(self, probe: str) -> None:
        packed = base64.urlsafe_b64encode(zlib.compress(f'{{"code": "{probe}"}}'.encode() * 3)).decode().rstrip("=")
        self._run(
            "CREATE TABLE scrip_probe (plain text, session text)",
            f"INSERT INTO scrip_probe VALUES ('{probe}', '.{packed}:1vOZBq:{'x' * 43}')",
        )

    def _run(self, *statements: str) -> None:
        assert self.database is not None
        engine = self.database.engine()
        with engine.begin() as db:
            for statement in statements:
                db.execute(text(statement))
        engine.dispose()


def _files(paths: list[Path]) -> Iterator[Path]:
    for path in paths:
        if path.is_dir():
            yield from sorted(each for each in path.rglob("*") if each.is_file())
        elif path.exists():
            yield path


def _unpacked(content: bytes) -> Iterator[bytes]:
    """What signed values and mails in it say."""
    for packed, signed in SIGNED.findall(content):
        try:
            said = base64.urlsafe_b64decode(signed + b"=" * (-len(signed) % 4))
            yield zlib.decompress(said) if packed else said
        except (binascii.Error, zlib.error):
            continue
    if b"\nMIME-Version:" in content or content.startswith(b"MIME-Version:"):
        for part in email.message_from_bytes(content, policy=email.policy.default).walk():
            if not part.is_multipart():
                text_of_part = part.get_payload(decode=True)
                yield text_of_part if isinstance(text_of_part, bytes) else b""


def _mail(body: str) -> bytes:
    encoded = base64.encodebytes(f"<p>{body}</p>".encode()).decode()
    return (
        f"MIME-Version: 1.0\nSubject: probe\nContent-Type: text/html\nContent-Transfer-Encoding: base64\n\n{encoded}"
    ).encode()
