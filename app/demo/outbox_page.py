"""The outbox's pages: the list of letters, each letter as its reader sees it, and all of them as JSON."""

import json
import re
from collections.abc import Callable
from html import escape
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socket import socket
from string import Template
from urllib.parse import urlsplit

from app.demo.letters import Letter, all_letters, find_letter
from app.environment import is_loopback

PAGE = Template(Path(__file__).with_name("outbox.html").read_text(encoding="utf-8"))
PAGE_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; frame-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
#: A letter may not run anything nor fetch anything; only its links open, in a tab of their own.
SANDBOX = "allow-popups allow-popups-to-escape-sandbox"
LETTER_POLICY = (
    f"sandbox {SANDBOX}; default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'self'"
)
HTML, TEXT, JSON = "text/html; charset=utf-8", "text/plain; charset=utf-8", "application/json"

Answer = tuple[HTTPStatus, str, str, str]


class OutboxServer(ThreadingHTTPServer):
    """Serves the letters of a folder on a socket that listens already."""

    daemon_threads = True

    def __init__(self, listening: socket, folder: Path) -> None:
        super().__init__(listening.getsockname(), OutboxHandler, bind_and_activate=False)
        self.socket.close()
        self.socket = listening
        self.folder = folder


class OutboxHandler(BaseHTTPRequestHandler):
    """Answers GET and HEAD."""

    server: OutboxServer
    server_version, sys_version = "scrip-outbox", ""
    protocol_version = "HTTP/1.1"
    timeout = 30

    def do_GET(self) -> None:
        status, kind, policy, text = self._answer()
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Security-Policy", policy)
        self.send_header("Cache-Control", "no-store")
        self.send_header("Referrer-Policy", "no-referrer")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Vary", "Accept")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_HEAD = do_GET

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        """Keeps no access log: it would tell nothing that the demo needs."""

    def _answer(self) -> Answer:
        if not is_loopback(urlsplit(f"//{self.headers.get('Host', '')}").hostname or ""):
            # A foreign page may point its own name at this address; letters hold claim links.
            return _page(HTTPStatus.MISDIRECTED_REQUEST, "Not here", "<p>Ask by the address that the demo printed.</p>")
        parts = urlsplit(self.path).path.strip("/").split("/")
        if parts == [""]:
            letters = all_letters(self.server.folder)
            return _as_json(letters) if _wants_json(self.headers.get("Accept", "")) else _list(letters)
        if parts[0] == "letters" and len(parts) in (2, 3) and (letter := find_letter(self.server.folder, parts[1])):
            view = VIEWS.get("/".join(parts[2:]))
            if view is not None:
                return view(letter)
        return _page(HTTPStatus.NOT_FOUND, "No such letter", '<p><a href="/">All letters</a></p>')


def _wants_json(accept: str) -> bool:
    """Whether JSON is asked for, and before any HTML."""
    kinds = [part.partition(";")[0].strip().lower() for part in accept.split(",")]
    return next((kind == JSON for kind in kinds if kind in (JSON, "text/html")), False)


def _as_json(letters: list[Letter]) -> Answer:
    return (
        HTTPStatus.OK,
        JSON,
        PAGE_POLICY,
        json.dumps([letter.shown() for letter in letters], ensure_ascii=False) + "\n",
    )


def _list(letters: list[Letter]) -> Answer:
    rows = "".join(
        f'<li><a href="/letters/{letter.id}">{escape(letter.subject) or "(no subject)"}</a>'
        f"<time>{_time(letter)}</time>"
        f'<span class="to">to {escape(letter.to)}</span></li>'
        for letter in letters
    )
    body = f"""<h1>Outbox</h1>
<p class="soft">Every letter that the demo sends ends here, and never leaves this machine.
Newest first; this page looks again every five seconds.</p>
{f"<ol>{rows}</ol>" if rows else "<p>No letter yet.</p>"}"""
    return _page(HTTPStatus.OK, "Outbox", body, extra='<meta http-equiv="refresh" content="5">\n')


def _letter(letter: Letter) -> Answer:
    links = "".join(f'<p><a href="{escape(to)}" rel="noopener noreferrer">{escape(to)}</a></p>' for to in letter.links)
    frame = f'<iframe sandbox="{SANDBOX}" title="The letter" src="/letters/{letter.id}/html"></iframe>'
    body = f"""<p><a href="/">All letters</a></p>
<h1>{escape(letter.subject) or "(no subject)"}</h1>
<p class="soft">to {escape(letter.to)} · {_time(letter)}</p>
{frame if letter.html else ""}
{f"<h2>Links in this letter</h2>{links}" if links else ""}
{f"<h2>As plain text</h2><pre>{escape(letter.text)}</pre>" if letter.text else ""}"""
    return _page(HTTPStatus.OK, letter.subject or "Letter", body)


def _letter_html(letter: Letter) -> Answer:
    """The letter's own HTML, except that its links open in a tab of their own: a claim page refuses to be framed."""
    html = re.sub(r"<head\b[^>]*>", r'\g<0><base target="_blank">', letter.html, count=1, flags=re.IGNORECASE)
    return HTTPStatus.OK, HTML, LETTER_POLICY, html


def _letter_text(letter: Letter) -> Answer:
    return HTTPStatus.OK, TEXT, LETTER_POLICY, letter.text


def _page(status: HTTPStatus, title: str, body: str, *, extra: str = "") -> Answer:
    return status, HTML, PAGE_POLICY, PAGE.substitute(title=escape(title), body=body, extra=extra)


def _time(letter: Letter) -> str:
    return f"{letter.sent_at[:10]} {letter.sent_at[11:19]} UTC"


VIEWS: dict[str, Callable[[Letter], Answer]] = {"": _letter, "html": _letter_html, "text": _letter_text}
