"""Client certificates, and the two ways in which proxies write one into a header."""

import base64
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

HEADER = "Client-Cert"
NAME = x509.Name(
    [x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Bookshop"), x509.NameAttribute(NameOID.COMMON_NAME, "erp")]
)


def certificate(
    *names: x509.GeneralName,
    subject: x509.Name = NAME,
    begins: timedelta = timedelta(days=-1),
    days: int = 30,
    extra: x509.ExtensionType | None = None,
) -> x509.Certificate:
    """A certificate with these alternative names, by its own key: who trusts its issuer is the proxy's business."""
    key = ec.generate_private_key(ec.SECP256R1())
    start = datetime.now(UTC) + begins
    made = x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(key.public_key())
    made = made.serial_number(x509.random_serial_number()).not_valid_before(start)
    made = made.not_valid_after(start + timedelta(days=days))
    if names:
        made = made.add_extension(x509.SubjectAlternativeName(names), critical=False)
    if extra is not None:
        made = made.add_extension(extra, critical=False)
    return made.sign(key, hashes.SHA256())


def rfc9440(shown: x509.Certificate) -> dict[str, str]:
    """As the standard has it."""
    return {HEADER: f":{base64.b64encode(shown.public_bytes(Encoding.DER)).decode()}:"}


def escaped_pem(shown: x509.Certificate) -> dict[str, str]:
    """As nginx writes `$ssl_client_escaped_cert`."""
    return {HEADER: quote(shown.public_bytes(Encoding.PEM).decode(), safe="")}
