"""The field on a store's page in a real Chromium: another origin, the running service, a real keyboard."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Frame, Page, Request, Route, expect

from app.money import Money
from app.redemption.store import set_origins
from tests.holder.conftest import DESKTOP, SMALL_PHONE
from tests.secrets_search import found_in
from tests.widget.conftest import MISTYPED, UNKNOWN, Shop, claim, field_of, frame_of, type_in
from tests.world import World, rows

pytestmark = pytest.mark.browser

DOCS = Path(__file__).parents[2] / "docs"
VECTORS = json.loads((DOCS / "code_vectors.json").read_text())


def press_pay(page: Page) -> None:
    page.get_by_role("button", name="Pay with this card").click()


def told(page: Page, name: str) -> list[Any]:
    """The details of all events of this name so far."""
    return [detail for heard, detail in page.evaluate("told") if heard == name]


def wait_for(page: Page, name: str) -> Any:
    page.wait_for_function("name => told.some(([heard]) => heard === name)", arg=name)
    return told(page, name)[-1]


def set_attributes(page: Page, **attributes: str) -> None:
    """As the page's own script does while the shopper's cart changes."""
    page.evaluate("given => Object.entries(given).forEach(pair => element.setAttribute(...pair))", attributes)


def inner_frame(page: Page) -> Frame:
    found = next(frame for frame in page.frames if "/widget/" in frame.url)
    found.wait_for_load_state()
    return found


# ── the code goes to us, the token to the store ─────────────────────────────────────────────────────────────────────


def test_the_code_goes_to_us_alone_and_the_store_pays_with_a_code_token(
    page: Page, shop: Shop, code: str, service: str
) -> None:
    """No request to the store's origin has the code, however it is written; nor has any event or the page itself."""
    sent: list[Request] = []
    page.context.on("request", lambda one: sent.append(one))
    page.goto(shop.origin)
    expect(frame_of(page).get_by_text("Up to 30.00 GBP")).to_be_visible()
    type_in(page, code)
    press_pay(page)
    expect(page.locator("output")).to_have_text(re.compile(r"^201 pay_\w{26}$"))
    expect(frame_of(page).get_by_role("status")).to_have_text("Code accepted.")
    payment = rows("SELECT * FROM payment WHERE id = :id", id=page.locator("output").inner_text()[4:])[0]
    assert (payment.held_minor, payment.store_id, payment.order_reference) == (3_000, shop.store_id, "order-1")

    everything = b"\n".join(shop.heard)
    assert found_in(everything, {"code": code}) == set()
    token = told(page, "token")[0]
    assert token.keys() == {"code_token", "expires_in"} and token["expires_in"] == 60
    assert token["code_token"].encode() in everything, "what the store's server heard is really noted"
    assert found_in(json.dumps(page.evaluate("told")).encode(), {"code": code}) == set()
    assert found_in(page.content().encode(), {"code": code}) == set()
    having = [one for one in sent if found_in(f"{one.url}{one.all_headers()}{one.post_data}".encode(), {"code": code})]
    assert [(one.method, one.url) for one in having] == [("POST", f"{service}/widget/{shop.store_id}/code-tokens")]
    assert not found_in(having[0].url.encode(), {"code": code})


def test_the_code_has_left_the_field_once_there_is_a_token(page: Page, shop: Shop, code: str) -> None:
    page.goto(shop.origin)
    type_in(page, code)
    press_pay(page)
    wait_for(page, "token")
    expect(field_of(page)).to_have_value("")
    page.keyboard.press("Control+z")
    expect(field_of(page)).to_have_value("")
    assert found_in(inner_frame(page).content().encode(), {"code": code}) == set()


def test_neither_page_nor_frame_sets_or_sends_a_cookie(page: Page, shop: Shop, code: str, service: str) -> None:
    page.context.add_cookies([{"name": "scrip_card", "value": "x", "url": f"{service}/claim"}])
    asked: list[Request] = []
    page.on("request", lambda one: asked.append(one) if one.method == "POST" and "/widget/" in one.url else None)
    page.goto(shop.origin)
    type_in(page, code)
    press_pay(page)
    wait_for(page, "token")
    assert [cookie.get("name") for cookie in page.context.cookies()] == ["scrip_card"]
    assert all("cookie" not in one.all_headers() for one in asked) and asked


def test_enter_in_the_field_does_what_the_stores_button_does(page: Page, shop: Shop, code: str) -> None:
    page.goto(shop.origin)
    type_in(page, code.lower().replace("-", " "))
    page.keyboard.press("Enter")
    expect(page.locator("output")).to_have_text(re.compile("^201 pay_"))


def test_a_token_is_good_for_the_amount_and_order_that_the_field_showed(page: Page, shop: Shop, code: str) -> None:
    """The store's server asks for more than the shopper saw, then for another order."""
    page.goto(shop.origin)
    for order in (
        {"order_reference": "order-1", "amount": {"amount_minor": 3_001, "currency": "GBP"}},
        {"order_reference": "order-2"},
        {"order_reference": "order-1", "shopper": {"key_hash": "0123456789abcdef"}},
    ):
        shop.order = order
        type_in(page, code)
        press_pay(page)
        expect(page.locator("output")).to_have_text("422 code-not-accepted")
        page.evaluate("document.querySelector('output').textContent = ''")
    shop.order = {"order_reference": "order-1"}
    type_in(page, code)
    press_pay(page)
    expect(page.locator("output")).to_have_text(re.compile("^201 pay_"))


def test_what_the_page_changes_later_is_what_the_field_shows_and_the_token_is_bound_to(
    page: Page, shop: Shop, code: str
) -> None:
    page.goto(shop.origin)
    field_of(page)
    set_attributes(page, amount="4500", order="order-2", shopper="0123456789abcdef")
    expect(frame_of(page).get_by_text("Up to 45.00 GBP")).to_be_visible()
    shop.order = {"order_reference": "order-2", "shopper": {"key_hash": "0123456789abcdef"}}
    type_in(page, code)
    press_pay(page)
    expect(page.locator("output")).to_have_text(re.compile("^201 pay_"))
    held = rows("SELECT held_minor FROM payment WHERE store_id = :id", id=shop.store_id)
    assert [row.held_minor for row in held] == [4_500]


def test_amounts_are_shown_with_the_digits_of_their_currency(page: Page, shop: Shop) -> None:
    page.goto(shop.origin)
    field_of(page)
    for amount, currency, shown in (
        ("3000", "JPY", "3000 JPY"),
        ("3000", "KWD", "3.000 KWD"),
        ("5", "EUR", "0.05 EUR"),
        ("1000000000000", "GBP", "10000000000.00 GBP"),
    ):
        set_attributes(page, amount=amount, currency=currency)
        expect(frame_of(page).get_by_text(f"Up to {shown}", exact=True)).to_be_visible()
        assert str(Money(int(amount), currency)) == shown


# ── refusals ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_typing_mistake_is_told_as_soon_as_the_code_is_whole_and_never_sent(page: Page, shop: Shop) -> None:
    asked: list[str] = []
    page.on("request", lambda one: asked.append(one.url) if one.method == "POST" else None)
    page.goto(shop.origin)
    type_in(page, MISTYPED[:-1])
    expect(frame_of(page).get_by_role("alert")).to_have_text("")
    page.keyboard.type(MISTYPED[-1])
    expect(frame_of(page).get_by_role("alert")).to_contain_text("typing mistake")
    expect(field_of(page)).to_have_attribute("aria-invalid", "true")
    press_pay(page)
    assert wait_for(page, "error")["slug"] == "code-mistyped"
    assert asked == []
    page.keyboard.press("Tab")
    field_of(page).click()
    page.keyboard.press("End")
    page.keyboard.press("Backspace")
    expect(frame_of(page).get_by_role("alert")).to_have_text("")


def test_an_empty_field_is_told_by_words_of_its_own(page: Page, shop: Shop) -> None:
    page.goto(shop.origin)
    field_of(page)
    press_pay(page)
    assert wait_for(page, "error")["slug"] == "code-mistyped"
    expect(frame_of(page).get_by_role("alert")).to_have_text("Type the code of your gift card.")


def test_a_refused_code_stays_in_the_field_and_nothing_of_the_card_is_told(
    page: Page, shop: Shop, code: str, service: str, world: World
) -> None:
    page.goto(shop.origin)
    type_in(page, UNKNOWN)
    press_pay(page)
    refused = wait_for(page, "error")
    assert refused.keys() == {"slug", "message"} and refused["slug"] == "code-not-accepted"
    expect(field_of(page)).to_have_value(UNKNOWN)
    field_of(page).fill("")
    page.evaluate("element.setAttribute('currency', 'EUR')")
    expect(frame_of(page).get_by_text("Up to 30.00 EUR")).to_be_visible()
    type_in(page, code)
    press_pay(page)
    page.wait_for_function("() => told.some(([, detail]) => detail?.slug === 'currency-mismatch')")
    assert "GBP" not in json.dumps(page.evaluate("told"))


def answer_by(page: Page, *answers: Callable[[Route], None]) -> None:
    """The first requests for a token are answered so, and all after them by the service."""
    left = iter(answers)
    page.route("**/code-tokens", lambda route: next(left, pass_on)(route))


def lose(route: Route) -> None:
    route.abort()


def be_busy(route: Route) -> None:
    route.fulfill(status=503, headers={"Retry-After": "1"}, json={"slug": "busy"})


def break_down(route: Route) -> None:
    route.fulfill(status=500, body="<html>")


def pass_on(route: Route) -> None:
    route.continue_()


def test_when_we_cannot_be_reached_or_are_busy_the_shopper_is_told_and_tries_again(
    page: Page, shop: Shop, code: str
) -> None:
    page.goto(shop.origin)
    type_in(page, code)
    answer_by(page, lose, *[be_busy] * 4, break_down)
    for slug in ("unreachable", "busy", "unreachable"):
        press_pay(page)
        page.wait_for_function("slug => told.at(-1)[1]?.slug === slug", arg=slug)
        page.evaluate("told.push(['seen', null])")
        expect(field_of(page)).to_have_value(code)
    assert [one.get("retry_after_s") for one in told(page, "error")] == [None, 1, None]
    press_pay(page)
    expect(page.locator("output")).to_have_text(re.compile("^201 pay_"))


def test_a_service_that_is_busy_for_a_moment_is_asked_again_before_the_shopper_hears_of_it(
    page: Page, shop: Shop, code: str
) -> None:
    page.goto(shop.origin)
    type_in(page, code)
    answer_by(page, be_busy)
    press_pay(page)
    expect(page.locator("output")).to_have_text(re.compile("^201 pay_"))
    assert told(page, "error") == []


def test_an_attribute_that_cannot_be_right_is_named_and_closes_the_field(page: Page, shop: Shop) -> None:
    page.goto(shop.origin)
    for name, value in (
        ("order", ""),
        ("order", "x" * 201),
        ("amount", "30.00"),
        ("amount", "0"),
        ("amount", "-1"),
        ("amount", "1e3"),
        ("currency", "gbp"),
        ("currency", ""),
        ("shopper", "short"),
        ("shopper", "Sam Holder"),
    ):
        field_of(page)
        set_attributes(page, **{name: value})
        expect(frame_of(page).get_by_role("textbox")).to_be_disabled()
        refused = told(page, "error")[-1]
        assert refused["slug"] == "invalid-request" and f"attribute {name} " in refused["message"]
        set_attributes(page, order="order-1", amount="3000", currency="GBP", shopper="shopper-1")
    field_of(page)
    expect(frame_of(page).get_by_role("alert")).to_have_text("")


def test_pressed_twice_is_asked_once(page: Page, shop: Shop, code: str) -> None:
    page.goto(shop.origin)
    type_in(page, code)
    page.evaluate("element.tokenise(); element.tokenise()")
    expect(page.locator("output")).to_have_text(re.compile("^201 pay_"))
    assert len(told(page, "token")) == 1
    assert told(page, "error") == []


# ── who may show it, and who may speak to it ────────────────────────────────────────────────────────────────────────


def test_a_page_whose_origin_the_store_has_not_named_shows_no_field(
    page: Page, shop: Shop, new_shop: Callable[..., Shop]
) -> None:
    """Not the same host on another port, and not the same port under another name."""
    strange = new_shop()
    for origin in (strange.origin, shop.origin.replace("localhost", "127.0.0.1")):
        page.clock.install()
        page.goto(origin)
        page.wait_for_timeout(500)
        expect(frame_of(page).get_by_role("textbox")).to_have_count(0)
        page.clock.run_for(16_000)
        assert [one["slug"] for one in told(page, "error")] == ["not-ready"]
        assert told(page, "ready") == []


def test_a_named_page_inside_a_page_that_is_not_named_shows_no_field(
    page: Page, shop: Shop, new_shop: Callable[..., Shop]
) -> None:
    """Every ancestor counts: a stranger cannot put the shop's page into a frame to lay something over it."""
    strange = new_shop(more=f'<iframe src="{shop.origin}" title="shop"></iframe>', policy="frame-src *")
    page.goto(strange.origin)
    page.wait_for_timeout(500)
    inside = page.frame_locator("iframe[title=shop]").frame_locator("scrip-code iframe")
    expect(inside.get_by_role("textbox")).to_have_count(0)


def test_the_frame_opened_by_itself_or_by_a_stranger_hears_nobody(page: Page, shop: Shop, service: str) -> None:
    page.goto(f"{service}/widget/{shop.store_id}")
    expect(page.get_by_role("textbox", name="Gift card code")).to_be_disabled()
    page.evaluate("""() => {
        const { port1, port2 } = new MessageChannel();
        window.heard = [];
        port1.onmessage = (event) => heard.push(event.data);
        postMessage({ scrip: "connect", order: "o", amount: "1", currency: "GBP", shopper: null }, "*", [port2]);
    }""")
    page.wait_for_timeout(300)
    assert page.evaluate("heard") == []
    expect(page.get_by_role("textbox", name="Gift card code")).to_be_disabled()


#: Another frame in the store's page: it speaks to the field as the page would, and to the page as the field would.
STRANGER = """
<script>
  const { port1, port2 } = new MessageChannel();
  const heard = [];
  port1.onmessage = (event) => heard.push(event.data);
  const asked = { order: "evil", amount: "1", currency: "GBP", shopper: null };
  for (const other of Array.from(parent.frames)) {
    if (other === self) continue;
    other.postMessage({ scrip: "connect", ...asked }, "*", [port2]);
    break;
  }
  parent.postMessage({ kind: "token", code_token: "ct_evil", expires_in: 60 }, "*");
  parent.postMessage({ scrip: "connect", kind: "error", slug: "evil", message: "evil" }, "*");
</script>"""


@pytest.mark.parametrize("is_named", [False, True], ids=["of another origin", "of an origin that the store has named"])
def test_what_other_frames_say_is_not_heard(
    page: Page, shop: Shop, code: str, new_shop: Callable[..., Shop], is_named: bool
) -> None:
    """The field hears its parent alone; the page's element hears one port alone."""
    stranger = new_shop(policy="script-src 'unsafe-inline'")
    stranger.html = lambda: STRANGER.encode()  # type: ignore[method-assign]
    set_origins(shop.store_id, [shop.origin, *([stranger.origin] if is_named else [])])
    shop.policy += f" {stranger.origin}"
    shop.policy = shop.policy.replace("frame-src", f"frame-src {stranger.origin}")
    page.goto(shop.origin)
    wait_for(page, "ready")
    page.evaluate("""origin => new Promise(done => {
        const frame = document.body.appendChild(document.createElement("iframe"));
        frame.onload = done;
        frame.src = origin;
    })""", stranger.origin)  # fmt: skip
    page.wait_for_timeout(300)
    strange = next(frame for frame in page.frames if frame.url.startswith(stranger.origin))
    assert strange.evaluate("heard") == []
    assert [name for name, _ in page.evaluate("told")] == ["ready"]
    expect(frame_of(page).get_by_text("Up to 30.00 GBP")).to_be_visible()
    type_in(page, code)
    press_pay(page)
    expect(page.locator("output")).to_have_text(re.compile("^201 pay_"))
    assert strange.evaluate("heard") == []


def test_a_stranger_that_is_first_to_speak_is_not_heard_either(
    page: Page, shop: Shop, new_shop: Callable[..., Shop]
) -> None:
    """A named page opens a window of ours with the field: an opener is no parent."""
    page.goto(shop.origin)
    with page.expect_popup() as opened:
        page.evaluate(f"window.other = open('{shop.service}/widget/{shop.store_id}')")
    opened.value.wait_for_load_state()
    page.evaluate("""() => {
        const { port1, port2 } = new MessageChannel();
        window.heard = [];
        port1.onmessage = (event) => heard.push(event.data);
        other.postMessage({ scrip: "connect", order: "o", amount: "1", currency: "GBP", shopper: null }, "*", [port2]);
    }""")
    page.wait_for_timeout(300)
    assert page.evaluate("heard") == []


def test_the_field_cannot_be_read_by_the_page(page: Page, shop: Shop, code: str) -> None:
    page.goto(shop.origin)
    type_in(page, code)
    read = """() => { try { return element.shadowRoot.querySelector("iframe").contentDocument?.body.innerHTML ?? null }
                      catch { return null } }"""
    assert page.evaluate(read) is None


def test_an_element_moved_in_the_page_or_given_another_store_begins_anew(page: Page, shop: Shop, code: str) -> None:
    page.goto(shop.origin)
    field_of(page)
    page.evaluate("document.querySelector('main').prepend(element)")
    page.wait_for_function("() => told.filter(([name]) => name === 'ready').length === 2")
    type_in(page, code)
    press_pay(page)
    expect(page.locator("output")).to_have_text(re.compile("^201 pay_"))
    page.evaluate("element.setAttribute('store', 'nonsense/../..')")
    page.wait_for_timeout(300)
    expect(frame_of(page).get_by_role("textbox")).to_have_count(0)


# ── looks, phones, readers ──────────────────────────────────────────────────────────────────────────────────────────


def test_groups_of_four_as_one_types_corrects_and_pastes(page: Page, shop: Shop) -> None:
    page.goto(shop.origin)
    type_in(page, "7kq4z")
    expect(field_of(page)).to_have_value("7KQ4-Z")
    for _ in range(4):
        page.keyboard.press("ArrowLeft")
    page.keyboard.type("x")
    expect(field_of(page)).to_have_value("7KXQ-4Z")
    assert field_of(page).evaluate("field => field.selectionStart") == 3
    page.keyboard.press("Control+a")
    page.keyboard.insert_text("  ma4k v30w-8p9cgem6 ")
    expect(field_of(page)).to_have_value("MA4K-V30W-8P9C-GEM6")
    page.keyboard.press("Control+a")
    page.keyboard.insert_text("ＭA4K：x")
    expect(field_of(page)).to_have_value("ＭA4K-：X")


def test_the_frames_script_reads_codes_as_the_service_does(page: Page, shop: Shop) -> None:
    page.goto(shop.origin)
    field_of(page)
    frame = inner_frame(page)
    for one in VECTORS["codes"]:
        assert frame.evaluate("text => codes.read(text)", one["shown"]) == one["code"]
        assert frame.evaluate("text => codes.group(text)", one["code"]) == one["shown"]
    for one in VECTORS["typed"]:
        assert frame.evaluate("text => codes.read(text)", one["typed"]) == one["code"], one
    for one in VECTORS["wrong"]:
        assert frame.evaluate("text => codes.read(text)", one["typed"]) is None, one


@pytest.mark.parametrize("viewport", [SMALL_PHONE, DESKTOP], ids=["320 pixels", "desktop"])
def test_it_fits_and_nothing_scrolls_or_zooms(new_page: Callable[..., Page], shop: Shop, viewport: Any) -> None:
    page = new_page(viewport=viewport, has_touch=True, is_mobile=viewport is SMALL_PHONE)
    shop.style = "body { margin: 0 } main { padding: 16px }"
    page.goto(shop.origin)
    field_of(page).tap()
    type_in(page, MISTYPED)
    expect(frame_of(page).get_by_role("alert")).to_contain_text("typing mistake")
    page.wait_for_timeout(200)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    over = "() => [root.scrollWidth - innerWidth, root.scrollHeight - innerHeight]"
    assert inner_frame(page).evaluate(over.replace("root", "document.documentElement")) == [0, 0]
    assert field_of(page).evaluate("field => parseFloat(getComputedStyle(field).fontSize)") >= 16
    box, label = field_of(page).bounding_box(), page.get_by_role("heading").bounding_box()
    assert box is not None and label is not None
    assert box["x"] == label["x"] == 16, "the field stands in line with the page"
    assert box["height"] >= 44, "a finger finds it"


def test_phone_keyboards_are_told_what_a_code_is(page: Page, shop: Shop) -> None:
    page.goto(shop.origin)
    names = ("autocapitalize", "autocomplete", "autocorrect", "spellcheck", "inputmode", "enterkeyhint")
    found = [field_of(page).get_attribute(name) for name in names]
    assert found == ["characters", "off", "off", "false", "text", "done"]


def test_readers_of_screens_hear_what_it_is_and_what_is_wrong(page: Page, shop: Shop) -> None:
    page.goto(shop.origin)
    field_of(page)
    assert page.locator("scrip-code iframe").get_attribute("title") == "Gift card code"
    expect(field_of(page)).to_have_accessible_description("Up to 30.00 GBP")
    type_in(page, MISTYPED)
    expect(frame_of(page).get_by_role("alert")).to_be_visible()
    expect(field_of(page)).to_have_accessible_description(re.compile("^Up to 30.00 GBP There is a typing mistake"))


def look(page: Page, *names: str) -> list[str]:
    """Computed styles of the field."""
    read = "(field, names) => names.map(name => getComputedStyle(field).getPropertyValue(name))"
    found: list[str] = field_of(page).evaluate(read, list(names))
    return found


def test_the_pages_variables_dress_the_field(page: Page, shop: Shop) -> None:
    shop.style = """:root { --own: hsl(280 60% 30%) }
        scrip-code { --scrip-color: var(--own); --scrip-background: #fffbe6; --scrip-border: rgb(1, 2, 3);
                     --scrip-radius: 1rem; --scrip-font-size: 20px } .big { --scrip-font-size: 24px }"""
    page.goto(shop.origin)
    wanted = ("color", "background-color", "border-top-color", "border-top-left-radius", "font-size")
    assert look(page, *wanted) == ["rgb(92, 31, 122)", "rgb(255, 251, 230)", "rgb(1, 2, 3)", "16px", "20px"]
    page.evaluate("element.className = 'big'")
    page.evaluate("element.style.setProperty('--scrip-font-size', '24px')")
    expect(field_of(page)).to_have_css("font-size", "24px")


HOSTILE = {
    "color": (
        "url(https://evil.example/x)", "red;background:url(x)", "var(--accent)", "inherit", "expression(1)", "12px",
        "rgb(0,0,0)}*{display:none", "image(url(x))", "light-dark(red,blue)", "color-mix(in srgb, red, blue)",
    ),
    "font-size": ("8px", "15.9px", "200px", "calc(20px)", "1e2px", "20pt", "100%", "20px;color:red", "20"),
    "radius": ("-1px", "33px", "4px 4px", "red"),
}  # fmt: skip


def test_whatever_is_no_colour_and_no_fair_length_changes_nothing(page: Page, shop: Shop) -> None:
    wanted = ("color", "background-color", "background-image", "border-top-left-radius", "font-size", "display")
    page.goto(shop.origin)
    plain = look(page, *wanted)
    hostile = [(name, value) for name, values in HOSTILE.items() for value in values]
    for amount, (name, value) in enumerate(hostile, 100):
        page.evaluate("([name, value]) => element.style.setProperty(`--scrip-${name}`, value)", [name, value])
        set_attributes(page, amount=str(amount))
        expect(frame_of(page).get_by_text(str(Money(amount, "GBP")))).to_be_visible()
        assert look(page, *wanted) == plain, (name, value)
        page.evaluate("name => element.style.removeProperty(`--scrip-${name}`)", name)


@pytest.mark.parametrize(
    ("of_page", "machine", "is_dark"),
    [("normal", "dark", False), ("light dark", "dark", True), ("light dark", "light", False), ("dark", "light", True)],
)
def test_it_is_dark_where_its_page_is(
    new_page: Callable[..., Page], shop: Shop, of_page: str, machine: Any, is_dark: bool
) -> None:
    shop.style = f":root {{ color-scheme: {of_page} }}"
    page = new_page(color_scheme=machine)
    page.goto(shop.origin)
    assert look(page, "color-scheme") == ["dark" if is_dark else "light"]


def test_in_a_page_from_right_to_left_the_code_still_reads_from_left_to_right(page: Page, shop: Shop) -> None:
    shop.style = "html { direction: rtl }"
    page.goto(shop.origin)
    type_in(page, "7KQ4Z")
    assert look(page, "direction") == ["ltr"]
    assert inner_frame(page).evaluate("document.documentElement.dir") == "rtl"


def test_the_stores_policy_may_be_strict_and_the_frames_own_is_kept(page: Page, shop: Shop, code: str) -> None:
    """The page of these tests allows no more than the manual says; nothing of ours breaks a rule of either page."""
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto(shop.origin)
    type_in(page, code)
    press_pay(page)
    expect(page.locator("output")).to_have_text(re.compile("^201 pay_"))
    assert [text for text in said if "favicon" not in text] == []


def test_the_page_of_the_manual_works_as_it_stands(page: Page, shop: Shop, code: str) -> None:
    (html,) = re.findall(r"```html\n(.*?)```", (DOCS / "widget.md").read_text(), re.DOTALL)
    html = html.replace("https://cards.example", shop.service).replace("str_01m84qez5yf32tqrxjsmfnpt7b", shop.store_id)
    shop.html = html.encode  # type: ignore[method-assign]
    shop.policy, shop.order = "", {"order_reference": "order-123"}
    page.goto(shop.origin)
    type_in(page, code)
    with page.expect_response("**/pay") as paid:
        press_pay(page)
    assert paid.value.text().startswith("201 pay_")


def test_a_page_that_isolates_itself_may_show_the_field_too(page: Page, shop: Shop, code: str) -> None:
    """Such a page loads nothing that has not agreed to it: neither our script nor our frame, unless they say so."""
    shop.headers = {"Cross-Origin-Embedder-Policy": "require-corp", "Cross-Origin-Opener-Policy": "same-origin"}
    page.goto(shop.origin)
    assert page.evaluate("crossOriginIsolated")
    type_in(page, code)
    press_pay(page)
    expect(page.locator("output")).to_have_text(re.compile("^201 pay_"))


def test_loaded_twice_the_script_does_no_harm(page: Page, shop: Shop, code: str) -> None:
    shop.more = f'<script src="{shop.service}/widget/v1.js" async></script>'
    page.goto(shop.origin)
    type_in(page, code)
    press_pay(page)
    expect(page.locator("output")).to_have_text(re.compile("^201 pay_"))


def test_two_fields_on_one_page_do_not_hear_each_other(page: Page, shop: Shop, service: str, world: World) -> None:
    page.goto(shop.origin)
    field_of(page)
    page.evaluate("""() => {
        window.other = element.cloneNode();
        window.others = [];
        other.addEventListener("token", (event) => others.push(event.detail));
        other.addEventListener("ready", () => others.push("ready"));
        document.body.append(other);
    }""")
    page.wait_for_function("() => others.includes('ready')")
    first = frame_of(page).first.get_by_role("textbox")
    first.click()
    page.wait_for_function("() => document.activeElement === element")
    expect(first).to_be_focused()
    page.keyboard.type(claim(service, world))
    page.keyboard.press("Enter")
    expect(page.locator("output")).to_have_text(re.compile("^201 pay_"))
    assert page.evaluate("others") == ["ready"]
