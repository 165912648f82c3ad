"""OAuth clients: the machines of stores, of issuers and of finance, their scopes and their secrets."""

import hashlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
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
from app.ids import SecretId, is_id, new_id
from app.oauth.certificate import read_subject
from app.oauth.client_keys import names_of, read_jwks
from app.oauth.models import Client as ClientRow
from app.oauth.models import ClientSecret
from app.oauth.party import PartyKind, party_id_of, party_kind_of
from app.oauth.redirect_uris import check_redirect_uris
from app.oauth.scopes import foreign_scopes, in_order
from app.secrecy import random_secret

#: A secret's last use is written down at most so often: it is there to find secrets that nobody uses any more.
USE_NOTED_EVERY = timedelta(minutes=1)
#: How a client says who it is (RFC 7591, section 2): a client has one of these for all its life.
SECRET_METHOD, KEY_METHOD, CERTIFICATE_METHOD = "client_secret_basic", "private_key_jwt", "tls_client_auth"


@dataclass(frozen=True, slots=True)
class NewClient:
    """A client's credentials, shown once: we keep the secret's SHA-256 only."""

    client_id: str
    client_secret: str = field(repr=False)
    secret_id: SecretId


@dataclass(frozen=True, slots=True)
class Client:
    """A client as an operator sees it. `party_kind` is `issuer`, `store` or `finance`, `mode` its party's.

    `auth_method` is the one way in which it says who it is: SECRET_METHOD, KEY_METHOD or CERTIFICATE_METHOD.
    """

    client_id: str
    name: str
    mode: str
    party_id: str
    party_kind: PartyKind
    scopes: tuple[str, ...]
    disabled_at: datetime | None
    created_at: datetime
    auth_method: str
    kids: tuple[str, ...] = ()
    last_used_at: datetime | None = None

    @property
    def tier(self) -> str:
        """`basic`: a secret and bearer tokens. `fapi`: it proves possession of a key, when it says who it is and later
        whenever it uses an access token."""
        return "basic" if self.auth_method == SECRET_METHOD else "fapi"


def add_client(
    *,
    name: str,
    mode: str,
    issuer_id: str | None = None,
    store_id: str | None = None,
    finance: bool = False,
    scopes: Collection[str],
    redirect_uris: Sequence[str] = (),
) -> NewClient:
    """Adds a client of exactly one party, in that party's mode `live` or `test`, and gives it a secret.

    The party is an issuer, a store, or with `finance` the finance of this mode.

    Raises InvalidRequest for a scope that is not for this kind of party, no scope or name at all, or what
    `check_redirect_uris` refuses; NotFound when there is no such party in this mode; Busy.
    """
    wanted = _Wanted(name, mode, issuer_id, store_id, finance, in_order(scopes), redirect_uris=tuple(redirect_uris))
    with _adding(wanted, scopes) as db:
        client_id, now = _insert_client(db, wanted)
        return draw_secret(db, client_id, mode=mode, slot=1, now=now)


def add_keyed_client(
    *,
    name: str,
    mode: str,
    issuer_id: str | None = None,
    store_id: str | None = None,
    finance: bool = False,
    scopes: Collection[str],
    jwks: object,
    redirect_uris: Sequence[str] = (),
) -> str:
    """The same for a client that signs who it is, by the keys of this JWK Set, and has no secret; returns its ID.

    Raises what `add_client` does, and InvalidRequest for keys that `read_jwks` refuses.
    """
    wanted = _Wanted(
        name,
        mode,
        issuer_id,
        store_id,
        finance,
        in_order(scopes),
        jwks=read_jwks(jwks),
        redirect_uris=tuple(redirect_uris),
    )
    with _adding(wanted, scopes) as db:
        client_id, _ = _insert_client(db, wanted)
        return client_id


def add_certified_client(
    *,
    name: str,
    mode: str,
    issuer_id: str | None = None,
    store_id: str | None = None,
    finance: bool = False,
    scopes: Collection[str],
    tls_subject: tuple[str, str],
    redirect_uris: Collection[str] = (),
) -> str:
    """The same for a client that is known by certificates with this subject, such as `("san_dns", "pay.shop.example")`.

    Raises what `add_client` does, and InvalidRequest for what `read_subject` refuses.
    """
    wanted = _Wanted(
        name,
        mode,
        issuer_id,
        store_id,
        finance,
        in_order(scopes),
        tls_subject=read_subject(*tls_subject),
        redirect_uris=tuple(redirect_uris),
    )
    with _adding(wanted, scopes) as db:
        client_id, _ = _insert_client(db, wanted)
        return client_id


def replace_keys(client_id: str, jwks: object) -> Collection[str]:
    """Gives a client other public keys, all of them at once: name the old ones again for as long as they are in use.

    Returns the `kid` of each. Raises InvalidRequest for keys that `read_jwks` refuses, and for a client that has a
    secret and no keys; NotFound for an unknown or disabled one; Busy.
    """
    keys = read_jwks(jwks)
    with transaction() as db:
        lock_client(db, client_id, auth_method=KEY_METHOD)
        now = clock.now(db)
        db.execute(update(ClientRow).where(ClientRow.id == client_id).values(jwks=keys))
        facts = {"client_id": client_id, "kids": list(names_of(keys))}
        together(db, event_of("client_keys_replaced", at=now, facts=facts))
    return names_of(keys)


def replace_redirect_uris(client_id: str, redirect_uris: Sequence[str]) -> None:
    """Gives a store's client other addresses to send its shoppers back to, in place of all it had; none is right too.

    Raises InvalidRequest for what `check_redirect_uris` refuses, NotFound for an unknown or disabled client, Busy.
    """
    with transaction() as db:
        mode = lock_client(db, client_id)
        client = ClientRow.id == client_id
        is_store = db.scalars(select(ClientRow.store_id.is_not(None)).where(client)).one()
        check_redirect_uris(redirect_uris, mode=mode, party_kind="store" if is_store else "another")
        now = clock.now(db)
        db.execute(update(ClientRow).where(client).values(redirect_uris=list(redirect_uris)))
        facts = {"client_id": client_id, "redirect_uris": list(redirect_uris)}
        together(db, event_of("client_redirect_uris_replaced", at=now, facts=facts))


def disable_client(client_id: str) -> None:
    """Refuses this client from now on, and within a second every access token that it holds.

    Disabling it again changes nothing. Raises NotFound, Busy.
    """
    with transaction() as db:
        lock_client(db, client_id, also_disabled=True)
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
    return [client_of(row, last_used_at=row.last_used_at) for row in rows]


def read_client(client_id: str) -> Client:
    """One client. Raises NotFound, Busy."""
    with transaction() as db:
        row = db.execute(select(*COLUMNS).where(ClientRow.id == client_id)).first()
    if row is None:
        raise NotFound("There is no such client.")
    return client_of(row, last_used_at=None)


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
        return client_of(row, last_used_at=now)


COLUMNS = (
    ClientRow.id,
    ClientRow.name,
    ClientRow.mode,
    ClientRow.issuer_id,
    ClientRow.store_id,
    ClientRow.finance,
    ClientRow.scopes,
    ClientRow.disabled_at,
    ClientRow.created_at,
    ClientRow.auth_method,
    ClientRow.jwks,
)
NOW: ColumnElement[datetime] = func.clock_timestamp().label("now")


def client_of(row: Row[*tuple[Any, ...]], *, last_used_at: datetime | None) -> Client:
    return Client(
        client_id=row.id,
        name=row.name,
        mode=row.mode,
        party_id=party_id_of(row),
        party_kind=party_kind_of(row),
        scopes=in_order(row.scopes),
        disabled_at=row.disabled_at,
        created_at=row.created_at,
        auth_method=row.auth_method,
        kids=tuple(names_of(row.jwks)) if row.jwks else (),
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


@dataclass(frozen=True, slots=True)
class _Wanted:
    """A client to be added: with `jwks` it signs who it is, with `tls_subject` it has certificates, else a secret."""

    name: str
    mode: str
    issuer_id: str | None
    store_id: str | None
    finance: bool
    scopes: tuple[str, ...]
    jwks: Mapping[str, Any] | None = None
    tls_subject: Mapping[str, str] | None = None
    redirect_uris: tuple[str, ...] = ()

    @property
    def auth_method(self) -> str:
        if self.jwks is not None:
            return KEY_METHOD
        return SECRET_METHOD if self.tls_subject is None else CERTIFICATE_METHOD


@contextmanager
def _adding(wanted: _Wanted, scopes: Collection[str]) -> Iterator[Connection]:
    """A transaction in which the client can be inserted. `scopes` as they were asked for."""
    if [wanted.issuer_id is not None, wanted.store_id is not None, wanted.finance].count(True) != 1:
        raise ValueError("a client belongs to one issuer or one store, or to finance")
    _check_client(wanted, scopes)
    try:
        with transaction() as db:
            yield db
    except IntegrityError as error:
        if isinstance(error.orig, ForeignKeyViolation):
            raise NotFound(f"There is no {party_id_of(wanted)} in mode {wanted.mode}.") from error
        raise


def _check_client(wanted: _Wanted, scopes: Collection[str]) -> None:
    if not wanted.name.strip() or not wanted.name.isprintable():
        raise InvalidRequest("A client needs a name.", pointer="/name")
    if wanted.mode not in ("live", "test"):
        raise InvalidRequest("The mode is live or test.", pointer="/mode")
    party_kind = party_kind_of(wanted)
    if foreign := foreign_scopes(scopes, party_kind=party_kind):
        raise InvalidRequest(
            f"Not for a client of {party_kind}: {', '.join(foreign)}.",
            pointer="/scopes",
        )
    if not scopes:
        raise InvalidRequest("A client needs at least one scope.", pointer="/scopes")
    check_redirect_uris(wanted.redirect_uris, mode=wanted.mode, party_kind=party_kind)


def _insert_client(db: Connection, wanted: _Wanted) -> tuple[str, datetime]:
    """Inserts a client; returns its ID, and when that was."""
    client_id, now = new_id("cli"), clock.now(db)
    method = wanted.auth_method
    columns = {**asdict(wanted), "scopes": list(wanted.scopes), "redirect_uris": list(wanted.redirect_uris)}
    db.execute(insert(ClientRow).values(id=client_id, auth_method=method, created_at=now, **columns))
    facts = {
        "client_id": client_id,
        "party_id": party_id_of(wanted),
        "scopes": columns["scopes"],
        "auth_method": method,
    }
    if wanted.redirect_uris:
        facts["redirect_uris"] = columns["redirect_uris"]
    together(db, event_of("client_added", at=now, facts=facts))
    return client_id, now


def draw_secret(db: Connection, client_id: str, *, mode: str, slot: int, now: datetime) -> NewClient:
    """32 random bytes behind a prefix by which scanners of source code find a secret that leaked."""
    secret, secret_id = f"scrip_{mode}_{random_secret()}", SecretId(new_id("sec"))
    db.execute(
        insert(ClientSecret).values(
            id=secret_id, client_id=client_id, slot=slot, secret_hash=_sha256(secret), created_at=now
        )
    )
    return NewClient(client_id, secret, secret_id)


def _sha256(secret: str) -> bytes:
    """Nothing slower: there is no guessing 256 random bits."""
    return hashlib.sha256(secret.encode()).digest()


def lock_client(db: Connection, client_id: str, *, also_disabled: bool = False, auth_method: str | None = None) -> str:
    """Locks a client, so that of two changes at once one waits for the other. Returns its mode.

    Raises NotFound; InvalidRequest when it has another method of authentication.
    """
    known = select(ClientRow.mode, ClientRow.auth_method).where(ClientRow.id == client_id).with_for_update()
    if not also_disabled:
        known = known.where(ClientRow.disabled_at.is_(None))
    found = db.execute(known).first() if is_id(client_id, "cli") else None
    if found is None:
        raise NotFound(f"There is no client {client_id!r}{'' if also_disabled else ' that is not disabled'}.")
    if auth_method not in (None, found.auth_method):
        raise InvalidRequest(f"The client {client_id} authenticates by {found.auth_method}.", pointer="/client_id")
    mode: str = found.mode
    return mode
