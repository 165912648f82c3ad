"""Which access tokens are refused before their time: every process knows within a second, without asking each time.

Each reads the names of the few that matter at most twice a second, while it is called. To be told of a change by the
database (NOTIFY) would be sooner, but a process cannot know that nobody tells it any more: its connection was cut
without a word, or a pooler has no use for LISTEN.
"""

from dataclasses import dataclass
from datetime import timedelta
from threading import Lock
from time import monotonic

from sqlalchemy import delete, func, select, union_all

from app import clock
from app.config import settings
from app.db.transaction import transaction
from app.errors import Busy
from app.oauth.models import Client as ClientRow
from app.oauth.models import RevokedToken
from app.oauth.scopes import ACCESS_TOKEN_TTL_S

#: What a process remembers is never older.
POLL_S = 0.5
#: For so long a thread waits for another that reads: a silent database must not hold all threads, one by one.
READING_WAIT_S = 3
#: When a client was disabled so long ago, no access token of it is left.
DISABLED_MATTERS = timedelta(seconds=2 * ACCESS_TOKEN_TTL_S)
#: So long a revoked token is kept after its end, which a process whose clock is behind sees later than the database.
KEPT_AFTER = timedelta(minutes=5)
FORGET_BATCH = 1_000


@dataclass(frozen=True, slots=True)
class _Memory:
    names: frozenset[str]
    database_url: str
    read_at_s: float


_memory: _Memory | None = None
_reading = Lock()


def is_refused(*, client_id: str, jti: str) -> bool:
    """Whether this access token was revoked, or its client disabled, until POLL_S ago. Raises Busy."""
    return not _names().isdisjoint((client_id, jti))


def forget_revoked_tokens() -> int:
    """Drops a batch of those that expired a while ago, refused in any case; returns how many. Raises Busy."""
    with transaction() as db:
        over = select(RevokedToken.jti).where(RevokedToken.expires_at < clock.now(db) - KEPT_AFTER).limit(FORGET_BATCH)
        return db.execute(delete(RevokedToken).where(RevokedToken.jti.in_(over))).rowcount


def _names() -> frozenset[str]:
    global _memory
    if (known := _remembered()) is not None:
        return known
    if not _reading.acquire(timeout=READING_WAIT_S):
        raise Busy
    try:
        if (known := _remembered()) is not None:  # another thread has just read them
            return known
        asked_at_s = monotonic()
        names = _read_names()
        _memory = _Memory(names, settings().database_url, asked_at_s)
        return names
    finally:
        _reading.release()


def _remembered() -> frozenset[str] | None:
    memory = _memory
    if memory is None or memory.database_url != settings().database_url:
        return None
    return memory.names if monotonic() - memory.read_at_s < POLL_S else None


def _read_names() -> frozenset[str]:
    with transaction() as db:
        return frozenset(db.scalars(_NAMES))


_NAMES = union_all(
    select(ClientRow.id).where(ClientRow.disabled_at > func.clock_timestamp() - DISABLED_MATTERS),
    select(RevokedToken.jti).where(RevokedToken.expires_at > func.clock_timestamp() - KEPT_AFTER),
)
