"""Who may call a view: every access token that is not exactly one of ours, for here and now, is refused."""

import base64
import hashlib
import hmac
import json
import string
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from flask import Flask
from hypothesis import HealthCheck, given
from hypothesis import settings as effort
from hypothesis import strategies as some
from joserfc import jwt
from joserfc.jwk import ECKey
from joserfc.jws import JWSRegistry

from app.config import settings
from app.errors import InsufficientScope, InvalidAccessToken
from app.oauth import keys
from app.oauth.access_token import Caller
from app.oauth.bearer import caller, requires
from app.oauth.key_ring import RingKey
from app.web.context import Acting, acting
from tests.api import read_access_token

Claims = dict[str, Any]


def good_claims() -> Claims:
    now = int(time.time())
    return {
        "iss": settings().public_url,
        "aud": settings().public_url,
        "sub": "cli_01hzzzzzzzzzzzzzzzzzzzzzzz",
        "client_id": "cli_01hzzzzzzzzzzzzzzzzzzzzzzz",
        "scope": "exchange settle",
        "jti": "at_01hzzzzzzzzzzzzzzzzzzzzzzz",
        "iat": now,
        "exp": now + 300,
        "party": "str_01hzzzzzzzzzzzzzzzzzzzzzzz",
        "party_kind": "store",
        "mode": "test",
        "tier": "basic",
    }


def altered(**changes: object) -> Claims:
    """Good claims with some replaced, or left out where the change is `...`."""
    mixed = {**good_claims(), **changes}
    return {name: value for name, value in mixed.items() if value is not ...}


def signed(claims: Claims, *, typ: str = "at+jwt") -> str:
    return keys.sign("access", claims, typ=typ)


def signing_key(purpose: str = "access") -> RingKey:
    assert keys.jwks()["keys"]  # made, if this is the first test of all
    return next(key for key in keys._read_keys() if key.purpose == purpose and key.signs_from is not None)


def under_header(**changes: object) -> str:
    """Good claims, truly signed by our key, under a header with some members replaced, added or left out (`...`)."""
    key = signing_key()
    header = {"alg": "ES256", "kid": key.kid, "typ": "at+jwt", **changes}
    header = {name: value for name, value in header.items() if value is not ...}
    signing_input = f"{_b64(header)}.{_b64(good_claims())}"
    return f"{signing_input}.{_b64(JWSRegistry.algorithms['ES256'].sign(signing_input.encode(), key.pair))}"


def _b64(value: object) -> str:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


@pytest.fixture(autouse=True)
def with_database(database: object) -> Iterator[None]:
    before = acting.get()
    yield
    acting.set(before)


# ── what a good one says ────────────────────────────────────────────────────────────────────────────────────────────


def test_a_good_access_token_says_who_is_calling() -> None:
    assert read_access_token(signed(good_claims())) == Caller(
        client_id="cli_01hzzzzzzzzzzzzzzzzzzzzzzz",
        party_id="str_01hzzzzzzzzzzzzzzzzzzzzzzz",
        party_kind="store",
        mode="test",
        scopes=frozenset({"exchange", "settle"}),
    )


def test_verifying_reads_no_database(statements: list[str]) -> None:
    access_token = signed(good_claims())
    read_access_token(access_token)
    statements.clear()
    for _ in range(50):
        read_access_token(access_token)
    assert statements == []


def test_small_differences_that_are_no_fault() -> None:
    now = int(time.time())
    read_access_token(signed(altered(aud=[settings().public_url])))
    read_access_token(signed(altered(iat=now + 10, exp=now + 250)))
    read_access_token(signed(altered(nbf=now)))
    read_access_token(signed(altered(something_new="that a later release says")))
    read_access_token(signed(good_claims(), typ="application/at+JWT"))
    read_access_token(under_header())


# ── claims ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def wrong_claims() -> dict[str, Claims]:
    now, ours = int(time.time()), settings().public_url
    wrong: dict[str, Claims] = {
        "another issuer": {"iss": "https://evil.example"},
        "our issuer with a slash": {"iss": ours + "/"},
        "issuers in a list": {"iss": [ours]},
        "another audience": {"aud": "https://evil.example"},
        "an audience beside ours": {"aud": [ours, "https://evil.example"]},
        "the client as audience": {"aud": "cli_01hzzzzzzzzzzzzzzzzzzzzzzz"},
        "expired": {"iat": now - 301, "exp": now - 1},
        "expires now": {"iat": now - 300, "exp": now},
        "from the future": {"iat": now + 60, "exp": now + 300},
        "not yet valid": {"nbf": now + 60},
        "a lifetime that we never give": {"exp": now + 302},
        "ten years": {"exp": now + 10 * 365 * 86_400},
        "exp as text": {"exp": str(now + 100)},
        "exp as a fraction": {"exp": now + 100.5},
        "exp as true": {"exp": True},
        "exp without an end": {"exp": 10**400},
        "iat as text": {"iat": "now"},
        "iat as true": {"iat": True},
        "nbf as null": {"nbf": None},
        "somebody else as subject": {"sub": "cli_01hyyyyyyyyyyyyyyyyyyyyyyy"},
        "no scope at all": {"scope": ""},
        "scopes in a list": {"scope": ["settle"]},
        "no kind of party": {"party_kind": "operator"},
        "no mode": {"mode": "both"},
        "a party that is a number": {"party": 7},
        "bound to a DPoP key": {"cnf": {"jkt": "x" * 43}},
        "bound to a certificate": {"cnf": {"x5t#S256": "x" * 43}},
        "bound to nothing": {"cnf": None},
    }
    return wrong | {f"without {name}": {name: ...} for name in good_claims()}


CASES = [
    *("another issuer", "our issuer with a slash", "issuers in a list", "another audience", "an audience beside ours"),
    *("the client as audience", "expired", "expires now", "from the future", "not yet valid"),
    *("a lifetime that we never give", "ten years", "exp as text", "exp as a fraction", "exp as true"),
    *("exp without an end", "iat as text", "iat as true", "nbf as null", "somebody else as subject"),
    *("no scope at all", "scopes in a list", "no kind of party", "no mode", "a party that is a number", "without tier"),
    *("bound to a DPoP key", "bound to a certificate", "bound to nothing"),
    *(f"without {name}" for name in ("iss", "aud", "sub", "client_id", "scope", "jti", "iat", "exp")),
    *(f"without {name}" for name in ("party", "party_kind", "mode")),
]


@pytest.mark.parametrize("case", CASES)
def test_claims_that_are_not_ours_are_refused_though_our_key_signed_them(case: str) -> None:
    with pytest.raises(InvalidAccessToken):
        read_access_token(signed(altered(**wrong_claims()[case])))


def test_the_table_above_is_complete() -> None:
    assert set(CASES) == set(wrong_claims())


@pytest.mark.parametrize("claims", [[], "text", 7, None, True])
def test_a_payload_that_is_no_object_is_refused(claims: object) -> None:
    key = signing_key()
    signing_input = f"{_b64({'alg': 'ES256', 'kid': key.kid, 'typ': 'at+jwt'})}.{_b64(claims)}"
    signature = JWSRegistry.algorithms["ES256"].sign(signing_input.encode(), key.pair)
    with pytest.raises(InvalidAccessToken):
        read_access_token(f"{signing_input}.{_b64(signature)}")


# ── header, key and signature ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "changes",
    [
        {"typ": ...},
        {"typ": "JWT"},
        {"typ": "scrip-balance+jwt"},
        {"typ": "at+jwt "},
        {"typ": None},
        {"typ": 7},
        {"kid": ...},
        {"kid": "unknown"},
        {"kid": ""},
        {"kid": 7},
        {"kid": "../../etc/passwd"},
        {"kid": "' OR 1=1 --"},
        {"kid": "a\0b"},
        {"alg": "none"},
        {"alg": "HS256"},
        {"alg": "ES384"},
        {"alg": "es256"},
        {"alg": ...},
        {"alg": ["ES256"]},
        {"crit": ["exp"]},
        {"crit": []},
        {"b64": False},
        {"b64": False, "crit": ["b64"]},
        {"jku": "https://evil.example/jwks.json"},
        {"x5u": "https://evil.example/cert.pem"},
        {"jwk": {"kty": "EC"}},
        {"cty": "JWT"},
        {"zip": "DEF"},
        {"anything": "else"},
    ],
    ids=str,
)
def test_a_header_that_is_not_ours_is_refused_though_our_key_signed_it(changes: dict[str, object]) -> None:
    with pytest.raises(InvalidAccessToken):
        read_access_token(under_header(**changes))


def test_a_balance_token_is_never_an_access_token() -> None:
    """Neither with its own `typ`, nor with that of an access token: its key is for balances only."""
    for typ in ("scrip-balance+jwt", "at+jwt"):
        with pytest.raises(InvalidAccessToken):
            read_access_token(keys.sign("balance", good_claims(), typ=typ))


def test_another_key_under_the_name_of_ours_is_refused() -> None:
    header = {"alg": "ES256", "typ": "at+jwt", "kid": signing_key().kid}
    with pytest.raises(InvalidAccessToken):
        read_access_token(jwt.encode(header, good_claims(), ECKey.generate_key("P-256")))


def test_our_public_key_is_not_taken_for_a_shared_secret() -> None:
    """The oldest trick with JWTs: HS256 with the published key as its secret."""
    key = signing_key()
    for secret in (key.pair.as_pem(private=False), json.dumps(key.public_jwk()).encode()):
        signing_input = f"{_b64({'alg': 'HS256', 'kid': key.kid, 'typ': 'at+jwt'})}.{_b64(good_claims())}"
        signature = _b64(hmac.digest(secret, signing_input.encode(), hashlib.sha256))
        with pytest.raises(InvalidAccessToken):
            read_access_token(f"{signing_input}.{signature}")


def test_an_altered_access_token_is_refused() -> None:
    header, claims, signature = signed(good_claims()).split(".")
    more = _b64(altered(scope="exchange settle refund bill"))
    for forged in (
        f"{header}.{more}.{signature}",
        f"{header}.{claims}.",
        f"{header}.{claims}",
        f"{header}.{claims}.{signature}.",
        f".{claims}.{signature}",
        f"{header}..{signature}",
        f"{header}.{claims}.{signature[:-4]}",
        f"{header}.{claims}.{_b64(bytes(64))}",
        f"{header}.{claims}.{_b64(bytes(63))}",
        f"{header}.{claims}.{signature}x.y.z",
    ):
        with pytest.raises(InvalidAccessToken):
            read_access_token(forged)


def test_an_access_token_longer_than_any_of_ours_is_refused_unread() -> None:
    assert len(signed(good_claims())) < 1024
    with pytest.raises(InvalidAccessToken):
        read_access_token(signed(altered(padding="x" * 4096)))


@pytest.mark.parametrize("header", [[], "alg", 7, None, True, {}, {"alg": {}}, [{"alg": "ES256"}]])
def test_a_header_that_is_no_object_is_refused(header: object) -> None:
    with pytest.raises(InvalidAccessToken):
        read_access_token(f"{_b64(header)}.{_b64(good_claims())}.{_b64(bytes(64))}")


@effort(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(some.one_of(some.text(), some.text(string.ascii_letters + string.digits + "-_.", max_size=200)))
def test_garbage_is_refused_and_never_a_bug(garbage: str) -> None:
    with pytest.raises(InvalidAccessToken):
        read_access_token(garbage)


JSON = some.recursive(
    some.none() | some.booleans() | some.integers() | some.floats() | some.text(max_size=20),
    lambda inner: some.lists(inner, max_size=3) | some.dictionaries(some.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@effort(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(some.fixed_dictionaries({}, optional=dict.fromkeys(("alg", "kid", "typ", "crit", "b64", "jwk", "cty"), JSON)))
def test_any_header_at_all_is_refused_and_never_a_bug(header: dict[str, object]) -> None:
    with pytest.raises(InvalidAccessToken):
        read_access_token(f"{_b64(header)}.{_b64(good_claims())}.{_b64(bytes(64))}")


@effort(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    some.sampled_from(["iss", "aud", "sub", "client_id", "scope", "jti", "iat", "exp", "party", "party_kind", "mode"]),
    JSON,
)
def test_any_value_of_a_claim_is_a_good_one_or_refused_and_never_a_bug(name: str, value: object) -> None:
    access_token = signed(altered(**{name: value}))
    try:
        found = read_access_token(access_token)
    except InvalidAccessToken:
        return
    assert name in ("scope", "jti", "party", "iat", "exp") and isinstance(found, Caller)


# ── views ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@requires("settle", "refund")
def probe() -> str:
    return caller().client_id


@pytest.fixture
def call() -> Callable[..., str]:
    """Calls the probe with this Authorization header, and anything else that Flask's test requests take."""
    flask = Flask("bearer")

    def send(authorization: str | None = None, **request: Any) -> str:
        headers = {} if authorization is None else {"Authorization": authorization}
        with flask.test_request_context(headers=headers, **request):
            return probe()

    return send


def test_a_view_knows_its_caller(call: Callable[..., str]) -> None:
    assert call(f"Bearer {signed(good_claims())}") == good_claims()["client_id"]
    assert call(f"bEARER {signed(good_claims())}") == good_claims()["client_id"]


def test_from_then_on_the_client_acts_in_the_same_request(call: Callable[..., str]) -> None:
    acting.set(Acting("nobody", request_id="req_1"))
    call(f"Bearer {signed(good_claims())}")
    assert acting.get() == Acting(good_claims()["client_id"], request_id="req_1")


def test_a_refused_caller_never_acts(call: Callable[..., str]) -> None:
    acting.set(Acting("nobody", request_id="req_1"))
    with pytest.raises(InsufficientScope):
        call(f"Bearer {signed(altered(scope='bill'))}")
    assert acting.get().actor == "nobody"


@pytest.mark.parametrize("scope", ["settle", "refund", "settle refund", "exchange settle bill"])
def test_any_one_of_the_scopes_is_enough(call: Callable[..., str], scope: str) -> None:
    call(f"Bearer {signed(altered(scope=scope))}")


@pytest.mark.parametrize("scope", ["exchange", "bill", "issue", "settl", "settle-all", "SETTLE", "refunds settled"])
def test_without_one_of_them_the_refusal_names_what_would_do(call: Callable[..., str], scope: str) -> None:
    with pytest.raises(InsufficientScope) as refused:
        call(f"Bearer {signed(altered(scope=scope))}")
    assert refused.value.facts == {"scope": "settle refund"}


@pytest.mark.parametrize(
    "authorization", [None, "", "Bearer", "Bearer ", "Basic eDp4", "DPoP {}", "{}", "Bearer {} {}"]
)
def test_nothing_but_one_bearer_token_in_the_header_will_do(
    call: Callable[..., str], authorization: str | None
) -> None:
    good = signed(good_claims())
    with pytest.raises(InvalidAccessToken):
        call(authorization and authorization.replace("{}", good))


def test_an_access_token_in_the_url_is_refused_even_beside_a_good_header(call: Callable[..., str]) -> None:
    good = signed(good_claims())
    with pytest.raises(InvalidAccessToken, match="never into a URL"):
        call(query_string={"access_token": good})
    with pytest.raises(InvalidAccessToken, match="never into a URL"):
        call(f"Bearer {good}", query_string={"access_token": good})


def test_an_access_token_in_a_form_is_not_even_looked_at(call: Callable[..., str]) -> None:
    with pytest.raises(InvalidAccessToken):
        call(method="POST", data={"access_token": signed(good_claims())})


def test_callers_at_once_are_not_mixed_up(call: Callable[..., str]) -> None:
    tokens = {f"cli_{n:026d}": signed(altered(client_id=f"cli_{n:026d}", sub=f"cli_{n:026d}")) for n in range(16)}
    with ThreadPoolExecutor(8) as pool:
        for client_id, answer in [
            (each, pool.submit(call, f"Bearer {tokens[each]}")) for each in tokens for _ in "abc"
        ]:
            assert answer.result() == client_id


def test_a_view_that_requires_nothing_has_no_caller() -> None:
    with Flask("bearer").test_request_context(), pytest.raises(RuntimeError):
        caller()


def test_a_view_cannot_require_what_does_not_exist() -> None:
    for scopes in ((), ("admin",), ("settle", "setle")):
        with pytest.raises(ValueError, match="unknown scopes"):
            requires(*scopes)


def test_a_view_tells_which_scopes_it_requires() -> None:
    """So that a test can find a view that requires none."""
    assert probe.required_scopes == ("settle", "refund")  # type: ignore[attr-defined]
