"""Programmes: an issuer's terms."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, column, insert, select, table

from app import clock
from app.db.request import Reference, done_before, keep_answer
from app.db.together import together
from app.db.transaction import transaction
from app.errors import InvalidRequest, NotFound
from app.events.event import event_of
from app.ids import IssuerId, ProgrammeId, new_id
from app.issuance.models import Programme as ProgrammeRow
from app.issuance.models import ProgrammeStore
from app.ledger.accounts import BREAKAGE, FUNDING, opening_of

_store = table("store", column("id"), column("mode"))


@dataclass(frozen=True, slots=True)
class ProgrammeTerms:
    """Terms as an issuer asks for them; `stores` is None for all stores. Amounts in minor units, times in seconds."""

    name: str
    currency: str
    card_min_minor: int
    card_max_minor: int
    valid_days: int
    link_policy: str
    hold_ttl_s: int
    confirmed_ttl_s: int
    hold_max_s: int
    stores: list[str] | None


@dataclass(frozen=True, slots=True)
class Programme(ProgrammeTerms):
    """A programme as its issuer sees it."""

    id: ProgrammeId
    mode: str
    created_at: datetime
    replayed: bool = False


def create_programme(terms: ProgrammeTerms, *, issuer_id: IssuerId, mode: str, reference: Reference) -> Programme:
    """Creates a programme and opens its ledger accounts.

    Raises InvalidRequest for an unknown store or one of another mode, ReferenceReused, Busy.
    """
    with transaction() as db:
        if again := done_before(db, reference, Programme):
            return again
        _check_stores(db, terms.stores or [], mode)
        now = clock.now(db)
        values = {name: getattr(terms, name) for name in ProgrammeTerms.__dataclass_fields__}
        programme = Programme(id=ProgrammeId(new_id("prg")), mode=mode, created_at=now, **values)
        _insert(db, programme, issuer_id)
        facts = {"programme_id": programme.id, "issuer_id": issuer_id}
        together(
            db,
            opening_of(FUNDING, issuer_id, terms.currency, mode),
            opening_of(BREAKAGE, issuer_id, terms.currency, mode),
            event_of("programme_created", at=now, facts=facts),
            keep_answer(reference, programme),
        )
        return programme


def read_programme(programme_id: ProgrammeId, *, issuer_id: IssuerId) -> Programme:
    """One programme of this issuer. Raises NotFound for anybody else's."""
    found = _read(issuer_id, programme_id=programme_id)
    if not found:
        raise NotFound("There is no such programme.")
    return found[0]


def list_programmes(*, issuer_id: IssuerId, after: str | None, limit: int) -> list[Programme]:
    """At most `limit` programmes of this issuer, oldest first, from the one after `after`."""
    return _read(issuer_id, after=after, limit=limit)


def _check_stores(db: Connection, store_ids: list[str], mode: str) -> None:
    known = set(db.scalars(select(_store.c.id).where(_store.c.id.in_(store_ids), _store.c.mode == mode)))
    for place, store_id in enumerate(store_ids):
        if store_id not in known:
            raise InvalidRequest(f"There is no {mode} store with this ID.", pointer=f"/stores/{place}")


def _insert(db: Connection, programme: Programme, issuer_id: IssuerId) -> None:
    columns = {
        name: getattr(programme, name) for name in Programme.__dataclass_fields__ if name not in ("stores", "replayed")
    }
    db.execute(insert(ProgrammeRow).values(issuer_id=issuer_id, all_stores=programme.stores is None, **columns))
    if programme.stores:
        rows = [{"programme_id": programme.id, "store_id": store, "mode": programme.mode} for store in programme.stores]
        db.execute(insert(ProgrammeStore), rows)


def _read(
    issuer_id: IssuerId, *, programme_id: ProgrammeId | None = None, after: str | None = None, limit: int = 1
) -> list[Programme]:
    names = [name for name in Programme.__dataclass_fields__ if name not in ("stores", "replayed")]
    query = select(*(getattr(ProgrammeRow, name) for name in names), ProgrammeRow.all_stores)
    query = query.where(ProgrammeRow.issuer_id == issuer_id).order_by(ProgrammeRow.id).limit(limit)
    if programme_id is not None:
        query = query.where(ProgrammeRow.id == programme_id)
    if after is not None:
        query = query.where(ProgrammeRow.id > after)
    with transaction() as db:
        rows = db.execute(query).all()
        ids = [row.id for row in rows]
        pairs = select(ProgrammeStore.programme_id, ProgrammeStore.store_id).where(ProgrammeStore.programme_id.in_(ids))
        stores: dict[str, list[str]] = {}
        for pair in db.execute(pairs.order_by(ProgrammeStore.store_id)):
            stores.setdefault(pair.programme_id, []).append(pair.store_id)
    return [
        Programme(
            **{name: getattr(row, name) for name in names}, stores=None if row.all_stores else stores.get(row.id, [])
        )
        for row in rows
    ]
