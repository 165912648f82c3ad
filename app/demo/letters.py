"""The letters of the demo's outbox: files that only their owner reads, never a table."""

import os
import re
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from email import message_from_bytes, policy
from email.message import EmailMessage
from functools import lru_cache
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

LINK = re.compile(r"https?://[^\s<>\"')\]]+")


@dataclass(frozen=True, slots=True)
class Letter:
    """A letter as its reader sees it. `id` is its file's name; `sent_at` is when it arrived here, RFC 3339 in UTC."""

    id: str
    to: str
    subject: str
    text: str
    html: str
    links: tuple[str, ...]
    sent_at: str

    def shown(self) -> dict[str, Any]:
        """What the outbox answers in JSON."""
        fields = asdict(self)
        del fields["id"]
        return fields


def keep_letter(folder: Path, recipients: Sequence[str], content: bytes) -> None:
    """Keeps a letter for good before its sender is told so: whole, synced, and then under its name."""
    name = f"{time.time_ns():020d}.eml"
    unfinished = folder / f"{name}.new"
    with open(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(b"Delivered-To: " + ", ".join(recipients).encode() + b"\r\n" + content)
        file.flush()
        os.fsync(file.fileno())
    unfinished.rename(folder / name)


def all_letters(folder: Path) -> list[Letter]:
    """Every letter, newest first."""
    return [_read(path) for path in sorted(folder.glob("*.eml"), reverse=True)]


def find_letter(folder: Path, letter_id: str) -> Letter | None:
    """One letter; None for a name that is none of ours."""
    path = folder / f"{letter_id}.eml"
    return _read(path) if letter_id.isascii() and letter_id.isdecimal() and path.exists() else None


@lru_cache(maxsize=1024)
def _read(path: Path) -> Letter:
    message = message_from_bytes(path.read_bytes(), policy=policy.default)
    text, html = _body(message, "plain"), _body(message, "html")
    return Letter(
        id=path.stem,
        to=str(message["Delivered-To"]),
        subject=str(message["Subject"] or ""),
        text=text,
        html=html,
        links=_links(text, html),
        sent_at=datetime.fromtimestamp(int(path.stem) / 1e9, UTC)
        .isoformat(timespec="milliseconds")
        .replace("+00:00", "Z"),
    )


def _body(message: EmailMessage, kind: str) -> str:
    part = message.get_body((kind,))
    return str(part.get_content()).replace("\r\n", "\n") if part is not None else ""


def _links(text: str, html: str) -> tuple[str, ...]:
    """Every link once, in the order in which a reader meets them."""
    found = [link.rstrip(".,;:!?") for link in LINK.findall(text)]
    parser = _Links()
    parser.feed(html)
    return tuple(dict.fromkeys(found + parser.found))


class _Links(HTMLParser):
    """Collects where the links of a page lead."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "a":
            self.found += [value for name, value in attrs if name == "href" and value and LINK.fullmatch(value)]
