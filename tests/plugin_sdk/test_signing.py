"""A client with a private key: which keys it takes, what it signs, and how it learns the service's nonces."""

import time
from typing import Any
from urllib.parse import parse_qs

import pytest
from joserfc import jws, jwt
from joserfc.jwk import ECKey, JWKRegistry, OctKey, OKPKey, RSAKey

from scrip_sdk import NotAllowed
from scrip_sdk.signing import Signer
from tests.oauth.proofs import digest
from tests.plugin_sdk.conftest import AnyClient, MakeClient
from tests.plugin_sdk.hostile import PAYMENT_ID, Behaviour, Hostile, answer, payment, problem

PAIR = ECKey.generate_key("P-256", {"kid": "key-1"})
KINDS: list[tuple[Any, str]] = [
    (PAIR, "ES256"),
    (OKPKey.generate_key("Ed25519"), "EdDSA"),
    (RSAKey.generate_key(2048), "PS256"),
]


@pytest.mark.parametrize("key,algorithm", KINDS)
def test_a_key_is_taken_in_each_of_its_forms(key: Any, algorithm: str) -> None:
    pem = key.as_pem(private=True)
    for form in (pem, pem.decode(), key.as_dict(private=True)):
        assertion = Signer(form).assertion("cli_x", "https://cards.example")
        decoded = jwt.decode(assertion, key, algorithms=[algorithm])
        assert {**decoded.claims, "jti": "", "exp": 0} == {
            "iss": "cli_x",
            "sub": "cli_x",
            "aud": "https://cards.example",
            "jti": "",
            "exp": 0,
        }
        assert 0 < decoded.claims["exp"] - time.time() <= 60
        assert decoded.header.get("kid") == (form.get("kid") if isinstance(form, dict) else None)


@pytest.mark.parametrize(
    "wrong",
    [
        ECKey.generate_key("P-384").as_pem(private=True),
        OKPKey.generate_key("X25519").as_pem(private=True),
        PAIR.as_pem(private=False),
        PAIR.as_dict(private=False),
        OctKey.generate_key(256).as_dict(private=True),
        PAIR.as_pem(private=True)[:-60],
        {"kty": "EC"},
        {},
        "x",
        b"",
        7,
    ],
)
def test_what_is_no_such_key_is_refused_and_not_shown(wrong: Any) -> None:
    with pytest.raises(ValueError, match="P-256, Ed25519 or RSA") as raised:
        Signer(wrong)
    assert raised.value.__context__ is None
    shown = [str(frame.frame.f_locals) for frame in raised.traceback if "scrip_sdk/signing" in str(frame.path)]
    assert shown and not any("PRIVATE KEY" in each or "'d':" in each for each in shown)


def test_a_signer_shows_no_key() -> None:
    assert repr(Signer(PAIR.as_pem(private=True))) == "Signer(…)"


# ── proofs ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def nonce_wanted(status: int, nonce: str | None) -> Behaviour:
    more: dict[str, Any] = {} if nonce is None else {"DPoP_Nonce": nonce}
    if status == 400:
        return answer(400, {"error": "use_dpop_nonce"}, **more)
    return problem(401, "use-dpop-nonce", **more)


@pytest.fixture
def signing(hostile: Hostile, make_client: MakeClient) -> AnyClient:
    hostile.tokens = [hostile.token(token_type="DPoP")] * 9
    return make_client(hostile.url, "cli_x", None, private_key=PAIR.as_dict(private=True))


def proof_of(headers: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and claims of a proof, whose signature fits the key that it names."""
    header = jws.extract_compact(headers["dpop"].encode()).headers()
    registry = jws.JWSRegistry(algorithms=["ES256"], strict_check_header=False)
    decoded = jwt.decode(headers["dpop"], JWKRegistry.import_key(header["jwk"]), registry=registry)
    return header, decoded.claims


def test_each_request_has_a_proof_of_its_own(hostile: Hostile, signing: AnyClient) -> None:
    for _ in range(2):
        signing.get(PAYMENT_ID)
    fetch, *calls = hostile.seen
    said = parse_qs(fetch.body.decode())
    assert said["client_assertion_type"] == ["urn:ietf:params:oauth:client-assertion-type:jwt-bearer"]
    assert jwt.decode(said["client_assertion"][0], PAIR, algorithms=["ES256"]).header["kid"] == "key-1"
    assert "authorization" not in fetch.headers
    proofs = [proof_of(each.headers) for each in hostile.seen]
    assert len({claims["jti"] for _, claims in proofs}) == 3
    assert all(header["typ"] == "dpop+jwt" and "d" not in header["jwk"] for header, _ in proofs)
    assert (proofs[0][1]["htm"], proofs[0][1]["htu"]) == ("POST", f"{hostile.url}/oauth/token")
    for (_, claims), call in zip(proofs[1:], calls, strict=True):
        scheme, _, token = call.headers["authorization"].partition(" ")
        assert (scheme, claims["ath"]) == ("DPoP", digest(token))
        assert (claims["htm"], claims["htu"]) == ("GET", f"{hostile.url}/v1/payments/{PAYMENT_ID}")


def test_a_wanted_nonce_is_given_at_once_and_a_new_one_is_learnt(hostile: Hostile, signing: AnyClient) -> None:
    hostile.tokens.insert(0, nonce_wanted(400, "nonce-1"))
    hostile.answers = [nonce_wanted(401, "nonce-2"), answer(200, payment(), DPoP_Nonce="nonce-3")]
    signing.service.draw = lambda: 99.0  # a wait would be longer than the budget, and so the end
    signing.get(PAYMENT_ID)
    signing.get(PAYMENT_ID)
    nonces = [proof_of(each.headers)[1].get("nonce") for each in hostile.seen]
    assert nonces == [None, "nonce-1", "nonce-1", "nonce-2", "nonce-3"]


@pytest.mark.parametrize("nonce", ["another", None])
def test_a_nonce_that_is_wanted_for_ever_is_not(hostile: Hostile, signing: AnyClient, nonce: str | None) -> None:
    hostile.answers = [nonce_wanted(401, nonce)] * 99
    with pytest.raises(NotAllowed) as raised:
        signing.get(PAYMENT_ID)
    assert raised.value.slug == "use-dpop-nonce"
    assert len(hostile.calls) == (4 if nonce else 2)  # twice, and twice with another access token


def test_a_token_that_is_bound_to_nothing_is_not_used(hostile: Hostile, signing: AnyClient) -> None:
    hostile.tokens = [hostile.token(token_type="Bearer")]
    with pytest.raises(Exception, match="not-understood"):
        signing.get(PAYMENT_ID)
    assert hostile.calls == []
