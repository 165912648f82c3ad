"""A captcha at the checkout: what was typed stays, and goes on by itself once it is solved."""

import re
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from app.guard import captcha
from app.issuance.code import draw_code, show_code
from tests.api import nothing_changes
from tests.checkout.shop import Shop, Shopper, challenge_in, code_of
from tests.checkout.store_server import StoreServer
from tests.guard.captchas import captchas_asked, solved
from tests.holder.conftest import Served
from tests.pictures import photograph
from tests.world import World, rows


@pytest.fixture
def asked() -> Iterator[None]:
    """A captcha is asked of everybody."""
    with captchas_asked():
        yield


# ── over HTTP ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_it_is_asked_before_a_code_is_looked_at_and_costs_no_try(
    shop: Shop, shopper: Shopper, world: World, asked: None
) -> None:
    pushed = shop.push()
    typed = show_code(draw_code())
    shopper.open(pushed)
    with nothing_changes():
        answer = shopper.decide(pushed, "code", code=typed)
    assert answer.status_code == 403
    assert f'value="{typed}"' in answer.text
    assert "Wait a quarter of an hour" in answer.text
    solution = solved(challenge_in(answer))
    assert shopper.decide(pushed, "code", code=typed, captcha=solution).status_code == 303
    assert "You have 4 more tries" in shopper.open(pushed).text
    again = shopper.decide(pushed, "code", code=world.code().code, captcha=solution)
    assert (again.status_code, "press the button once more" in again.text) == (403, True)
    assert code_of(shopper.decide(pushed, "code", code=world.code().code, captcha=solved(challenge_in(again))))


def test_a_solution_is_good_for_its_own_request_and_page_alone(
    shop: Shop, shopper: Shopper, world: World, asked: None
) -> None:
    first, second, code = shop.push(), shop.push(), world.code().code
    solution = solved(challenge_in(shopper.decide(first, "code", code=code)))
    assert shopper.decide(second, "code", code=code, captcha=solution).status_code == 403
    for purpose in ("claim", "widget"):
        other = solved(captcha.make_challenge(purpose, first.request_uri))
        assert shopper.decide(first, "code", code=code, captcha=other).status_code == 403
    assert code_of(shopper.decide(first, "code", code=code, captcha=solution))


def test_who_cancels_is_not_asked(shop: Shop, shopper: Shopper, asked: None) -> None:
    assert shopper.decide(shop.push(), "cancel").status_code == 303


@pytest.mark.parametrize("typed", ['"><script>x</script>', "x" * 4_000, "\u202e\0'", "{{ 7 * 7 }}"])
def test_whatever_was_typed_comes_back_as_text_alone(shop: Shop, shopper: Shopper, typed: str, asked: None) -> None:
    answer = shopper.decide(shop.push(), "code", code=typed)
    assert answer.status_code in (422, 413)  # no code at all: told before anything else
    assert "<script>x" not in answer.text
    assert "x" * 65 not in answer.text


# ── in the browser ──────────────────────────────────────────────────────────────────────────────────────────────────


def go_to_checkout(page: Page, store: StoreServer) -> None:
    page.goto(store.url)
    page.get_by_role("link", name="Pay with a gift card").click()
    expect(page.get_by_role("heading", name="Pay with your gift card")).to_be_visible()


@pytest.mark.browser
def test_the_code_is_typed_once_by_the_keyboard_alone_and_paid(
    page: Page, store: StoreServer, served: Served, world: World, asked: None
) -> None:
    go_to_checkout(page, store)
    page.keyboard.press("Tab")
    page.keyboard.type(world.code().code)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Thank you")).to_be_visible()
    assert sum(heard.startswith("POST /oauth/authorize") for heard in served.heard) == 2
    assert [
        row.tries for row in rows("SELECT tries FROM authorization_request WHERE store_id = :id", id=world.bookshop)
    ] == [0]


@pytest.mark.browser
def test_while_it_is_solved_the_page_says_so_and_then_what_to_do_if_it_cannot_be(
    page: Page, store: StoreServer, world: World, asked: None
) -> None:
    """The browser's cores never find the number."""
    page.add_init_script("Worker.prototype.postMessage = function () { (window.idle ??= []).push(this) }")
    code = world.code().code
    go_to_checkout(page, store)
    page.get_by_label("Your gift card’s code").fill(code)
    page.keyboard.press("Enter")
    button = page.get_by_role("button", name="Pay up to 30.00 GBP")
    expect(button).to_be_focused()
    expect(button).to_have_attribute("aria-busy", "true")
    expect(page.get_by_role("status")).to_have_text("Checking that you are not a robot. This takes a moment.")
    expect(page.get_by_text("The payment goes on by itself in a moment")).to_be_visible()
    assert "- status: Checking that you are not a robot. This takes a moment." in page.locator("body").aria_snapshot()
    expect(page.get_by_role("alert")).to_have_count(0)
    photograph(page, "captcha", "checkout-checking", full_page=True)
    page.evaluate("() => idle.forEach((worker) => worker.onerror())")
    expect(page.get_by_role("alert")).to_contain_text("Wait a quarter of an hour")
    expect(page.get_by_label("Your gift card’s code")).to_have_value(code)
    expect(button).to_be_focused()
    photograph(page, "captcha", "checkout-unsolved", full_page=True)


@pytest.mark.browser
def test_a_solution_that_came_too_late_costs_another_press(
    page: Page, store: StoreServer, world: World, asked: None
) -> None:
    """Here it is spoilt on its way; the page does not go round for ever by itself."""
    go_to_checkout(page, store)
    page.route(
        "**/oauth/authorize*",
        lambda route: (
            route.continue_(post_data=re.sub("captcha=[^&]{5}", "captcha=late-", route.request.post_data or ""))
            if route.request.method == "POST"
            else route.continue_()
        ),
    )
    page.get_by_label("Your gift card’s code").fill(world.code().code)
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("press the button once more")
    page.unroute_all()
    photograph(page, "captcha", "checkout-again", full_page=True)
    page.get_by_role("button", name="Pay up to 30.00 GBP").click()
    expect(page.get_by_role("heading", name="Thank you")).to_be_visible()


@pytest.mark.browser
def test_without_script_the_page_says_what_to_do_and_keeps_what_was_typed(
    new_context: Callable[..., BrowserContext], store: StoreServer, world: World
) -> None:
    page = new_context(java_script_enabled=False).new_page()
    go_to_checkout(page, store)
    page.get_by_label("Your gift card’s code").fill(world.code().code)
    with captchas_asked():
        page.get_by_role("button", name="Pay up to 30.00 GBP").click()
        expect(page.get_by_role("alert")).to_contain_text("Wait a quarter of an hour")
        photograph(page, "captcha", "checkout-without-script", full_page=True)
    page.get_by_role("button", name="Pay up to 30.00 GBP").click()
    expect(page.get_by_role("heading", name="Thank you")).to_be_visible()
