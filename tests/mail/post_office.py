"""A real SMTP server on loopback that keeps what it gets, and refuses, dawdles and hangs up as a test wishes."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session


@dataclass
class PostOffice:
    """What came in, and how it is answered. Replies are used up one by one; when there are none left, all is well."""

    port: int
    letters: list[EmailMessage] = field(default_factory=list)
    #: Messages that were refused after they had come in whole.
    refused: list[EmailMessage] = field(default_factory=list)
    recipients: list[str] = field(default_factory=list)
    greetings: list[str] = field(default_factory=list)
    sessions: set[Any] = field(default_factory=set)
    mail_replies: list[str] = field(default_factory=list)
    rcpt_replies: dict[str, list[str]] = field(default_factory=dict)
    data_replies: list[str] = field(default_factory=list)
    #: Called when a message is in, before it is answered, in a thread of its own.
    before_answer: Callable[[], None] | None = None
    hang_up_after_refusal: bool = False
    #: So many of the next messages are taken, and the connection breaks before the answer.
    lost_answers: int = 0
    #: Each command waits for so long before it is answered.
    stage_s: float = 0

    async def handle_EHLO(
        self, server: SMTP, session: Session, envelope: Envelope, hostname: str, responses: list[str]
    ) -> list[str]:
        await asyncio.sleep(self.stage_s)
        self.greetings.append(hostname)
        session.host_name = hostname
        return responses

    async def handle_MAIL(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        await asyncio.sleep(self.stage_s)
        self.sessions.add(session.peer)
        if self.mail_replies:
            return self.mail_replies.pop(0)
        envelope.mail_from = address
        return "250 OK"

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        await asyncio.sleep(self.stage_s)
        if replies := self.rcpt_replies.get(address):
            if self.hang_up_after_refusal and server.transport is not None:
                asyncio.get_running_loop().call_later(0.05, server.transport.close)
            return replies.pop(0)
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        await asyncio.sleep(self.stage_s)
        if self.before_answer is not None:
            await asyncio.to_thread(self.before_answer)
        content = envelope.content
        assert isinstance(content, bytes)
        message = message_from_bytes(content, policy=policy.default)
        if self.data_replies:
            self.refused.append(message)
            return self.data_replies.pop(0)
        self.letters.append(message)
        self.recipients += envelope.rcpt_tos
        if self.lost_answers and server.transport is not None:
            self.lost_answers -= 1
            server.transport.close()
        return "250 OK"


@contextmanager
def opened(office: PostOffice, **more: Any) -> Iterator[PostOffice]:
    """The post office while it is open."""
    controller = Controller(office, hostname="127.0.0.1", port=office.port, **more)
    controller.start()
    try:
        yield office
    finally:
        controller.stop()
