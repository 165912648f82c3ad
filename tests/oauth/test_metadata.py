"""The two public documents: what this server can do, and which keys verify what it signs."""

from authlib.oauth2.rfc8414 import AuthorizationServerMetadata
from flask.testing import FlaskClient
from joserfc.jwk import KeySet

from app.config import settings

METADATA = "/.well-known/oauth-authorization-server"
METHODS = ["client_secret_basic", "private_key_jwt"]
ALGORITHMS = ["ES256", "EdDSA", "Ed25519", "PS256"]


def test_the_metadata_names_only_what_is_there(client: FlaskClient) -> None:
    origin = settings().public_url
    assert client.get(METADATA).get_json() == {
        "issuer": origin,
        "authorization_endpoint": f"{origin}/oauth/authorize",
        "pushed_authorization_request_endpoint": f"{origin}/oauth/par",
        "require_pushed_authorization_requests": True,
        "token_endpoint": f"{origin}/oauth/token",
        "token_endpoint_auth_methods_supported": METHODS,
        "token_endpoint_auth_signing_alg_values_supported": ALGORITHMS,
        "revocation_endpoint": f"{origin}/oauth/revoke",
        "revocation_endpoint_auth_methods_supported": METHODS,
        "revocation_endpoint_auth_signing_alg_values_supported": ALGORITHMS,
        "introspection_endpoint": f"{origin}/oauth/introspect",
        "introspection_endpoint_auth_methods_supported": METHODS,
        "introspection_endpoint_auth_signing_alg_values_supported": ALGORITHMS,
        "dpop_signing_alg_values_supported": ALGORITHMS,
        "tls_client_certificate_bound_access_tokens": False,
        "grant_types_supported": ["client_credentials", "authorization_code"],
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "code_challenge_methods_supported": ["S256"],
        "authorization_response_iss_parameter_supported": True,
        "authorization_details_types_supported": ["giftcard_payment"],
        "scopes_supported": [
            "issue",
            "exchange",
            "settle",
            "refund",
            "bill",
            "statement",
            "guard.read",
            "finance.read",
            "finance.work",
            "introspect",
            "client.manage",
        ],
        "jwks_uri": f"{origin}/.well-known/jwks.json",
        "service_documentation": f"{origin}/docs",
    }


def test_the_metadata_is_valid(client: FlaskClient) -> None:
    """By Authlib's validator, which wants https of an authorization endpoint: a test's is on loopback."""
    found = AuthorizationServerMetadata(client.get(METADATA).get_json())
    found["authorization_endpoint"] = found["authorization_endpoint"].replace("http:", "https:")
    found.validate()


def test_every_endpoint_in_the_metadata_answers(client: FlaskClient) -> None:
    found, origin = client.get(METADATA).get_json(), settings().public_url
    assert client.get(found["jwks_uri"].removeprefix(origin)).status_code == 200
    assert client.get(found["authorization_endpoint"].removeprefix(origin)).status_code == 404
    asked = ("token", "revocation", "introspection", "pushed_authorization_request")
    for endpoint in (f"{name}_endpoint" for name in asked):
        assert client.post(found[endpoint].removeprefix(origin)).status_code == 400


def test_the_host_header_does_not_change_the_issuer(client: FlaskClient) -> None:
    """RFC 8414, section 3.3: who can choose the issuer can choose the keys."""
    found = client.get(METADATA, headers={"Host": "evil.example", "X-Forwarded-Host": "evil.example"}).get_json()
    assert "evil" not in str(found)


def test_the_key_set_holds_public_keys_only(client: FlaskClient) -> None:
    found = client.get("/.well-known/jwks.json").get_json()
    assert set(found) == {"keys"}
    assert len(found["keys"]) >= 4
    for key in found["keys"]:
        assert set(key) == {"kty", "crv", "x", "y", "kid", "use", "alg"}
        assert (key["kty"], key["crv"], key["use"], key["alg"]) == ("EC", "P-256", "sig", "ES256")
    KeySet.import_key_set(found)


def test_anyones_script_may_read_both_and_caches_may_keep_them_for_minutes(client: FlaskClient) -> None:
    """A store's page verifies balance tokens in the browser."""
    for path in (METADATA, "/.well-known/jwks.json"):
        answer = client.get(path)
        assert answer.mimetype == "application/json"
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
        assert answer.headers["Cache-Control"] == "public, max-age=300"
        assert "Set-Cookie" not in answer.headers
