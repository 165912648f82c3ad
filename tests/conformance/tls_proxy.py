"""A proxy that ends TLS in front of the service, as one does in production: it asks for client certificates too."""

import base64
import datetime
import ipaddress
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from socket import create_connection, create_server, socket
from threading import Thread

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

HEADER = b"Client-Cert"
MOST_HEAD_BYTES = 64 * 1024


@dataclass(frozen=True)
class Authority:
    """A certificate authority for a test, and the files of what it signed."""

    folder: Path
    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    @property
    def path(self) -> Path:
        """Its own certificate."""
        return self.folder / "ca.pem"

    def issue(self, name: str, *names: x509.GeneralName) -> tuple[Path, Path]:
        """Certificate and key for this name, as files."""
        key = ec.generate_private_key(ec.SECP256R1())
        made = _signed(name, key, self.certificate.subject, self.key, names)
        paths = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        paths[0].write_bytes(made.public_bytes(Encoding.PEM))
        paths[1].write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        return paths


def make_authority(folder: Path) -> Authority:
    """A fresh authority, whose files go into this folder."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Test authority")])
    made = Authority(folder, key, _signed("Test authority", key, name, key, (), is_authority=True))
    made.path.write_bytes(made.certificate.public_bytes(Encoding.PEM))
    return made


def _signed(
    name: str,
    key: ec.EllipticCurvePrivateKey,
    issuer: x509.Name,
    by: ec.EllipticCurvePrivateKey,
    names: tuple[x509.GeneralName, ...],
    *,
    is_authority: bool = False,
) -> x509.Certificate:
    now = datetime.datetime.now(datetime.UTC)
    made = x509.CertificateBuilder().subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
    made = made.issuer_name(issuer).public_key(key.public_key()).serial_number(x509.random_serial_number())
    made = made.not_valid_before(now - datetime.timedelta(hours=1)).not_valid_after(now + datetime.timedelta(days=1))
    made = made.add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
    if names:
        made = made.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return made.sign(by, hashes.SHA256())


@contextmanager
def tls_proxy(port: int, upstream: int, authority: Authority) -> Iterator[None]:
    """Serves https://localhost:`port` and passes each request on to `upstream`, with the client's certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    loopback = (x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1")))
    context.load_cert_chain(*authority.issue("localhost", *loopback))
    context.load_verify_locations(authority.path)
    context.verify_mode = ssl.CERT_OPTIONAL
    with create_server(("127.0.0.1", port)) as listening:
        Thread(target=_accept, args=(listening, context, upstream), daemon=True).start()
        yield


def _accept(listening: socket, context: ssl.SSLContext, upstream: int) -> None:
    with suppress(OSError):  # closed: the test is over
        while True:
            plain, _ = listening.accept()
            Thread(target=_serve, args=(plain, context, upstream), daemon=True).start()


def _serve(plain: socket, context: ssl.SSLContext, upstream: int) -> None:
    """One request for each connection."""
    with suppress(OSError, ssl.SSLError), context.wrap_socket(plain, server_side=True) as secure:
        head, begun = _read_head(secure)
        if not head:
            return
        with create_connection(("127.0.0.1", upstream)) as service:
            service.sendall(_rewritten(head, secure.getpeercert(binary_form=True)) + begun)
            Thread(target=_pass_on, args=(secure, service), daemon=True).start()
            while received := service.recv(65_536):
                secure.sendall(received)


def _pass_on(secure: ssl.SSLSocket, service: socket) -> None:
    with suppress(OSError, ssl.SSLError):
        while received := secure.recv(65_536):
            service.sendall(received)


def _read_head(secure: ssl.SSLSocket) -> tuple[bytes, bytes]:
    received = b""
    while b"\r\n\r\n" not in received and len(received) < MOST_HEAD_BYTES:
        if not (more := secure.recv(65_536)):
            return b"", b""
        received += more
    head, _, begun = received.partition(b"\r\n\r\n")
    return head, begun


def _rewritten(head: bytes, certificate: bytes | None) -> bytes:
    """Nobody but this proxy says who the client is."""
    dropped = (HEADER.lower() + b":", b"connection:", b"keep-alive:")
    lines = [line for line in head.split(b"\r\n") if not line.lower().startswith(dropped)]
    if certificate:
        lines.append(HEADER + b": :" + base64.b64encode(certificate) + b":")
    return b"\r\n".join([*lines, b"Connection: close", b"", b""])
