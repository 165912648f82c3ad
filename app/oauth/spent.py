"""What a client signs is good once: of many uses, at once and in whatever processes, one is the first."""

import hashlib
from datetime import datetime, timedelta

from sqlalchemy import Connection, delete, literal_column, select
from sqlalchemy.dialects.postgresql import insert

from app import clock
from app.db.transaction import transaction
from app.oauth.models import SpentAssertion

#: So long one is kept after its end: longer than any repeat can be under way, or a clock be set back.
KEPT_AFTER = timedelta(hours=1)
FORGET_BATCH = 1_000


def spend(db: Connection, signer: str, jti: str, *, until: datetime) -> bool:
    """Whether this is the first use of what `signer` named `jti`. `until` then it would have been good."""
    spent = insert(SpentAssertion).values(hash=hashlib.sha256(f"{signer}\0{jti}".encode()).digest(), expires_at=until)
    return db.execute(spent.on_conflict_do_nothing().returning(literal_column("1"))).first() is not None


def forget_spent() -> int:
    """Drops a batch of those that ended long ago, which nobody can repeat; returns how many. Raises Busy."""
    with transaction() as db:
        over = select(SpentAssertion.hash).where(SpentAssertion.expires_at < clock.now(db) - KEPT_AFTER)
        return db.execute(delete(SpentAssertion).where(SpentAssertion.hash.in_(over.limit(FORGET_BATCH)))).rowcount
