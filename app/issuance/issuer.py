"""Issuers: who funds cards."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import insert, select

from app import clock
from app.db.transaction import transaction
from app.ids import IssuerId, new_id
from app.issuance.models import Issuer as IssuerRow


@dataclass(frozen=True, slots=True)
class Issuer:
    """An issuer; `mode` is live or test and never changes."""

    id: IssuerId
    name: str
    mode: str
    created_at: datetime


def add_issuer(name: str, *, mode: str) -> Issuer:
    """Adds an issuer in mode `live` or `test`."""
    with transaction() as db:
        issuer = Issuer(IssuerId(new_id("iss")), name, mode, clock.now(db))
        db.execute(insert(IssuerRow).values(id=issuer.id, name=name, mode=mode, created_at=issuer.created_at))
        return issuer


def list_issuers() -> list[Issuer]:
    """All issuers, oldest first."""
    columns = (IssuerRow.id, IssuerRow.name, IssuerRow.mode, IssuerRow.created_at)
    with transaction() as db:
        return [Issuer(**row._mapping) for row in db.execute(select(*columns).order_by(IssuerRow.id))]
