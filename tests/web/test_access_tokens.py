"""Access tokens at every route: expired, foreign, of another service, kind or mode, without the scope."""

import base64
import json
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey

from app.config import settings
from app.ids import new_id
from app.oauth import keys
from tests.api import Api, assert_problem, nothing_changes
from tests.web.bodies import Bodies, good_bodies


@pytest.fixture(scope="module")
def bodies(api: Api) -> Bodies:
    return good_bodies(api)


def claims(api: Api, path: str, **changes: Any) -> dict[str, Any]:
    """What a good access token for this path says, with changes."""
    known, now = api.machine(path).known, int(time.time())
    good = {
        "iss": settings().public_url,
        "aud": settings().public_url,
        "sub": known.client_id,
        "client_id": known.client_id,
        "scope": " ".join(known.scopes),
        "jti": new_id("at"),
        "iat": now,
        "exp": now + 100,
        "party": known.party_id,
        "party_kind": known.party_kind,
        "mode": known.mode,
        "tier": known.tier,
    }
    return {name: value for name, value in {**good, **changes}.items() if value is not None}


def ours(said: Mapping[str, Any], *, purpose: Any = "access", typ: str = "at+jwt") -> str:
    return keys.sign(purpose, dict(said), typ=typ)


def by_another_key(said: Mapping[str, Any]) -> str:
    """Under the name of our own key."""
    good = ours(said).split(".")[0]
    stranger = ECKey.generate_key("P-256")
    header = {"alg": "ES256", "typ": "at+jwt", "kid": _kid(good)}
    return jwt.encode(header, dict(said), stranger)


def _kid(header: str) -> str:
    found: str = json.loads(base64.urlsafe_b64decode(header + "=="))["kid"]
    return found


NOW = int(time.time())
BAD: dict[str, Callable[[Api, str], str]] = {
    "expired": lambda api, path: ours(claims(api, path, iat=NOW - 400, exp=NOW - 300)),
    "of the future": lambda api, path: ours(claims(api, path, iat=int(time.time()) + 60, exp=int(time.time()) + 160)),
    "too long a life": lambda api, path: ours(claims(api, path, exp=int(time.time()) + 86_400)),
    "without an end": lambda api, path: ours(claims(api, path, exp=None)),
    "of another issuer": lambda api, path: ours(claims(api, path, iss="https://thief.example")),
    "for another service": lambda api, path: ours(claims(api, path, aud="https://shop.example")),
    "for nobody": lambda api, path: ours(claims(api, path, aud=None)),
    "another client's": lambda api, path: ours(claims(api, path, sub=new_id("cli"))),
    "of no party": lambda api, path: ours(claims(api, path, party=None)),
    "of no kind": lambda api, path: ours(claims(api, path, party_kind="staff")),
    "of no mode": lambda api, path: ours(claims(api, path, mode="both")),
    "without a scope": lambda api, path: ours(claims(api, path, scope=None)),
    "bound to a key": lambda api, path: ours(claims(api, path, cnf={"jkt": "x"})),
    "a balance token": lambda api, path: ours(claims(api, path), purpose="balance", typ="scrip-balance+jwt"),
    "a balance key's": lambda api, path: ours(claims(api, path), purpose="balance"),
    "of another typ": lambda api, path: ours(claims(api, path), typ="JWT"),
    "by another key": lambda api, path: by_another_key(claims(api, path)),
    "twice": lambda api, path: f"{ours(claims(api, path))} {ours(claims(api, path))}",
}


@pytest.fixture(scope="module", autouse=True)
def _both_keys_exist(api: Api) -> Iterator[None]:
    """The first signature of each purpose makes its key, which is a change."""
    ours(claims(api, "/v1/cards"), purpose="balance")
    yield


def test_the_good_one_is_good(api: Api, bodies: Bodies) -> None:
    path, body = bodies["confirm_payment"]
    assert ask(api, path, body, ours(claims(api, path))).status_code == 200


def ask(api: Api, path: str, body: object, access_token: str) -> Any:
    headers = {"Authorization": f"Bearer {access_token}", "Idempotency-Key": "access"}
    return api.acme.client.post(path, json=body, headers=headers)


@pytest.mark.parametrize("make", BAD.values(), ids=BAD)
def test_a_bad_one_opens_no_route_and_changes_nothing(
    api: Api, bodies: Bodies, make: Callable[[Api, str], str]
) -> None:
    with nothing_changes():
        for path, body in bodies.values():
            answer = ask(api, path, body, make(api, path))
            assert_problem(answer, 401, "invalid-access-token")
            assert answer.headers["WWW-Authenticate"].startswith("Bearer")


@pytest.mark.parametrize("scope", ["bill", "issue", "nothing", "exchange-all", " ", "EXCHANGE"])
def test_a_scope_that_is_not_wanted_there_is_403(api: Api, bodies: Bodies, scope: str) -> None:
    with nothing_changes():
        for path, body in bodies.values():
            wanted = {"payments": "store", "bills": "bill"}.get(path.split("/")[2], "issue")
            if scope == wanted:
                continue
            answer = ask(api, path, body, ours(claims(api, path, scope=scope)))
            assert_problem(answer, 403, "insufficient-scope")
            assert 'error="insufficient_scope"' in answer.headers["WWW-Authenticate"]
