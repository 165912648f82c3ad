"""The token endpoint: a client's credentials become an access token, or an error as RFC 6749 words it."""

import base64
import time
from collections.abc import Iterator
from io import BytesIO
from urllib.parse import quote

import pytest
from flask import Flask
from flask.testing import FlaskClient
from joserfc import jwt
from joserfc.jwk import KeySet
from sqlalchemy import NullPool, create_engine
from werkzeug.test import EnvironBuilder, TestResponse, run_wsgi_app

from app.config import settings
from app.ids import new_id
from app.oauth.client_secrets import rotate_secret
from app.oauth.clients import add_client, disable_client
from app.oauth.endpoint import FORM, MAX_BODY_BYTES
from tests.oauth.conftest import Ask, Party, basic, segments

GRANT = {"grant_type": "client_credentials"}


def check_refused(answer: TestResponse, status: int, error: str) -> None:
    """RFC 6749, section 5.2: JSON that no cache keeps, and a challenge with every 401."""
    assert (answer.status_code, answer.json and answer.json["error"]) == (status, error), answer.data
    assert answer.mimetype == "application/json"
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Pragma"] == "no-cache"
    assert (answer.headers.get("WWW-Authenticate") is not None) == (status == 401)
    assert set(answer.json or {}) <= {"error", "error_description"}


# ── what a good request gets ────────────────────────────────────────────────────────────────────────────────────────


def test_a_client_gets_a_bearer_token_that_no_cache_keeps(ask: Ask, bookshop: Party) -> None:
    answer = ask(bookshop.client, scope="exchange settle")
    assert answer.status_code == 200
    assert answer.json is not None
    assert set(answer.json) == {"access_token", "token_type", "expires_in", "scope"}
    assert (answer.json["token_type"], answer.json["expires_in"]) == ("Bearer", 300)
    assert answer.json["scope"] == "exchange settle"
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Pragma"] == "no-cache"


def test_the_access_token_says_all_that_a_call_needs_to_know(ask: Ask, bookshop: Party) -> None:
    before = int(time.time())
    header, claims = segments(ask(bookshop.client, scope="settle").get_json()["access_token"])
    assert (header["alg"], header["typ"], set(header)) == ("ES256", "at+jwt", {"alg", "typ", "kid"})
    assert claims.pop("jti").startswith("at_")
    assert before <= claims["iat"] <= time.time()
    assert claims.pop("exp") - claims.pop("iat") == 300
    assert claims == {
        "iss": settings().public_url,
        "aud": settings().public_url,
        "sub": bookshop.client.client_id,
        "client_id": bookshop.client.client_id,
        "scope": "settle",
        "party": bookshop.id,
        "party_kind": "store",
        "mode": "test",
        "tier": "basic",
    }


def test_anybody_can_verify_it_with_the_published_keys(ask: Ask, client: FlaskClient, acme: Party) -> None:
    access_token = ask(acme.client).get_json()["access_token"]
    published = KeySet.import_key_set(client.get("/.well-known/jwks.json").get_json())
    assert jwt.decode(access_token, published, algorithms=["ES256"]).claims["party_kind"] == "issuer"


def test_two_access_tokens_are_never_the_same(ask: Ask, acme: Party) -> None:
    assert len({segments(ask(acme.client).get_json()["access_token"])[1]["jti"] for _ in range(5)}) == 5


@pytest.mark.parametrize(
    ("scope", "lifetime_s"), [("exchange settle bill", 300), ("refund", 120), ("settle refund", 120), ("", 300)]
)
def test_an_access_token_that_was_asked_for_to_refund_dies_sooner(
    ask: Ask, bookshop: Party, scope: str, lifetime_s: int
) -> None:
    answer = ask(bookshop.client, scope=scope).get_json()
    claims = segments(answer["access_token"])[1]
    assert (answer["expires_in"], claims["exp"] - claims["iat"]) == (lifetime_s, lifetime_s)


def test_a_request_without_scope_gets_all_of_the_clients_scopes(ask: Ask, bookshop: Party) -> None:
    assert ask(bookshop.client).get_json()["scope"] == "exchange settle refund bill"
    narrow = add_client(name="x", mode="test", store_id=bookshop.id, scopes=["settle", "exchange"])
    assert ask(narrow).get_json()["scope"] == "exchange settle"


def test_an_empty_scope_counts_as_none(ask: Ask, acme: Party) -> None:
    """RFC 6749, section 3.2: a parameter without a value is treated as omitted."""
    assert ask(acme.client, scope="").get_json()["scope"] == "issue"


def test_parameters_that_nobody_knows_are_ignored(ask: Ask, acme: Party) -> None:
    """RFC 6749, section 3.2."""
    assert ask(acme.client, audience="elsewhere", nonsense="ü").status_code == 200


def test_credentials_may_be_form_encoded_inside_basic(ask: Ask, acme: Party) -> None:
    """RFC 6749, section 2.3.1: some clients encode every character that may be encoded."""
    encoded = "".join(f"%{ord(each):02X}" for each in acme.client.client_secret)
    assert ask(basic(quote(acme.client.client_id), encoded)).status_code == 200


def test_the_scheme_is_spelt_in_any_case(ask: Ask, acme: Party) -> None:
    good = basic(acme.client.client_id, acme.client.client_secret)
    assert ask(good.replace("Basic", "bAsIc")).status_code == 200


def test_a_client_may_name_itself_in_the_body_too(ask: Ask, acme: Party, bookshop: Party) -> None:
    assert ask(acme.client, client_id=acme.client.client_id).status_code == 200
    check_refused(ask(acme.client, client_id=bookshop.client.client_id), 401, "invalid_client")


def test_both_secrets_of_a_rotation_work(ask: Ask, acme: Party) -> None:
    second = rotate_secret(acme.client.client_id)
    assert [ask(acme.client).status_code, ask(second).status_code] == [200, 200]


def test_a_charset_beside_the_content_type_is_no_fault(client: FlaskClient, acme: Party) -> None:
    headers = {
        "Authorization": basic(acme.client.client_id, acme.client.client_secret),
        "Content-Type": "application/x-www-form-urlencoded; charset=UTF-8",
    }
    answer = client.post("/oauth/token", data="grant_type=client_credentials", headers=headers)
    assert answer.status_code == 200


# ── scopes ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "scope", ["issue", "settle issue", "settle admin", "SETTLE", "settle  refund", " settle", 'set"tle', "séttle", "\\"]
)
def test_a_scope_that_the_client_lacks_is_refused_and_never_left_out(ask: Ask, bookshop: Party, scope: str) -> None:
    check_refused(ask(bookshop.client, scope=scope), 400, "invalid_scope")


def test_a_stores_other_client_does_not_lend_it_its_scopes(ask: Ask, bookshop: Party) -> None:
    narrow = add_client(name="x", mode="test", store_id=bookshop.id, scopes=["settle"])
    check_refused(ask(narrow, scope="refund"), 400, "invalid_scope")


# ── client authentication ───────────────────────────────────────────────────────────────────────────────────────────


def refusals(ask: Ask, party: Party) -> list[TestResponse]:
    client_id, client_secret = party.client.client_id, party.client.client_secret
    return [
        ask(basic(client_id, "scrip_test_" + "x" * 43)),
        ask(basic(client_id, client_secret[:-1])),
        ask(basic(client_id, client_secret + "x")),
        ask(basic(client_id, client_secret.upper())),
        ask(basic(client_id, "")),
        ask(basic(new_id("cli"), client_secret)),
        ask(basic(client_id.upper(), client_secret)),
        ask(basic("", "")),
        ask(basic("nonsense", "nonsense")),
        ask(basic("' OR 1=1 --", "x")),
        ask(basic("cli_%00", "x")),
        ask(basic(client_id + "%00", client_secret)),
        ask(basic(client_id, client_secret + "%00")),
        ask(basic("x" * 3000, "x")),
        ask("Basic"),
        ask("Basic "),
        ask("Basic !!!!"),
        ask("Basic " + base64.b64encode(b"\xff\xfe:\xff").decode()),
        ask("Basic " + base64.b64encode(b"cli_%FF:x").decode()),
        ask("Basic " + base64.b64encode(b"no-colon").decode()),
        ask("Basic " + base64.b64encode(f"{client_id}:{client_secret}".encode()).decode() + ",Basic eDp4"),
        ask("Basic \xe9\xff"),
        ask("Bearer abc"),
        ask("Digest username=x"),
        ask(client_secret),
        ask(""),
        ask(None),
        ask(None, client_id=client_id, client_secret=client_secret),
        ask(None, client_assertion="x", client_assertion_type="urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
    ]


def test_whatever_is_wrong_with_the_credentials_the_answer_is_the_same(ask: Ask, bookshop: Party) -> None:
    answers = refusals(ask, bookshop)
    for answer in answers:
        check_refused(answer, 401, "invalid_client")
        assert answer.headers["WWW-Authenticate"].startswith('Basic realm="')
        for name in ("X-Request-Id", "RateLimit"):
            answer.headers.remove(name)
    assert len({(answer.data, str(sorted(answer.headers.items()))) for answer in answers}) == 1


def test_a_disabled_client_is_refused_like_an_unknown_one(ask: Ask, bookshop: Party) -> None:
    assert ask(bookshop.client).status_code == 200
    disable_client(bookshop.client.client_id)
    refused, unknown = ask(bookshop.client), ask(basic(new_id("cli"), "x"))
    check_refused(refused, 401, "invalid_client")
    assert refused.data == unknown.data


def test_a_secret_in_the_body_is_not_a_method_that_we_take(ask: Ask, acme: Party) -> None:
    """`client_secret_post` is not in the metadata."""
    refused = ask(None, client_id=acme.client.client_id, client_secret=acme.client.client_secret)
    check_refused(refused, 401, "invalid_client")


@pytest.mark.parametrize("second", ["client_secret", "client_assertion", "client_assertion_type"])
def test_two_methods_at_once_are_refused_even_if_both_are_right(ask: Ask, acme: Party, second: str) -> None:
    check_refused(ask(acme.client, **{second: acme.client.client_secret}), 400, "invalid_request")


# ── the shape of the request ────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("query", ["grant_type=client_credentials", "scope=issue", "client_secret=x", "x", "%00"])
def test_nothing_is_taken_from_the_query_string(client: FlaskClient, acme: Party, query: str) -> None:
    headers = {"Authorization": basic(acme.client.client_id, acme.client.client_secret)}
    check_refused(client.post(f"/oauth/token?{query}", data=GRANT, headers=headers), 400, "invalid_request")


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"", "invalid_request"),
        (b"grant_type=", "invalid_request"),
        (b"scope=issue", "invalid_request"),
        (b"Grant_Type=client_credentials", "invalid_request"),
        (b"grant_type=client_credentials&grant_type=client_credentials", "invalid_request"),
        (b"grant_type=client_credentials&scope=issue&scope=issue", "invalid_request"),
        (b"grant_type=client_credentials&scope=issue&scope=", "invalid_request"),
        (b"grant_type=client_credentials&x=1&x=2", "invalid_request"),
        (b"grant_type=client_credentials&scope=%00", "invalid_request"),
        (b"grant_type=client_credentials%00", "invalid_request"),
        (b"grant_type=client_credentials&%00=x", "invalid_request"),
        (b"grant_type=client_credentials&scope=%FF%FE", "invalid_request"),
        (b"grant_type=client_credentials&scope=\xff\xfe", "invalid_request"),
        (b"grant_type=client_credentials&scope=%ED%A0%80", "invalid_request"),
        (b"grant_type=client_credentials&scope=issue%0d%0a", "invalid_request"),
        (b"grant_type=client_credentials" + b"".join(b"&%d=1" % n for n in range(40)), "invalid_request"),
        (b"grant_type=client_credentials&x=" + b"x" * 9000, "invalid_request"),
        (b"grant_type=CLIENT_CREDENTIALS", "unsupported_grant_type"),
        (b"grant_type=authorization_code&code=x", "invalid_request"),
        (b"grant_type=password&username=x&password=y", "unsupported_grant_type"),
        (b"grant_type=refresh_token&refresh_token=x", "unsupported_grant_type"),
        (b"grant_type=client_credentials+", "unsupported_grant_type"),
        ('grant_type="ü\\'.encode(), "unsupported_grant_type"),
    ],
)
def test_a_body_that_is_not_a_token_request_is_refused(
    client: FlaskClient, acme: Party, body: bytes, error: str
) -> None:
    headers = {
        "Authorization": basic(acme.client.client_id, acme.client.client_secret),
        "Content-Type": "application/x-www-form-urlencoded",
    }
    check_refused(client.post("/oauth/token", data=body, headers=headers), 400, error)


@pytest.mark.parametrize(
    ("length", "status"),
    [
        (MAX_BODY_BYTES - 1, 200),
        (MAX_BODY_BYTES, 200),
        (MAX_BODY_BYTES + 1, 400),
        (MAX_BODY_BYTES + 2, 400),
        (10**6, 400),
    ],
)
def test_a_body_without_a_stated_length_is_neither_endless_nor_cut(
    app: Flask, acme: Party, length: int, status: int
) -> None:
    """As a server hands on a chunked one."""
    body = b"grant_type=client_credentials&x=".ljust(length, b"x")
    environ = EnvironBuilder("/oauth/token", method="POST", content_type=FORM, input_stream=BytesIO(body)).get_environ()
    environ["HTTP_AUTHORIZATION"] = basic(acme.client.client_id, acme.client.client_secret)
    environ["wsgi.input_terminated"] = True
    environ.pop("CONTENT_LENGTH", None)
    assert run_wsgi_app(app, environ)[1].startswith(f"{status} ")


@pytest.mark.parametrize("content_type", ["application/json", "multipart/form-data; boundary=x", "text/plain", "", "x"])
def test_other_content_types_are_refused(client: FlaskClient, acme: Party, content_type: str) -> None:
    headers = {
        "Authorization": basic(acme.client.client_id, acme.client.client_secret),
        "Content-Type": content_type,
    }
    answer = client.post("/oauth/token", data=b"grant_type=client_credentials", headers=headers)
    check_refused(answer, 400, "invalid_request")


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "HEAD"])
def test_only_post_gets_an_access_token(client: FlaskClient, method: str) -> None:
    assert client.open("/oauth/token", method=method).status_code == 405


def test_what_was_sent_is_never_sent_back(ask: Ask, acme: Party) -> None:
    """An answer that repeats its question carries it into places where it does not belong."""
    for answer in (
        ask(acme.client, grant_type="<script>alert(1)</script>"),
        ask(acme.client, scope="<script>alert(1)</script>"),
        ask(basic("<script>alert(1)</script>", "x")),
    ):
        assert b"script>" not in answer.data
        assert "script>" not in str(answer.headers)


def test_the_host_header_decides_nothing(client: FlaskClient, acme: Party) -> None:
    headers = {
        "Authorization": basic(acme.client.client_id, acme.client.client_secret),
        "Host": "evil.example",
        "X-Forwarded-Host": "evil.example",
        "X-Forwarded-Proto": "http",
    }
    answer = client.post("/oauth/token", data=GRANT, headers=headers)
    assert answer.status_code == 200
    assert segments(answer.get_json()["access_token"])[1]["iss"] == settings().public_url


@pytest.fixture
def client_table_locked(urls: dict[str, str], acme: Party) -> Iterator[None]:
    """Somebody holds the table of clients for longer than anybody waits for a lock."""
    admin = create_engine(urls["admin"], poolclass=NullPool)
    with admin.begin() as db:
        db.exec_driver_sql("LOCK TABLE client IN ACCESS EXCLUSIVE MODE")
        yield


def test_a_busy_database_is_503_in_the_words_of_oauth(
    client: FlaskClient, acme: Party, client_table_locked: None
) -> None:
    """And not a wrong password: the client tries again."""
    headers = {"Authorization": basic(acme.client.client_id, acme.client.client_secret)}
    answer = client.post("/oauth/token", data=GRANT, headers=headers)
    assert (answer.status_code, answer.get_json()["error"]) == (503, "temporarily_unavailable")
    assert int(answer.headers["Retry-After"]) >= 1
    assert answer.headers["Cache-Control"] == "no-store"
