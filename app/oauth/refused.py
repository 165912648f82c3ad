"""Which access tokens are refused before their time: every process knows within a second, without asking each time."""

from dataclasses import dataclass
from datetime import timedelta
from threading import Lock
from time import monotonic

from sqlalchemy import Connection, delete, func, select, union_all

from app import clock
from app.db.listening import Listener, listener, tell
from app.db.transaction import transaction
from app.errors import Busy
from app.oauth.models import Client as ClientRow
from app.oauth.models import RevokedToken
from app.oauth.scopes import ACCESS_TOKEN_TTL_S

CHANNEL = "scrip_refused"
#: So old may be what a process remembers while it listens; and while it cannot.
POLL_S, POLL_UNHEARD_S = 30.0, 0.5
#: For so long a thread waits for another that reads: a silent database must not hold all threads, one by one.
READING_WAIT_S = 3
#: When a client was disabled so long ago, no access token of it is left.
DISABLED_MATTERS = timedelta(seconds=2 * ACCESS_TOKEN_TTL_S)
FORGET_BATCH = 1_000


@dataclass(frozen=True, slots=True)
class _Memory:
    names: frozenset[str]
    heard_by: Listener
    changes: int
    read_at_s: float

    def is_good(self, now_by: Listener) -> bool:
        """Nothing was told since it was read, nor may have been."""
        may_be_old_s = POLL_S if now_by.is_listening else POLL_UNHEARD_S
        is_the_newest = self.heard_by is now_by and self.changes == now_by.changes
        return is_the_newest and monotonic() - self.read_at_s < may_be_old_s


_memory: _Memory | None = None
_reading = Lock()


def is_refused(*, client_id: str, jti: str) -> bool:
    """Whether this access token was revoked, or its client disabled, until a second ago. Raises Busy."""
    return not _names().isdisjoint((client_id, jti))


def note_change(db: Connection) -> None:
    """Tells every process, when this transaction commits, that a client was disabled or a token revoked."""
    tell(db, CHANNEL)


def forget_revoked_tokens() -> int:
    """Drops a batch of those that have expired, which are refused in any case; returns how many. Raises Busy."""
    with transaction() as db:
        over = select(RevokedToken.jti).where(RevokedToken.expires_at < clock.now(db)).limit(FORGET_BATCH)
        return db.execute(delete(RevokedToken).where(RevokedToken.jti.in_(over))).rowcount


def _names() -> frozenset[str]:
    global _memory
    ear = listener(CHANNEL)
    if _memory is not None and _memory.is_good(ear):
        return _memory.names
    if not _reading.acquire(timeout=READING_WAIT_S):
        raise Busy
    try:
        if _memory is None or not _memory.is_good(ear):  # unless another thread has just read them
            changes, asked_at_s = ear.changes, monotonic()  # before reading: what is told meanwhile is read again
            _memory = _Memory(_read_names(), ear, changes, asked_at_s)
        return _memory.names
    finally:
        _reading.release()


def _read_names() -> frozenset[str]:
    now = func.clock_timestamp()
    disabled = select(ClientRow.id).where(ClientRow.disabled_at > now - DISABLED_MATTERS)
    revoked = select(RevokedToken.jti).where(RevokedToken.expires_at > now)
    with transaction() as db:
        return frozenset(db.scalars(union_all(disabled, revoked)))
