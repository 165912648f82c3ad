"""Handing messages to the mail server by SMTP; what is about a letter is told apart from what is about the session."""

import smtplib
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import structlog

from app.config import Smtp
from app.mail.rules import Outcome, judge, numbers_of

CONNECT_S, COMMAND_S = 10, 30

log = structlog.get_logger(__name__)


class MailServerAway(Exception):
    """The session broke, or the server refuses us rather than one letter. The message has no words of the server's."""


class NotReached(MailServerAway):
    """There was no session, so no letter was tried."""


@dataclass(frozen=True, slots=True)
class Parcel:
    """A message ready to travel. `international`: its address needs SMTPUTF8 (RFC 6531)."""

    sender: str
    recipient: str
    content: bytes
    international: bool = False

    def __repr__(self) -> str:
        return f"Parcel({len(self.content)} bytes)"


@contextmanager
def mail_server(smtp: Smtp, *, greet_as: str) -> Iterator["MailServer"]:
    """A session that is open. Raises NotReached when it cannot be had."""
    server = MailServer(smtp, greet_as)
    server.open()
    try:
        yield server
    finally:
        server.close()


class MailServer:
    """One SMTP session at a time, reused letter after letter, and opened again when the server has had enough of it."""

    def __init__(self, smtp: Smtp, greet_as: str) -> None:
        self._smtp, self._greet_as = smtp, greet_as
        self._session: smtplib.SMTP | None = None
        self._is_used = False

    def open(self) -> None:
        """Connects, verifies the certificate, logs in. Raises NotReached."""
        try:
            self._session = _connected(self._smtp, self._greet_as)
        except (smtplib.SMTPException, OSError) as error:
            # Nothing will go out until an operator acts, when it is our login or the certificate that is refused.
            if isinstance(error, smtplib.SMTPAuthenticationError | smtplib.SMTPNotSupportedError | ssl.SSLError):
                log.error("mail_server_refuses_us", error=_name_of(error))
            raise NotReached(f"connect {_name_of(error)}") from None
        self._is_used = False

    def close(self) -> None:
        """Says goodbye, and does not mind when nobody listens."""
        session, self._session = self._session, None
        if session is not None:
            try:
                session.quit()
            except (smtplib.SMTPException, OSError):
                session.close()

    def hand_over(self, parcel: Parcel, *, is_still_ours: Callable[[], bool]) -> Outcome:
        """Sends one message; `is_still_ours` is asked before the point of no return.

        Raises MailServerAway when the session broke (the server may have taken the message even so), NotReached when
        a new session was needed and could not be had.
        """
        try:
            begun = self._begin(parcel)
            return begun or self._finish(parcel, is_still_ours)
        except (smtplib.SMTPException, OSError) as error:
            self._drop()
            raise MailServerAway(f"send {_name_of(error)}") from None

    def _begin(self, parcel: Parcel) -> Outcome | None:
        """MAIL. A session that was used before may have been closed, or be full: then a new one is worth a try."""
        if self._is_used:
            try:
                code, words = self._mail(parcel)
                if code == 250:
                    return None
            except (smtplib.SMTPException, OSError):
                pass
            self._drop()
        if self._session is None:
            self.open()
        if parcel.international and not self._open_session.has_extn("smtputf8"):
            return Outcome("failed", "server without SMTPUTF8")
        code, words = self._mail(parcel)
        if code != 250:
            self._drop()
            raise MailServerAway(numbers_of("MAIL", code, words))
        return None

    def _finish(self, parcel: Parcel, is_still_ours: Callable[[], bool]) -> Outcome:
        self._is_used = True
        code, words = self._open_session.rcpt(parcel.recipient)
        if judge(code) != "accepted":
            return self._refused("RCPT", code, words)
        if not is_still_ours():
            self._reset()
            return Outcome("lost", "another worker took it")
        try:
            code, words = self._open_session.data(parcel.content)
        except smtplib.SMTPDataError as error:
            code, words = error.smtp_code, _bytes_of(error.smtp_error)
        return Outcome("sent") if judge(code) == "accepted" else self._refused("DATA", code, words)

    def _refused(self, stage: str, code: int, words: bytes) -> Outcome:
        reason, verdict = numbers_of(stage, code, words), judge(code)
        if verdict == "session":
            self._drop()
            raise MailServerAway(reason)
        self._reset()
        return Outcome("failed" if verdict == "never" else "later", reason)

    def _reset(self) -> None:
        """Makes ready for the next letter. A server that hangs up after a refusal has refused all the same."""
        try:
            self._open_session.rset()
        except (smtplib.SMTPException, OSError):
            self._drop()

    def _mail(self, parcel: Parcel) -> tuple[int, bytes]:
        options = ["SMTPUTF8", "BODY=8BITMIME"] if parcel.international else []
        self._open_session.command_encoding = "utf-8" if parcel.international else "ascii"
        return self._open_session.mail(parcel.sender, options)

    @property
    def _open_session(self) -> smtplib.SMTP:
        if self._session is None:
            raise smtplib.SMTPServerDisconnected("no session")
        return self._session

    def _drop(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            session.close()


def _connected(smtp: Smtp, greet_as: str) -> smtplib.SMTP:
    """A session ready for MAIL. Certificates are verified by the system's authorities; clear text is for loopback."""
    session: smtplib.SMTP
    if smtp.security == "tls":
        context = ssl.create_default_context()
        session = smtplib.SMTP_SSL(smtp.host, smtp.port, greet_as, timeout=CONNECT_S, context=context)
    else:
        session = smtplib.SMTP(smtp.host, smtp.port, greet_as, timeout=CONNECT_S)
    try:
        if session.sock is not None:
            session.sock.settimeout(COMMAND_S)
        if smtp.security == "starttls":
            session.starttls(context=ssl.create_default_context())
        session.ehlo_or_helo_if_needed()
        if smtp.user:
            session.login(smtp.user, smtp.password or "")
    except BaseException:
        session.close()
        raise
    return session


def _name_of(error: Exception) -> str:
    code = getattr(error, "smtp_code", None)
    return type(error).__name__ + (f" {code}" if isinstance(code, int) else "")


def _bytes_of(words: bytes | str) -> bytes:
    return words.encode() if isinstance(words, str) else words
