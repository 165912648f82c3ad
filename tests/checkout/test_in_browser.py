"""The checkout in a real headless Chromium, between a real store on its own port and the running service."""

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import pytest
from playwright.sync_api import BrowserContext, Page, Route, expect

from app import clock
from app.checkout.release import release_abandoned
from app.issuance.code import draw_code, show_code
from tests.api import money
from tests.checkout.store_server import StoreServer
from tests.holder.conftest import DESKTOP, PHONE, Served
from tests.world import World, gbp, rows

pytestmark = pytest.mark.browser

VECTORS = Path(__file__).parents[2] / "docs" / "code_vectors.json"


def press(page: Page, name: str) -> None:
    page.get_by_role("button", name=name).click()


def field(page: Page) -> Any:
    return page.get_by_label("Your gift card’s code")


def go_to_checkout(page: Page, store: StoreServer) -> None:
    """From the store's cart, as a shopper does."""
    page.goto(store.url)
    page.get_by_role("link", name="Pay with a gift card").click()
    expect(page.get_by_role("heading", name="Pay with your gift card")).to_be_visible()


def pay(page: Page, code: str, amount: str = "30.00 GBP") -> None:
    field(page).fill(code)
    press(page, f"Pay up to {amount}")


def alert(page: Page) -> Any:
    return page.locator("[role=alert]")


def payments(world: World) -> list[Any]:
    return rows("SELECT state, held_minor FROM payment WHERE store_id = :id ORDER BY created_at", id=world.bookshop)


def tries(world: World) -> int:
    [row] = rows("SELECT tries FROM authorization_request WHERE store_id = :id", id=world.bookshop)
    return int(row.tries)


@pytest.mark.parametrize("viewport", [PHONE, DESKTOP], ids=["phone", "desktop"])
def test_from_the_cart_to_a_settled_order(
    new_context: Callable[..., BrowserContext], store: StoreServer, served: Served, world: World, viewport: Any
) -> None:
    page, card_code = new_context(viewport=viewport).new_page(), world.code().code
    go_to_checkout(page, store)
    expect(page.locator(".lead")).to_have_text("Bookshop may take up to 30.00 GBP for order 123.")
    pay(page, card_code)
    expect(page.get_by_role("heading", name="Thank you")).to_be_visible()
    [back] = store.came_back
    assert set(back) == {"order", "code", "state", "iss"}
    assert (back["state"], back["iss"]) == (store.state, served.url)
    [detail] = store.token["authorization_details"]
    assert detail["approved_amount"] == {"currency": "GBP", "amount": "30.00"}
    path = f"/v1/payments/{detail['payment_id']}"
    assert store.call(f"{path}/confirm", {"order_reference": "123"})["confirmed"]
    assert store.call(f"{path}/settlements", {"amount": money(3_000)})["settled"] == money(3_000)
    assert world.card_of(detail["payment_id"]).balance == gbp(2_000)
    assert not any(card_code in heard or card_code.replace("-", "") in heard for heard in served.heard)


def test_a_smaller_balance_is_shown_and_taken_when_the_holder_says_so(
    page: Page, store: StoreServer, world: World
) -> None:
    go_to_checkout(page, store)
    pay(page, world.code(2_000).code)
    expect(page.get_by_role("heading", name="Your card has 20.00 GBP")).to_be_visible()
    expect(page.get_by_text("You pay the remaining 10.00 GBP another way")).to_be_visible()
    assert payments(world) == []
    page.reload()
    press(page, "Pay 20.00 GBP with the card")
    expect(page.get_by_role("heading", name="Thank you")).to_be_visible()
    assert store.token["authorization_details"][0]["approved_amount"]["amount"] == "20.00"


def test_a_smaller_balance_and_the_holder_goes_back(page: Page, store: StoreServer, world: World) -> None:
    card_code = world.code(2_000).code
    go_to_checkout(page, store)
    pay(page, card_code)
    press(page, "Go back without paying")
    expect(page.get_by_role("heading", name="Not paid")).to_be_visible()
    assert store.came_back[0]["error"] == "access_denied"
    assert world.exchange(card_code, store=world.toyshop).opened


def test_the_holder_cancels_at_once(page: Page, store: StoreServer, world: World) -> None:
    go_to_checkout(page, store)
    press(page, "Cancel and go back")
    expect(page.get_by_role("heading", name="Not paid")).to_be_visible()
    [back] = store.came_back
    assert {**back, "iss": ""} == {"order": "123", "error": "access_denied", "state": store.state, "iss": ""}
    assert payments(world) == []


def test_a_typing_mistake_is_told_in_the_page_and_never_sent(
    page: Page, store: StoreServer, served: Served, world: World
) -> None:
    go_to_checkout(page, store)
    code = draw_code()
    mistyped = code[:5] + ("7" if code[5] != "7" else "8") + code[6:]
    for typed, told in (
        (mistyped, "typing mistake"),
        (code[:-1], "this one has 15"),
        (code + "7", "this one has 17"),
        (code[:-1] + "U", "“U” is in no code"),
    ):
        pay(page, typed)
        expect(alert(page)).to_contain_text(told)
        expect(field(page)).to_be_focused()
        expect(field(page)).to_have_attribute("aria-invalid", "true")
    assert not any(heard.startswith("POST /oauth/authorize") for heard in served.heard)
    assert tries(world) == 0


def test_the_page_judges_every_published_code_as_everybody_does(page: Page, store: StoreServer) -> None:
    """The vectors are those that other languages are tested by; one wrong character in any place is noticed."""
    go_to_checkout(page, store)
    codes = [vector["code"] for vector in json.loads(VECTORS.read_text())["codes"]]
    assert len(codes) >= 20
    judge = """codes => codes.map((code) => {
        dispatchEvent(new Event("pageshow"));
        const form = document.querySelector("[data-act=code]");
        form.elements.code.value = code;
        return form.dispatchEvent(new Event("submit", { bubbles: true, cancelable: true }));
    })"""
    assert page.evaluate(judge, codes) == [True] * len(codes)
    wrong = [f"{c[:n]}{'8' if c[n] != '8' else '9'}{c[n + 1 :]}" for n, c in enumerate(codes[:16])]
    swapped = [f"{c[:n]}{c[n + 1]}{c[n]}{c[n + 2 :]}" for n, c in enumerate(codes[:14]) if c[n] != c[n + 1]]
    assert page.evaluate(judge, wrong + swapped) == [False] * len(wrong + swapped)


def test_what_is_typed_or_pasted_falls_into_groups(page: Page, store: StoreServer, world: World) -> None:
    card_code = world.code().code
    go_to_checkout(page, store)
    plain = card_code.replace("-", "").lower()
    field(page).press_sequentially(plain[:9])
    expect(field(page)).to_have_value(card_code[:11])
    field(page).press("Home")
    field(page).press("ArrowRight")
    field(page).press("Delete")
    field(page).press_sequentially(plain[1])
    expect(field(page)).to_have_value(card_code[:11])
    field(page).fill("")
    field(page).fill(f"  {plain[:4]} {plain[4:8]}\u2013{plain[8:]} ")
    expect(field(page)).to_have_value(card_code)
    field(page).press("Enter")
    expect(page.get_by_role("heading", name="Thank you")).to_be_visible()


def test_a_phone_shows_letters_in_capitals_and_helps_nowhere_else(page: Page, store: StoreServer) -> None:
    go_to_checkout(page, store)
    wanted = {
        "autocapitalize": "characters",
        "autocomplete": "off",
        "autocorrect": "off",
        "spellcheck": "false",
        "inputmode": "text",
        "enterkeyhint": "go",
    }
    for name, value in wanted.items():
        expect(field(page)).to_have_attribute(name, value)
    assert field(page).evaluate("field => parseFloat(getComputedStyle(field).fontSize)") >= 16, "iOS would zoom"


def test_five_wrong_codes_and_the_page_leads_back(page: Page, store: StoreServer, world: World) -> None:
    go_to_checkout(page, store)
    for left in ("4 more tries", "3 more tries", "2 more tries", "one more try"):
        pay(page, show_code(draw_code()))
        expect(alert(page)).to_contain_text(f"This code was not accepted. You have {left}.")
        page.reload()
        expect(alert(page)).to_contain_text(left)
    pay(page, show_code(draw_code()))
    expect(page.get_by_role("heading", name="Five codes were not accepted")).to_be_visible()
    page.get_by_role("link", name="Back to Bookshop").click()
    expect(page.get_by_role("heading", name="Not paid")).to_be_visible()
    assert (store.came_back[0]["error"], store.came_back[0]["state"]) == ("access_denied", store.state)
    assert tries(world) == 5


def test_pressed_twice_it_is_paid_once(page: Page, store: StoreServer, served: Served, world: World) -> None:
    go_to_checkout(page, store)
    field(page).fill(world.code().code)
    page.get_by_role("button", name="Pay up to").dblclick()
    expect(page.get_by_role("heading", name="Thank you")).to_be_visible()
    assert len([heard for heard in served.heard if heard.startswith("POST /oauth/authorize")]) == 1
    assert [payment.state for payment in payments(world)] == ["held"]


def test_a_lost_answer_costs_nothing(page: Page, store: StoreServer, world: World) -> None:
    """The holder comes back to the page, and goes on from there."""
    go_to_checkout(page, store)
    address = page.url

    def lose(route: Route) -> None:
        if route.request.method == "POST":
            route.fetch(max_redirects=0, headers={**route.request.headers, "origin": store.scrip})
            route.abort()
        else:
            route.continue_()

    page.route("**/oauth/authorize*", lose)
    with page.expect_event("requestfailed"):
        pay(page, world.code().code)
    page.unroute_all()
    page.goto(address)
    expect(page.get_by_role("heading", name="You said yes")).to_be_visible()
    press(page, "Go on to Bookshop")
    expect(page.get_by_role("heading", name="Thank you")).to_be_visible()
    assert [payment.state for payment in payments(world)] == ["held"]


def test_back_from_the_store_the_page_says_that_the_store_has_the_payment(
    page: Page, store: StoreServer, world: World
) -> None:
    go_to_checkout(page, store)
    pay(page, world.code().code)
    expect(page.get_by_role("heading", name="Thank you")).to_be_visible()
    page.go_back()
    expect(page.get_by_role("heading", name="This payment is with the store")).to_be_visible()
    assert [payment.state for payment in payments(world)] == ["held"]


def test_a_store_that_does_not_fetch_the_payment_loses_it_and_the_holder_is_told(
    page: Page, store: StoreServer, world: World
) -> None:
    store.lazy = True
    go_to_checkout(page, store)
    pay(page, world.code().code)
    expect(page.get_by_role("heading", name="Thank you")).to_be_visible()
    page.go_back()
    expect(page.get_by_role("heading", name="You said yes")).to_be_visible()
    with clock.ahead(timedelta(seconds=61)):
        release_abandoned()
        press(page, "Go on to Bookshop")
        expect(page.get_by_role("heading", name="The store did not answer in time")).to_be_visible()
    assert [payment.state for payment in payments(world)] == ["voided"]
    with pytest.raises(HTTPError):
        store.redeem(store.came_back[0]["code"])


def test_cancelled_after_the_yes_in_another_tab(
    new_context: Callable[..., BrowserContext], store: StoreServer, world: World
) -> None:
    store.lazy = True
    context = new_context()
    page = context.new_page()
    go_to_checkout(page, store)
    address = page.url
    pay(page, world.code().code)
    expect(page.get_by_role("heading", name="Thank you")).to_be_visible()
    tab = context.new_page()
    tab.goto(address)
    press(tab, "Cancel the payment")
    expect(tab.get_by_role("heading", name="Not paid")).to_be_visible()
    assert [payment.state for payment in payments(world)] == ["voided"]


def test_the_callback_may_lead_on_within_its_own_origin(page: Page, store: StoreServer, world: World) -> None:
    store.leads_on = "/?order=123"
    go_to_checkout(page, store)
    pay(page, world.code().code)
    expect(page.get_by_role("heading", name="Your cart")).to_be_visible()


def test_the_browser_does_not_follow_a_callback_that_leads_on_to_a_third_origin_without_tls(
    page: Page, store: StoreServer, world: World
) -> None:
    """Chromium asks our `form-action` for every step; the store has its payment all the same."""
    store.leads_on = store.url.replace("127.0.0.1", "localhost")
    go_to_checkout(page, store)
    refused = []
    page.on("console", lambda said: refused.append(said.text) if "form-action" in said.text else None)
    pay(page, world.code().code)
    page.wait_for_timeout(1_500)
    assert refused
    assert store.token["authorization_details"]


def test_a_second_browser_with_the_same_address_sees_nothing(
    page: Page, new_context: Callable[..., BrowserContext], store: StoreServer
) -> None:
    go_to_checkout(page, store)
    other = new_context().new_page()
    other.goto(page.url)
    expect(other.get_by_role("heading", name="This payment cannot be opened")).to_be_visible()
    assert "Bookshop" not in other.content()
    page.reload()
    expect(page.get_by_role("heading", name="Pay with your gift card")).to_be_visible()


def test_no_other_site_can_show_the_page_in_a_frame(page: Page, store: StoreServer) -> None:
    address = store.checkout_url()
    page.goto(store.url)
    page.evaluate(
        "url => { const f = document.createElement('iframe'); f.src = url; document.body.append(f) }", address
    )
    page.wait_for_timeout(500)
    assert all("Pay with your gift card" not in frame.content() for frame in page.frames[1:])


def test_it_works_with_the_keyboard_alone(page: Page, store: StoreServer, world: World) -> None:
    go_to_checkout(page, store)
    page.keyboard.press("Tab")
    expect(field(page)).to_be_focused()
    page.keyboard.type(draw_code()[:-2])
    page.keyboard.press("Enter")
    expect(alert(page)).to_contain_text("this one has 14")
    page.keyboard.press("Control+A")
    page.keyboard.type(world.code().code)
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Pay up to 30.00 GBP")).to_be_focused()
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Thank you")).to_be_visible()


# ── without JavaScript ──────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def plain(new_context: Callable[..., BrowserContext]) -> Page:
    """A browser that runs no scripts."""
    return new_context(java_script_enabled=False).new_page()


def test_without_javascript_all_of_it_works(plain: Page, store: StoreServer, world: World) -> None:
    go_to_checkout(plain, store)
    pay(plain, "7KQ4-ZX9M")
    expect(alert(plain)).to_contain_text("it did not count as a try")
    pay(plain, show_code(draw_code()))
    expect(alert(plain)).to_contain_text("You have 4 more tries")
    pay(plain, world.code(2_000).code.lower())
    expect(plain.get_by_role("heading", name="Your card has 20.00 GBP")).to_be_visible()
    press(plain, "Pay 20.00 GBP with the card")
    expect(plain.get_by_role("heading", name="Thank you")).to_be_visible()
    assert store.token["authorization_details"][0]["approved_amount"]["amount"] == "20.00"


def test_without_javascript_the_holder_can_cancel(plain: Page, store: StoreServer) -> None:
    go_to_checkout(plain, store)
    press(plain, "Cancel and go back")
    expect(plain.get_by_role("heading", name="Not paid")).to_be_visible()
    assert store.came_back[0]["error"] == "access_denied"
