"""What a request says of our own address reaches nobody: no letter, redirect, page or document has it."""

import json
import re
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import urlencode

import pytest

from app import config
from app.factory import wire
from app.jobs.worker import Task, run, stop
from app.mail.sending import send_due_letters
from app.oauth.clients import add_client
from app.oauth.scopes import PARTY_SCOPES
from app.redemption.store import set_origins
from tests.checkout.shop import CALLBACK, challenge_of, details
from tests.mail.post_office import PostOffice, opened
from tests.oauth.conftest import basic
from tests.service import free_port, served
from tests.world import World, key_of, make_world

EVIL = "evil.example"
#: Everything by which a request, or a proxy, may say where it thinks it is.
HOSTILE = {
    "Host": EVIL,
    "X-Forwarded-Host": EVIL,
    "X-Forwarded-Server": EVIL,
    "X-Forwarded-Port": "6666",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Ssl": "on",
    "X-Forwarded-Prefix": f"//{EVIL}",
    "X-Original-Host": EVIL,
    "X-Host": EVIL,
    "X-Original-URL": f"http://{EVIL}/",
    "X-Rewrite-URL": f"http://{EVIL}/",
    "Forwarded": f"for={EVIL};host={EVIL};proto=https",
    "SCRIPT_NAME": f"//{EVIL}",
    "PATH_INFO": f"//{EVIL}",
    "SERVER_NAME": EVIL,
    "HTTP_HOST": EVIL,
}


def ask(
    port: int, method: str, target: str, fields: dict[str, str] | None = None, headers: dict[str, str] | None = None
) -> str:
    """The whole answer, head and body, to a hostile request whose target is sent as it is."""
    body = urlencode(fields).encode() if fields is not None else b""
    asked = {**HOSTILE, "Connection": "close", "Content-Length": str(len(body)), **(headers or {})}
    asked["Content-Type"] = "application/x-www-form-urlencoded"
    head = "".join(f"{name}: {value}\r\n" for name, value in asked.items())
    with socket.create_connection(("127.0.0.1", port), 20) as connection:
        connection.sendall(f"{method} {target} HTTP/1.1\r\n{head}\r\n".encode() + body)
        received = b""
        while part := connection.recv(65_536):
            received += part
    return received.decode()


@contextmanager
def letters_sent(settings: config.Settings) -> Iterator[None]:
    """A worker for letters, in this process."""
    wire(settings)
    thread = Thread(target=run, args=([Task("letters", 0.1, send_due_letters)],))
    thread.start()
    try:
        yield
    finally:
        stop()
        thread.join()


@pytest.mark.slow
def test_nothing_that_a_request_says_of_our_address_comes_back_or_is_mailed(
    own_database: config.Settings, keys_dir: Path, tmp_path: Path
) -> None:
    office = PostOffice(free_port())
    settings = replace(own_database, smtp=config.Smtp("127.0.0.1", office.port, "none", "Scrip <cards@scrip.example>"))
    with opened(office), served(settings, keys_dir, tmp_path / "web.log") as port:
        own = f"http://127.0.0.1:{port}"
        with letters_sent(replace(settings, public_url=own)):
            world = make_world()
            answers = walk(port, world, office)
            letters = [str(letter) for letter in office.letters]
    for name, answer in answers.items():
        assert EVIL not in answer, name
        assert "6666" not in answer.partition("\r\n\r\n")[0], name
        for url in re.findall(r"https?://127\.0\.0\.1[^\s\"'<]*", answer):
            assert url.startswith(own), (name, url)
    assert len(letters) == 2
    for letter in letters:
        assert EVIL not in letter
        assert set(re.findall(r"http://[^/\s\"]+(?=/claim/)", letter)) == {own}


def walk(port: int, world: World, office: PostOffice) -> dict[str, str]:
    """Answers of every kind, by what was asked; a link is mailed on the way."""
    scopes = PARTY_SCOPES["store"]
    made = add_client(name="shop", mode="test", store_id=world.bookshop, scopes=scopes, redirect_uris=[CALLBACK])
    set_origins(world.bookshop, ["https://shop.example"])
    card = world.issue(deliver="email")
    link_id, key = key_of(link_of(office, 1))
    answers: dict[str, str] = {"card": card.id}
    for path in (
        "/docs",
        "/openapi.json",
        "/.well-known/oauth-authorization-server",
        "/.well-known/jwks.json",
        f"/claim/{link_id}",
        "/widget/v1.js",
        f"/widget/{world.bookshop}",
        "/nowhere",
        "/healthz",
        "/v1/cards",
    ):
        answers[path] = ask(port, "GET", path)
        answers[f"absolute {path}"] = ask(port, "GET", f"http://{EVIL}{path}")
        answers[f"//{path}"] = ask(port, "GET", f"/{path}")
        answers[f"script name {path}"] = ask(port, "GET", f"//{EVIL}{path}")
        answers[f"double {path}"] = ask(port, "GET", "/" + path[1:].replace("/", "//"))
        answers[f"slash {path}"] = ask(port, "GET", f"{path}/")
    assert answers["/docs"].startswith("HTTP/1.1 200 ")
    answers["resend"] = ask(port, "POST", f"/claim/{link_id}/resend", {"key": key})
    assert answers["resend"].startswith("HTTP/1.1 202 "), answers["resend"]
    link_id, key = key_of(link_of(office, 2))
    answers["claim"] = ask(port, "POST", f"/claim/{link_id}", {"key": key, "nonce": "n" * 43})
    assert answers["claim"].startswith("HTTP/1.1 200 ")
    answers["claimed again"] = ask(port, "POST", f"/claim/{link_id}", {"key": key, "nonce": "o" * 43})
    code = "-".join(re.findall(r'class="group">(\w{4})<', answers["claim"]))
    return answers | pay(port, made.client_id, made.client_secret, code)


def pay(port: int, client_id: str, client_secret: str, code: str) -> dict[str, str]:
    """Through the hosted page, whose answers lead on: to itself, and back to the store."""
    pushed = {
        "response_type": "code",
        "redirect_uri": CALLBACK,
        "code_challenge": challenge_of("v" * 43),
        "code_challenge_method": "S256",
        "authorization_details": json.dumps(details()),
    }
    store = {"Authorization": basic(client_id, client_secret)}
    answers = {"pushed": ask(port, "POST", "/oauth/par", pushed, store)}
    assert answers["pushed"].startswith("HTTP/1.1 201 "), answers["pushed"]
    request_uri = re.findall(r'"request_uri": ?"([^"]+)"', answers["pushed"])[0]
    target = "/oauth/authorize?" + urlencode({"client_id": client_id, "request_uri": request_uri})
    answers["checkout"] = page = ask(port, "GET", target)
    csrf = re.findall(r'name="csrf" value="([^"]+)"', page)[0]
    cookie = re.findall(r"Set-Cookie: ([^;]+)", page)[0]
    browser = {"Cookie": cookie, "Origin": f"http://127.0.0.1:{port}"}
    for name, typed in (("wrong code", "0000-0000-0000-0000"), ("paid", code)):
        answers[name] = ask(port, "POST", target, {"action": "code", "code": typed, "csrf": csrf}, browser)
    assert "Location: https://bookshop.example/" in answers["paid"], answers["paid"]
    return answers


def link_of(office: PostOffice, count: int) -> str:
    """The claim link of this letter, once it is there."""
    until = time.monotonic() + 30
    while len(office.letters) < count and time.monotonic() < until:
        time.sleep(0.05)
    plain: Any = office.letters[count - 1].get_body(("plain",))
    found: str = re.findall(r"http://\S+/claim/link_\w+#[\w-]{43}", plain.get_content())[0]
    return found
