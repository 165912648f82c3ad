"""One call from beginning to end, as steps that somebody else takes: send, wait, be the one who renews.

Nothing here touches a network or a clock of its own: `Client` and `AsyncClient` take the same steps, each in its way.
"""

from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeVar

from scrip_sdk.budget import LEAST_S, Deadline, Timeouts, is_repeated, pause_s, timeouts
from scrip_sdk.calls import Answer, Call, read_answer, unavailable
from scrip_sdk.errors import ScripError
from scrip_sdk.service import Service
from scrip_sdk.tokens import EARLY_RENEWAL_S, AccessToken, token_call

T = TypeVar("T")


@dataclass(frozen=True)
class Send:
    """Send this, and come back with an Answer, or with Lost. `path` is all that there is of the address."""

    method: str
    path: str
    headers: dict[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    timeouts: Timeouts


@dataclass(frozen=True)
class Lost:
    """No answer: no connection, none that is trusted, nothing in time or in full, or more than an answer can be."""

    why: Literal["no-connection", "address-not-allowed", "not-trusted", "no-answer", "not-understood"]


@dataclass(frozen=True)
class Wait:
    """Do nothing for so long."""

    seconds: float


@dataclass(frozen=True)
class Renew:
    """Be the only one who renews the access token: come back with the lock, held, or with None after so long."""

    within_s: float


class Held(Protocol):
    """A lock that somebody holds."""

    def release(self) -> None: ...


Step = Send | Wait | Renew
#: What is sent in is an Answer or Lost after Send, None after Wait, Held or None after Renew.
Steps = Generator[Step, Any, T]


def take_steps(service: Service, call: Call[T], deadline: Deadline) -> Steps[T]:
    """All that one call takes, inside its deadline: access token, repeats under the same key, one renewal on 401.

    Returns what was asked for. Raises ScripError.
    """
    attempt, refused = 0, None
    while True:
        token = None
        if call.shown == "access token":
            token = yield from access_token(service, deadline, refused=refused)
        came = yield from _send(service, call, token, deadline)
        if isinstance(came, Answer) and came.status == 401 and token is not None and refused is None:
            refused = token  # revoked, or signed by a key that is gone: once, with another one
            continue
        if not _may_come_again(call, came):
            return _result(call, came)
        pause = pause_s(attempt, left_s=deadline.left_s(), retry_after_s=_retry_after_s(came), draw=service.draw)
        if pause is None:
            return _result(call, came)
        yield Wait(pause)
        attempt += 1


def access_token(service: Service, deadline: Deadline, *, refused: AccessToken | None = None) -> Steps[AccessToken]:
    """An access token that is good, and not the one that was just `refused`.

    One caller fetches the next, early; the others go on with the one before while it is good, and wait where there is
    none. Raises ScripError.
    """
    at_hand = service.access_token
    now = deadline.clock()
    good = at_hand is not None and at_hand.is_good(now) and not _is_same(at_hand, refused)
    if at_hand is not None and good and not at_hand.is_due(now):
        return at_hand
    lock: Held | None = yield Renew(0.0 if good else deadline.left_s())
    if lock is None:
        if at_hand is not None and good:
            return at_hand
        raise unavailable("out-of-time")
    try:
        newest, now = service.access_token, deadline.clock()
        if newest is not None and newest.is_good(now) and not newest.is_due(now) and not _is_same(newest, refused):
            return newest  # somebody else was faster
        return (yield from _renew(service, deadline, at_hand if good else None))
    finally:
        lock.release()


def _renew(service: Service, deadline: Deadline, still_good: AccessToken | None) -> Steps[AccessToken]:
    """Fetches the next. Where one is `still_good`, it is tried once and shortly, and a failure is not the caller's."""
    if still_good is not None:
        deadline = deadline.sooner(EARLY_RENEWAL_S)
    asked_at = deadline.clock()
    call = token_call(service.scopes, service.scheme, asked_at, service.draw)
    try:
        if still_good is None:
            fresh = yield from take_steps(service, call, deadline)
        else:
            fresh = _result(call, (yield from _send(service, call, None, deadline)))
    except ScripError:
        if still_good is None:
            raise
        service.put_off_renewal(deadline.clock())
        return still_good
    service.access_token = fresh
    return fresh


def _send(service: Service, call: Call[Any], token: AccessToken | None, deadline: Deadline) -> Steps[Answer | Lost]:
    """One attempt, and a second at once where the service wanted a nonce of its own in the proof. Raises ScripError."""
    for _ in range(2):
        left_s = deadline.left_s()
        if left_s < LEAST_S:
            raise unavailable("out-of-time")
        headers, body = service.headers_and_body(call, token)
        within = timeouts(call.budget or service.budget, left_s)
        came: Answer | Lost = yield Send(call.method, call.path, headers, body, within)
        headers, body = {}, b""  # a report of an error may show the variables of this frame
        if isinstance(came, Lost) or not service.learn(came):
            break
    return came


def _may_come_again(call: Call[Any], came: Answer | Lost) -> bool:
    """Whether the same request may be sent again: nothing is known of it, or it was told to come later."""
    if not call.repeats:
        return came.why == "no-connection" if isinstance(came, Lost) else came.oauth_error == "temporarily_unavailable"
    if isinstance(came, Lost):
        return came.why in ("no-connection", "no-answer")
    if came.status == 429 and call.of_shopper:
        return False  # it is the shopper who must wait
    return is_repeated(came.status) or came.is_cut


def _retry_after_s(came: Answer | Lost) -> int | None:
    return came.retry_after_s if isinstance(came, Answer) else None


def _result(call: Call[T], came: Answer | Lost) -> T:
    """Raises ScripError."""
    if isinstance(came, Lost):
        raise unavailable(came.why)
    return read_answer(call, came)


def _is_same(token: AccessToken, other: AccessToken | None) -> bool:
    return other is not None and token.text == other.text
