"""The way to the mail server: encrypted, verified, logged in."""

import datetime
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path

import pytest
from aiosmtpd.smtp import SMTP as Server
from aiosmtpd.smtp import AuthResult, Envelope, LoginPassword, Session
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from structlog.testing import capture_logs

from app import config
from app.config import Smtp
from app.errors import Busy
from app.mail.delivery import MailServer, MailServerAway, NotReached, Parcel, mail_server
from app.mail.rules import Outcome
from app.mail.sending import send_due_letters
from tests.mail.conftest import Filler, letter, post
from tests.mail.post_office import PostOffice, opened
from tests.service import free_port
from tests.world import World

PARCEL = Parcel("letters@scrip.example", "sam@holder.example", b"Subject: Hello\r\n\r\nHello\r\n.\r\n")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key and a certificate for 127.0.0.1, signed by itself, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "post office")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    plain = serialization.NoEncryption()
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
        + made.public_bytes(serialization.Encoding.PEM)
    )
    return path


@pytest.fixture
def server_tls(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


@pytest.fixture
def trusted(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The post office's certificate is among the system's authorities."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))


def hand_over(smtp: Smtp, parcel: Parcel = PARCEL) -> Outcome:
    with mail_server(smtp, greet_as="cards.example") as server:
        return server.hand_over(parcel, is_still_ours=lambda: True)


def accepts(name: str, password: str) -> Callable[..., AuthResult]:
    def check(server: Server, session: Session, envelope: Envelope, mechanism: str, offered: object) -> AuthResult:
        assert isinstance(offered, LoginPassword)
        is_right = (offered.login, offered.password) == (name.encode(), password.encode())
        return AuthResult(success=is_right, handled=False)

    return check


@pytest.mark.usefixtures("trusted")
def test_starttls_and_login(server_tls: ssl.SSLContext) -> None:
    office = PostOffice(free_port())
    smtp = Smtp("127.0.0.1", office.port, "starttls", "letters@scrip.example", "scrip", "right")
    more = {"tls_context": server_tls, "require_starttls": True, "auth_required": True}
    with opened(office, authenticator=accepts("scrip", "right"), **more):
        assert hand_over(smtp) == Outcome("sent")
        assert len(office.letters) == 1
        with capture_logs() as logs, pytest.raises(NotReached, match="connect SMTPAuthenticationError 535"):
            hand_over(replace(smtp, password="wrong"))
    assert [(entry["event"], entry["log_level"]) for entry in logs] == [("mail_server_refuses_us", "error")]
    assert "wrong" not in str(logs)


@pytest.mark.usefixtures("trusted")
def test_tls_from_the_first_byte(server_tls: ssl.SSLContext) -> None:
    office = PostOffice(free_port())
    with opened(office, ssl_context=server_tls):
        assert hand_over(Smtp("127.0.0.1", office.port, "tls", "letters@scrip.example")) == Outcome("sent")


@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_a_certificate_that_nobody_vouches_for_is_refused(security: str, server_tls: ssl.SSLContext) -> None:
    office = PostOffice(free_port())
    more = {"ssl_context": server_tls} if security == "tls" else {"tls_context": server_tls}
    with opened(office, **more), pytest.raises(NotReached, match="SSLCertVerificationError"):
        hand_over(Smtp("127.0.0.1", office.port, security, "letters@scrip.example"))
    assert office.letters == []


@pytest.mark.usefixtures("trusted")
def test_a_certificate_for_another_name_is_refused(server_tls: ssl.SSLContext) -> None:
    office = PostOffice(free_port())
    with opened(office, tls_context=server_tls), pytest.raises(NotReached, match="SSLCertVerificationError"):
        hand_over(Smtp("localhost", office.port, "starttls", "letters@scrip.example"))


def test_a_server_without_starttls_gets_nothing_in_clear() -> None:
    office = PostOffice(free_port())
    with opened(office), pytest.raises(NotReached, match="SMTPNotSupportedError"):
        hand_over(Smtp("127.0.0.1", office.port, "starttls", "letters@scrip.example"))
    assert office.letters == []


def test_a_letter_waits_while_the_login_is_refused(world: World, closed_office: PostOffice, filler: Filler) -> None:
    queued = post(world)
    now = config.settings()
    config.use(replace(now, smtp=replace(now.smtp, user="scrip", password="wrong")))
    refusing = accepts("scrip", "right")
    with opened(closed_office, authenticator=refusing, auth_require_tls=False), pytest.raises(Busy):
        send_due_letters()
    assert (letter(queued.card_id).state, letter(queued.card_id).tries) == ("queued", 0)


def test_an_address_beyond_ascii_fails_where_the_server_has_no_smtputf8() -> None:
    office = PostOffice(free_port())
    smtp = Smtp("127.0.0.1", office.port, "none", "letters@scrip.example")
    with opened(office, enable_SMTPUTF8=False):
        outcome = hand_over(smtp, replace(PARCEL, recipient="zoë@holder.example", international=True))
    assert outcome == Outcome("failed", "server without SMTPUTF8")


def test_lines_of_dots_arrive_as_they_were() -> None:
    office = PostOffice(free_port())
    with opened(office):
        assert hand_over(Smtp("127.0.0.1", office.port, "none", "letters@scrip.example")) == Outcome("sent")
    assert office.letters[0].get_content().split() == ["Hello", "."]


@contextmanager
def reciting(*sessions: list[str]) -> Iterator[Smtp]:
    """A server that says the same whatever it is told, session after session, and hangs up when it has said all."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        reciter = threading.Thread(target=recite, args=(listener, sessions))
        reciter.start()
        yield Smtp("127.0.0.1", listener.getsockname()[1], "none", "letters@scrip.example")
        reciter.join(10)


def recite(listener: socket.socket, sessions: tuple[list[str], ...]) -> None:
    for replies in sessions:
        connection, _ = listener.accept()
        with connection, connection.makefile("rb") as lines:
            for reply in replies:
                connection.sendall(reply.encode() + b"\r\n")
                while (line := lines.readline()) and reply.startswith("354") and line != b".\r\n":
                    pass


WELCOME, ACCEPTED = ["220 hello", "250 hello"], ["250 OK", "250 OK", "354 go on", "250 OK"]


def test_a_greeting_that_refuses_is_a_server_that_is_away() -> None:
    with reciting(["421 4.3.2 closing"]) as smtp, pytest.raises(NotReached, match="connect SMTPConnectError 421"):
        hand_over(smtp)


def test_a_server_that_takes_the_letter_and_hangs_up_has_taken_it() -> None:
    with reciting([*WELCOME, *ACCEPTED]) as smtp:
        assert hand_over(smtp) == Outcome("sent")


def test_a_server_that_refuses_and_hangs_up_has_refused() -> None:
    with reciting([*WELCOME, "250 OK", "550 5.1.1 nobody"]) as smtp:
        assert hand_over(smtp) == Outcome("failed", "RCPT 550 5.1.1")


def test_a_server_that_hung_up_between_two_letters_gets_the_second_in_a_new_session() -> None:
    with reciting([*WELCOME, *ACCEPTED], [*WELCOME, *ACCEPTED]) as smtp:
        with mail_server(smtp, greet_as="cards.example") as server:
            outcomes = [server.hand_over(PARCEL, is_still_ours=lambda: True) for _ in range(2)]
    assert outcomes == [Outcome("sent"), Outcome("sent")]


def test_data_may_be_refused_before_the_message() -> None:
    with reciting([*WELCOME, "250 OK", "250 OK", "451 4.3.0 not now", "250 OK", "221 bye"]) as smtp:
        assert hand_over(smtp) == Outcome("later", "DATA 451 4.3.0")


def test_a_session_that_ends_in_the_middle_of_a_letter_is_a_server_that_is_away() -> None:
    with reciting([*WELCOME, "250 OK", "250 OK", "421 4.3.2 closing"]) as smtp:
        with pytest.raises(MailServerAway, match=r"DATA 421 4\.3\.2"):
            hand_over(smtp)
    with reciting([*WELCOME, "250 OK", "250 OK"]) as smtp:
        with pytest.raises(MailServerAway, match="send SMTPServerDisconnected"):
            hand_over(smtp)


def test_saying_goodbye_twice_is_fine() -> None:
    server = MailServer(Smtp("127.0.0.1", 1, "none", "letters@scrip.example"), "cards.example")
    server.close()
    server.close()


def test_a_parcel_does_not_show_its_recipient() -> None:
    assert repr(PARCEL) == "Parcel(28 bytes)"
