"""Request limits over HTTP: who is counted where, what a limited caller is refused, and what all are told of them.

It knows Flask, as a room's pages do: who asks is a matter of the request, and Flask-Limiter counts. A room says with
one line on its blueprint which limit its strangers have. A storage that is away limits nobody: the rest of guard keeps
its state in PostgreSQL, and what needs PostgreSQL while that is away is refused as busy anyway.
"""

import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from ipaddress import ip_network
from time import monotonic
from typing import TypeVar, cast

import structlog
from flask import Flask, Response, g, request
from flask_limiter import Limiter, RateLimitExceeded
from limits import RateLimitItem, parse
from limits.errors import StorageError
from limits.storage import SlidingWindowCounterSupport

from app import secrecy
from app.config import settings
from app.errors import TryLater
from app.guard.limit_storage import PostgresStorage
from app.guard.limit_window import Window
from app.web.address import client_address
from app.web.context import acting

T = TypeVar("T")

#: So long a storage that did not answer is not asked again, and so often the log says so.
AWAY_S, SAID_EVERY_S = 1.0, 60.0
#: Of so many callers who were refused a process knows until when; then it begins anew.
REMEMBERED = 10_000
#: Redis is near, or it is away: nobody waits longer for it.
REDIS_WAITS_S = 0.5

log = structlog.get_logger(__name__)

limiter = Limiter(key_func=lambda: _address(), strategy="sliding-window-counter", headers_enabled=False)
#: Its log lines would be as many as a flood has requests.
logging.getLogger("flask-limiter").setLevel(logging.WARNING)


def register(app: Flask, *, also: Collection[str] = ()) -> None:
    """Counts for the app in the settings' storage, `also` at these endpoints of no blueprint; adds the headers."""
    url = settings().limits.storage_url
    waits = {} if url == "pg://" else {"socket_timeout": REDIS_WAITS_S, "socket_connect_timeout": REDIS_WAITS_S}
    app.config.update(RATELIMIT_STORAGE_URI=url, RATELIMIT_STORAGE_OPTIONS={"wrap_exceptions": True, **waits})
    limiter.init_app(app)
    app.before_request(lambda: count_stranger() if request.endpoint in also else None)
    app.after_request(_tell)


# ── who is counted ──────────────────────────────────────────────────────────────────────────────────────────────────


def count_client() -> None:
    """One more request of the client that acts, whose access token is good. Raises TryLater."""
    _count(_client_limit, ("client", _client(), settings().limits.per_client))


def count_stranger() -> None:
    """One more request of an address without a good access token. Files do not count. Raises TryLater."""
    if not (request.endpoint or "").endswith(".static"):
        limits = settings().limits
        _count(_stranger_limits, ("address", _address(), limits.per_address), ("site", _site(), limits.per_site))


def count_unproven() -> None:
    """One more request of an address at an OAuth endpoint, before it is known whose client asks. Raises TryLater.

    A store in a sale asks here as often as at the API, and all from one address: so it has the client's limit.
    """
    _count(_unproven_limit, ("oauth", _address_or_site(), settings().limits.per_client))


def check_wrong_secrets(client_id: str) -> None:
    """Whether this address may try another secret for this client. Raises TryLater.

    What is tried from elsewhere does not count: nobody can lock a client out. Tries at the very same moment slip by, at
    most as many as there are threads.
    """
    limit, key = parse(settings().limits.wrong_secrets), _guess(client_id)
    if not _asked(lambda: limiter.limiter.test(limit, key, "secret"), otherwise=True):
        raise _refusal("secret", limit, key)


def count_wrong_secret(client_id: str) -> None:
    """This address tried a secret for this client that is none of its."""
    limit, key = parse(settings().limits.wrong_secrets), _guess(client_id)
    _asked(lambda: limiter.limiter.hit(limit, key, "secret"), otherwise=True)


@limiter.shared_limit(lambda: settings().limits.per_client, scope="client", key_func=lambda: _client())
def _client_limit() -> None: ...


@limiter.shared_limit(
    lambda: settings().limits.per_site, scope="site", key_func=lambda: _site(), exempt_when=lambda: not _site()
)
@limiter.shared_limit(lambda: settings().limits.per_address, scope="address", key_func=lambda: _address())
def _stranger_limits() -> None: ...


@limiter.shared_limit(lambda: settings().limits.per_client, scope="oauth", key_func=lambda: _address_or_site())
def _unproven_limit() -> None: ...


def _client() -> str:
    return acting.get().actor


def _address() -> str:
    """A v4 address, or the /64 of a v6 one: a subscriber has at least that, and may use another address each time."""
    return _network({4: 32, 6: 64})


def _site() -> str:
    """The /48 of a v6 address, which may be full of /64s; nothing for v4."""
    return _network({6: 48})


def _address_or_site() -> str:
    return _network({4: 32, 6: 48})


def _guess(client_id: str) -> str:
    return _hashed(f"{_address()}/{client_id}")


def _network(lengths: Mapping[int, int]) -> str:
    """A keyed hash of the caller's network, so that no storage knows whose it is. Without an address all share one."""
    address = client_address()
    if address is None:
        return "socket"
    length = lengths.get(address.version)
    return "" if length is None else _hashed(str(ip_network((int(address), length), strict=False)))


def _hashed(value: str) -> str:
    return secrecy.to_text(secrecy.keyed_hash(settings().keys.hashing, "request limit", value))


# ── counting ────────────────────────────────────────────────────────────────────────────────────────────────────────

#: Until when, by a counter that nobody sets, whoever is counted under these names is refused without asking again.
_refused: dict[tuple[str, str, int], float] = {}
#: When the storage may be asked again, and the log may say again that it is away.
_asked_again_s = _said_again_s = 0.0


@dataclass(frozen=True, slots=True)
class Told:
    """What a caller is told of one limit: of `quota` requests in `window_s` so many are `left`, until `reset_s`."""

    name: str
    quota: int
    window_s: int
    left: int
    reset_s: int


def _count(counted: Callable[[], None], *limits: tuple[str, str, str]) -> None:
    """Has Flask-Limiter count, unless one of the limits (name, key, rate) is known to be reached. Raises TryLater.

    So a flood costs a look into memory, and whoever comes from ever other networks of a site that has reached its limit
    leaves no row for each.
    """
    for name, key, rate in limits:
        limit = parse(rate)
        if (left_s := _refused.get((name, key, limit.amount), 0.0) - monotonic()) > 0:
            raise _later(name, limit, wait_s=int(left_s) + 1)
    try:
        _asked(counted, otherwise=None)
    except RateLimitExceeded:
        reached = limiter.current_limits[-1]
        raise _refusal(reached.request_args[1], reached.limit, reached.request_args[0]) from None
    g.limits_told = [_told(each.request_args[1], each.limit, each.request_args[0]) for each in limiter.current_limits]


def _asked(ask: Callable[[], T], *, otherwise: T) -> T:
    """What the storage answers; `otherwise` while it is away."""
    global _asked_again_s, _said_again_s
    if monotonic() < _asked_again_s:
        return otherwise
    try:
        return ask()
    except StorageError as error:
        _asked_again_s = monotonic() + AWAY_S
        if monotonic() >= _said_again_s:
            _said_again_s = monotonic() + SAID_EVERY_S
            log.warning("requests are not limited: their storage is away", kind=type(error.__cause__).__name__)
        return otherwise


def _refusal(name: str, limit: RateLimitItem, key: str) -> TryLater:
    """The refusal of a caller who has reached the limit, which is remembered until there is room again."""
    wait_s = _window(name, limit, key).waits_s(limit.amount)
    if len(_refused) >= REMEMBERED:
        _refused.clear()
    _refused[name, key, limit.amount] = monotonic() + wait_s
    return _later(name, limit, wait_s=wait_s)


def _later(name: str, limit: RateLimitItem, *, wait_s: int) -> TryLater:
    g.limits_told = [Told(name, limit.amount, limit.get_expiry(), 0, wait_s)]
    return TryLater("Too many requests came from here.", retry_after_s=wait_s)


def _told(name: str, limit: RateLimitItem, key: str) -> Told:
    window = _window(name, limit, key)
    return Told(name, limit.amount, limit.get_expiry(), window.left(limit.amount), int(window.ends_in_s) + 1)


def _window(name: str, limit: RateLimitItem, key: str) -> Window:
    """The window after what was just counted. Redis is asked again; a process knows what PostgreSQL told it."""
    storage, full_key, window_s = limiter.storage, limit.key_for(key, name), limit.get_expiry()
    if isinstance(storage, PostgresStorage) and (known := storage.window_told(full_key, window_s)):
        return known
    sliding = cast(SlidingWindowCounterSupport, storage)
    unknown = (0, 0.0, 0, 0.0)
    previous, previous_s, current, current_s = _asked(
        lambda: sliding.get_sliding_window(full_key, window_s), otherwise=unknown
    )
    return Window(window_s, previous, current, previous_s if previous else current_s % window_s)


def _tell(answer: Response) -> Response:
    """The standard's headers (draft-ietf-httpapi-ratelimit-headers-10), which Flask-Limiter does not know."""
    told: list[Told] = g.get("limits_told", [])
    if told:
        answer.headers["RateLimit-Policy"] = ", ".join(f'"{one.name}";q={one.quota};w={one.window_s}' for one in told)
        answer.headers["RateLimit"] = ", ".join(f'"{one.name}";r={one.left};t={one.reset_s}' for one in told)
    return answer
