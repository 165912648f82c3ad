"""Request limits over HTTP: who is counted where, what a limited caller is refused, and what all are told of them.

It knows Flask, as a room's pages do: who asks is a matter of the request. A room says with one line on its blueprint
which limit its strangers have. Flask-Limiter makes the storage and counts by its strategy. Its decorators and hooks are
not used: they alone took a twentieth of all that the cheapest call takes of a processor.

A storage that is away limits nobody: the rest of guard keeps its state in PostgreSQL, and what needs PostgreSQL while
that is away is refused as busy anyway.
"""

import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import ip_network
from threading import Lock
from time import monotonic
from typing import TypeVar, cast

import structlog
from flask import Flask, Response, g, request
from flask_limiter import Limiter
from limits import RateLimitItem, parse
from limits.errors import StorageError
from limits.storage import SlidingWindowCounterSupport

from app import secrecy
from app.config import settings
from app.errors import TryLater
from app.guard.limit_storage import PostgresStorage
from app.guard.limit_window import Window
from app.web.address import client_address
from app.web.networks import Address

T = TypeVar("T")

#: So long a storage that did not answer is not asked again, and so often the log says so.
AWAY_S, SAID_EVERY_S = 1.0, 60.0
#: Of so many callers who were refused a process knows until when; then it begins anew.
REMEMBERED = 10_000
#: How much of such a request is not counted, and of how many at most.
GIVEN_BACK, MOST_GIVEN_BACK = 0.75, 100.0
#: Redis is near, or it is away: nobody waits longer for it.
REDIS_WAITS_S = 0.5
#: What of an address is one caller. Of v6 a subscriber has at least a /64, and may use another address each time; many
#: have a /48 full of them.
ADDRESS, SITE, ADDRESS_OR_SITE = {4: 32, 6: 64}, {6: 48}, {4: 32, 6: 48}

log = structlog.get_logger(__name__)

limiter = Limiter(key_func=lambda: "", strategy="sliding-window-counter", headers_enabled=False)
#: Its log lines would be as many as a flood has requests.
logging.getLogger("flask-limiter").setLevel(logging.WARNING)


@dataclass(frozen=True, slots=True)
class Counted:
    """One limit of the request at hand: its name in the headers, how many in how long, and whose requests count."""

    name: str
    limit: RateLimitItem
    key: str


@dataclass(frozen=True, slots=True)
class Told:
    """What a caller is told of one limit: so many requests are `left` until `reset_s`."""

    counted: Counted
    left: int
    reset_s: int


def register(app: Flask, *, also: Collection[str] = ()) -> None:
    """Counts for the app, `also` at these endpoints of no blueprint; adds the headers. `use_storage` comes first."""
    app.before_request(lambda: count_stranger() if request.endpoint in also else None)
    app.after_request(_tell)


def use_storage() -> None:
    """From now on this process counts where its settings say."""
    url = settings().limits.storage_url
    waits = {} if url == "pg://" else {"socket_timeout": REDIS_WAITS_S, "socket_connect_timeout": REDIS_WAITS_S}
    without_hooks = Flask(__name__)
    without_hooks.config.update(RATELIMIT_STORAGE_URI=url, RATELIMIT_STORAGE_OPTIONS={"wrap_exceptions": True, **waits})
    limiter.init_app(without_hooks)


# ── who is counted ──────────────────────────────────────────────────────────────────────────────────────────────────


def count_client(client_id: str) -> None:
    """One more request of this client, whose access token is good. Raises TryLater."""
    if not _take_given_back(client_id):
        _count(Counted("client", _read(settings().limits.per_client), client_id))


def give_back_client(client_id: str) -> None:
    """The request at hand was a try of somebody who has to wait, and counts a quarter: of the client's next four in
    this process three are free. So one shopper who tries without a pause does not use up what his store may ask for all
    the others, and a flood of such tries has an end all the same."""
    with _giving_back:
        _given_back[client_id] = min(_given_back.get(client_id, 0.0) + GIVEN_BACK, MOST_GIVEN_BACK)


def _take_given_back(client_id: str) -> bool:
    with _giving_back:
        left = _given_back.get(client_id, 0.0)
        if left < 1:
            return False
        _given_back[client_id] = left - 1
        return True


def count_stranger() -> None:
    """One more request of an address without a good access token. Files do not count. Raises TryLater."""
    if (request.endpoint or "").endswith(".static"):
        return
    limits, address = settings().limits, client_address()
    counted = [Counted("address", _read(limits.per_address), _network(address, ADDRESS))]
    if address is not None and address.version in SITE:
        counted.append(Counted("site", _read(limits.per_site), _network(address, SITE)))
    _count(*counted)


def count_unproven() -> None:
    """One more request of an address at an OAuth endpoint, before it is known whose client asks. Raises TryLater.

    A store in a sale asks here as often as at the API, and all from one address: so it has the client's limit.
    """
    _count(Counted("oauth", _read(settings().limits.per_client), _network(client_address(), ADDRESS_OR_SITE)))


def count_wrong_secret(client_id: str) -> None:
    """This address tried a secret for this client that is none of its. Raises TryLater after too many.

    What is tried from elsewhere does not count.
    """
    key = _hashed(f"{_network(client_address(), ADDRESS)} {client_id}")
    tried = Counted("secret", _read(settings().limits.wrong_secrets), key)
    if not _hit(tried):
        raise _refusal(tried)


def _network(address: Address | None, lengths: Mapping[int, int]) -> str:
    """A keyed hash of the caller's network, so that no storage knows whose it is. Without an address all share one."""
    if address is None:
        return "socket"
    return _hashed(str(ip_network((int(address), lengths[address.version]), strict=False)))


def _hashed(value: str) -> str:
    return secrecy.to_text(secrecy.keyed_hash(settings().keys.hashing, "request limit", value))


_read = lru_cache(maxsize=64)(parse)
#: By client, in this process.
_given_back: dict[str, float] = {}
_giving_back = Lock()


# ── counting ────────────────────────────────────────────────────────────────────────────────────────────────────────

#: Until when, by a counter that nobody sets, whoever is counted so is refused without asking again.
_refused: dict[Counted, float] = {}
#: When the storage may be asked again, and the log may say again that it is away.
_asked_again_s = _said_again_s = 0.0


def _count(*counted: Counted) -> None:
    """Counts one request by all of them, unless one is known to be reached. Raises TryLater.

    So a flood costs a look into memory, and whoever comes from ever other networks of a site that has reached its limit
    leaves no row for each.
    """
    for one in counted:
        if (left_s := _refused.get(one, 0.0) - monotonic()) > 0:
            raise _later(one, wait_s=int(left_s) + 1)
    for one in counted:
        if not _hit(one):
            raise _refusal(one)
    g.limits_told = [_told(one) for one in counted]


def _hit(counted: Counted) -> bool:
    return _asked(lambda: limiter.limiter.hit(counted.limit, counted.key, counted.name), otherwise=True)


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


def _refusal(reached: Counted) -> TryLater:
    """The refusal of a caller who has reached the limit, which is remembered until there is room again."""
    wait_s = _window(reached).waits_s(reached.limit.amount)
    if len(_refused) >= REMEMBERED:
        _refused.clear()
    _refused[reached] = monotonic() + wait_s
    return _later(reached, wait_s=wait_s)


def _later(reached: Counted, *, wait_s: int) -> TryLater:
    g.limits_told = [Told(reached, 0, wait_s)]
    return TryLater("Too many requests came from here.", retry_after_s=wait_s)


def _told(counted: Counted) -> Told:
    window = _window(counted)
    return Told(counted, window.left(counted.limit.amount), int(window.ends_in_s) + 1)


def _window(counted: Counted) -> Window:
    """The window after what was just counted. Redis is asked again; a process knows what PostgreSQL told it."""
    key, window_s = counted.limit.key_for(counted.key, counted.name), counted.limit.get_expiry()
    if isinstance(limiter.storage, PostgresStorage) and (known := limiter.storage.window_told(key, window_s)):
        return known
    storage = cast(SlidingWindowCounterSupport, limiter.storage)
    previous, previous_s, current, current_s = _asked(
        lambda: storage.get_sliding_window(key, window_s), otherwise=(0, 0.0, 0, 0.0)
    )
    return Window(window_s, previous, current, previous_s if previous else current_s % window_s)


def _tell(answer: Response) -> Response:
    """The standard's headers (draft-ietf-httpapi-ratelimit-headers-10), which Flask-Limiter does not know."""
    told: list[Told] = g.get("limits_told", [])
    if told:
        policies = (
            f'"{each.counted.name}";q={each.counted.limit.amount};w={each.counted.limit.get_expiry()}' for each in told
        )
        answer.headers["RateLimit-Policy"] = ", ".join(policies)
        answer.headers["RateLimit"] = ", ".join(
            f'"{each.counted.name}";r={each.left};t={each.reset_s}' for each in told
        )
    return answer
