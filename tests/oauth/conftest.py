"""What the OAuth tests share: a store and an issuer with a client each, and ways to ask for access tokens."""

import base64
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import Connection, event
from werkzeug.test import TestResponse

from app.db.engine import engine
from app.issuance.issuer import add_issuer
from app.oauth import keys
from app.oauth.clients import NewClient, add_client
from app.redemption.store import add_store

#: Posts a form to the token endpoint with these credentials.
Ask = Callable[..., TestResponse]

STORE_SCOPES = ("exchange", "settle", "refund", "bill")


@dataclass(frozen=True)
class Party:
    """A store or an issuer in mode test, and a client of its own that holds every scope it may hold."""

    id: str
    client: NewClient


@pytest.fixture
def bookshop(database: object) -> Party:
    store = add_store("Bookshop", mode="test")
    return Party(store.id, add_client(name="checkout", mode="test", store_id=store.id, scopes=STORE_SCOPES))


@pytest.fixture
def acme(database: object) -> Party:
    issuer = add_issuer("Acme", mode="test")
    return Party(issuer.id, add_client(name="shop", mode="test", issuer_id=issuer.id, scopes=("issue",)))


@pytest.fixture
def ask(client: FlaskClient) -> Ask:
    """Posts a form to the token endpoint, by default a good one, as a client or with any Authorization header."""

    def post(credentials: NewClient | str | None, **form: str) -> TestResponse:
        if isinstance(credentials, NewClient):
            credentials = basic(credentials.client_id, credentials.client_secret)
        headers = {} if credentials is None else {"Authorization": credentials}
        return client.post("/oauth/token", data={"grant_type": "client_credentials"} | form, headers=headers)

    return post


@pytest.fixture
def statements(database: object) -> Iterator[list[str]]:
    """Every SQL statement from here on, but for those that test and keep connections."""
    seen: list[str] = []

    def note(_db: Connection, _cursor: object, statement: str, *_rest: object) -> None:
        seen.append(statement)

    event.listen(engine(), "before_cursor_execute", note)
    yield seen
    event.remove(engine(), "before_cursor_execute", note)


@pytest.fixture(autouse=True)
def no_keys_remembered() -> Iterator[None]:
    """A test may alter keys in the database: the next one reads them again."""
    keys.forget_keys()
    yield
    keys.forget_keys()


def basic(client_id: str, client_secret: str) -> str:
    return "Basic " + base64.b64encode(f"{client_id}:{client_secret}".encode()).decode()


def segments(access_token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and claims of a JWT, unverified."""
    header, claims, _ = access_token.split(".")
    return tuple(json.loads(base64.urlsafe_b64decode(part + "==")) for part in (header, claims))
