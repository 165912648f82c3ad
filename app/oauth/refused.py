"""Which access tokens are refused before their time: every process knows within a second, without asking each time.

Each reads the names of the few that matter at most twice a second, while it is called. To be told of a change by the
database (NOTIFY) would be sooner, but a process cannot know that nobody tells it any more: its connection was cut
without a word, or a pooler has no use for LISTEN.
"""

from datetime import datetime, timedelta

from sqlalchemy import Connection, delete, func, select, union_all
from sqlalchemy.dialects.postgresql import insert

from app import clock
from app.db.together import together
from app.db.transaction import transaction
from app.events.event import event_of
from app.oauth.models import Client as ClientRow
from app.oauth.models import RevokedToken
from app.oauth.remembered import Remembered
from app.oauth.scopes import ACCESS_TOKEN_TTL_S

#: What a process remembers is never older.
POLL_S = 0.5
#: When a client was disabled so long ago, no access token of it is left.
DISABLED_MATTERS = timedelta(seconds=2 * ACCESS_TOKEN_TTL_S)
#: So long a revoked token is kept after its end, which a process whose clock is behind sees later than the database.
KEPT_AFTER = timedelta(minutes=5)
FORGET_BATCH = 1_000


def is_refused(*, client_id: str, jti: str) -> bool:
    """Whether this access token was revoked, or its client disabled, until POLL_S ago. Raises Busy."""
    return not _remembered.get(max_age_s=POLL_S).isdisjoint((client_id, jti))


def revoke_token(db: Connection, jti: str, *, client_id: str, expires_at: datetime, at: datetime) -> None:
    """Refuses this access token of the client from now on. Again, it changes nothing."""
    revoked = insert(RevokedToken).values(jti=jti, expires_at=expires_at).on_conflict_do_nothing()
    if db.execute(revoked.returning(RevokedToken.jti)).first() is not None:
        together(db, event_of("access_token_revoked", at=at, facts={"client_id": client_id, "jti": jti}))


def forget_revoked_tokens() -> int:
    """Drops a batch of those that expired a while ago, refused in any case; returns how many. Raises Busy."""
    with transaction() as db:
        over = select(RevokedToken.jti).where(RevokedToken.expires_at < clock.now(db) - KEPT_AFTER).limit(FORGET_BATCH)
        return db.execute(delete(RevokedToken).where(RevokedToken.jti.in_(over))).rowcount


def _read_names() -> frozenset[str]:
    with transaction() as db:
        return frozenset(db.scalars(_NAMES))


_NAMES = union_all(
    select(ClientRow.id).where(ClientRow.disabled_at > func.clock_timestamp() - DISABLED_MATTERS),
    select(RevokedToken.jti).where(RevokedToken.expires_at > func.clock_timestamp() - KEPT_AFTER),
)
_remembered = Remembered(_read_names)
