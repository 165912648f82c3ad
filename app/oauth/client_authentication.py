"""How a client says who it is at the token endpoint: by the one method that it was registered with (RFC 6749, 2.3)."""

import base64
import binascii
from collections.abc import Mapping
from urllib.parse import unquote_plus

from authlib.oauth2.rfc6749 import InvalidClientError, InvalidRequestError

from app.config import settings
from app.guard.request_limits import count_wrong_secret
from app.ids import is_id
from app.oauth import client_assertion, mutual_tls
from app.oauth.clients import (
    CERTIFICATE_METHOD,
    KEY_METHOD,
    SECRET_METHOD,
    Client,
    authenticate_client,
)
from app.oauth.keyed_clients import client_of_certificate
from app.web.context import Acting, acting

#: Parameters of other methods. One of them beside a header means two methods at once, which is refused.
OTHER_METHODS = frozenset({"client_secret", "client_assertion", "client_assertion_type"})
CHALLENGE = 'Basic realm="scrip", charset="UTF-8"'


class ClientRefused(InvalidClientError):  # type: ignore[misc]
    """Whatever was wrong about the credentials, this is the answer."""

    status_code = 401

    def __init__(self) -> None:
        super().__init__(description=f"Client authentication failed. This endpoint takes {', '.join(methods())}.")

    def get_headers(self) -> list[tuple[str, str]]:
        """A 401 has a challenge, and no other method has one. RFC 7617: it has a realm, which Authlib's own lacks."""
        return [*super(InvalidClientError, self).get_headers(), ("WWW-Authenticate", CHALLENGE)]


def methods() -> list[str]:
    """The methods that clients may be registered with here, by the settings."""
    secret = () if settings().fapi_only else (SECRET_METHOD,)
    certificate = (CERTIFICATE_METHOD,) if settings().client_certificate_header else ()
    return [*secret, KEY_METHOD, *certificate]


def identify_client(authorization: str | None, parameters: Mapping[str, str]) -> Client:
    """The client behind an Authorization header, an assertion among the body's parameters, or else a certificate.

    From here on it acts, for the events and the logs. Raises InvalidRequestError for two methods at once, ClientRefused
    for everything else that is not acceptable, TryLater after many wrong secrets, Busy.
    """
    if authorization is not None and OTHER_METHODS.intersection(parameters):
        raise InvalidRequestError("Use one method of client authentication, not two.")
    if "client_assertion" in parameters and "client_secret" in parameters:
        raise InvalidRequestError("Use one method of client authentication, not two.")
    if "client_assertion" in parameters:
        client = _signed(parameters)
    elif authorization is None and "client_id" in parameters:
        client = _certified(parameters)
    else:
        client = _with_secret(authorization or "")
    if client is None or parameters.get("client_id", client.client_id) != client.client_id:
        raise ClientRefused()
    acting.set(Acting(actor=client.client_id, request_id=acting.get().request_id))
    return client


def _signed(parameters: Mapping[str, str]) -> Client | None:
    if parameters.get("client_assertion_type") != client_assertion.TYPE:
        return None
    return client_assertion.client_of_assertion(parameters["client_assertion"], named=parameters.get("client_id"))


def _certified(parameters: Mapping[str, str]) -> Client | None:
    """The other methods' parameters beside a certificate are two methods at once."""
    certificate = mutual_tls.presented_certificate()
    if certificate is None:
        return None
    if OTHER_METHODS.intersection(parameters):
        raise InvalidRequestError("Use one method of client authentication, not two.")
    return client_of_certificate(parameters["client_id"], certificate)


def _with_secret(authorization: str) -> Client | None:
    client_id, client_secret = _basic_credentials(authorization)
    if settings().fapi_only or not is_id(client_id, "cli"):
        return None
    client = authenticate_client(client_id, client_secret)
    if client is None:  # a right one passes, whoever else tries from the same address: there is no guessing 256 bits
        count_wrong_secret(client_id)
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
