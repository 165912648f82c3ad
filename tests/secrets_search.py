"""Finds a secret wherever it stands and however it is written: in log lines, and in every cell of every table."""

import base64
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import quote

from sqlalchemy import Connection, text

#: How a secret may be written down, by name. Each gives all ways in which it may then appear.
ENCODINGS: Mapping[str, Callable[[str], list[str]]] = {
    "plain": lambda secret: [secret],
    "without dashes": lambda secret: [secret.replace("-", "")],
    "with spaces": lambda secret: [secret.replace("-", " ")],
    "small letters": lambda secret: [secret.lower(), secret.replace("-", "").lower()],
    "capitals": lambda secret: [secret.upper()],
    "hex": lambda secret: [secret.encode().hex(), secret.replace("-", "").encode().hex()],
    "hex in capitals": lambda secret: [secret.encode().hex().upper()],
    "base64": lambda secret: list(_base64(secret, base64.b64encode)),
    "base64 for URLs": lambda secret: list(_base64(secret, base64.urlsafe_b64encode)),
    "base64 without dashes": lambda secret: list(_base64(secret.replace("-", ""), base64.b64encode)),
    "URL-encoded": lambda secret: [quote(secret, safe="")],
    "URL-encoded to the last letter": lambda secret: ["".join(f"%{byte:02X}" for byte in secret.encode())],
    "JSON-escaped": lambda secret: [json.dumps(secret)[1:-1]],
    "JSON-escaped to the last letter": lambda secret: ["".join(f"\\u{ord(letter):04x}" for letter in secret)],
}
#: What must not stand in a table either: whoever has the table could test guesses.
DIGESTS = ("md5", "sha1", "sha256", "sha512")


def written(secret: str) -> dict[bytes, str]:
    """Every way to write the secret, with its name."""
    return {way.encode(): name for name, encode in ENCODINGS.items() for way in encode(secret)}


def hashed(secret: str) -> dict[bytes, str]:
    """The secret's unkeyed digests, as bytes and as hex."""
    found: dict[bytes, str] = {}
    for form in {secret, secret.replace("-", ""), secret.lower()}:
        for name in DIGESTS:
            digest = hashlib.new(name, form.encode(), usedforsecurity=False)
            found |= {digest.digest(): name, digest.hexdigest().encode(): name}
    return found


def found_in(haystack: bytes, secrets: Mapping[str, str], *, also_hashed: bool = False) -> set[tuple[str, str]]:
    """Which secrets stand in the bytes, and how they are written."""
    return {
        (name, how)
        for name, secret in secrets.items()
        for needle, how in {**written(secret), **(hashed(secret) if also_hashed else {})}.items()
        if needle in haystack
    }


def found_in_tables(
    db: Connection, secrets: Mapping[str, str], *, also_hashed: bool = False
) -> set[tuple[str, str, str]]:
    """Table, secret and how it is written, over every cell of every table."""
    return {
        (table, name, how)
        for table, content in cells(db)
        for name, how in found_in(content, secrets, also_hashed=also_hashed)
    }


def cells(db: Connection) -> Iterator[tuple[str, bytes]]:
    """All cells of a table, one after the other, by table."""
    for table in db.scalars(text("SELECT relname FROM pg_stat_user_tables ORDER BY relname")).all():
        rows = db.execute(text(f'SELECT * FROM "{table}"'))
        yield str(table), b"\n".join(as_bytes(cell) for row in rows for cell in row)


def as_bytes(cell: Any) -> bytes:
    """A cell as it is; of a structured one every text in it, its names too."""
    if isinstance(cell, bytes | memoryview):
        return bytes(cell)
    if isinstance(cell, Mapping):
        return b"\n".join(as_bytes(part) for pair in cell.items() for part in pair)
    if isinstance(cell, list):
        return b"\n".join(as_bytes(part) for part in cell)
    return str(cell).encode()


def _base64(secret: str, encode: Callable[[bytes], bytes]) -> Iterator[str]:
    """The part that is the same wherever in a longer text the secret stands, for each of the three positions."""
    for before in range(3):
        whole = encode(b"\0" * before + secret.encode())
        first, end = -(-before * 8 // 6), (before + len(secret.encode())) * 8 // 6
        yield whole[first:end].decode()
