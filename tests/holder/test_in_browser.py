"""The claim page in a real headless Chromium, against the running service."""

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import BrowserContext, Page, Route, expect

from tests.holder.conftest import DESKTOP, Served
from tests.world import World, key_of, rows

pytestmark = pytest.mark.browser

CODE = re.compile(r"^[0-9A-HJKMNP-TV-Z]{4}(-[0-9A-HJKMNP-TV-Z]{4}){3}$")


def press(page: Page, name: str) -> None:
    page.get_by_role("button", name=name).click()


def shown_code(page: Page) -> str:
    """The code on the screen, once it is there."""
    place = page.locator("[data-code]")
    expect(place).to_be_visible()
    return place.inner_text()


def storage(page: Page) -> int:
    length = page.evaluate("sessionStorage.length")
    assert isinstance(length, int)
    return length


def link_state(link: str) -> str:
    return str(rows("SELECT state FROM claim_link WHERE id = :id", id=key_of(link)[0])[0].state)


class Answers:
    """Comes between this page and the answers to its POSTs, for the first `times` of them."""

    def __init__(self, page: Page, spoil: Callable[[Route], None], *, times: int = 1) -> None:
        self.left, self.spoil, self.sent = times, spoil, list[object]()
        page.route("**/claim/link_*", self.meet)

    def meet(self, route: Route) -> None:
        if route.request.method != "POST":
            return route.continue_()
        self.sent.append(route.request.post_data_json)
        self.left -= 1
        return self.spoil(route) if self.left >= 0 else route.continue_()


def lose(route: Route) -> None:
    """The server does its work, and the browser never hears of it."""
    route.fetch()
    route.abort()


def be_busy(route: Route) -> None:
    route.fulfill(status=503, headers={"Retry-After": "1"}, body="busy")


def test_only_a_click_opens_the_link_and_the_code_is_shown(page: Page, link: str, world: World) -> None:
    page.goto(link)
    expect(page.get_by_role("heading", name="Your gift card is here")).to_be_visible()
    assert link_state(link) == "waiting"
    press(page, "Show my code")
    code = shown_code(page)
    assert CODE.match(code)
    expect(page.locator("[data-balance]")).to_have_text("£50.00")
    expect(page.get_by_text("Spend it by")).to_be_visible()
    expect(page.get_by_text("Never share this code")).to_be_visible()
    assert page.title() == "Your code · Scrip"
    assert world.exchange(code).payment.held.amount_minor == 5_000


def test_the_key_leaves_the_address_bar_and_no_request_line_or_header_ever_has_it(
    page: Page, link: str, served: Served
) -> None:
    _, key = key_of(link)
    page.goto(link)
    assert page.url == link.partition("#")[0]
    press(page, "Show my code")
    shown_code(page)
    assert page.url == link.partition("#")[0]
    page.reload()
    expect(page.locator("[data-page=card]")).to_be_visible()
    assert any(heard.startswith("POST /claim/") for heard in served.heard)
    assert not any(key in heard for heard in served.heard)
    assert key not in page.content()


def test_storage_holds_key_and_nonce_only_until_the_code_is_on_the_screen(page: Page, link: str) -> None:
    page.goto(link)
    kept = page.evaluate("Object.values(sessionStorage).map(JSON.parse)")
    assert [set(offer) for offer in kept] == [{"key", "nonce"}]
    assert kept[0]["key"] == key_of(link)[1]
    assert re.fullmatch(r"[\w-]{43}", kept[0]["nonce"])
    press(page, "Show my code")
    shown_code(page)
    assert storage(page) == 0
    assert page.evaluate("localStorage.length") == 0


def test_the_copy_button_copies_and_says_so(
    new_context: Callable[..., BrowserContext], link: str, served: Served
) -> None:
    context = new_context(viewport=DESKTOP)
    context.grant_permissions(["clipboard-read", "clipboard-write"], origin=served.url)
    page = context.new_page()
    page.goto(link)
    press(page, "Show my code")
    code = shown_code(page)
    press(page, "Copy code")
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    expect(page.get_by_role("status")).to_have_text("Code copied")
    page.goto(f"{served.url}/healthz")  # the page itself may not read the clipboard
    assert page.evaluate("navigator.clipboard.readText()") == code


def test_a_lost_answer_is_asked_for_again_with_the_same_nonce(page: Page, link: str, world: World) -> None:
    answers = Answers(page, lose)
    page.goto(link)
    press(page, "Show my code")
    code = shown_code(page)
    assert len(answers.sent) == 2
    assert answers.sent[0] == answers.sent[1]
    assert world.exchange(code).payment.held.amount_minor == 5_000


def test_a_lost_answer_and_a_reload_still_show_a_code(page: Page, link: str, world: World) -> None:
    """Key and nonce outlive the reload, so the server knows the browser again."""
    page.goto(link)
    Answers(page, lose)
    with page.expect_event("requestfailed"):
        press(page, "Show my code")
    page.reload()
    assert link_state(link) == "opened"
    press(page, "Show my code")
    assert world.exchange(shown_code(page)).payment.held.amount_minor == 5_000


def test_when_the_service_cannot_be_reached_the_page_says_so_and_the_button_works_again(page: Page, link: str) -> None:
    page.goto(link)
    page.route("**/claim/link_*", lambda route: route.abort())
    page.clock.install()
    press(page, "Show my code")
    expect(page.get_by_role("button", name="One moment…")).to_be_visible()
    page.clock.run_for(30_000)
    expect(page.locator(".with-key [role=alert]")).to_contain_text("could not reach")
    page.unroute_all()
    press(page, "Show my code")
    shown_code(page)


def test_a_busy_service_is_asked_again(page: Page, link: str) -> None:
    answers = Answers(page, be_busy, times=2)
    page.goto(link)
    press(page, "Show my code")
    shown_code(page)
    assert len(answers.sent) == 3


def test_a_reload_after_opening_shows_the_card_and_offers_a_fresh_code(page: Page, link: str, world: World) -> None:
    page.goto(link)
    press(page, "Show my code")
    first = shown_code(page)
    page.reload()
    expect(page.locator("[data-page=card]")).to_be_visible()
    assert first not in page.content()
    press(page, "Show a fresh code")
    fresh = shown_code(page)
    assert fresh != first
    assert world.exchange(fresh).payment.state == "held"


def test_a_fresh_code_takes_the_place_of_the_one_on_the_screen(page: Page, link: str) -> None:
    page.goto(link)
    press(page, "Show my code")
    first = shown_code(page)
    press(page, "Show a fresh code")
    expect(page.locator("[data-code]")).not_to_have_text(first)
    assert CODE.match(shown_code(page))


def test_a_refusal_does_not_take_the_code_off_the_screen(page: Page, link: str, world: World) -> None:
    page.goto(link)
    press(page, "Show my code")
    code = shown_code(page)
    world.exchange(code)
    press(page, "Show a fresh code")
    expect(page.locator(".again [role=alert]")).to_contain_text("A store holds this card")
    assert shown_code(page) == code


def test_another_browser_is_told_when_and_by_which_and_can_ask_for_a_new_link(
    new_context: Callable[..., BrowserContext], link: str, world: World
) -> None:
    claimed = world.claim(link)
    page = new_context(timezone_id="America/New_York").new_page()
    page.goto(link)
    press(page, "Show my code")
    opened = page.locator(".opened")
    expect(opened).to_have_text(re.compile(r"^Opened .+ at \d\d:\d\d, Firefox$"))
    at = rows("SELECT opened_at FROM claim_link WHERE id = :id", id=key_of(link)[0])[0].opened_at
    assert opened.locator("time").get_attribute("datetime") == f"{at:%Y-%m-%dT%H:%M:%SZ}"
    local = page.evaluate("at => new Date(at).toLocaleTimeString('en-GB', {timeStyle: 'short'})", at.isoformat())
    expect(opened).to_contain_text(local)
    press(page, "Send me a new link")
    expect(page.get_by_role("heading", name="A new link is on its way")).to_be_visible()
    reached = world.card(claimed.card_id).reached_through
    assert reached is not None
    assert reached.kind == "link"
    assert storage(page) == 0


def test_a_held_card_shows_which_store_holds_what_until_when(page: Page, link: str, world: World) -> None:
    world.exchange(world.claim(link).code)
    page.goto(link)
    press(page, "Show my code")
    expect(page.get_by_role("heading", name="Bookshop holds £50.00")).to_be_visible()
    expect(page.locator(".note-held time")).to_have_text(re.compile(r"at \d\d:\d\d$"))
    expect(page.get_by_role("button", name="Send me a new link")).to_have_count(0)


def test_a_link_without_its_key_asks_for_it_and_takes_the_whole_link(page: Page, link: str) -> None:
    page.goto(link.partition("#")[0])
    field = page.get_by_label("Your whole link")
    field.fill("https://example.org/nothing")
    press(page, "Show my code")
    expect(page.locator(".without-key [role=alert]")).to_contain_text("not a whole link")
    expect(field).to_be_focused()
    assert link_state(link) == "waiting"
    field.fill(link)
    press(page, "Show my code")
    assert CODE.match(shown_code(page))


def test_the_link_of_another_card_pasted_here_opens_its_own_page(
    page: Page, link: str, served: Served, world: World
) -> None:
    other = served.claim_url(world.issue().claim_link)
    page.goto(link.partition("#")[0])
    page.get_by_label("Your whole link").fill(other)
    press(page, "Show my code")
    expect(page.get_by_role("heading", name="Your gift card is here")).to_be_visible()
    assert page.url == other.partition("#")[0]
    assert (link_state(link), link_state(other)) == ("waiting", "waiting")


def test_a_link_pasted_into_the_same_tab_again_is_taken_up(page: Page, link: str) -> None:
    page.goto(link.partition("#")[0])
    page.evaluate("link => { location.href = link }", link)
    expect(page.get_by_role("heading", name="Your gift card is here")).to_be_visible()
    assert page.url == link.partition("#")[0]


def test_it_works_with_the_keyboard_alone_and_the_focus_goes_to_the_answer(page: Page, link: str) -> None:
    page.goto(link)
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Show my code")).to_be_focused()
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"
    page.keyboard.press("Enter")
    shown_code(page)
    expect(page.get_by_role("heading", name="Your code")).to_be_focused()
    expect(page.get_by_role("status")).to_have_text("Your code is on the screen")
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Copy code")).to_be_focused()


def test_twice_pressed_is_once_asked(page: Page, link: str, served: Served) -> None:
    page.goto(link)
    page.get_by_role("button", name="Show my code").dblclick()
    shown_code(page)
    assert len([heard for heard in served.heard if heard.startswith("POST")]) == 1


# ── without JavaScript ──────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def plain(new_context: Callable[..., BrowserContext]) -> Page:
    """A browser that runs no scripts."""
    return new_context(java_script_enabled=False).new_page()


def test_without_javascript_the_pasted_link_shows_the_code(
    plain: Page, link: str, served: Served, world: World
) -> None:
    plain.goto(link)
    expect(plain.get_by_text("Your browser runs no scripts here")).to_be_visible()
    plain.get_by_label("Your whole link").fill(plain.url)
    press(plain, "Show my code")
    code = shown_code(plain)
    expect(plain.get_by_role("button", name="Copy code")).to_have_count(0)  # only a script could copy
    assert "#" not in plain.url
    assert not any(key_of(link)[1] in heard for heard in served.heard)
    assert world.exchange(code).payment.held.amount_minor == 5_000


def test_without_javascript_a_reload_of_the_answer_shows_another_code(plain: Page, link: str) -> None:
    plain.goto(link)
    plain.get_by_label("Your whole link").fill(key_of(link)[1])
    press(plain, "Show my code")
    first = shown_code(plain)
    plain.reload()
    assert CODE.match(shown_code(plain))
    assert shown_code(plain) != first


def test_without_javascript_a_fresh_code_and_a_new_link_work_from_the_page(plain: Page, link: str) -> None:
    plain.goto(link)
    plain.get_by_label("Your whole link").fill(link)
    press(plain, "Show my code")
    first = shown_code(plain)
    press(plain, "Show a fresh code")
    assert shown_code(plain) != first
    press(plain, "Send me a new link")
    expect(plain.get_by_role("heading", name="A new link is on its way")).to_be_visible()


def test_without_javascript_an_opened_link_offers_a_new_one(plain: Page, link: str, world: World) -> None:
    world.claim(link)
    plain.goto(link)
    plain.get_by_label("Your whole link").fill(link)
    press(plain, "Show my code")
    expect(plain.locator(".opened")).to_have_text(re.compile(r"^Opened .+ UTC, Firefox$"))
    press(plain, "Send me a new link")
    expect(plain.get_by_role("heading", name="A new link is on its way")).to_be_visible()
