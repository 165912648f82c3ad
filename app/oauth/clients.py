"""OAuth clients: the machines of stores and issuers, their scopes and their secrets."""

import hashlib
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from psycopg.errors import ForeignKeyViolation
from sqlalchemy import ColumnElement, Connection, Row, func, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from app import clock
from app.db.together import together
from app.db.transaction import transaction
from app.errors import InvalidRequest, NotFound
from app.events.event import event_of
from app.ids import is_id, new_id
from app.oauth.models import Client as ClientRow
from app.oauth.models import ClientSecret
from app.oauth.scopes import foreign_scopes, in_order
from app.secrecy import random_secret

#: A secret's last use is written down at most so often: it is there to find secrets that nobody uses any more.
USE_NOTED_EVERY = timedelta(minutes=1)
SECRETS_AT_ONCE = 2


@dataclass(frozen=True, slots=True)
class NewClient:
    """A client's credentials, shown once: we keep the secret's SHA-256 only."""

    client_id: str
    client_secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Client:
    """A client as an operator sees it. `party_kind` is `issuer` or `store`, `mode` its party's."""

    client_id: str
    name: str
    mode: str
    party_id: str
    party_kind: str
    scopes: tuple[str, ...]
    disabled_at: datetime | None
    created_at: datetime
    last_used_at: datetime | None = None


def add_client(
    *,
    name: str,
    mode: str,
    issuer_id: str | None = None,
    store_id: str | None = None,
    scopes: Collection[str],
) -> NewClient:
    """Adds a client of exactly one issuer or store, in that party's mode `live` or `test`.

    Raises InvalidRequest for a scope that is not for this kind of party, or no scope or name at all; NotFound when
    there is no such party in this mode; Busy.
    """
    if (issuer_id is None) == (store_id is None):
        raise ValueError("a client belongs to one issuer or one store")
    _check_client(name, mode, scopes, party_kind="store" if issuer_id is None else "issuer")
    try:
        with transaction() as db:
            return _insert_client(db, name=name, mode=mode, issuer_id=issuer_id, store_id=store_id, scopes=scopes)
    except IntegrityError as error:
        if isinstance(error.orig, ForeignKeyViolation):
            raise NotFound(f"There is no {issuer_id or store_id} in mode {mode}.") from error
        raise


def rotate_secret(client_id: str) -> NewClient:
    """Gives a client another secret. The one it had works on, so that its machines change over one by one.

    Two are live at a time: of two, the older is retired. Raises NotFound for an unknown or disabled client, Busy.
    """
    with transaction() as db:
        mode = _lock_client(db, client_id)
        now = clock.now(db)
        live = db.execute(
            select(ClientSecret.id, ClientSecret.slot)
            .where(ClientSecret.client_id == client_id, ClientSecret.retired_at.is_(None))
            .order_by(ClientSecret.created_at.desc(), ClientSecret.id.desc())
        ).all()
        retired = [row.id for row in live[SECRETS_AT_ONCE - 1 :]]
        db.execute(update(ClientSecret).where(ClientSecret.id.in_(retired)).values(retired_at=now))
        taken = {row.slot for row in live[: SECRETS_AT_ONCE - 1]}
        free = next(slot for slot in range(1, SECRETS_AT_ONCE + 1) if slot not in taken)
        together(db, event_of("client_rotated", at=now, facts={"client_id": client_id}))
        return NewClient(client_id, _draw_secret(db, client_id, mode=mode, slot=free, now=now))


def disable_client(client_id: str) -> None:
    """Refuses this client from now on; access tokens that it already holds end with their time, within 300 s.

    Disabling it again changes nothing. Raises NotFound, Busy.
    """
    with transaction() as db:
        _lock_client(db, client_id, also_disabled=True)
        now = clock.now(db)
        enabled = (ClientRow.id == client_id, ClientRow.disabled_at.is_(None))
        if db.execute(update(ClientRow).where(*enabled).values(disabled_at=now)).rowcount:
            together(db, event_of("client_disabled", at=now, facts={"client_id": client_id}))


def list_clients() -> list[Client]:
    """All clients, oldest first, with the last use of any of their secrets, to the minute. Raises Busy."""
    last_used_at = (
        select(func.max(ClientSecret.last_used_at)).where(ClientSecret.client_id == ClientRow.id).scalar_subquery()
    )
    with transaction() as db:
        rows = db.execute(select(*COLUMNS, last_used_at.label("last_used_at")).order_by(ClientRow.id)).all()
    return [_client(row, last_used_at=row.last_used_at) for row in rows]


def authenticate_client(client_id: str, client_secret: str) -> Client | None:
    """The client with this ID and this secret, or None.

    An unknown client, a wrong, retired or foreign secret and a disabled client cost the same single look-up and get the
    same answer, so that nobody learns which clients there are. Raises Busy.
    """
    if not is_id(client_id, "cli"):
        return None  # such an ID was never given out: nothing is learned from that
    with transaction() as db:
        row = db.execute(
            select(*COLUMNS, ClientSecret.id.label("secret_id"), ClientSecret.last_used_at, NOW)
            .join(ClientSecret, ClientSecret.client_id == ClientRow.id)
            .where(
                ClientSecret.secret_hash == _sha256(client_secret),
                ClientSecret.retired_at.is_(None),
                ClientRow.id == client_id,
                ClientRow.disabled_at.is_(None),
            )
        ).first()
        if row is None:
            return None
        now = clock.read(row.now)
        if row.last_used_at is None or row.last_used_at < now - USE_NOTED_EVERY:
            _note_use(db, row.secret_id, now)
        return _client(row, last_used_at=now)


COLUMNS = (
    ClientRow.id,
    ClientRow.name,
    ClientRow.mode,
    ClientRow.issuer_id,
    ClientRow.store_id,
    ClientRow.scopes,
    ClientRow.disabled_at,
    ClientRow.created_at,
)
NOW: ColumnElement[datetime] = func.clock_timestamp().label("now")


def _client(row: Row[*tuple[Any, ...]], *, last_used_at: datetime | None) -> Client:
    return Client(
        client_id=row.id,
        name=row.name,
        mode=row.mode,
        party_id=row.issuer_id or row.store_id,
        party_kind="issuer" if row.issuer_id else "store",
        scopes=in_order(row.scopes),
        disabled_at=row.disabled_at,
        created_at=row.created_at,
        last_used_at=last_used_at,
    )


def _note_use(db: Connection, secret_id: str, now: datetime) -> None:
    """Says the condition again, so that of many requests at once one writes and the others wait for nothing twice."""
    noted = ClientSecret.last_used_at
    db.execute(
        update(ClientSecret)
        .where(ClientSecret.id == secret_id, or_(noted.is_(None), noted < now - USE_NOTED_EVERY))
        .values(last_used_at=now)
    )


def _check_client(name: str, mode: str, scopes: Collection[str], *, party_kind: str) -> None:
    if not name.strip() or not name.isprintable():
        raise InvalidRequest("A client needs a name.", pointer="/name")
    if mode not in ("live", "test"):
        raise InvalidRequest("The mode is live or test.", pointer="/mode")
    if foreign := foreign_scopes(scopes, party_kind=party_kind):
        raise InvalidRequest(f"Not for a client of this {party_kind}: {', '.join(foreign)}.", pointer="/scopes")
    if not scopes:
        raise InvalidRequest("A client needs at least one scope.", pointer="/scopes")


def _insert_client(
    db: Connection, *, name: str, mode: str, issuer_id: str | None, store_id: str | None, scopes: Collection[str]
) -> NewClient:
    client_id, now = new_id("cli"), clock.now(db)
    db.execute(
        insert(ClientRow).values(
            id=client_id,
            name=name,
            mode=mode,
            issuer_id=issuer_id,
            store_id=store_id,
            scopes=list(in_order(scopes)),
            created_at=now,
        )
    )
    facts = {"client_id": client_id, "party_id": issuer_id or store_id, "scopes": list(in_order(scopes))}
    together(db, event_of("client_added", at=now, facts=facts))
    return NewClient(client_id, _draw_secret(db, client_id, mode=mode, slot=1, now=now))


def _draw_secret(db: Connection, client_id: str, *, mode: str, slot: int, now: datetime) -> str:
    """32 random bytes behind a prefix by which scanners of source code find a secret that leaked."""
    secret = f"scrip_{mode}_{random_secret()}"
    db.execute(
        insert(ClientSecret).values(
            id=new_id("sec"), client_id=client_id, slot=slot, secret_hash=_sha256(secret), created_at=now
        )
    )
    return secret


def _sha256(secret: str) -> bytes:
    """Nothing slower: there is no guessing 256 random bits."""
    return hashlib.sha256(secret.encode()).digest()


def _lock_client(db: Connection, client_id: str, *, also_disabled: bool = False) -> str:
    """Locks a client, so that of two changes at once one waits for the other. Returns its mode; raises NotFound."""
    known = select(ClientRow.mode).where(ClientRow.id == client_id).with_for_update()
    if not also_disabled:
        known = known.where(ClientRow.disabled_at.is_(None))
    mode = db.scalars(known).first() if is_id(client_id, "cli") else None
    if mode is None:
        raise NotFound(f"There is no client {client_id!r}{'' if also_disabled else ' that is not disabled'}.")
    return mode
