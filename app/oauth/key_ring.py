"""The key ring as it is remembered: which key signs now, and which ones verify."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from joserfc.jwk import ECKey

Purpose = Literal["access", "balance"]
PURPOSES: Sequence[Purpose] = ("access", "balance")
ALGORITHM = "ES256"

#: For so long a reader of our JWKS may keep it.
JWKS_MAX_AGE_S = 300
#: So often a process reads the keys again.
REFRESH_EVERY_S = 30
#: A key is published for so long before it signs, so that every cache, ours too, knows it by then.
PUBLISHED_BEFORE = timedelta(seconds=JWKS_MAX_AGE_S + 2 * REFRESH_EVERY_S)
#: A key verifies for so long after it signed last: longer than what it signed lives. A balance token lives as long as
#: its hold, which a programme may allow to be extended for months.
VERIFIES_AFTER: dict[Purpose, timedelta] = {"access": timedelta(minutes=15), "balance": timedelta(days=400)}


@dataclass(frozen=True, slots=True)
class RingKey:
    """A key pair; it may sign from `signs_from` on and verifies until `retires_at` (None: when is not decided yet)."""

    kid: str
    purpose: Purpose
    pair: ECKey
    signs_from: datetime | None
    retires_at: datetime | None

    def public_jwk(self) -> dict[str, object]:
        """The public half as RFC 7517 has it."""
        return public_jwk(self.pair, kid=self.kid)


class Ring:
    """The keys that a process knows of. The repr of a ring shows no key."""

    def __init__(self, keys: Iterable[RingKey]) -> None:
        self._keys = {key.kid: key for key in keys}

    def __repr__(self) -> str:
        return f"Ring({sorted(self._keys)})"

    def signer(self, purpose: Purpose, now: datetime) -> RingKey:
        """The key that signs now: the newest whose time has come.

        When none's has (this machine's clock is behind the database's), it is the oldest. Raises LookupError when there
        is no key for this purpose.
        """
        own = [(key.signs_from, key) for key in self._keys.values() if key.purpose == purpose]
        in_turn = sorted(((since, key) for since, key in own if since is not None), key=lambda pair: pair[0])
        if not in_turn:
            raise LookupError(f"there is no key that signs {purpose} tokens")
        due = [key for since, key in in_turn if since <= now]
        return due[-1] if due else in_turn[0][1]

    def published(self, now: datetime) -> list[RingKey]:
        """The keys that verify, or will soon."""
        return [key for key in self._keys.values() if key.retires_at is None or key.retires_at > now]

    def verifier(self, kid: str, purpose: Purpose, now: datetime) -> ECKey | None:
        """The key that verifies what `kid` signed for this purpose, if there is one."""
        known = (key.pair for key in self.published(now) if key.kid == kid and key.purpose == purpose)
        return next(known, None)


def public_jwk(pair: ECKey, *, kid: str) -> dict[str, object]:
    """The public half of a pair as RFC 7517 has it, with what it may be used for."""
    return {**pair.as_dict(private=False), "kid": kid, "use": "sig", "alg": ALGORITHM}
