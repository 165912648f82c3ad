"""What all pages for people share: their headers, who sent a form, how money and times are written, where files are."""

from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from urllib.parse import urlsplit

from flask import Response, request, url_for

from app.config import settings
from app.web.display import display_date, display_money, last_day

HEADERS = {
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "X-Robots-Tag": "noindex, nofollow",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), clipboard-read=(), clipboard-write=(self), display-capture=(), geolocation=(), "
    "microphone=(), payment=(), usb=()",
}


def finish_page(answer: Response, *, files: str, forms_lead_to: str = "") -> Response:
    """Adds the headers of a page. Only the files of the endpoint `files` may be kept.

    `forms_lead_to`: other places that the answer to a form may send the browser on to, as CSP names them.
    """
    policy = (
        "default-src 'none'; script-src 'self'; style-src 'self'; font-src 'self'; img-src 'self'; connect-src 'self'; "
        f"form-action 'self'{forms_lead_to and ' ' + forms_lead_to}; base-uri 'none'; frame-ancestors 'none'"
    )
    answer.headers.update({**HEADERS, "Content-Security-Policy": policy})
    answer.headers["Cache-Control"] = "no-store"
    if request.endpoint == files:
        keep_file(answer)
    return answer


def keep_file(answer: Response) -> None:
    """A file may be kept: for ever, where its URL has the mark of its content (`asset_urls`)."""
    if answer.status_code in (200, 206, 304):
        kept = "public, max-age=31536000, immutable" if "v" in request.args else "public, max-age=86400"
        answer.headers["Cache-Control"] = kept


def is_same_origin() -> bool:
    """Whether a form of ours sent this: by Origin, and by Sec-Fetch-Site, which no page can set.

    A form without script sends "null" as its origin, since our pages send no referrer: there the browser itself must
    say where it came from.
    """
    if request.headers.get("Origin") == "null":
        return request.headers.get("Sec-Fetch-Site") == "same-origin"
    return "Origin" in request.headers and not is_cross_site()


def is_cross_site() -> bool:
    """Whether a browser says that a page which is not ours sent this. Programs, and old browsers, say nothing.

    Where a secret in the body is the authority that is enough: what another site could send, it could send itself.
    """
    site, origin = request.headers.get("Sec-Fetch-Site"), request.headers.get("Origin")
    if site is not None and site not in ("same-origin", "none"):
        return True
    return origin not in (None, "null") and not is_origin(origin, settings().public_url)


def is_origin(presented: str | None, own_url: str) -> bool:
    """Whether an Origin header names the origin of `own_url`; browsers leave out a scheme's own port."""
    return _origin_of(presented or "") == _origin_of(own_url)


def page_words() -> dict[str, Callable[..., object]]:
    """How pages show money and times."""
    return {
        "money": display_money,
        "utc": _utc,
        "in_utc": _in_words,
        "day": display_date,
        "last_day": last_day,
    }


def asset_urls(endpoint: str, folder: Path) -> Callable[[str], str]:
    """The function that returns a file's URL with a mark of its content, so that it can be kept for ever."""

    @lru_cache(maxsize=16)
    def mark_of(name: str) -> str:
        return sha256((folder / name).read_bytes()).hexdigest()[:12]

    return lambda name: url_for(endpoint, filename=name, v=mark_of(name))


def _utc(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def _in_words(at: datetime) -> str:
    """What stands on the page until its script puts it into the browser's own zone."""
    return f"{display_date(at)}, {at.astimezone(UTC):%H:%M} UTC"


def _origin_of(url: str) -> tuple[str, str | None, int | None] | None:
    try:
        parts = urlsplit(url)
        return parts.scheme, parts.hostname, parts.port or {"https": 443, "http": 80}.get(parts.scheme)
    except ValueError:
        return None
