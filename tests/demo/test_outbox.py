"""The outbox keeps every letter in a private file, and shows letters without running them."""

import http.client
import json
import os
import signal
import smtplib
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from email.message import EmailMessage
from pathlib import Path

import pytest

from app.demo.letters import all_letters

#: The letter may open tabs, and do nothing else: no scripts, no forms, no origin of its own.
SANDBOX = "allow-popups allow-popups-to-escape-sandbox"
LINK = "http://127.0.0.1:8000/claim/link_1#key"


@dataclass
class Outbox:
    folder: Path
    mail_port: int
    pages_port: int

    def send(self, subject: str, *, html: str | None = None, text: str = f"Open {LINK}.\n") -> None:
        letter = EmailMessage()
        letter["From"], letter["To"], letter["Subject"] = "cards@scrip.example", "Sam <sam@example.com>", subject
        letter.set_content(text)
        if html:
            letter.add_alternative(html, subtype="html")
        with smtplib.SMTP("127.0.0.1", self.mail_port, timeout=5) as server:
            server.send_message(letter)

    def get(self, path: str = "/", **headers: str) -> tuple[int, str, http.client.HTTPMessage]:
        connection = http.client.HTTPConnection("127.0.0.1", self.pages_port, timeout=5)
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.close()
        return answer.status, text, answer.headers

    def letters(self) -> list[dict[str, object]]:
        letters: list[dict[str, object]] = json.loads(self.get(Accept="application/json")[1])
        return letters

    def newest(self) -> str:
        return max(self.folder.glob("*.eml")).stem


@pytest.fixture(scope="module")
def outbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outbox]:
    """The real process, with the sockets that it inherits from the demo."""
    folder = tmp_path_factory.mktemp("outbox")
    with socket.create_server(("127.0.0.1", 0)) as mail, socket.create_server(("127.0.0.1", 0)) as pages:
        fds = [mail.fileno(), pages.fileno()]
        command = [sys.executable, "-m", "app.demo.outbox", str(folder), *map(str, fds)]
        with subprocess.Popen(command, pass_fds=fds) as process:
            yield Outbox(folder, mail.getsockname()[1], pages.getsockname()[1])
            process.send_signal(signal.SIGTERM)
            assert process.wait(5) == 0


def test_a_letter_is_shown_as_its_reader_sees_it(outbox: Outbox) -> None:
    outbox.send("A card für you", html=f'<html><head></head><body><a href="{LINK}">Open</a></body></html>')
    letter = outbox.letters()[0]
    assert list(letter) == ["to", "subject", "text", "html", "links", "sent_at"]
    assert letter["to"] == "sam@example.com"
    assert letter["subject"] == "A card für you"
    assert letter["text"] == f"Open {LINK}.\n"
    assert letter["links"] == [LINK]
    assert str(letter["sent_at"]).endswith("Z")


def test_the_newest_letter_comes_first(outbox: Outbox) -> None:
    outbox.send("first")
    outbox.send("second")
    assert [letter["subject"] for letter in outbox.letters()[:2]] == ["second", "first"]


def test_only_the_owner_can_read_the_files(outbox: Outbox) -> None:
    outbox.send("private")
    assert {stat.S_IMODE(path.stat().st_mode) for path in outbox.folder.iterdir()} == {0o600}
    assert all(path.stat().st_uid == os.geteuid() for path in outbox.folder.iterdir())


def test_the_list_and_a_letter_escape_what_a_letter_says(outbox: Outbox) -> None:
    outbox.send("<script>alert(1)</script>", text="<img src=x>\n")
    for path in ("/", f"/letters/{outbox.newest()}"):
        status, page, headers = outbox.get(path, Accept="text/html,*/*")
        assert status == 200
        assert "<script>" not in page
        assert "<img" not in page
        assert "&lt;script&gt;" in page
        assert "script-src" not in headers["Content-Security-Policy"]
        assert headers["Content-Security-Policy"].startswith("default-src 'none'")
        assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]


def test_a_letters_html_is_sandboxed_and_its_links_open_in_a_tab_of_their_own(outbox: Outbox) -> None:
    outbox.send("html", html=f'<html><head><title>x</title></head><body><a href="{LINK}">Open</a></body></html>')
    address = f"/letters/{outbox.newest()}"
    assert f'<iframe sandbox="{SANDBOX}" title="The letter" src="{address}/html">' in outbox.get(address)[1]
    _, html, headers = outbox.get(f"{address}/html")
    assert '<head><base target="_blank">' in html
    assert headers["Content-Security-Policy"].startswith("sandbox allow-popups")
    assert "allow-scripts" not in headers["Content-Security-Policy"]


def test_a_letters_text_is_text(outbox: Outbox) -> None:
    outbox.send("text", text="<b>plain</b>\n")
    status, text, headers = outbox.get(f"/letters/{outbox.newest()}/text")
    assert (status, text, headers["Content-Type"]) == (200, "<b>plain</b>\n", "text/plain; charset=utf-8")


@pytest.mark.parametrize("path", ["/letters/1", "/letters/../../etc/passwd", "/letters/%2e%2e", "/x", "/letters//html"])
def test_nothing_but_letters_is_found(outbox: Outbox, path: str) -> None:
    assert outbox.get(path)[0] == 404


def test_a_page_that_points_its_own_name_here_learns_nothing(outbox: Outbox) -> None:
    status, page, _ = outbox.get(Host="evil.example", Accept="application/json")
    assert status == 421
    assert "link_1" not in page


def test_letters_outlive_the_process(outbox: Outbox) -> None:
    outbox.send("kept")
    assert all_letters(outbox.folder)[0].subject == "kept"
