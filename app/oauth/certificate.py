"""Certificates of clients (RFC 8705): read from text, told apart, and known by the name of their client."""

from base64 import b64decode
from binascii import Error as NotBase64
from collections.abc import Callable, Mapping
from functools import lru_cache
from ipaddress import ip_address
from urllib.parse import unquote_to_bytes

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256

from app.errors import InvalidRequest
from app.secrecy import to_text

#: More than any certificate of one machine has.
MAX_LENGTH = 8_000
REMEMBERED = 256
MAX_SUBJECT_LENGTH = 255

Certificate = x509.Certificate


@lru_cache(maxsize=REMEMBERED)
def read_certificate(text: str) -> Certificate | None:
    """From `:base64 of DER:` (RFC 9440), or from a percent-encoded PEM, as nginx writes it."""
    if len(text) > MAX_LENGTH:
        return None
    try:
        if text.startswith(":") and text.endswith(":"):
            certificate = x509.load_der_x509_certificate(b64decode(text[1:-1].encode("ascii"), validate=True))
        else:
            certificate = x509.load_pem_x509_certificate(unquote_to_bytes(text))
        _ = certificate.subject  # read only when asked for, and may be malformed
    except (ValueError, NotBase64):
        return None
    return certificate


def thumbprint(certificate: Certificate) -> str:
    """`x5t#S256`: SHA-256 of the certificate (RFC 8705, section 3.1)."""
    return to_text(certificate.fingerprint(SHA256()))


def read_subject(kind: str, value: str) -> dict[str, str]:
    """How the certificates of a client name it, as it is stored: one of SUBJECTS, and exactly this value.

    Raises InvalidRequest.
    """
    if kind not in SUBJECTS:
        raise InvalidRequest(f"A certificate names its client by {', '.join(SUBJECTS)}.", pointer="/tls_subject")
    try:
        if not 1 <= len(value) <= MAX_SUBJECT_LENGTH or not value.isprintable():
            raise ValueError("no name")
        if kind == "subject_dn":
            x509.Name.from_rfc4514_string(value)
        if kind == "san_ip":
            value = str(ip_address(value))
    except ValueError as error:
        raise InvalidRequest(f"This is no {kind}.", pointer="/tls_subject") from error
    return {kind: value}


def is_named(certificate: Certificate, subject: Mapping[str, str]) -> bool:
    """Whether the certificate is for the client that was registered with this subject (RFC 8705, section 2.1.2)."""
    return len(subject) == 1 and all(SUBJECTS[kind](certificate, value) for kind, value in subject.items())


def _has_name(certificate: Certificate, value: str) -> bool:
    return certificate.subject == x509.Name.from_rfc4514_string(value)


def _has_alternative(kind: type[x509.GeneralName]) -> Callable[[Certificate, str], bool]:
    def check(certificate: Certificate, value: str) -> bool:
        try:
            names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        except (x509.ExtensionNotFound, x509.DuplicateExtension, x509.UnsupportedGeneralNameType, ValueError):
            return False
        return value in [str(name.value) for name in names if isinstance(name, kind)]

    return check


#: RFC 8705, section 2.1.2, without its prefix `tls_client_auth_`.
SUBJECTS: Mapping[str, Callable[[Certificate, str], bool]] = {
    "subject_dn": _has_name,
    "san_dns": _has_alternative(x509.DNSName),
    "san_uri": _has_alternative(x509.UniformResourceIdentifier),
    "san_ip": _has_alternative(x509.IPAddress),
    "san_email": _has_alternative(x509.RFC822Name),
}
