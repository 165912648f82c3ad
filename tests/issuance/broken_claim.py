"""The service with a claim that reads, then writes: what the race test must notice."""

import os
import time
from datetime import datetime

from sqlalchemy import Connection, update

from app.config import Settings
from app.factory import create_app
from app.issuance import claim
from app.issuance.models import ClaimLink

#: Between what was read and what is written, so that the race happens on any machine and not only on a busy one.
GAP_S = 0.05


def _spend(db: Connection, link_id: str, key: str, nonce: str, opened_by: str, now: datetime) -> None:
    time.sleep(GAP_S)
    db.execute(
        update(ClaimLink).where(ClaimLink.id == link_id).values(state="opened", opened_at=now, opened_by=opened_by)
    )


def _lock(db: Connection, link_id: str) -> str | None:
    return link_id


claim._spend, claim._lock = _spend, _lock
app = create_app(Settings.from_env(os.environ))
