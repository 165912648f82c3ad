"""Authorization server metadata (RFC 8414): what this server can do, for programs that ask."""

from app.config import settings
from app.oauth import revocation, token_endpoint
from app.oauth.client_authentication import METHODS
from app.oauth.client_keys import ALGORITHMS
from app.oauth.scopes import ALL_SCOPES

PATH = "/.well-known/oauth-authorization-server"
JWKS_PATH = "/.well-known/jwks.json"


def server_metadata() -> dict[str, object]:
    """Only what is real in this release. There is no authorization endpoint yet, hence no response types."""
    issuer = settings().public_url
    return {
        "issuer": issuer,
        "token_endpoint": issuer + token_endpoint.PATH,
        "token_endpoint_auth_methods_supported": list(METHODS),
        "token_endpoint_auth_signing_alg_values_supported": list(ALGORITHMS),
        "revocation_endpoint": issuer + revocation.PATH,
        "revocation_endpoint_auth_methods_supported": list(METHODS),
        "revocation_endpoint_auth_signing_alg_values_supported": list(ALGORITHMS),
        "grant_types_supported": [token_endpoint.GRANT_TYPE],
        "response_types_supported": [],  # required by section 2, though section 3.2 would leave it out
        "scopes_supported": list(ALL_SCOPES),
        "jwks_uri": issuer + JWKS_PATH,
        "service_documentation": f"{issuer}/docs",
    }
