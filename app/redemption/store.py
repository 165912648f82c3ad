"""Stores: who takes cards."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select

from app import clock
from app.db.together import row_of, together
from app.db.transaction import transaction
from app.events.event import event_of
from app.ids import StoreId, new_id
from app.issuance import rules
from app.redemption.models import Store as StoreRow


@dataclass(frozen=True, slots=True)
class Store:
    """A store; `mode` is live or test and never changes."""

    id: StoreId
    name: str
    mode: str
    created_at: datetime


def add_store(name: str, *, mode: str) -> Store:
    """Adds a store in mode `live` or `test`. Raises InvalidRequest for a name that people could not read, Busy."""
    rules.check_name(name)
    with transaction() as db:
        store = Store(StoreId(new_id("str")), name, mode, clock.now(db))
        together(
            db,
            _store(id=store.id, name=name, mode=mode, created_at=store.created_at),
            event_of("store_added", at=store.created_at, facts={"store_id": store.id}),
        )
        return store


_store = row_of(StoreRow)


def list_stores() -> list[Store]:
    """All stores, oldest first."""
    columns = (StoreRow.id, StoreRow.name, StoreRow.mode, StoreRow.created_at)
    with transaction() as db:
        return [Store(**row._mapping) for row in db.execute(select(*columns).order_by(StoreRow.id))]
