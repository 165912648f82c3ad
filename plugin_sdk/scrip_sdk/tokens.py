"""Access tokens: how long one is used, when the next is fetched, and what its answer must look like; pure."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from scrip_sdk.calls import Call, oauth
from scrip_sdk.payment import NotUnderstood

PATH = "/oauth/token"
#: The next is fetched when between 70 and 80 percent of a token's life are over, so that processes do not come at once.
RENEWED_AT, SPREAD = 0.7, 0.1
#: It is not sent when it has less than this to live, in seconds: it must still be good when it arrives.
MARGIN_S = 10.0
#: Where an early renewal failed, nobody tries again for so long while the one before is good; and it may take so long.
RETRIED_AFTER_S, EARLY_RENEWAL_S = 5.0, 2.0


@dataclass(frozen=True)
class AccessToken:
    """`scheme`: Bearer or DPoP. `renewed_at`, `good_until`: by the client's own monotonic clock, in seconds."""

    text: str = field(repr=False)
    scheme: str
    renewed_at: float
    good_until: float

    def is_good(self, now: float) -> bool:
        return now < self.good_until

    def is_due(self, now: float) -> bool:
        """Whether it is time to fetch the next, though this one may still be good."""
        return now >= self.renewed_at


def token_call(
    scopes: tuple[str, ...] | None, scheme: str, asked_at: float, draw: Callable[[], float]
) -> Call[AccessToken]:
    """Asks for an access token (RFC 6749, 4.4); without `scopes` it has all of the client's.

    Its life counts from `asked_at`, before the request was sent.
    """
    fields = {"grant_type": "client_credentials"} | ({} if scopes is None else {"scope": " ".join(scopes)})
    return oauth(PATH, fields, lambda answer: read_token(answer, scheme, asked_at, draw), repeats=True)


def read_token(answer: Mapping[str, Any], scheme: str, asked_at: float, draw: Callable[[], float]) -> AccessToken:
    """Raises NotUnderstood. A client that proves its key takes no token that is bound to nothing."""
    text, kind, life_s = (answer.get(name) for name in ("access_token", "token_type", "expires_in"))
    if not isinstance(text, str) or not re.fullmatch(r"[!-~]{8,8192}", text):
        raise NotUnderstood("access_token")
    if not isinstance(kind, str) or kind.lower() != scheme.lower():
        raise NotUnderstood("token_type")
    if type(life_s) is not int or not 0 < life_s <= 86_400:
        raise NotUnderstood("expires_in")
    renewed_at = asked_at + life_s * (RENEWED_AT + SPREAD * draw())
    return AccessToken(text, scheme, renewed_at, asked_at + life_s - min(MARGIN_S, life_s * 0.1))
