"""Codes, keys, secrets, tokens, nonces and addresses stay out of logs, tables, metrics, headers and refusals."""

import base64
import hashlib
import json
import os
import re
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from email.message import Message
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from sqlalchemy import Connection, NullPool, create_engine, make_url, text

from app import config
from app.ids import new_id
from app.issuance.code import draw_code, show_code
from app.oauth.client_secrets import rotate_secret
from app.oauth.clients import NewClient, add_client, replace_redirect_uris
from app.oauth.scopes import PARTY_SCOPES
from app.redemption.store import set_origins
from app.secrecy import random_secret
from tests.api import money
from tests.checkout.shop import CALLBACK, challenge_of, details
from tests.guard.captchas import solved
from tests.mail.post_office import PostOffice, opened
from tests.secrets_search import ENCODINGS, found_in, found_in_tables
from tests.service import ROOT, environment, free_port, served
from tests.web.bodies import card_body
from tests.world import World, key_of, make_world

PROVOKE = "X-Provoke"
TOLD = "headers of all answers, bodies of refusals"
PATIENCE_S = 20
OPERATORS = "operators@scrip.example"
SAM, EVE, ANN = "sam.planted@holder-sam.example", "eve.planted@holder-eve.example", "ann.planted@holder-ann.example"


@dataclass
class Walk:
    """The service as it runs, asked over TCP; every secret that was seen on the way, by name."""

    port: int
    world: World
    office: PostOffice
    planted: dict[str, str] = field(default_factory=dict)
    #: The heads of all answers, and of refusals the bodies too.
    told: list[str] = field(default_factory=list)
    #: Where the next requests come from, by the word of a proxy.
    address: str = ""

    def __post_init__(self) -> None:
        self.move()

    def move(self) -> None:
        """Goes on from another network, where nobody has been wrong before."""
        network = f"2001:db8:{secrets.token_hex(2)}"
        self.address = self.plant("client address", f"{network}:{secrets.token_hex(2)}::{secrets.token_hex(2)}")
        self.plant("client network", f"{network}::/48")

    def plant(self, kind: str, secret: str) -> str:
        """Notes a secret that was given out or sent in."""
        self.planted[f"{kind} {len(self.planted)}"] = secret
        return secret

    def ask(
        self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> tuple[int, Any]:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=15)
        try:
            connection.request(method, path, body, {"X-Forwarded-For": self.address, **(headers or {})})
            answer: HTTPResponse = connection.getresponse()
            raw = answer.read()
        finally:
            connection.close()
        self.hear(answer, raw)
        is_json = "json" in (answer.headers["Content-Type"] or "")
        return answer.status, json.loads(raw) if is_json else raw.decode()

    def post(self, path: str, body: object, access_token: str | None = None, **headers: str) -> tuple[int, Any]:
        """Posts JSON, then once into each planted bug."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if access_token:
            named |= {"Authorization": f"Bearer {access_token}", "Idempotency-Key": random_secret()}
        asked = {"Content-Type": "application/json", **named}
        raw = json.dumps(body).encode()
        for bug, status in (("raise", 500), ("query", 500)):
            assert self.ask("POST", path, raw, {**asked, PROVOKE: bug})[0] == status
        is_known_by_shape = b"name" not in raw  # masking knows no names: a library that logs them is past help
        return self.ask("POST", path, raw, {**asked, PROVOKE: "log"} if is_known_by_shape else asked)

    def access_token(self, client: NewClient) -> str:
        """Asks for one, with a few mistakes on the way."""
        secret = self.plant("client secret", client.client_secret)
        wrong = self.plant("wrong client secret", f"scrip_test_{random_secret()}")
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        grant = b"grant_type=client_credentials"
        assert self.ask("POST", "/oauth/token", grant, {**form, **basic(client.client_id, wrong)})[0] == 401
        for place in (f"/oauth/token?client_secret={secret}", "/oauth/token"):
            self.ask("POST", place, grant + f"&client_id={client.client_id}&client_secret={secret}".encode(), form)
        status, told = self.ask("POST", "/oauth/token", grant, {**form, **basic(client.client_id, secret)})
        assert status == 200, told
        return self.plant("access token", told["access_token"])

    def form(
        self, path: str, form: dict[str, str] | None = None, headers: dict[str, str] | None = None
    ) -> tuple[Message, str]:
        """Posts a form, then once into each planted bug, or without one gets a page; headers and text of the answer."""
        body = urlencode(form).encode() if form is not None else None
        asked = {"Content-Type": "application/x-www-form-urlencoded", **(headers or {})}
        for bug in ("raise", "query", "log"):
            self.ask("POST", path, body, {**asked, PROVOKE: bug} if bug != "log" else {PROVOKE: bug})
        connection = HTTPConnection("127.0.0.1", self.port, timeout=15)
        try:
            connection.request(
                "GET" if body is None else "POST", path, body, {"X-Forwarded-For": self.address, **asked}
            )
            answer = connection.getresponse()
            raw = answer.read()
        finally:
            connection.close()
        self.hear(answer, raw)
        return answer.headers, raw.decode()

    def hear(self, answer: HTTPResponse, raw: bytes) -> None:
        """Keeps what nobody should be told in. A cookie, and the way back to the store, are there to carry a secret."""
        carries = ("Set-Cookie", "Location")
        self.told += [f"{name}: {value}" for name, value in answer.headers.items() if name not in carries]
        if answer.status >= 400:
            self.told.append(raw.decode())

    def letter(self, address: str) -> str:
        """The claim link of the next letter to this address."""
        until = time.monotonic() + PATIENCE_S
        while time.monotonic() < until:
            for letter in self.office.letters:
                if address in str(letter["To"]):
                    self.office.letters.remove(letter)
                    plain = letter.get_body(("plain",))
                    assert plain is not None
                    found = re.search(r"http://\S+/claim/link_\w+#[\w-]{43}", plain.get_content())
                    if found:
                        self.plant("claim key", found[0].rpartition("#")[2])
                        return found[0]
            time.sleep(0.05)
        raise AssertionError(f"no letter came to {address}")

    def claim(self, claim_link: str) -> str:
        """Opens a link, after a wrong key, and again as if the answer was lost."""
        self.move()
        link_id, key = key_of(claim_link)
        nonce, wrong = self.plant("nonce", random_secret()), self.plant("wrong claim key", random_secret())
        assert self.post(f"/claim/{link_id}", {"key": wrong, "nonce": nonce})[0] == 404
        assert self.ask("GET", f"/claim/{link_id}?key={key}")[0] == 200
        for _ in range(2):
            status, told = self.post(f"/claim/{link_id}", {"key": key, "nonce": nonce})
            assert status == 200, told
            code = self.plant("code", told["code"])
        other = self.plant("nonce", random_secret())
        assert self.post(f"/claim/{link_id}", {"key": key, "nonce": other})[0] == 410
        return code


def basic(name: str, secret: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{name}:{secret}".encode()).decode()}


# ── the whole path ──────────────────────────────────────────────────────────────────────────────────────────────────


def walk_the_path(walk: Walk) -> None:
    """Issue, claim, exchange, settle, reissue, with every mistake and failure on the way."""
    for address in (SAM, EVE, ANN):
        walk.plant("address", address)
    world = walk.world
    issuer = add_client(name="shop", mode="test", issuer_id=world.issuer_id, scopes=PARTY_SCOPES["issuer"])
    store = add_client(name="checkout", mode="test", store_id=world.bookshop, scopes=PARTY_SCOPES["store"])
    other = add_client(name="checkout", mode="test", store_id=world.toyshop, scopes=PARTY_SCOPES["store"])
    walk.plant("client secret", rotate_secret(store.client_id).client_secret)
    acme, bookshop, toyshop = (walk.access_token(client) for client in (issuer, store, other))

    card_id = issue_by_letter(walk, acme)
    first_code = walk.claim(walk.letter(SAM))
    payment_id = exchange(walk, first_code, bookshop, toyshop)
    status, told = walk.post(f"/v1/payments/{payment_id}/settlements", {"amount": money(3_000)}, bookshop)
    assert status == 201, told
    pay_at_the_checkout(walk, store, world_code(walk, acme))
    second_link = walk.letter(SAM)
    assert walk.ask("GET", f"/v1/cards/{card_id}/events", None, {"Authorization": f"Bearer {acme}"})[0] == 200
    walk.claim(second_link)
    link_id, key = key_of(second_link)
    assert walk.post(f"/claim/{link_id}/resend", {"key": key})[0] == 202
    walk.claim(walk.letter(SAM))
    correct_an_address(walk, acme)
    show_a_link(walk, acme)
    guess(walk, bookshop)
    send_nonsense(walk, [first_code, key, acme, issuer.client_secret])


def world_code(walk: Walk, acme: str) -> str:
    """The code of another card, whose link the issuer delivers."""
    body = card_body(walk.world.programme_id, holder={"email": SAM}, deliver="link")
    status, told = walk.post("/v1/cards", body, acme)
    assert status == 201, told
    return walk.claim(walk.plant("claim link", told["claim_link"]))


def issue_by_letter(walk: Walk, acme: str) -> str:
    name = walk.plant("name", "Samantha Planted-Holder")
    message = walk.plant("message", "Happy birthday, planted Samantha, from your planted aunt!")
    holder = {"email": SAM, "name": name}
    body = card_body(walk.world.programme_id, holder=holder, message=message)
    assert walk.post("/v1/cards", {**body, "amount": money(1)}, acme)[0] == 422
    assert walk.post("/v1/cards", {**body, "holder": {**holder, "email": SAM + "\n"}}, acme)[0] == 422
    assert walk.post("/v1/cards", body, "x" + acme)[0] == 401
    status, told = walk.post("/v1/cards", body, acme)
    assert status == 201, told
    return str(told["id"])


def exchange(walk: Walk, code: str, bookshop: str, toyshop: str) -> str:
    unknown = walk.plant("unknown code", show_code(draw_code()))
    mistyped = walk.plant("mistyped code", code[:-1] + ("0" if code[-1] != "0" else "1"))
    for typed, status in ((unknown, 422), (mistyped, 422), (code.lower(), 201), (code, 200)):
        body = {"code": typed, "order_reference": "order-1"}
        found, told = walk.post("/v1/payments", body, bookshop)
        assert found == status, told
    walk.plant("balance token", told["balance_token"])
    exchange_by_token(walk, code, bookshop)
    assert walk.post("/v1/payments", {"code": code, "order_reference": "x"}, toyshop)[0] == 422
    assert walk.post("/v1/payments", {"code": code, "code ": code, "order_reference": 5}, bookshop)[0] == 422
    assert walk.ask("GET", f"/v1/payments/{code}?code={code}", None, {"Authorization": f"Bearer {bookshop}"})[0] == 404
    return str(told["id"])


def pay_at_the_checkout(walk: Walk, client: NewClient, code: str) -> None:
    """Through the hosted page, with a wrong code first, and every secret of the way; then the code is good again."""
    replace_redirect_uris(client.client_id, [CALLBACK])
    verifier = walk.plant("checkout verifier", random_secret())
    store = basic(client.client_id, client.client_secret)
    asked = {
        "response_type": "code",
        "redirect_uri": CALLBACK,
        "state": "state-1",
        "code_challenge": challenge_of(verifier),
        "code_challenge_method": "S256",
        "authorization_details": json.dumps(details()),
    }
    _, pushed = walk.form("/oauth/par", asked, store)
    request_uri = json.loads(pushed)["request_uri"]
    walk.plant("checkout request", request_uri.rpartition(":")[2])
    path = "/oauth/authorize?" + urlencode({"client_id": client.client_id, "request_uri": request_uri})
    opened, page = walk.form(path)
    cookie = walk.plant("checkout browser", opened["Set-Cookie"].partition("=")[2].partition(";")[0])
    csrf = walk.plant("checkout form", re.findall(r'name="csrf" value="([^"]+)"', page)[0])
    browser = {"Cookie": opened["Set-Cookie"].partition(";")[0], "Origin": f"http://127.0.0.1:{walk.port}"}
    assert cookie in browser["Cookie"]
    unknown = walk.plant("unknown code", show_code(draw_code()))
    for typed in (unknown, code[:-1], code):
        back, _ = walk.form(path, {"action": "code", "csrf": csrf, "code": typed}, browser)
    authorization_code = parse_qs(urlsplit(back["Location"]).query)["code"][0]
    walk.plant("checkout authorization code", authorization_code)
    grant = {"grant_type": "authorization_code", "code": authorization_code, "redirect_uri": CALLBACK}
    grant["code_verifier"] = verifier
    walk.form("/oauth/token", {**grant, "code_verifier": walk.plant("wrong verifier", random_secret())}, store)
    _, told = walk.form("/oauth/token", grant, store)
    walk.plant("access token", json.loads(told)["access_token"])


def exchange_by_token(walk: Walk, code: str, bookshop: str) -> None:
    """The shopper types the code into our field, with a mistake and for another order before."""
    set_origins(walk.world.bookshop, ["https://shop.example"])
    path, own = f"/widget/{walk.world.bookshop}/code-tokens", f"http://127.0.0.1:{walk.port}"
    body = {"code": code, "order_reference": "order-1", "amount": money(3_000)}
    assert walk.post(path, {**body, "code": code[:-1] + "U"}, Origin=own)[0] == 422
    assert walk.post(path, body, Origin="https://shop.example")[0] == 403
    status, told = walk.post(path, body, Origin=own)
    assert status == 200, told
    code_token = walk.plant("code token", told["code_token"])
    for order, status in (("x", 422), ("order-1", 200), ("order-1", 422)):
        found, told = walk.post("/v1/payments", {"code_token": code_token, "order_reference": order}, bookshop)
        assert found == status, told
    assert walk.ask("GET", f"/widget/{code_token}?code={code}")[0] == 404


def correct_an_address(walk: Walk, acme: str) -> None:
    """The post office refuses the first address in words that name it."""
    walk.office.rcpt_replies[EVE] = [f"550 5.1.1 <{EVE}> {EVE} unknown here"] * 9
    status, told = walk.post("/v1/cards", card_body(walk.world.programme_id, holder={"email": EVE}), acme)
    assert status == 201, told
    until = time.monotonic() + PATIENCE_S
    while (
        walk.ask("GET", f"/v1/cards/{told['id']}", None, {"Authorization": f"Bearer {acme}"})[1]["letter"] != "failed"
    ):
        assert time.monotonic() < until
        time.sleep(0.05)
    assert walk.post(f"/v1/cards/{told['id']}/holder", {"email": ANN}, acme)[0] == 200
    walk.letter(ANN)


def show_a_link(walk: Walk, acme: str) -> None:
    body = card_body(walk.world.programme_id, holder={"email": SAM}, deliver="link")
    status, told = walk.post("/v1/cards", body, acme)
    assert status == 201, told
    walk.plant("claim key", told["claim_link"].rpartition("#")[2])
    status, told = walk.post(f"/v1/cards/{told['id']}/reissue", {"deliver": "link"}, acme)
    assert status == 200, told
    walk.claim(walk.plant("claim link", told["claim_link"]))


def guess(walk: Walk, bookshop: str) -> None:
    """Wrong keys at a page until a captcha is asked, solved and sent twice; wrong codes until one has to wait."""
    walk.move()
    path = f"/claim/{new_id('link')}"
    for _ in range(4):
        tried = {"key": walk.plant("wrong claim key", random_secret()), "nonce": walk.plant("nonce", random_secret())}
        status, told = walk.post(path, tried)
    assert (status, told["slug"]) == (403, "captcha-needed")
    solution = walk.plant("captcha", solved(told["challenge"]))
    for status in (404, 403):
        assert walk.post(path, {**tried, "captcha": solution})[0] == status
    shopper = {"key_hash": walk.plant("shopper", random_secret()), "address_prefix": "203.0.113.0/24"}
    for _ in range(8):
        unknown = walk.plant("unknown code", show_code(draw_code()))
        body = {"code": unknown, "order_reference": "order-1", "shopper": shopper}
        status, told = walk.post("/v1/payments", body, bookshop)
    assert (status, told["slug"]) == (429, "try-later")


def wait_for_the_alarm(walk: Walk) -> str:
    """What operators are told by mail."""
    until = time.monotonic() + 2 * PATIENCE_S
    while time.monotonic() < until:
        if found := [letter for letter in walk.office.letters if OPERATORS in str(letter["To"])]:
            return found[0].as_string()
        time.sleep(0.1)
    raise AssertionError("no alarm was mailed")


def send_nonsense(walk: Walk, known: list[str]) -> None:
    """What gunicorn itself refuses, and quotes in its own words."""
    for secret in known:
        for raw in (
            f"GET /{secret} HTTP/9.9\r\n\r\n",
            f"{secret} / HTTP/1.1\r\n\r\n",
            f"GET / HTTP/1.1\r\nBad Header {secret}: {secret}\r\n\r\n",
            f"GET / HTTP/1.1\r\nHost: {secret}\r\nAuthorization: Bearer {secret}\r\nContent-Length: {secret}\r\n\r\n",
            f"POST /v1/payments HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n{secret}\r\n",
            f"GET /{secret * 60} HTTP/1.1\r\n\r\n",
        ):
            with socket.create_connection(("127.0.0.1", walk.port), 10) as connection:
                connection.sendall(raw.encode())
                connection.shutdown(socket.SHUT_WR)
                walk.told.append(connection.recv(65_536).decode())


@contextmanager
def running(command: str, environ: dict[str, str], log: Path) -> Iterator[None]:
    """A command of `scrip` at DEBUG level."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-c", "from app.cli import main; main()", command],
            cwd=ROOT,
            env={**environ, "LOG_LEVEL": "DEBUG", "HOME": os.environ.get("HOME", "/")},
            stdout=output,
            stderr=output,
        )
    try:
        yield
    finally:
        process.terminate()
        process.wait(PATIENCE_S)


@pytest.fixture
def own_admin(own_database: config.Settings, urls: dict[str, str]) -> Iterator[Connection]:
    """The test's own database as the superuser sees it."""
    name = make_url(own_database.database_url).database
    engine = create_engine(make_url(urls["admin"]).set(database=name), poolclass=NullPool)
    with engine.connect() as db:
        yield db


# ── the tests ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.slow
def test_no_log_line_and_no_cell_holds_a_secret_after_the_whole_path(
    own_database: config.Settings, own_admin: Connection, keys_dir: Path, tmp_path: Path
) -> None:
    logs = {name: tmp_path / f"{name}.log" for name in ("gunicorn", "worker", "metrics")}
    counted = tmp_path / "counted"
    counted.mkdir(mode=0o700)
    metrics = {"PROMETHEUS_MULTIPROC_DIR": str(counted), "METRICS_BIND": f"127.0.0.1:{free_port()}"}
    metrics |= {"TRUSTED_PROXIES": "127.0.0.1", "ALARM_EMAIL": OPERATORS, "ALARM_WRONG_CODES_STORE": "1"}
    office = PostOffice(free_port())
    settings = replace(own_database, smtp=config.Smtp("127.0.0.1", office.port, "none", "Scrip <cards@scrip.example>"))
    leaky = served(settings, keys_dir, logs["gunicorn"], wsgi="tests.leaky_wsgi:app", environ=metrics)
    with opened(office), leaky as port:
        environ = environment(settings, keys_dir, port) | metrics
        with running("worker", environ, logs["worker"]), running("metrics", environ, logs["metrics"]):
            walk = Walk(port, make_world(), office)
            walk_the_path(walk)
            alarm = wait_for_the_alarm(walk)
            scraped = replace(walk, port=int(metrics["METRICS_BIND"].rpartition(":")[2])).ask("GET", "/metrics")[1]
    assert len(walk.planted) > 40
    assert 'scrip_tries_total{outcome="wrong",where="api"}' in scraped
    places = {name: log.read_bytes() for name, log in logs.items()}
    places |= {path.name: path.read_bytes() for path in counted.iterdir()}
    places |= {"scraped": scraped.encode(), TOLD: "\n".join(walk.told).encode(), "alarm": alarm.encode()}
    of_the_page = ("checkout request", "checkout form")  # where a form of the checkout leads, and its key
    for name, content in places.items():
        assert content, name
        found = {secret for secret, _ in found_in(content, walk.planted)}
        assert {secret for secret in found if name != TOLD or not secret.startswith(of_the_page)} == set(), name
    told = logs["gunicorn"].read_text()
    assert told.count('"bug"') > 50  # the planted bugs were run into, and noted
    assert "some.package" in told
    assert "masked" in told
    assert all(line.startswith("{") for line in told.splitlines()), "a line that is no JSON went past the masking"
    of_256_bits = ("client secret", "checkout", "code token")  # kept as SHA-256
    by_design = {name: secret for name, secret in walk.planted.items() if not name.startswith(of_256_bits)}
    assert found_in_tables(own_admin, walk.planted) == set()
    assert found_in_tables(own_admin, by_design, also_hashed=True) == set()


@pytest.mark.parametrize("how", ENCODINGS)
def test_the_search_finds_a_control_in_each_encoding_in_a_log_line_and_in_cells_of_each_type(
    own_admin: Connection, how: str
) -> None:
    control = "7KQ4-ZX9M-2FHN-C0N~@é"
    for way in ENCODINGS[how](control):
        assert found_in(f'{{"event": "so {way} it is"}}'.encode(), {"control": control})
        for insert in (
            "INSERT INTO event (id, at, kind, actor, facts) VALUES ('evt_x', now(), :way, 'x', '{}')",
            "INSERT INTO event (id, at, kind, actor, facts) VALUES"
            " ('evt_x', now(), 'x', 'x', jsonb_build_object('a', jsonb_build_array(CAST(:way AS text))))",
            "INSERT INTO client (id, name, mode, scopes, created_at, store_id) VALUES"
            " ('cli_x', 'x', 'test', ARRAY[CAST(:way AS text)], now(), 'str_x')",
            "INSERT INTO request (party_id, reference, operation, target_id, content_hmac, created_at) VALUES"
            " ('x', 'x', 'x', 'x', convert_to(:way, 'UTF8'), now())",
        ):
            own_admin.exec_driver_sql("SET session_replication_role = replica")
            own_admin.exec_driver_sql("ALTER TABLE client DROP CONSTRAINT client_scopes_of_party")
            own_admin.execute(text(insert), {"way": way})
            assert found_in_tables(own_admin, {"control": control}), (how, insert)
            own_admin.rollback()
    assert not found_in_tables(own_admin, {"control": control})


def test_the_search_finds_an_unkeyed_digest_of_a_code() -> None:
    code = show_code(draw_code())
    for content in (hashlib.sha256(code.replace("-", "").encode()).digest(), hashlib.md5(code.encode()).digest()):
        assert found_in(b"x" + content + b"y", {"code": code}, also_hashed=True)
        assert not found_in(b"x" + content + b"y", {"code": code})
