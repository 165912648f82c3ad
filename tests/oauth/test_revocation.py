"""Access tokens that are given up, and clients that are disabled: refused everywhere within a second."""

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from http.client import HTTPConnection
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from sqlalchemy import func, insert, select
from werkzeug.test import TestResponse

from app import clock, config
from app.config import Settings
from app.db.transaction import transaction
from app.errors import Busy, InvalidAccessToken
from app.oauth import keys, refused
from app.oauth.access_token import make_access_token
from app.oauth.clients import Client, add_client, authenticate_client, disable_client
from app.oauth.keys import ensure_keys, forget_keys
from app.oauth.models import RevokedToken
from app.oauth.revocation import PATH
from app.redemption.store import add_store
from tests.api import read_access_token
from tests.faults.post import eventually
from tests.oauth.conftest import STORE_SCOPES, Ask, Party, basic, segments
from tests.oauth.test_token_endpoint import check_refused
from tests.service import served
from tests.world import rows

#: By then every process must know.
WITHIN_S = 1.0

Revoke = Callable[..., TestResponse]


@pytest.fixture
def revoke(client: FlaskClient) -> Revoke:
    """Posts a form to the revocation endpoint as a party's client."""

    def post(party: Party | None, **form: str) -> TestResponse:
        credentials = party and basic(party.client.client_id, party.client.client_secret)
        return client.post(PATH, data=form, headers={"Authorization": credentials} if credentials else {})

    return post


def token_of(ask: Ask, party: Party) -> str:
    return str(ask(party.client).get_json()["access_token"])


def is_taken(access_token: str) -> bool:
    try:
        read_access_token(access_token)
    except InvalidAccessToken:
        return False
    return True


# ── the endpoint ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_token_that_is_given_up_is_refused_and_others_are_not(ask: Ask, revoke: Revoke, bookshop: Party) -> None:
    given_up, other = token_of(ask, bookshop), token_of(ask, bookshop)
    answer = revoke(bookshop, token=given_up, token_type_hint="access_token")
    assert (answer.status_code, answer.data, answer.headers["Cache-Control"]) == (200, b"", "no-store")
    eventually(lambda: not is_taken(given_up), "it is refused", within_s=WITHIN_S)
    assert is_taken(other)
    assert revoke(bookshop, token=given_up).status_code == 200, "again"
    found = rows(
        "SELECT facts FROM event WHERE kind = 'access_token_revoked' AND actor = :id", id=bookshop.client.client_id
    )
    assert len(found) == 1
    assert given_up not in str(found)


@pytest.mark.parametrize("token", ["x", "a.b.c", "é", "eyJhbGciOiJub25lIn0.e30.", "scrip_test_x", "." * 3_000])
def test_what_is_no_token_of_ours_is_worth_nothing_already(revoke: Revoke, bookshop: Party, token: str) -> None:
    """RFC 7009, section 2.2: the caller cannot do anything about it, so it is no error."""
    assert revoke(bookshop, token=token).status_code == 200


def test_an_expired_token_is_not_kept(client: FlaskClient, own_database: Settings) -> None:
    known = client_of(add_store("Bookshop", mode="test").id)
    expired = make_access_token(known, known.scopes, lifetime_s=-1)
    headers = {"Authorization": basic(known.client_id, SECRETS[known.client_id])}
    assert client.post(PATH, data={"token": expired}, headers=headers).status_code == 200
    assert revoked_tokens() == 0


def test_nobody_gives_up_another_clients_token(ask: Ask, revoke: Revoke, bookshop: Party, acme: Party) -> None:
    access_token = token_of(ask, bookshop)
    check_refused(revoke(acme, token=access_token), 400, "invalid_grant")
    check_refused(revoke(None, token=access_token), 401, "invalid_client")
    time.sleep(0.1)
    assert is_taken(access_token)


def test_the_form_is_as_strict_as_the_token_endpoints(client: FlaskClient, revoke: Revoke, bookshop: Party) -> None:
    check_refused(revoke(bookshop), 400, "invalid_request")
    check_refused(revoke(bookshop, token=""), 400, "invalid_request")
    check_refused(revoke(bookshop, token="a\0b"), 400, "invalid_request")
    check_refused(client.post(f"{PATH}?token=x"), 400, "invalid_request")
    check_refused(client.post(PATH, json={"token": "x"}), 400, "invalid_request")


# ── how soon, and where ─────────────────────────────────────────────────────────────────────────────────────────────

SECRETS: dict[str, str] = {}


def client_of(store_id: str) -> Client:
    made = add_client(name="checkout", mode="test", store_id=store_id, scopes=STORE_SCOPES)
    SECRETS[made.client_id] = made.client_secret
    known = authenticate_client(made.client_id, made.client_secret)
    assert known is not None
    return known


@pytest.fixture
def port(own_database: Settings, keys_dir: Path, tmp_path: Path) -> Iterator[int]:
    """Two real workers."""
    ensure_keys()
    with served(own_database, keys_dir, tmp_path / "log") as port:
        config.use(replace(own_database, public_url=f"http://127.0.0.1:{port}"))
        forget_keys()
        yield port


def statuses(port: int, access_token: str, many: int = 12) -> set[int]:
    """What as many calls on connections of their own are answered, so that each worker has some."""

    def call() -> int:
        with closing(HTTPConnection("127.0.0.1", port, timeout=30)) as web:
            web.request("GET", "/v1/payments/pay_" + "0" * 26, headers={"Authorization": f"Bearer {access_token}"})
            return web.getresponse().status

    return {call() for _ in range(many)}


def test_a_disabled_clients_tokens_are_refused_by_every_process(port: int) -> None:
    known = client_of(add_store("Bookshop", mode="test").id)
    other = client_of(add_store("Toyshop", mode="test").id)
    access_token, another = (make_access_token(each, each.scopes) for each in (known, other))
    assert statuses(port, access_token) == {404}
    disable_client(known.client_id)
    time.sleep(WITHIN_S)
    assert statuses(port, access_token) == {401}
    assert statuses(port, another) == {404}


def test_a_token_that_is_given_up_at_one_process_is_refused_by_every_other(port: int) -> None:
    known = client_of(add_store("Bookshop", mode="test").id)
    access_token = make_access_token(known, known.scopes)
    assert statuses(port, access_token) == {404}
    with closing(HTTPConnection("127.0.0.1", port, timeout=30)) as web:
        headers = {
            "Authorization": basic(known.client_id, SECRETS[known.client_id]),
            "Content-Type": "application/x-www-form-urlencoded",
        }
        web.request("POST", PATH, f"token={access_token}", headers)
        assert web.getresponse().status == 200
    time.sleep(WITHIN_S)
    assert statuses(port, access_token) == {401}


# ── what a process remembers ────────────────────────────────────────────────────────────────────────────────────────


def test_for_a_moment_it_does_not_ask_again(own_database: Settings, statements: list[str]) -> None:
    refused.is_refused(client_id="cli_x", jti="at_x")
    statements.clear()
    for _ in range(50):
        refused.is_refused(client_id="cli_x", jti="at_x")
    assert statements == []
    time.sleep(refused.POLL_S)
    refused.is_refused(client_id="cli_x", jti="at_x")
    assert len(statements) == 1


def test_while_the_database_is_away_nobody_is_let_in(own_database: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    known = client_of(add_store("Bookshop", mode="test").id)
    access_token = make_access_token(known, known.scopes)
    assert is_taken(access_token)

    def away() -> frozenset[str]:
        raise Busy

    monkeypatch.setattr(refused._remembered, "_read", away)
    time.sleep(refused.POLL_S)
    with pytest.raises(Busy):
        read_access_token(access_token)


def test_a_token_under_a_key_that_another_process_has_just_made_is_given_up(
    revoke: Revoke, bookshop: Party, monkeypatch: pytest.MonkeyPatch
) -> None:
    """This process has read the keys a moment ago, before the other replaced them all."""
    keys.jwks()
    before = keys._remembered._memory
    keys.rotate_signing("access", compromised=True)
    known = authenticate_client(bookshop.client.client_id, bookshop.client.client_secret)
    assert known is not None
    access_token = make_access_token(known, known.scopes)
    assert before is not None
    monkeypatch.setattr(keys._remembered, "_memory", replace(before, read_at_s=time.monotonic()))
    assert not is_taken(access_token), "it does not know the key"
    assert revoke(bookshop, token=access_token).status_code == 200
    keys.forget_keys()
    eventually(lambda: not is_taken(access_token), "it is refused", within_s=WITHIN_S)
    [kept] = rows("SELECT count(*) AS many FROM revoked_token WHERE jti = :jti", jti=segments(access_token)[1]["jti"])
    assert kept.many == 1


def test_revoked_tokens_are_forgotten_when_they_have_expired(own_database: Settings) -> None:
    with transaction() as db:
        for minutes in (1, 4):
            row = {"jti": f"at_{minutes}", "expires_at": clock.now(db) + timedelta(minutes=minutes)}
            db.execute(insert(RevokedToken).values(**row))
    for minutes, left in ((4, 2), (7, 1), (10, 0)):
        with clock.ahead(timedelta(minutes=minutes)):
            refused.forget_revoked_tokens()
        assert revoked_tokens() == left


def revoked_tokens() -> int:
    with transaction() as db:
        return db.scalar(select(func.count()).select_from(RevokedToken)) or 0
