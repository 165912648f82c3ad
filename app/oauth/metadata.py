"""Authorization server metadata (RFC 8414): what this server can do, for programs that ask."""

from app.config import settings
from app.oauth import introspection, revocation, token_endpoint
from app.oauth.client_authentication import methods
from app.oauth.client_keys import ALGORITHMS
from app.oauth.scopes import ALL_SCOPES

PATH = "/.well-known/oauth-authorization-server"
JWKS_PATH = "/.well-known/jwks.json"


def server_metadata() -> dict[str, object]:
    """Only what is real in this release. There is no authorization endpoint yet, hence no response types."""
    issuer = settings().public_url
    endpoints = {
        "token": token_endpoint.PATH,
        "revocation": revocation.PATH,
        "introspection": introspection.PATH,
    }
    by_endpoint: dict[str, object] = {}
    for name, path in endpoints.items():
        by_endpoint |= {
            f"{name}_endpoint": issuer + path,
            f"{name}_endpoint_auth_methods_supported": methods(),
            f"{name}_endpoint_auth_signing_alg_values_supported": list(ALGORITHMS),
        }
    return {
        "issuer": issuer,
        **by_endpoint,
        "dpop_signing_alg_values_supported": list(ALGORITHMS),
        "tls_client_certificate_bound_access_tokens": settings().client_certificate_header is not None,
        "grant_types_supported": [token_endpoint.GRANT_TYPE],
        "response_types_supported": [],  # required by section 2, though section 3.2 would leave it out
        "scopes_supported": list(ALL_SCOPES),
        "jwks_uri": issuer + JWKS_PATH,
        "service_documentation": f"{issuer}/docs",
    }
