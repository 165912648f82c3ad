"""A client's keys are public, of the right kind and strength, and known by name."""

import base64
from typing import Any

import pytest
from joserfc.jwk import ECKey, OctKey, OKPKey

from app.errors import InvalidRequest
from app.oauth.client_keys import MOST_KEYS, read_jwks
from app.oauth.client_secrets import rotate_secret
from app.oauth.clients import add_keyed_client, replace_keys
from tests.oauth.conftest import Party

EC = ECKey.generate_key("P-256")
PUBLIC: dict[str, Any] = dict(EC.as_dict(private=False))


def encoded(number: bytes) -> str:
    return base64.urlsafe_b64encode(number).decode().rstrip("=")


def pointer_of(document: object) -> object:
    with pytest.raises(InvalidRequest) as refused:
        read_jwks(document)
    return refused.value.facts["errors"][0]["pointer"]  # type: ignore[index]


def test_a_key_without_a_name_is_called_by_its_thumbprint() -> None:
    """RFC 7638."""
    bare = {name: PUBLIC[name] for name in ("kty", "crv", "x", "y")}
    assert read_jwks({"keys": [bare]}) == {"keys": [{**bare, "kid": EC.thumbprint()}]}
    assert read_jwks({"keys": [{**bare, "kid": "2026-11"}]})["keys"][0]["kid"] == "2026-11"


def test_what_is_not_needed_is_not_kept() -> None:
    full = {**PUBLIC, "use": "sig", "alg": "ES256", "key_ops": ["verify"], "x5c": ["AAAA"], "note": "ours"}
    assert set(read_jwks({"keys": [full]})["keys"][0]) == {"kty", "crv", "x", "y", "kid"}


@pytest.mark.parametrize(
    "document", [None, [], "keys", {}, {"keys": {}}, {"keys": []}, {"keys": [PUBLIC] * (MOST_KEYS + 1)}]
)
def test_a_set_has_keys_and_not_too_many(document: object) -> None:
    assert pointer_of(document) == "/jwks/keys"


@pytest.mark.parametrize(
    ("key", "at"),
    [
        (EC.as_dict(private=True), ""),
        (OctKey.generate_key(256).as_dict(private=True), ""),
        (ECKey.generate_key("P-384").as_dict(private=False), "/crv"),
        (ECKey.generate_key("secp256k1").as_dict(private=False), "/crv"),
        (OKPKey.generate_key("X25519").as_dict(private=False), "/crv"),
        (OKPKey.generate_key("Ed448").as_dict(private=False), "/crv"),
        ({"kty": "RSA", "e": "AQAB", "n": encoded(b"\xff" * 128)}, "/n"),
        ({"kty": "RSA", "e": "AQAB", "n": encoded(b"\xff" * 1024)}, "/n"),
        ({**PUBLIC, "use": "enc"}, ""),
        ({**PUBLIC, "key_ops": ["sign"]}, ""),
        ({**PUBLIC, "key_ops": "verify"}, ""),
        ({**PUBLIC, "alg": "ES384"}, "/alg"),
        ({**PUBLIC, "alg": "RS256"}, "/alg"),
        ({**PUBLIC, "kid": 7}, "/kid"),
        ({**PUBLIC, "kid": ""}, "/kid"),
        ({**PUBLIC, "kid": "a\nb"}, "/kid"),
        ({**PUBLIC, "kid": "x" * 256}, "/kid"),
        ({**PUBLIC, "x": 7}, ""),
        ({**PUBLIC, "x": "!"}, ""),
        ({**PUBLIC, "x": PUBLIC["y"]}, ""),  # not on the curve
        ({name: PUBLIC[name] for name in ("kty", "crv", "x")}, ""),
        ({"kty": "RSA", "n": "AQAB", "e": "AQAB"}, "/n"),
        ({"kty": "RSA", "n": encoded(b"\xff" * 256), "e": "AA"}, ""),
        ({"kty": ["EC"]}, ""),
        ("key", ""),
        (None, ""),
    ],
)
def test_a_key_that_will_not_do_is_named(key: object, at: str) -> None:
    pointer = pointer_of({"keys": [PUBLIC, key]})
    assert str(pointer).startswith("/jwks/keys/1")
    assert str(pointer) == f"/jwks/keys/1{at}"


def test_no_name_is_given_twice() -> None:
    other = ECKey.generate_key("P-256").as_dict(private=False)
    assert pointer_of({"keys": [{**PUBLIC, "kid": "a"}, {**other, "kid": "a"}]}) == "/jwks/keys"


def test_keys_are_for_clients_with_keys_and_secrets_for_those_with_secrets(bookshop: Party) -> None:
    jwks = {"keys": [PUBLIC]}
    keyed = add_keyed_client(name="erp", mode="test", store_id=bookshop.id, scopes=["settle"], jwks=jwks)
    with pytest.raises(InvalidRequest):
        rotate_secret(keyed)
    with pytest.raises(InvalidRequest):
        replace_keys(bookshop.client.client_id, jwks)
