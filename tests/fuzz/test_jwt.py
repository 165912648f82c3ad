"""Nothing that is forged is an access token: by Wycheproof's vectors, and by every confusion JWTs are known for."""

import hmac
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, JWKRegistry
from joserfc.jws import JWSRegistry

from app.errors import InvalidAccessToken
from app.oauth import access_token, keys
from app.oauth.key_ring import ALGORITHM, Ring, RingKey
from app.oauth.remembered import Remembered
from tests.api import Api, api_of, assert_problem, read_access_token
from tests.fuzz.forged import Forger, b64
from tests.world import make_world

VECTORS: dict[str, Any] = json.loads((Path(__file__).parent / "wycheproof.json").read_text())


@pytest.fixture(scope="module")
def api(app: Flask) -> Api:
    return api_of(app.test_client(), make_world())


@pytest.fixture
def forger(api: Api) -> Forger:
    good = api.bookshop.access_token
    header = jws.extract_compact(good.encode()).headers()
    ours = keys.public_key(header["kid"])
    assert ours is not None
    claims = json.loads(jws.extract_compact(good.encode()).payload)
    return Forger(good, claims, header["kid"], ours, ECKey.generate_key("P-256"))


def install(monkeypatch: pytest.MonkeyPatch, *pairs: tuple[str, ECKey]) -> None:
    """Makes these keys ours, as far as this process remembers."""
    ring = Ring(RingKey(kid, "access", pair, None, None) for kid, pair in pairs)
    monkeypatch.setattr(keys, "_remembered", Remembered(lambda: ring))


def accepts(text: str) -> bool:
    try:
        read_access_token(text)
    except InvalidAccessToken:
        return False
    return True


# ── forgeries ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_no_forgery_is_an_access_token_and_each_is_answered_alike(api: Api, forger: Forger) -> None:
    assert accepts(forger.good)
    forged = dict(forger.all())
    assert len(forged) > 200
    assert [name for name, text in forged.items() if accepts(text)] == []
    for name, text in forged.items():
        answer = api.bookshop.client.get("/v1/payments/pay_x", headers={"Authorization": f"Bearer {text}"})
        assert answer.status_code == 404, name  # a path that is none is told before anybody is asked
        answer = api.bookshop.client.get("/v1/cards", headers={"Authorization": f"Bearer {text}"})
        assert_problem(answer, 401, "invalid-access-token")
        assert answer.headers["WWW-Authenticate"] == 'Bearer error="invalid_token"', name


def test_a_balance_token_from_a_payment_opens_nothing(api: Api) -> None:
    path = f"/v1/payments/{api.world.payment().payment.id}"
    balance_token = api.bookshop.get(path).get_json()["balance_token"]
    answer = api.bookshop.client.get(path, headers={"Authorization": f"Bearer {balance_token}"})
    assert_problem(answer, 401, "invalid-access-token")


# ── Wycheproof ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_algorithm_that_we_fix_refuses_every_invalid_signature_and_takes_the_valid_ones() -> None:
    algorithm, wrong, tried = JWSRegistry.algorithms[ALGORITHM], [], 0
    for group in VECTORS["p1363"]:
        key = ECKey.import_key(group["key"])
        for vector in group["tests"]:
            tried += 1
            taken = algorithm.verify(bytes.fromhex(vector["msg"]), bytes.fromhex(vector["sig"]), key)
            if taken != (vector["result"] == "valid"):
                wrong.append(vector["tcId"])
    assert tried > 100
    assert wrong == []


def test_no_signature_of_a_vector_signs_an_access_token(monkeypatch: pytest.MonkeyPatch, forger: Forger) -> None:
    """Under the vector's key as ours: such as r = s = 0 sign everything, where the range is not checked."""
    for place, group in enumerate(VECTORS["p1363"]):
        install(monkeypatch, (f"vector-{place}", ECKey.import_key(group["key"])))
        text = forger.unsigned(forger.header(kid=f"vector-{place}"))
        for vector in group["tests"]:
            assert not accepts(f"{text}.{b64(bytes.fromhex(vector['sig']))}"), vector


def test_the_installed_key_would_verify_what_it_signed(monkeypatch: pytest.MonkeyPatch, forger: Forger) -> None:
    """The control of the test above: keys are installed where the service looks for them."""
    install(monkeypatch, ("vector", forger.own))
    assert accepts(forger.signed(forger.header(kid="vector")))
    assert not accepts(forger.good)


def test_no_vector_is_an_access_token(monkeypatch: pytest.MonkeyPatch) -> None:
    for group in VECTORS["jws"]:
        key = JWKRegistry.import_key(group["key"])
        if isinstance(key, ECKey):
            install(monkeypatch, (group["key"]["kid"], key))
        assert [vector for vector in group["tests"] if accepts(vector["jws"])] == []


def test_with_the_algorithm_fixed_nothing_else_verifies() -> None:
    """Whatever kind of key it is; of the valid vectors those by ES256 do."""
    for group in VECTORS["jws"]:
        key = JWKRegistry.import_key(group["key"])
        for vector in group["tests"]:
            is_good = vector["result"] == "valid" and group["key"].get("alg") == ALGORITHM
            assert verifies(vector["jws"], key) == is_good, vector


def verifies(text: str, key: Any) -> bool:
    try:
        jws.deserialize_compact(text, key, algorithms=[ALGORITHM])
    except (JoseError, ValueError):
        return False
    return True


# ── planted faults ──────────────────────────────────────────────────────────────────────────────────────────────────


def verified_by_the_headers_algorithm(text: str) -> Mapping[str, Any]:
    """What libraries did for years: the token says how it is to be verified."""
    header = jws.extract_compact(text.encode()).headers()
    key = keys.public_key(str(header.get("kid")))
    if str(header["alg"]).lower() == "none":
        return _claims(text)
    if key is None:
        raise InvalidAccessToken
    if header["alg"] == "HS256":
        signed, _, signature = text.rpartition(".")
        if signature != b64(hmac.digest(key.as_pem(private=False), signed.encode(), "sha256")):
            raise InvalidAccessToken
    else:
        jws.deserialize_compact(text, key, algorithms=[header["alg"]])
    return _claims(text)


def verified_by_the_headers_key(text: str) -> Mapping[str, Any]:
    """The key comes with the token."""
    header = jws.extract_compact(text.encode()).headers()
    key = ECKey.import_key(header["jwk"])
    jws.deserialize_compact(text, key, algorithms=[ALGORITHM], registry=JWSRegistry(strict_check_header=False))
    return _claims(text)


def verified_without_its_signature(text: str) -> Mapping[str, Any]:
    return _claims(text)


def _claims(text: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = json.loads(jws.extract_compact(text.encode()).payload)
    return found


@pytest.mark.parametrize(
    ("verifier", "name"),
    [
        (verified_by_the_headers_algorithm, "alg 'none', no signature"),
        (verified_by_the_headers_algorithm, "HS256 by our PEM"),
        (verified_by_the_headers_key, "jwk instead of a kid"),
        (verified_without_its_signature, "r = 0, s = 0"),
    ],
)
def test_a_careless_verifier_is_found_out(
    monkeypatch: pytest.MonkeyPatch, forger: Forger, verifier: Any, name: str
) -> None:
    monkeypatch.setattr(access_token, "_verified_claims", verifier)
    assert accepts(dict(forger.all())[name])
