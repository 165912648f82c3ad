"""Issuers: who funds cards."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select

from app import clock
from app.db.together import row_of, together
from app.db.transaction import transaction
from app.events.event import event_of
from app.ids import IssuerId, new_id
from app.issuance import rules
from app.issuance.models import Issuer as IssuerRow


@dataclass(frozen=True, slots=True)
class Issuer:
    """An issuer; `mode` is live or test and never changes."""

    id: IssuerId
    name: str
    mode: str
    created_at: datetime


def add_issuer(name: str, *, mode: str) -> Issuer:
    """Adds an issuer in mode `live` or `test`. Raises InvalidRequest for a name that people could not read, Busy."""
    rules.check_name(name)
    with transaction() as db:
        issuer = Issuer(IssuerId(new_id("iss")), name, mode, clock.now(db))
        together(
            db,
            _issuer(id=issuer.id, name=name, mode=mode, created_at=issuer.created_at),
            event_of("issuer_added", at=issuer.created_at, facts={"issuer_id": issuer.id}),
        )
        return issuer


_issuer = row_of(IssuerRow)


def list_issuers() -> list[Issuer]:
    """All issuers, oldest first."""
    columns = (IssuerRow.id, IssuerRow.name, IssuerRow.mode, IssuerRow.created_at)
    with transaction() as db:
        return [Issuer(**row._mapping) for row in db.execute(select(*columns).order_by(IssuerRow.id))]
