"""Mutual TLS (RFC 8705): the certificate that a request came with, by the word of a TLS proxy that we trust."""

from flask import request

from app.config import settings
from app.db.time import current_time
from app.oauth.certificate import Certificate, read_certificate
from app.web.address import is_trusted_proxy
from app.web.networks import read_address


def presented_certificate() -> Certificate | None:
    """The certificate that the client presented to the proxy, which verified it and the possession of its key.

    None without one, for one that is not in its time, and whenever the request did not come through a trusted proxy:
    what anybody else writes into that header is worth nothing.
    """
    header = settings().client_certificate_header
    text = request.headers.get(header) if header else None
    if not text or not is_trusted_proxy(read_address(request.remote_addr)):
        return None
    certificate = read_certificate(text)
    if certificate is None:
        return None
    is_timely = certificate.not_valid_before_utc <= current_time() <= certificate.not_valid_after_utc
    return certificate if is_timely else None
