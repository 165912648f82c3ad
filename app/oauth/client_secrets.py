"""Secrets of a client: two live at a time, so that its machines change over one by one and nobody has to stop."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, select, update

from app import clock
from app.db.together import together
from app.db.transaction import transaction
from app.errors import LastSecret, NotFound, TwoSecretsLive
from app.events.event import event_of
from app.ids import SecretId
from app.oauth.clients import SECRET_METHOD, NewClient, draw_secret, lock_client
from app.oauth.models import ClientSecret

SECRETS_AT_ONCE = 2


@dataclass(frozen=True, slots=True)
class LiveSecret:
    """A secret that works, but for the secret itself. `last_used_at` to the minute."""

    id: SecretId
    created_at: datetime
    last_used_at: datetime | None


def list_secrets(client_id: str) -> list[LiveSecret]:
    """The client's live secrets, oldest first. Raises Busy."""
    with transaction() as db:
        return _live(db, client_id)


def rotate_secret(client_id: str) -> NewClient:
    """Gives a client another secret. The one it had works on; of two, the older is retired.

    Raises NotFound for an unknown or disabled client, InvalidRequest for one that has no secrets, Busy.
    """
    with transaction() as db:
        mode = lock_client(db, client_id, auth_method=SECRET_METHOD)
        now = clock.now(db)
        for old in _live(db, client_id)[: 1 - SECRETS_AT_ONCE]:
            _retire(db, client_id, old.id, now)
        return _add(db, client_id, mode, now)


def add_secret(client_id: str) -> NewClient:
    """The same for the client itself, which knows best what is in use: it retires one by name before it adds a third.

    So an answer that was lost costs a secret that nobody knows, and never the one in use. Raises TwoSecretsLive, and
    what `rotate_secret` does.
    """
    with transaction() as db:
        mode = lock_client(db, client_id, auth_method=SECRET_METHOD)
        if len(_live(db, client_id)) >= SECRETS_AT_ONCE:
            raise TwoSecretsLive()
        return _add(db, client_id, mode, clock.now(db))


def retire_secret(client_id: str, secret_id: SecretId) -> None:
    """Refuses this secret of the client from now on. One that is retired already stays so.

    Raises LastSecret for the only one that works, NotFound for none of this client's, and what `rotate_secret` does.
    """
    with transaction() as db:
        lock_client(db, client_id, auth_method=SECRET_METHOD)
        own = select(ClientSecret.retired_at).where(ClientSecret.id == secret_id, ClientSecret.client_id == client_id)
        found = db.execute(own).first()
        if found is None:
            raise NotFound("There is no such secret.")
        if found.retired_at is None:
            if len(_live(db, client_id)) == 1:
                raise LastSecret()
            _retire(db, client_id, secret_id, clock.now(db))


def _live(db: Connection, client_id: str) -> list[LiveSecret]:
    columns = (ClientSecret.id, ClientSecret.created_at, ClientSecret.last_used_at)
    own = select(*columns).where(ClientSecret.client_id == client_id, ClientSecret.retired_at.is_(None))
    rows = db.execute(own.order_by(ClientSecret.created_at, ClientSecret.id))
    return [LiveSecret(SecretId(row.id), row.created_at, row.last_used_at) for row in rows]


def _add(db: Connection, client_id: str, mode: str, now: datetime) -> NewClient:
    taken = db.scalars(
        select(ClientSecret.slot).where(ClientSecret.client_id == client_id, ClientSecret.retired_at.is_(None))
    ).all()
    free = next(slot for slot in range(1, SECRETS_AT_ONCE + 1) if slot not in taken)
    together(db, event_of("client_rotated", at=now, facts={"client_id": client_id}))
    return draw_secret(db, client_id, mode=mode, slot=free, now=now)


def _retire(db: Connection, client_id: str, secret_id: SecretId, now: datetime) -> None:
    db.execute(update(ClientSecret).where(ClientSecret.id == secret_id).values(retired_at=now))
    facts = {"client_id": client_id, "secret_id": secret_id}
    together(db, event_of("client_secret_retired", at=now, facts=facts))
