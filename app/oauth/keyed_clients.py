"""Clients that hold no secret of ours: looked up, for whoever says who it is by a signature or a certificate."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select

from app import clock
from app.db.transaction import transaction
from app.ids import is_id
from app.oauth.certificate import Certificate, is_named
from app.oauth.clients import CERTIFICATE_METHOD, COLUMNS, KEY_METHOD, NOW, Client, client_of
from app.oauth.models import Client as ClientRow


def find_keyed_client(db: Connection, client_id: str) -> tuple[Client, Mapping[str, Any], datetime] | None:
    """The client of this ID that has keys and is not disabled, its JWK Set, and the time; or None."""
    keyed = (ClientRow.id == client_id, ClientRow.auth_method == KEY_METHOD, ClientRow.disabled_at.is_(None))
    row = db.execute(select(*COLUMNS, NOW).where(*keyed)).first()
    if row is None or row.jwks is None:
        return None
    now = clock.read(row.now)
    return client_of(row, last_used_at=now), row.jwks, now


def client_of_certificate(client_id: str, certificate: Certificate) -> Client | None:
    """The client of this ID, where the certificate is one of its own (RFC 8705, section 2.1); or None. Raises Busy."""
    if not is_id(client_id, "cli"):
        return None
    certified = (
        ClientRow.id == client_id,
        ClientRow.auth_method == CERTIFICATE_METHOD,
        ClientRow.disabled_at.is_(None),
    )
    with transaction() as db:
        row = db.execute(select(*COLUMNS, ClientRow.tls_subject, NOW).where(*certified)).first()
    if row is None or row.tls_subject is None or not is_named(certificate, row.tls_subject):
        return None
    return client_of(row, last_used_at=clock.read(row.now))
