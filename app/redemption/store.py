"""Stores: who takes cards."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select, update

from app import clock
from app.db.base import AnyRow
from app.db.together import row_of, together
from app.db.transaction import transaction
from app.errors import NotFound
from app.events.event import event_of
from app.ids import StoreId, new_id
from app.issuance import rules
from app.redemption.models import Store as StoreRow
from app.redemption.origin import read_origins


@dataclass(frozen=True, slots=True)
class Store:
    """A store; `mode` is live or test and never changes. Pages of its `origins` may show our field for codes."""

    id: StoreId
    name: str
    mode: str
    created_at: datetime
    origins: tuple[str, ...] = ()


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
    with transaction() as db:
        return [_seen(row) for row in db.execute(select(*_COLUMNS).order_by(StoreRow.id))]


def find_store(store_id: str) -> Store | None:
    """The store of this ID, or None. Raises Busy."""
    with transaction() as db:
        row = db.execute(select(*_COLUMNS).where(StoreRow.id == store_id)).first()
        return _seen(row) if row else None


def set_origins(store_id: str, origins: Sequence[str]) -> Sequence[str]:
    """Lets pages of these origins, and of no others, show this store's field for codes; returns them as they stand.

    Raises NotFound for an unknown store, InvalidRequest for what `read_origins` refuses, Busy.
    """
    with transaction() as db:
        mode = db.scalar(select(StoreRow.mode).where(StoreRow.id == store_id).with_for_update())
        if mode is None:
            raise NotFound("There is no such store.")
        found = read_origins(origins, mode=mode)
        db.execute(update(StoreRow).where(StoreRow.id == store_id).values(origins=found))
        facts = {"store_id": store_id, "origins": found}
        together(db, event_of("store_origins_set", at=clock.now(db), facts=facts))
    return found


def _seen(row: AnyRow) -> Store:
    return Store(row.id, row.name, row.mode, row.created_at, tuple(row.origins))


_COLUMNS = (StoreRow.id, StoreRow.name, StoreRow.mode, StoreRow.created_at, StoreRow.origins)
