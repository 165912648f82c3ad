"""What pages for browsers share: whether a request comes from a page of ours, and the URLs of their files."""

from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from urllib.parse import urlsplit

from flask import url_for


def is_origin(presented: str | None, own_url: str) -> bool:
    """Whether an Origin header names the origin of `own_url`; browsers leave out a scheme's own port."""
    return _origin_of(presented or "") == _origin_of(own_url)


def asset_url(blueprint: str, folder: Path, name: str) -> str:
    """The URL of a blueprint's file, with a mark of its content, so that it can be kept for ever."""
    return url_for(f"{blueprint}.static", filename=name, v=_mark(folder / name))


@lru_cache(maxsize=32)
def _mark(path: Path) -> str:
    return sha256(path.read_bytes()).hexdigest()[:12]


def _origin_of(url: str) -> tuple[str, str | None, int | None] | None:
    try:
        parts = urlsplit(url)
        return parts.scheme, parts.hostname, parts.port or {"https": 443, "http": 80}.get(parts.scheme)
    except ValueError:
        return None
