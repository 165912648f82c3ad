"""Authorization server metadata (RFC 8414): what this server can do, for programs that ask."""

from app.config import settings
from app.oauth import authorization_response, introspection, pushed_authorization, revocation, token_endpoint
from app.oauth.authorization_details import TYPES
from app.oauth.client_authentication import methods
from app.oauth.client_keys import ALGORITHMS
from app.oauth.scopes import ALL_SCOPES

PATH = "/.well-known/oauth-authorization-server"
JWKS_PATH = "/.well-known/jwks.json"


def server_metadata() -> dict[str, object]:
    """Only what is real in this release."""
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
        "authorization_endpoint": issuer + authorization_response.PATH,
        "pushed_authorization_request_endpoint": issuer + pushed_authorization.PATH,
        "require_pushed_authorization_requests": True,
        **by_endpoint,
        "dpop_signing_alg_values_supported": list(ALGORITHMS),
        "tls_client_certificate_bound_access_tokens": settings().client_certificate_header is not None,
        "grant_types_supported": list(token_endpoint.GRANT_TYPES),
        "response_types_supported": [pushed_authorization.RESPONSE_TYPE],
        "response_modes_supported": [pushed_authorization.RESPONSE_MODE],
        "code_challenge_methods_supported": [pushed_authorization.CHALLENGE_METHOD],
        "authorization_response_iss_parameter_supported": True,
        "authorization_details_types_supported": list(TYPES),
        "scopes_supported": list(ALL_SCOPES),
        "jwks_uri": issuer + JWKS_PATH,
        "service_documentation": f"{issuer}/docs",
    }
