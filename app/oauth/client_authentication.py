"""How a client says who it is at the token endpoint: `client_secret_basic` and nothing else (RFC 6749, section 2.3)."""

import base64
import binascii
from collections.abc import Collection
from urllib.parse import unquote_plus

from authlib.oauth2.rfc6749 import InvalidClientError, InvalidRequestError

from app.oauth.clients import Client, authenticate_client

METHOD = "client_secret_basic"
#: Parameters of other methods. One of them beside a header means two methods at once, which is refused.
OTHER_METHODS = frozenset({"client_secret", "client_assertion", "client_assertion_type"})
CHALLENGE = 'Basic realm="scrip", charset="UTF-8"'


class ClientRefused(InvalidClientError):  # type: ignore[misc]
    """Whatever was wrong about the credentials, this is the answer."""

    status_code = 401
    description = f"Client authentication failed. This endpoint takes {METHOD}."

    def get_headers(self) -> list[tuple[str, str]]:
        """RFC 7617: a challenge to Basic has a realm, which Authlib's own lacks."""
        return [*super(InvalidClientError, self).get_headers(), ("WWW-Authenticate", CHALLENGE)]


def identify_client(authorization: str | None, parameters: Collection[str], *, named: str | None) -> Client:
    """The client behind an Authorization header. `parameters`: the body's names; `named`: its `client_id`, if any.

    Raises InvalidRequestError for two methods at once, ClientRefused for everything else that is not acceptable.
    """
    if authorization is not None and OTHER_METHODS.intersection(parameters):
        raise InvalidRequestError("Use one method of client authentication, not two.")
    client_id, client_secret = _basic_credentials(authorization or "")
    if named not in (None, client_id):
        raise ClientRefused()
    client = authenticate_client(client_id, client_secret)
    if client is None:
        raise ClientRefused()
    return client


def _basic_credentials(authorization: str) -> tuple[str, str]:
    """ID and secret, each form-encoded inside Basic (RFC 6749, section 2.3.1). Bytes that are no text are refused."""
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() != "basic":
        raise ClientRefused()
    try:
        text = base64.b64decode(encoded.strip(" ").encode("ascii"), validate=True).decode()
        client_id, colon, client_secret = text.partition(":")
        pair = unquote_plus(client_id, errors="strict"), unquote_plus(client_secret, errors="strict")
    except (UnicodeError, binascii.Error) as error:
        raise ClientRefused() from error
    if not colon:
        raise ClientRefused()
    return pair
