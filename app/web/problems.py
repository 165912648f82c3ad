"""The HTTP face of every refusal: problem details (RFC 9457), and the one table from refusal to status."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import structlog
from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException

from app import errors, metrics
from app.web.context import acting

MEDIA_TYPE = "application/problem+json"
TYPE_PREFIX = "urn:scrip:problem:"

STATUS: Mapping[type[errors.Refusal], int] = {
    errors.MalformedJson: 400,
    errors.IdempotencyKeyMissing: 400,
    errors.IdempotencyKeyInvalid: 400,
    errors.InvalidAccessToken: 401,
    errors.InvalidDpopProof: 401,
    errors.UseDpopNonce: 401,
    errors.InsufficientScope: 403,
    errors.CaptchaNeeded: 403,
    errors.NotFound: 404,
    errors.LinkNotAccepted: 404,
    errors.CheckoutNotFound: 404,
    errors.TwoSecretsLive: 409,
    errors.LastSecret: 409,
    errors.PaymentClosed: 409,
    errors.PaymentUnconfirmed: 409,
    errors.OrderSuperseded: 409,
    errors.CardHeld: 409,
    errors.CardClosed: 409,
    errors.BillClosed: 409,
    errors.BreakClosed: 409,
    errors.BreakOpen: 409,
    errors.BreakChanged: 409,
    errors.SecondPersonNeeded: 409,
    errors.LinkOpened: 410,
    errors.LinkSuperseded: 410,
    errors.LinkLapsed: 410,
    errors.CheckoutOver: 410,
    errors.InvalidRequest: 422,
    errors.CodeMistyped: 422,
    errors.CodeNotAccepted: 422,
    errors.CurrencyMismatch: 422,
    errors.AmountOverHold: 422,
    errors.AmountOverSettled: 422,
    errors.RefundLimitReached: 422,
    errors.RefundNotCovered: 422,
    errors.AmountOutsideProgramme: 422,
    errors.IssuingLimitReached: 422,
    errors.BillUnreadable: 422,
    errors.ReferenceReused: 422,
    errors.TryLater: 429,
    errors.Busy: 503,
}

#: Refusals that come from HTTP itself: their slugs, and the headers that say what would do instead.
HTTP_SLUGS = {
    400: "bad-request",
    404: "not-found",
    405: "method-not-allowed",
    406: "not-acceptable",
    408: "request-timeout",
    413: "too-large",
    414: "too-large",
    415: "unsupported-media-type",
    431: "too-large",
}
KEPT_HEADERS = ("Allow", "Retry-After", "WWW-Authenticate")

log = structlog.get_logger(__name__)


def register(app: Flask) -> None:
    """Answers every refusal, HTTP error and bug of the app with a problem."""
    app.register_error_handler(errors.Refusal, answer_refusal)
    app.register_error_handler(HTTPException, answer_http_error)
    app.register_error_handler(Exception, answer_bug)


def status_of(refusal: errors.Refusal) -> int:
    """The refusal's HTTP status, by its class or the nearest class above it."""
    return next(STATUS[kind] for kind in type(refusal).__mro__ if kind in STATUS)


def answer_refusal(refusal: errors.Refusal) -> Response:
    """The refusal with its facts, and the headers that belong to its status."""
    answer = problem(status_of(refusal), refusal.slug, refusal.title, refusal.detail, refusal.facts)
    if isinstance(refusal, errors.TryLater | errors.Busy):
        answer.headers["Retry-After"] = str(refusal.retry_after_s)
    if isinstance(refusal, errors.InvalidAccessToken):
        answer.headers["WWW-Authenticate"] = _challenge(refusal)
    if isinstance(refusal, errors.InsufficientScope):
        wanted = f', scope="{scope}"' if (scope := refusal.facts.get("scope")) else ""
        answer.headers["WWW-Authenticate"] = f'{_scheme()} error="insufficient_scope"{wanted}'
    return answer


def answer_http_error(error: HTTPException) -> Response:
    """Werkzeug's own refusals, with their headers kept."""
    status = error.code or 500
    answer = problem(status, HTTP_SLUGS.get(status, "http-error"), error.name, _plain(error))
    for name, value in error.get_headers():
        if name in KEPT_HEADERS:
            answer.headers[name] = value
    return answer


def answer_bug(error: Exception) -> Response:
    """A bug: logged with its kind and place, answered with nothing of it."""
    log.error("bug", kind=type(error).__name__, exc_info=error)
    return problem(500, "internal-error", "Something is wrong on our side", "It has been noted under the instance ID.")


def problem(status: int, slug: str, title: str, detail: str, facts: Mapping[str, object] | None = None) -> Response:
    """One problem, counted; `instance` is the request's ID, under which our logs know it."""
    metrics.count_refusal(slug)
    body = {
        "type": TYPE_PREFIX + slug,
        "title": title,
        "status": status,
        "detail": detail,
        "slug": slug,
        "instance": acting.get().request_id,
        **{name: _shown(value) for name, value in (facts or {}).items() if value is not None},
    }
    shown = json.dumps(body, ensure_ascii=False).encode("utf-8", "replace")  # a pointer may hold half a surrogate pair
    return Response(shown, status=status, content_type=MEDIA_TYPE)


def _challenge(refusal: errors.InvalidAccessToken) -> str:
    """A caller who sent no credentials is told only what kind is wanted (RFC 6750, section 3.1)."""
    if "Authorization" not in request.headers:
        return "Bearer"
    if isinstance(refusal, errors.InvalidDpopProof | errors.UseDpopNonce):
        return f'DPoP error="{refusal.slug.replace("-", "_")}"'
    return f'{_scheme()} error="invalid_token"'


def _scheme() -> str:
    """The scheme by which the request sent its access token."""
    return "DPoP" if request.headers.get("Authorization", "").lower().startswith("dpop ") else "Bearer"


def _plain(error: HTTPException) -> str:
    return error.description if isinstance(error.description, str) else error.name


def _shown(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value
