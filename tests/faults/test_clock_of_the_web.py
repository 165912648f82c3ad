"""A web process whose clock is a day off changes nothing: the database's clock decides, and IDs follow it."""

import base64
import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from http.client import HTTPConnection
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any

import pytest
from joserfc import jws

from app import clock, config
from app.errors import InvalidAccessToken
from app.holder import sessions
from app.ids import IssuerId, LinkId, StoreId
from app.issuance.card import list_cards
from app.oauth import keys
from app.oauth.access_token import make_access_token
from app.oauth.clients import NewClient, add_client, authenticate_client
from app.oauth.scopes import PARTY_SCOPES
from app.secrecy import random_secret
from tests.api import money, read_access_token
from tests.faults.asking import Answer, ask
from tests.faults.clock_wsgi import PUBLIC_URL
from tests.service import real_keys, served
from tests.web.bodies import card_body
from tests.world import TERMS, World, key_of, make_world, rows

DAY_S = 86_400
#: Machines know the time of the database to a part of a second; the rest is a busy machine's.
NEARLY = timedelta(seconds=20)
LINK_DAYS, CARD_DAYS = config.Settings.link_valid_days, TERMS["valid_days"]
#: Each service by what its gunicorn loads. This process, whose clock is right, is the other machine.
SERVICES = {"ahead": f"wrong({DAY_S})", "behind": f"wrong(-{DAY_S})"}
BROKEN = "broken"


@dataclass(frozen=True)
class Parties:
    """A world with a client for its issuer and one for its Bookshop."""

    world: World
    acme: NewClient
    bookshop: NewClient

    def token(self, client: NewClient, lifetime_s: int = 300) -> str:
        """An access token that this process makes."""
        known = authenticate_client(client.client_id, client.client_secret)
        assert known is not None
        return make_access_token(known, known.scopes, lifetime_s=lifetime_s)

    def store(self, port: int, method: str, path: str, body: object = None) -> Answer:
        return ask(port, method, path, body, access_token=self.token(self.bookshop))

    def issuer(self, port: int, method: str, path: str, body: object = None) -> Answer:
        return ask(port, method, path, body, access_token=self.token(self.acme))


@pytest.fixture(scope="module")
def real_costs(database: config.Settings, keys_dir: Path) -> Iterator[config.Settings]:
    """This process has the services' keys and name."""
    chosen = replace(database, public_url=PUBLIC_URL, keys=config.read_keys(real_keys(keys_dir)))
    config.use(chosen)
    keys.forget_keys()
    yield chosen
    config.use(database)
    keys.forget_keys()


@pytest.fixture(scope="module")
def ports(
    real_costs: config.Settings, keys_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, int]]:
    """Every service's port, by its name."""
    logs = tmp_path_factory.mktemp("clocks")
    with ExitStack() as stack:
        yield {
            name: stack.enter_context(
                served(real_costs, keys_dir, logs / name, wsgi=f"tests.faults.clock_wsgi:{factory}")
            )
            for name, factory in {**SERVICES, BROKEN: f"trusted(-{DAY_S})"}.items()
        }
    assert not any('"bug"' in (logs / name).read_text() for name in SERVICES)


@pytest.fixture(scope="module")
def parties(ports: dict[str, int]) -> Parties:
    world = make_world()
    return Parties(
        world,
        add_client(name="Acme", mode="test", issuer_id=IssuerId(world.issuer_id), scopes=PARTY_SCOPES["issuer"]),
        add_client(name="Bookshop", mode="test", store_id=StoreId(world.bookshop), scopes=PARTY_SCOPES["store"]),
    )


# ── what must hold ──────────────────────────────────────────────────────────────────────────────────────────────────


def check_tokens_made_there(port: int, parties: Parties) -> None:
    """A token of that machine is good everywhere, and for its 300 seconds by a clock that is right, no longer."""
    client = parties.bookshop
    known = authenticate_client(client.client_id, client.client_secret)
    assert known is not None
    answer = token_request(port, client)
    assert answer.status == 200
    assert read_access_token(answer.body["access_token"]).client_id == client.client_id
    claims = claims_of(answer.body["access_token"])
    right = clock.here().timestamp()
    assert claims["exp"] - claims["iat"] == 300
    assert abs(claims["iat"] - right) < NEARLY.total_seconds()


def check_tokens_shown_there(port: int, parties: Parties) -> None:
    """A good one is believed there, one whose time is over is not, and neither is one from a day to come."""
    path = f"/v1/payments/{parties.world.payment().payment.id}"
    now = int(clock.here().timestamp())
    good = claims_of(parties.token(parties.bookshop))
    shown = {
        200: {},
        401: {"iat": now - 400, "exp": now - 100},
    }
    for status, times in shown.items():
        access_token = keys.sign("access", {**good, **times}, typ="at+jwt")
        assert ask(port, "GET", path, access_token=access_token).status == status, times
    later = keys.sign("access", {**good, "iat": now + DAY_S, "exp": now + DAY_S + 300}, typ="at+jwt")
    assert ask(port, "GET", path, access_token=later).status == 401


def check_holds(port: int, parties: Parties) -> None:
    """A hold ends at its time by the database's clock, whoever opened it and whoever is asked."""
    code = parties.world.code().code
    body = {"code": code, "order_reference": "order-1", "hold_ttl_s": 600}
    opened = parties.store(port, "POST", "/v1/payments", body)
    assert opened.status == 201
    until, created = (datetime.fromisoformat(opened.body[name]) for name in ("expires_at", "created_at"))
    assert until - created == timedelta(seconds=600)
    assert abs(created - clock.here()) < NEARLY
    assert abs(claims_of(opened.body["balance_token"])["exp"] - until.timestamp()) <= 1
    path = f"/v1/payments/{opened.body['id']}"
    assert parties.store(port, "GET", path).body["state"] == "held"
    rows("UPDATE payment SET expires_at = clock_timestamp() WHERE id = :id RETURNING id", id=opened.body["id"])
    assert parties.store(port, "GET", path).body["state"] == "expired"


def check_links_and_cards(port: int, parties: Parties) -> None:
    """A link waits until its time, and no longer; so does a card."""
    card = parties.world.issue()
    assert claim(port, card.claim_link).status == 200
    for days in (LINK_DAYS, CARD_DAYS):
        with clock.ahead(-timedelta(days=days, seconds=60)):
            card = parties.world.issue()
        answer = claim(port, card.claim_link)
        assert answer.status == 410
        assert answer.body["slug"] == "link-lapsed"
    assert parties.issuer(port, "GET", f"/v1/cards/{card.id}").body["state"] == "lapsed"


def check_sessions(port: int, parties: Parties) -> None:
    """The short session of a holder's page: made there good here, made here good there, and over when it is over."""
    card = parties.world.issue()
    claimed = claim(port, card.claim_link)
    link_id, _ = key_of(card.claim_link or "")
    cookie = SimpleCookie(claimed.headers["Set-Cookie"])[sessions.COOKIE].value
    assert sessions.link_of_session(cookie) == link_id
    assert session_status(port, link_id, sessions.sign_session(link_id)) == 200
    with clock.ahead(-timedelta(seconds=sessions.LIFETIME_S + 60)):
        old = sessions.sign_session(link_id)
    assert session_status(port, link_id, old) == 404


CHECKS: tuple[Callable[[int, Parties], None], ...] = (
    check_tokens_made_there,
    check_tokens_shown_there,
    check_holds,
    check_links_and_cards,
    check_sessions,
)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("service", SERVICES)
def test_a_clock_that_is_a_day_off_changes_nothing(
    service: str, check: Callable[[int, Parties], None], ports: dict[str, int], parties: Parties
) -> None:
    check(ports[service], parties)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_a_service_that_trusts_such_a_clock_is_noticed(
    check: Callable[[int, Parties], None], ports: dict[str, int], parties: Parties
) -> None:
    with pytest.raises((AssertionError, InvalidAccessToken)):
        check(ports[BROKEN], parties)


# ── order ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def listed_cards(ports: list[int], parties: Parties) -> tuple[list[str], list[str]]:
    """The cards that these services issued in turn: in that order, and in the list's."""
    body = card_body(parties.world.programme_id, deliver="link")
    issued = []
    for port in ports:
        issued.append(parties.issuer(port, "POST", "/v1/cards", body).body["id"])
        time.sleep(2 * clock.TOLERANCE_S)
    page = parties.issuer(ports[0], "GET", "/v1/cards?limit=100").body
    return issued, [card["id"] for card in page["items"] if card["id"] in issued]


def test_identifiers_are_unique_and_lists_in_order_whoever_drew_them(ports: dict[str, int], parties: Parties) -> None:
    """A second apart: to less than that machines do not know the time."""
    issued, listed = listed_cards([ports["ahead"], ports["behind"]] * 2, parties)
    assert len(set(issued)) == 4
    assert listed == issued


def test_identifiers_that_were_drawn_by_such_a_clock_are_noticed(
    parties: Parties, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make_world()
    issued = [world.issue().id]
    monkeypatch.setattr(clock, "here_s", lambda: time.time() - DAY_S)
    issued.append(world.issue().id)
    listed = list_cards(issuer_id=world.issuer_id, order_reference=None, state=None, after=None, limit=10)
    assert [card.id for card in listed] == issued[::-1]


def test_a_history_is_in_the_order_of_the_database_s_clock(ports: dict[str, int], parties: Parties) -> None:
    """Every verb of the path by another machine than the verb before it."""
    ahead, behind = ports["ahead"], ports["behind"]
    began = clock.here()
    body = card_body(parties.world.programme_id, deliver="link")
    card = parties.issuer(ahead, "POST", "/v1/cards", body).body
    code = claim(behind, card["claim_link"]).body["code"]
    asked = {"code": code, "order_reference": "order-1"}
    payment = parties.store(ahead, "POST", "/v1/payments", asked).body
    path = f"/v1/payments/{payment['id']}"
    steps: list[tuple[int, str, dict[str, Any]]] = [
        (behind, "confirm", {"order_reference": "order-1"}),
        (ahead, "settlements", {"amount": money(1_000), "final": False}),
        (behind, "settlements", {"amount": money(1_000)}),
    ]
    for port, verb, body in steps:
        assert parties.store(port, "POST", f"{path}/{verb}", body).status in (200, 201)
    history = parties.issuer(behind, "GET", f"/v1/cards/{card['id']}/events").body["items"]
    told = [event["kind"] for event in history]
    assert told[0] == "card_issued"
    assert told.index("code_shown") < told.index("code_exchanged") < told.index("payment_confirmed")
    times = [datetime.fromisoformat(event["at"]) for event in history]
    assert times == sorted(times)
    assert began - NEARLY < times[0] <= times[-1] < clock.here() + NEARLY


# ── asking ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def token_request(port: int, client: NewClient) -> Answer:
    """The token endpoint takes a form and Basic credentials."""
    basic = base64.b64encode(f"{client.client_id}:{client.client_secret}".encode()).decode()
    headers = {"Authorization": f"Basic {basic}", "Content-Type": "application/x-www-form-urlencoded"}
    connection = HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("POST", "/oauth/token", "grant_type=client_credentials", headers)
    answer = connection.getresponse()
    told = Answer(answer.status, answer.headers, json.loads(answer.read()))
    connection.close()
    return told


def claims_of(token: str) -> dict[str, Any]:
    claims: dict[str, Any] = json.loads(jws.extract_compact(token.encode()).payload)
    return claims


def claim(port: int, claim_link: str | None) -> Answer:
    link_id, key = key_of(claim_link or "")
    return ask(port, "POST", f"/claim/{link_id}", {"key": key, "nonce": random_secret()})


def session_status(port: int, link_id: LinkId, cookie: str) -> int:
    return ask(port, "GET", f"/claim/{link_id}/card", Cookie=f"{sessions.COOKIE}={cookie}").status
