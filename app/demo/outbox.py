"""The outbox's process: a mail server on loopback that keeps every letter for its pages to show."""

import asyncio
import signal
import sys
from pathlib import Path
from socket import socket
from threading import Thread

from aiosmtpd.smtp import SMTP, Envelope, Session

from app.demo.letters import keep_letter
from app.demo.outbox_page import OutboxServer


class Keeper:
    """What the mail server does with a letter: 250 is said once it lies on the disk."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        content = envelope.content
        if not isinstance(content, bytes):
            return "451 the letter did not arrive as bytes"
        keep_letter(self.folder, envelope.rcpt_tos, content)
        return "250 kept"


async def serve(folder: Path, mail: socket, pages: socket) -> None:
    """Serves both until this process is told to end. The sockets are the parent's, and listen already."""
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, ended.set)
    Thread(target=OutboxServer(pages, folder).serve_forever, daemon=True).start()
    server = await loop.create_server(lambda: SMTP(Keeper(folder), hostname="localhost", loop=loop), sock=mail)
    await ended.wait()
    server.close()


def main(folder: str, mail_fd: str, pages_fd: str) -> None:
    """Called by the demo with the folder of the letters and two inherited sockets."""
    asyncio.run(serve(Path(folder), socket(fileno=int(mail_fd)), socket(fileno=int(pages_fd))))


if __name__ == "__main__":
    main(*sys.argv[1:])
