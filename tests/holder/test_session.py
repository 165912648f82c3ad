"""The claimed page's short session: what it may do, what guards it, and when it ends."""

import re
from dataclasses import replace
from datetime import timedelta
from http.cookies import SimpleCookie

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from app import clock, config
from app.holder import sessions
from app.ids import new_id
from app.web.browsers import is_origin
from tests.holder.asking import ORIGIN, csrf, issue, json_of, newest_link, open_link
from tests.world import World, rows

FROM_OUR_PAGE = {"Origin": ORIGIN}


@pytest.fixture
def link(client: FlaskClient, world: World) -> tuple[str, str]:
    """A link that this browser has just opened."""
    link = issue(world)
    assert open_link(client, link).status_code == 200
    return link


def ask(client: FlaskClient, link_id: str, what: str, **fields: str) -> TestResponse:
    return client.post(f"/claim/{link_id}/{what}", json=fields, headers=FROM_OUR_PAGE)


def test_the_cookie_is_short_and_for_these_pages_alone(client: FlaskClient, world: World) -> None:
    link = issue(world)
    header = open_link(client, link).headers["Set-Cookie"]
    cookie = SimpleCookie(header)[sessions.COOKIE]
    assert (cookie["path"], cookie["samesite"], cookie["max-age"]) == ("/claim", "Strict", "900")
    assert cookie["httponly"]
    assert not cookie["secure"]
    assert sessions.link_of_session(cookie.value) == link[0]
    assert link[1] not in header


def test_the_cookie_is_secure_unless_on_loopback(app: Flask, database: config.Settings, world: World) -> None:
    config.use(replace(database, public_url="https://cards.example"))
    try:
        header = open_link(app.test_client(), issue(world)).headers["Set-Cookie"]
    finally:
        config.use(database)
    assert "Secure" in header.split("; ")


def test_nobody_but_the_opener_gets_a_session(client: FlaskClient, world: World) -> None:
    link = issue(world)
    world.claim(f"http://x/claim/{link[0]}#{link[1]}")
    assert "Set-Cookie" not in open_link(client, link).headers


def test_the_card_is_shown_within_the_session(client: FlaskClient, world: World, link: tuple[str, str]) -> None:
    card = json_of(client.get(f"/claim/{link[0]}/card"))
    assert (card["standing"], card["balance"]["amount_minor"]) == ("code_out", 5_000)
    assert card["offers"] == {"fresh_code": True, "new_link": True}
    page = client.get(f"/claim/{link[0]}/card", headers={"Accept": "text/html,*/*;q=0.8"})
    assert page.mimetype == "text/html"
    assert "£50.00" in page.text


def test_without_the_session_nothing_is_told_or_done(
    client: FlaskClient, app: Flask, world: World, link: tuple[str, str]
) -> None:
    right = csrf(client, link[0])
    stranger = app.test_client()
    other = issue(world)
    for browser in (stranger, other_opener(app, other)):
        for answer in (
            browser.get(f"/claim/{link[0]}/card"),
            ask(browser, link[0], "code", csrf=right),
            ask(browser, link[0], "resend", csrf=right),
        ):
            assert (answer.status_code, json_of(answer)["slug"]) == (404, "link-not-accepted")


def other_opener(app: Flask, link: tuple[str, str]) -> FlaskClient:
    browser = app.test_client()
    assert open_link(browser, link).status_code == 200
    return browser


def test_a_forged_or_old_cookie_is_no_session(
    client: FlaskClient, link: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "LIFETIME_S", -1)
    assert client.get(f"/claim/{link[0]}/card").status_code == 404
    page = client.get(f"/claim/{link[0]}/card", headers={"Accept": "text/html"})
    assert "open too long" in page.text
    monkeypatch.undo()
    client.set_cookie(sessions.COOKIE, link[0], path="/claim")
    assert client.get(f"/claim/{link[0]}/card").status_code == 404


def test_a_fresh_code_kills_the_one_before(client: FlaskClient, world: World) -> None:
    link = issue(world)
    first = json_of(open_link(client, link))["code"]
    answer = ask(client, link[0], "code", csrf=csrf(client, link[0]))
    assert answer.status_code == 200
    fresh = json_of(answer)["code"]
    assert fresh != first
    assert rows("SELECT count(*) FROM code WHERE link_id = :id AND state <> 'dead'", id=link[0])[0][0] == 1
    assert world.exchange(fresh).payment.state == "held"


def test_no_fresh_code_and_no_new_link_while_a_store_holds_the_card(client: FlaskClient, world: World) -> None:
    link = issue(world)
    world.exchange(json_of(open_link(client, link))["code"])
    right = csrf(client, link[0])
    for what in ("code", "resend"):
        answer = ask(client, link[0], what, csrf=right)
        assert (answer.status_code, json_of(answer)["slug"]) == (409, "card-held")
        assert json_of(answer)["card"]["holds"][0]["store"] == "Bookshop"


def test_five_codes_a_day(client: FlaskClient, link: tuple[str, str]) -> None:
    right = csrf(client, link[0])
    statuses = [ask(client, link[0], "code", csrf=right).status_code for _ in range(5)]
    assert statuses == [200, 200, 200, 200, 429]


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "null", "Sec-Fetch-Site": "cross-site"},
        {"Origin": "null", "Sec-Fetch-Site": "same-site"},
        {"Origin": "https://evil.example", "Sec-Fetch-Site": "same-origin"},
        {"Sec-Fetch-Site": "same-origin"},
    ],
)
@pytest.mark.parametrize("what", ["code", "resend"])
def test_another_origin_is_refused(
    client: FlaskClient, link: tuple[str, str], headers: dict[str, str], what: str
) -> None:
    answer = client.post(f"/claim/{link[0]}/{what}", json={"csrf": csrf(client, link[0])}, headers=headers)
    assert answer.status_code == 403
    assert json_of(client.get(f"/claim/{link[0]}/card"))["standing"] == "code_out"


@pytest.mark.parametrize("fields", [{}, {"csrf": ""}, {"csrf": "x" * 43}, {"csrf": "é"}])
@pytest.mark.parametrize("what", ["code", "resend"])
def test_a_form_that_is_not_the_sessions_own_is_refused(
    client: FlaskClient, link: tuple[str, str], fields: dict[str, str], what: str
) -> None:
    assert ask(client, link[0], what, **fields).status_code == 403


def test_another_sessions_form_is_refused(client: FlaskClient, app: Flask, world: World, link: tuple[str, str]) -> None:
    other = issue(world)
    theirs = csrf(other_opener(app, other), other[0])
    assert ask(client, link[0], "code", csrf=theirs).status_code == 403


def test_a_form_without_script_is_believed_when_the_browser_says_where_it_came_from(
    client: FlaskClient, link: tuple[str, str]
) -> None:
    """Our pages send no referrer, so browsers send `Origin: null` with their forms."""
    page = client.get(f"/claim/{link[0]}/card", headers={"Accept": "text/html"}).text
    hidden = re.search(r'name="csrf" value="([^"]+)"', page)
    assert hidden is not None
    headers = {"Origin": "null", "Sec-Fetch-Site": "same-origin"}
    answer = client.post(f"/claim/{link[0]}/code", data={"csrf": hidden[1]}, headers=headers)
    assert (answer.status_code, answer.mimetype) == (200, "text/html")


def test_a_new_link_from_the_session_ends_it(client: FlaskClient, world: World, link: tuple[str, str]) -> None:
    cookie = client.get_cookie(sessions.COOKIE, path="/claim")
    assert cookie is not None
    answer = ask(client, link[0], "resend", csrf=csrf(client, link[0]))
    assert answer.status_code == 202
    assert json_of(answer) == {"sent_to": "s…@h…"}
    assert client.get_cookie(sessions.COOKIE, path="/claim") is None
    client.set_cookie(sessions.COOKIE, cookie.value, path="/claim")
    over = client.get(f"/claim/{link[0]}/card")
    assert (over.status_code, json_of(over)["slug"]) == (410, "link-superseded")


def test_the_session_ends_when_its_link_is_no_longer_the_newest(client: FlaskClient, world: World) -> None:
    link = issue(world)
    payment = world.exchange(json_of(open_link(client, link))["code"]).payment
    right = csrf(client, link[0])
    world.settle(payment.id, 3_000, final=True)
    assert client.get(f"/claim/{link[0]}/card").status_code == 410
    assert ask(client, link[0], "code", csrf=right).status_code == 410


# ── by the link's key ───────────────────────────────────────────────────────────────────────────────────────────────


def test_a_new_link_by_the_key_of_an_opened_link_needs_no_session(client: FlaskClient, world: World) -> None:
    link = issue(world)
    claimed = world.claim(f"http://x/claim/{link[0]}#{link[1]}")
    answer = client.post(f"/claim/{link[0]}/resend", json={"key": link[1]})
    assert answer.status_code == 202
    card = world.card(claimed.card_id)
    assert card.reached_through is not None
    assert (card.reached_through.kind, card.letter) == ("link", "queued")


def test_new_links_are_ten_minutes_apart_and_a_repeat_asks_for_no_other(client: FlaskClient, world: World) -> None:
    link = issue(world)
    claimed = world.claim(f"http://x/claim/{link[0]}#{link[1]}")
    assert client.post(f"/claim/{link[0]}/resend", json={"key": link[1]}).status_code == 202
    again = client.post(f"/claim/{link[0]}/resend", json={"key": link[1]})
    assert again.status_code == 202, "its answer may have been lost"
    newer = newest_link(claimed.card_id)
    assert newer[0] != link[0]
    too_soon = client.post(f"/claim/{newer[0]}/resend", json={"key": newer[1]})
    assert (too_soon.status_code, json_of(too_soon)["slug"]) == (429, "try-later")
    assert 0 < int(too_soon.headers["Retry-After"]) <= 601
    page = client.post(f"/claim/{newer[0]}/resend", data={"key": newer[1]})
    assert (page.status_code, page.headers["Retry-After"]) == (429, too_soon.headers["Retry-After"])
    assert "Please wait 10 minutes" in page.text


@pytest.mark.parametrize("key", ["", "short", "k" * 43])
def test_a_wrong_key_asks_for_nothing(client: FlaskClient, world: World, key: str) -> None:
    link_id, _ = issue(world)
    for asked in (link_id, new_id("link"), "link_x"):
        answer = client.post(f"/claim/{asked}/resend", json={"key": key})
        assert (answer.status_code, json_of(answer)["slug"]) == (404, "link-not-accepted")


def test_a_lapsed_link_asks_for_a_new_one(client: FlaskClient, world: World) -> None:
    link = issue(world)
    with clock.ahead(timedelta(days=91)):
        assert client.post(f"/claim/{link[0]}/resend", json={"key": link[1]}).status_code == 202


@pytest.mark.parametrize(
    ("presented", "own", "same"),
    [
        ("https://cards.example", "https://cards.example", True),
        ("https://cards.example", "https://cards.example:443", True),
        ("https://cards.example", "https://Cards.Example", True),
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000", True),
        ("http://cards.example", "https://cards.example", False),
        ("https://cards.example:8443", "https://cards.example", False),
        ("https://cards.example.evil.example", "https://cards.example", False),
        ("https://evil.example", "https://cards.example", False),
        ("https://cards.example:port", "https://cards.example", False),
        ("", "https://cards.example", False),
        (None, "https://cards.example", False),
    ],
)
def test_an_origin_is_ours_by_scheme_host_and_port(presented: str | None, own: str, same: bool) -> None:
    assert is_origin(presented, own) is same


def test_a_held_card_gets_no_new_link(client: FlaskClient, world: World) -> None:
    link = issue(world)
    world.exchange(json_of(open_link(client, link))["code"])
    answer = client.application.test_client().post(f"/claim/{link[0]}/resend", json={"key": link[1]})
    assert (answer.status_code, json_of(answer)["slug"]) == (409, "card-held")
    assert json_of(answer)["held_until"].endswith("+00:00")
