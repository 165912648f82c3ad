"""What the service counts of itself, for Prometheus. No label names a card, a party, a person or what anybody sent.

Each process counts in its own files in PROMETHEUS_MULTIPROC_DIR, which stay when it is killed; without that setting it
counts in its own memory, where nobody looks. `app/web/metrics_server.py` adds the files up.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, wraps
from typing import ParamSpec

from prometheus_client import Counter, Gauge, Histogram

from app import clock
from app.errors import (
    CaptchaNeeded,
    CardClosed,
    CardHeld,
    CodeMistyped,
    CodeNotAccepted,
    CurrencyMismatch,
    LinkLapsed,
    LinkNotAccepted,
    LinkOpened,
    LinkSuperseded,
    Refusal,
    TryLater,
)

P = ParamSpec("P")

#: Anybody may send any word as a method: the rest are one.
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
#: What a refusal says of the secret that was tried. Any other one came before anybody looked, or is a trouble.
OUTCOMES: dict[type[Refusal], str] = {
    CodeMistyped: "mistyped",
    TryLater: "waiting",
    CaptchaNeeded: "captcha",
    CodeNotAccepted: "wrong",
    LinkNotAccepted: "wrong",
    # Raised to whoever has proven a code or a link.
    CurrencyMismatch: "right",
    CardClosed: "right",
    CardHeld: "right",
    LinkOpened: "right",
    LinkSuperseded: "right",
    LinkLapsed: "right",
}

# All of them have labels: such a metric opens its file when it is first counted, which is after the fork.
_REQUESTS = Counter("scrip_requests", "Requests that were answered.", ["method", "route", "status"])
_REQUEST_SECONDS = Histogram(
    "scrip_request_seconds",
    "How long the service took for an answer.",
    ["route"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10),
)
_REFUSALS = Counter("scrip_refusals", "Refusals by slug, and OAuth's errors by their code.", ["slug"])
_TRIES = Counter("scrip_tries", "Codes and claim keys that were tried.", ["where", "outcome"])
_DELAYS = Histogram(
    "scrip_delay_seconds",
    "How long those who tried too often were told to wait.",
    ["where"],
    buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900),
)
_ARGON2_WAIT = Histogram(
    "scrip_argon2_wait_seconds",
    "How long was waited for a place to run Argon2.",
    ["gate"],
    buckets=(0.001, 0.01, 0.03, 0.1, 0.3, 1, 3),
)
_ARGON2_HELD = Histogram(
    "scrip_argon2_held_seconds",
    "How long a place to run Argon2 was held.",
    ["gate"],
    buckets=(0.01, 0.03, 0.1, 0.3, 1),
)
_ARGON2_TURNED_AWAY = Counter("scrip_argon2_turned_away", "Refused, for too many waited already.", ["gate"])
_LAST_RUN = Gauge(
    "scrip_task_last_run_timestamp_seconds",
    "When the worker last did this task without a trouble.",
    ["task"],
    multiprocess_mode="max",
)

log = logging.getLogger(__name__)


def _harmless(count: Callable[P, None]) -> Callable[P, None]:
    """Nobody is refused because he could not be counted: the folder may be gone, or full."""

    @wraps(count)
    def counted(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            count(*args, **kwargs)
        except OSError as error:
            _tell_once(type(error).__name__)

    return counted


@_harmless
def count_request(method: str, route: str | None, status: int, *, took_s: float) -> None:
    """A request was answered. `route` is the rule that it met, never its path; None where there was none."""
    route = route or "none"
    _REQUESTS.labels(method if method in METHODS else "other", route, status).inc()
    _REQUEST_SECONDS.labels(route).observe(took_s)


@_harmless
def count_refusal(slug: str) -> None:
    """A refusal was told, whatever its form."""
    _REFUSALS.labels(slug).inc()


@_harmless
def count_try(where: str, outcome: str) -> None:
    """A code or a claim key was tried at `api`, `widget`, `checkout` or `claim`.

    It was `right`, `wrong`, `mistyped`, or not looked at: whoever tried it must be `waiting`, or show by a
    `captcha` that he is no robot.
    """
    _TRIES.labels(where, outcome).inc()


@_harmless
def observe_delay(where: str, seconds: float) -> None:
    """Somebody was told to wait."""
    _DELAYS.labels(where).observe(seconds)


@contextmanager
def counted_try(where: str) -> Iterator[None]:
    """Counts the try that is made inside, by how it ends, and the delay where it was refused for its time."""
    try:
        yield
    except Refusal as refusal:
        if outcome := OUTCOMES.get(type(refusal)):
            count_try(where, outcome)
        if isinstance(refusal, TryLater):
            observe_delay(where, refusal.retry_after_s)
        raise
    count_try(where, "right")


@_harmless
def observe_argon2(gate: str, *, waited_s: float, held_s: float) -> None:
    """A place to run Argon2 was had behind this gate, and given back."""
    _ARGON2_WAIT.labels(gate).observe(waited_s)
    _ARGON2_HELD.labels(gate).observe(held_s)


@_harmless
def count_turned_away(gate: str) -> None:
    """The queue before this gate was full."""
    _ARGON2_TURNED_AWAY.labels(gate).inc()


@_harmless
def note_run(task: str) -> None:
    """The worker has just done a piece of this task, or seen that there is none to do."""
    _LAST_RUN.labels(task).set(clock.here_s())


@cache
def _tell_once(kind: str) -> None:
    log.error("metrics cannot be written", extra={"kind": kind})
