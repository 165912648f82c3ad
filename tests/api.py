"""The API as machines see it: parties with access tokens, short ways to ask, and what a refusal must look like."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from flask.testing import FlaskClient
from sqlalchemy import text
from werkzeug.test import TestResponse

from app.db.transaction import transaction
from app.oauth.access_token import Caller, admit, make_access_token, read_claims
from app.oauth.clients import Client, add_client, authenticate_client
from app.oauth.scopes import PARTY_SCOPES
from app.secrecy import random_secret
from tests.world import World, make_world

JSON = {"Content-Type": "application/json"}


def money(amount_minor: int, currency: str = "GBP") -> dict[str, Any]:
    return {"amount_minor": amount_minor, "currency": currency}


@dataclass(frozen=True)
class Machine:
    """A party's OAuth client; it asks without a network between."""

    client: FlaskClient
    known: Client

    @property
    def access_token(self) -> str:
        """A fresh one, with all scopes of the client."""
        return make_access_token(self.known, self.known.scopes)

    @property
    def authorization(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.access_token}"}

    def post(self, path: str, body: object, *, key: str | None = None, **headers: str) -> TestResponse:
        """Posts JSON, under a fresh Idempotency-Key unless one is given."""
        return self.post_raw(path, json.dumps(body).encode(), key=key, **headers)

    def post_raw(self, path: str, raw: bytes, *, key: str | None = None, **headers: str) -> TestResponse:
        """Posts these bytes as JSON."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        keyed = {"Idempotency-Key": key or random_secret()}
        return self.client.post(path, data=raw, headers={**JSON, **self.authorization, **keyed, **named})

    def get(self, path: str, **query: str) -> TestResponse:
        return self.client.get(path, query_string=query, headers=self.authorization)


@dataclass(frozen=True)
class Api:
    """A world over HTTP: its issuer, its two stores, and the finance of its mode, which is that of every world."""

    world: World
    acme: Machine
    bookshop: Machine
    toyshop: Machine
    finance: Machine

    def machine(self, path: str) -> Machine:
        """Who may post there: the issuer, Bookshop, or finance."""
        if path.startswith(("/v1/breaks", "/v1/finance")):
            return self.finance
        return self.bookshop if path.startswith(("/v1/payments", "/v1/bills", "/v1/remittances")) else self.acme


def api_of(client: FlaskClient, world: World, *, mode: str = "test") -> Api:
    """The world's parties, each with a client that holds all scopes of its kind."""
    bookshop, toyshop = (store_machine(client, store, mode=mode) for store in (world.bookshop, world.toyshop))
    acme = issuer_machine(client, world.issuer_id, mode=mode)
    assert acme.access_token  # the very first one makes a signing key
    return Api(world, acme, bookshop, toyshop, finance_machine(client, mode=mode))


def other_api(client: FlaskClient) -> Api:
    """Another issuer with its own programme and stores, strangers to everybody else."""
    return api_of(client, make_world())


def store_machine(client: FlaskClient, store_id: str, *, mode: str = "test") -> Machine:
    return _machine(client, mode=mode, store_id=store_id, scopes=PARTY_SCOPES["store"])


def issuer_machine(client: FlaskClient, issuer_id: str, *, mode: str = "test") -> Machine:
    return _machine(client, mode=mode, issuer_id=issuer_id, scopes=PARTY_SCOPES["issuer"])


def finance_machine(client: FlaskClient, *, mode: str = "test") -> Machine:
    return _machine(client, mode=mode, finance=True, scopes=PARTY_SCOPES["finance"])


def _machine(client: FlaskClient, **more: Any) -> Machine:
    made = add_client(name="machine", **more)
    known = authenticate_client(made.client_id, made.client_secret)
    assert known is not None
    return Machine(client, known)


def read_access_token(text: str) -> Caller:
    """The caller that a bearer token vouches for."""
    return admit(read_claims(text), scheme="Bearer", text=text)


# ── what a refusal looks like ───────────────────────────────────────────────────────────────────────────────────────


def assert_problem(answer: TestResponse, status: int, slug: str, pointer: str | None = None) -> dict[str, Any]:
    """A problem of this status and slug, which points at this field where one is named; returns it."""
    assert answer.status_code == status, answer.text
    assert answer.content_type == "application/problem+json"
    problem: dict[str, Any] = json.loads(answer.data.decode("utf-8"))
    assert (problem["status"], problem["slug"]) == (status, slug), problem
    assert problem["type"] == f"urn:scrip:problem:{slug}"
    assert problem["title"] and problem["detail"]
    assert problem["instance"] == answer.headers["X-Request-Id"]
    assert answer.headers["Cache-Control"] == "no-store"
    if pointer is not None:
        assert {error["pointer"] for error in problem["errors"]} == {pointer}, problem
        assert all(error["detail"] for error in problem["errors"])
    return problem


# ── what the database holds ─────────────────────────────────────────────────────────────────────────────────────────


def digests() -> dict[str, tuple[int, int]]:
    """For each table how many rows it has and a digest of all that they hold; how often was asked is not looked at."""
    with transaction() as db:
        query = "SELECT relname FROM pg_stat_user_tables WHERE relname <> 'request_limit' ORDER BY relname"
        found = db.execute(text(" UNION ALL ".join(_digest_of(name) for name in db.scalars(text(query)))))
        return {name: (count, digest) for name, count, digest in found}


def _digest_of(table: str) -> str:
    shown = "(bill_id, place)" if table == "bill_part" else "row_.*"  # whole files, which are only ever added
    digest = f"coalesce(sum(hashtextextended({shown}::text, 0)), 0)"
    return f"SELECT '{table}', count(*), {digest} FROM {table} AS row_"


@contextmanager
def nothing_changes(*, but: tuple[str, ...] = ()) -> Iterator[None]:
    """Nothing in any table is another than before, `but` those named."""
    before = digests()
    yield
    after = digests()
    changed = {table for table in after if after[table] != before[table]}
    assert changed <= set(but), changed
