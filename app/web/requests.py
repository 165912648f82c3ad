"""What every HTTP request gets: an ID, an actor, headers, one line in the log."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import structlog
from flask import Flask, Response, g, request

from app import metrics
from app.config import settings
from app.ids import new_id
from app.web.context import Acting, acting

#: Larger than any body that the API asks for, but for those that `allow_large` names.
MAX_BODY_BYTES = 64 * 1024
#: The Content-Security-Policy of what is no page.
NO_PAGE = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
#: Two years, for the host of PUBLIC_URL alone: what else stands under its name is not ours to decide.
STRICT_TRANSPORT = "max-age=63072000"

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Large:
    """A route whose bodies may be larger; `admits` says of an Authorization header who may send one by it, or None."""

    most_bytes: int
    admits: Callable[[str], str | None]


_large: dict[str, Large] = {}


def allow_large(path: str, large: Large) -> None:
    """POSTs to exactly this path may be so large; the view says so too, by `requests.max_content_length`."""
    _large[path] = large


def large_at(path: str) -> Large | None:
    """What is allowed at this path, None where nothing more is than anywhere."""
    return _large.get(path)


def register(app: Flask) -> None:
    """Adds the request's ID, the common headers and the access log to the app."""
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES
    app.config["MAX_FORM_MEMORY_SIZE"] = MAX_BODY_BYTES
    app.before_request(_begin)
    app.after_request(_finish)


def _begin() -> None:
    g.began = time.monotonic()
    acting.set(Acting("anonymous", new_id("req")))


def _finish(answer: Response) -> Response:
    answer.headers["X-Request-Id"] = acting.get().request_id or ""
    answer.headers.setdefault("Cache-Control", "no-store")
    answer.headers.setdefault("X-Content-Type-Options", "nosniff")
    answer.headers.setdefault("Referrer-Policy", "no-referrer")
    answer.headers.setdefault("Content-Security-Policy", NO_PAGE)
    if settings().public_url.startswith("https:"):
        answer.headers["Strict-Transport-Security"] = STRICT_TRANSPORT
    route, took_s = str(request.url_rule) if request.url_rule else None, time.monotonic() - g.began
    metrics.count_request(request.method, route, answer.status_code, took_s=took_s)
    log.info(
        "request",
        method=request.method,
        route=route,
        status=answer.status_code,
        took_ms=round(took_s * 1000, 1),
    )
    return answer
