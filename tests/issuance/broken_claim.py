"""The service with a claim that reads, then writes: what the race test must notice."""

import os
from typing import Any

from sqlalchemy import update

from app.config import Settings
from app.factory import create_app
from app.issuance import claim
from app.issuance.models import ClaimLink


def _spend_whatever_it_is(db: Any, link_id: str, _key: str, _nonce: str, opened_by: str, now: Any) -> None:
    db.execute(
        update(ClaimLink).where(ClaimLink.id == link_id).values(state="opened", opened_at=now, opened_by=opened_by)
    )


claim._spend = _spend_whatever_it_is
claim._lock = lambda _db, link_id: link_id
app = create_app(Settings.from_env(os.environ))
