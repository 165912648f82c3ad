"""The verbs of redemption with their locks taken out: what the race tests must notice."""

import pytest
from sqlalchemy import Select

from app.redemption import exchange, holds


def take_out_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    """From here on no statement locks a row, those included that were made before."""
    monkeypatch.setattr(Select, "with_for_update", lambda self, **_: self)
    monkeypatch.setattr(holds, "_CLAIM_AND_LOCK", holds._locking(holds._CLAIM))
    monkeypatch.setattr(exchange, "_CLAIM_AND_LOCK", exchange._locking(exchange._CLAIM))
    monkeypatch.setattr(exchange, "_CLAIM_AND_LOCK_TOKEN", exchange._locking(exchange._CLAIM, by_token=True))
