"""Access tokens at our own API (RFC 6750, RFC 9449): who is calling, and may they."""

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from flask import g, request

from app.errors import Busy, InsufficientScope, InvalidAccessToken, TryLater
from app.guard.request_limits import count_client, count_stranger
from app.oauth.access_token import Caller, admit, read_claims
from app.oauth.scopes import ALL_SCOPES
from app.web.context import Acting, acting

__all__ = ["Caller", "caller", "requires"]

P = ParamSpec("P")
T = TypeVar("T")


def requires(*scopes: str) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Lets a view be called with an access token that has any one of these scopes; `caller` then says whose it is.

    A token that a holder's approval made is good for that payment alone: for a view whose `payment_id` is this one.

    From here on the client acts, for the events and the logs. The view raises InvalidAccessToken, InvalidDpopProof,
    UseDpopNonce, InsufficientScope (its fact `scope` names what would do), TryLater, Busy.
    The decorated view carries `required_scopes`.
    """
    if not scopes or not set(scopes) <= set(ALL_SCOPES):
        raise ValueError(f"unknown scopes: {scopes}")

    def decorate(view: Callable[P, T]) -> Callable[P, T]:
        @wraps(view)
        def checked(*args: P.args, **kwargs: P.kwargs) -> T:
            g.caller = _authorise(scopes)
            _act(g.caller.client_id)
            if g.caller.payment_id not in (None, kwargs.get("payment_id")):
                raise InsufficientScope("The access token is for one payment alone.", scope=" ".join(scopes))
            return view(*args, **kwargs)

        checked.required_scopes = scopes  # type: ignore[attr-defined]
        return checked

    return decorate


def may_send_large(authorization: str, *, scope: str) -> str | None:
    """The party whose access token with this scope the header shows, so that its large body is worth keeping.

    Its sender, and whether it was revoked, are looked at when all of the request is here.
    """
    scheme, _, text = authorization.partition(" ")
    try:
        claims = read_claims(text.strip(" "))
    except (InvalidAccessToken, Busy):
        return None
    is_good = scheme.lower() in ("bearer", "dpop") and scope in claims["scope"].split(" ")
    return str(claims["party"]) if is_good else None


def caller() -> Caller:
    """Who is calling the view, which `requires` a scope; without it this is a bug."""
    found: Caller | None = g.get("caller")
    if found is None:
        raise RuntimeError("this view does not require an access token")
    return found


def _authorise(scopes: tuple[str, ...]) -> Caller:
    found = _admitted()
    if not found.scopes.intersection(scopes):
        raise InsufficientScope(scope=" ".join(scopes))
    return found


def _admitted() -> Caller:
    """Who is calling, and not too often. Whoever has no good access token is a stranger, who may try even less."""
    try:
        scheme, text = _presented()
        claims = read_claims(text)
        try:
            found = admit(claims, scheme=scheme, text=text)
            count_client(found.client_id)
        except (Busy, TryLater):  # the log says whom it kept waiting
            _act(claims["client_id"])
            raise
    except InvalidAccessToken:
        count_stranger()
        raise
    return found


def _act(client_id: str) -> None:
    acting.set(Acting(actor=client_id, request_id=acting.get().request_id))


def _presented() -> tuple[str, str]:
    """Scheme and access token of the Authorization header: RFC 6750's other places end up in logs and histories."""
    if "access_token" in request.args:
        raise InvalidAccessToken("An access token belongs into the Authorization header, never into a URL.")
    scheme, _, text = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() not in ("bearer", "dpop") or not text:
        raise InvalidAccessToken("The access token is missing: send Authorization: Bearer (or DPoP) and the token.")
    return scheme, text.strip(" ")
