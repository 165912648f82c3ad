"""A captcha at the claim page: solved by itself in a real Chromium, and told in words where no script runs."""

import re
from collections.abc import Callable, Iterator
from html import unescape

import pytest
from flask.testing import FlaskClient
from playwright.sync_api import APIResponse, BrowserContext, Page, Route, expect
from werkzeug.test import TestResponse

from app.secrecy import random_secret
from tests.api import assert_problem, nothing_changes
from tests.guard.captchas import captchas_asked, solved
from tests.holder.asking import issue, open_link
from tests.holder.conftest import Served
from tests.pictures import photograph
from tests.world import World, key_of, rows


@pytest.fixture
def asked() -> Iterator[None]:
    """A captcha is asked of everybody."""
    with captchas_asked():
        yield


@pytest.fixture
def link_without_key(link: str) -> str:
    return link.partition("#")[0]


def state_of(link_id: str) -> str:
    return str(rows("SELECT state FROM claim_link WHERE id = :id", id=link_id)[0].state)


# ── over HTTP ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_program_is_given_the_challenge_and_its_solution_opens_the_link_once(
    client: FlaskClient, world: World, asked: None
) -> None:
    link, other, nonce = issue(world), issue(world), random_secret()
    with nothing_changes():
        problem = assert_problem(open_link(client, link, nonce=nonce), 403, "captcha-needed")
    body = {"key": link[1], "nonce": nonce, "captcha": solved(problem["challenge"])}
    for changed in ({"nonce": random_secret()}, {"captcha": "x"}, {"captcha": 7}, {"captcha": None}):
        assert_problem(client.post(f"/claim/{link[0]}", json={**body, **changed}), 403, "captcha-needed")
    elsewhere = {**body, "key": other[1]}
    assert_problem(client.post(f"/claim/{other[0]}", json=elsewhere), 403, "captcha-needed")
    assert client.post(f"/claim/{link[0]}", json=body).status_code == 200
    again = assert_problem(client.post(f"/claim/{link[0]}", json=body), 403, "captcha-needed")
    assert again["challenge"] != problem["challenge"]


def test_an_unknown_link_and_a_wrong_key_are_asked_like_all_others(
    client: FlaskClient, world: World, asked: None
) -> None:
    link = issue(world)
    for link_id, key in ((link[0], random_secret()), (issue(world)[0], link[1]), ("link_" + "0" * 26, link[1])):
        nonce = random_secret()
        problem = assert_problem(open_link(client, (link_id, key), nonce=nonce), 403, "captcha-needed")
        body = {"key": key, "nonce": nonce, "captcha": solved(problem["challenge"])}
        assert_problem(client.post(f"/claim/{link_id}", json=body), 404, "link-not-accepted")


def test_what_was_pasted_stays_in_the_form(client: FlaskClient, world: World, asked: None) -> None:
    link_id, key = issue(world)
    answer = paste(client, link_id, f"http://127.0.0.1:8000/claim/{link_id}#{key}")
    assert answer.status_code == 403
    assert "in a quarter of an hour" in answer.text
    assert f'value="{key}"' in answer.text
    assert answer.headers["Cache-Control"] == "no-store"
    assert state_of(link_id) == "waiting"


def paste(client: FlaskClient, link_id: str, pasted: str) -> TestResponse:
    """As a browser without script does."""
    nonce = re.search(r'name="signed_nonce" value="([^"]+)"', client.get(f"/claim/{link_id}").text)
    assert nonce is not None
    return client.post(f"/claim/{link_id}", data={"key": pasted, "signed_nonce": unescape(nonce[1])})


# ── in the browser ──────────────────────────────────────────────────────────────────────────────────────────────────


def posts(served: Served) -> int:
    return sum(heard.startswith("POST /claim/") for heard in served.heard)


@pytest.mark.browser
def test_the_pasted_link_opens_by_the_keyboard_alone_and_the_page_says_what_is_going_on(
    page: Page, link: str, link_without_key: str, served: Served, asked: None
) -> None:
    page.goto(link_without_key)
    watch(page)
    page.keyboard.press("Tab")
    expect(page.get_by_label("Your whole link")).to_be_focused()
    page.keyboard.type(link)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Your code")).to_be_focused()
    assert "Checking that you are not a robot. This takes a moment." in page.evaluate("statuses")
    expect(page.get_by_role("status")).to_have_text("Your code is on the screen")
    assert posts(served) == 2


@pytest.mark.browser
def test_while_it_is_solved_the_button_and_the_status_say_so_and_the_focus_stays(
    page: Page, link: str, asked: None
) -> None:
    page.goto(link)
    page.evaluate("() => { captcha.solve = () => new Promise((done) => (window.done = done)) }")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    button = page.get_by_role("button", name="Checking for robots…")
    expect(button).to_be_focused()
    expect(page.get_by_role("status")).to_have_text("Checking that you are not a robot. This takes a moment.")
    tree = page.locator("body").aria_snapshot()
    assert '- button "Checking for robots…"' in tree
    assert "- status: Checking that you are not a robot. This takes a moment." in tree
    photograph(page, "captcha", "claim-checking")
    page.evaluate("() => done(null)")
    expect(page.get_by_role("heading", name="Your browser could not be checked")).to_be_focused()
    expect(page.get_by_label("Your whole link")).to_have_value(key_of(link)[1])
    photograph(page, "captcha", "claim-unsolved", full_page=True)


@pytest.mark.browser
def test_a_lost_answer_costs_another_captcha_and_nothing_else(
    page: Page, link: str, served: Served, asked: None
) -> None:
    page.goto(link)
    lost: list[APIResponse] = []

    def lose_one(route: Route) -> None:
        if route.request.method == "POST" and "captcha" in (route.request.post_data or "") and not lost:
            lost.append(route.fetch())
            route.abort()
        else:
            route.continue_()

    page.route("**/claim/link_*", lose_one)
    page.get_by_role("button", name="Show my code").click()
    expect(page.locator("[data-code]")).to_be_visible()
    assert lost[0].ok
    assert posts(served) == 4


@pytest.mark.browser
def test_without_script_the_page_says_what_to_do_and_keeps_what_was_pasted(
    new_context: Callable[..., BrowserContext], link: str
) -> None:
    page = new_context(java_script_enabled=False).new_page()
    page.goto(link)
    page.get_by_label("Your whole link").fill(link)
    with captchas_asked():
        page.get_by_role("button", name="Show my code").click()
        expect(page.get_by_role("heading", name="Your browser could not be checked")).to_be_visible()
        expect(page.get_by_text("Press the button again in a quarter of an hour")).to_be_visible()
        photograph(page, "captcha", "claim-without-script", full_page=True)
    page.get_by_role("button", name="Show my code").click()
    expect(page.locator("[data-code]")).to_be_visible()


def watch(page: Page) -> None:
    """Notes whatever the live region says."""
    page.evaluate("""() => {
        window.statuses = [];
        const said = document.getElementById("said");
        new MutationObserver(() => statuses.push(said.textContent)).observe(said, { childList: true });
    }""")
