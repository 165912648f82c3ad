"""Each state of the checkout page is photographed on a phone and a desktop, light and dark, for people to look at."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from app import clock
from app.issuance.code import draw_code, show_code
from app.oauth.clients import add_client, replace_redirect_uris
from app.oauth.scopes import PARTY_SCOPES
from app.redemption.store import add_store
from tests.checkout.store_server import StoreServer
from tests.checkout.test_in_browser import go_to_checkout, pay, press
from tests.holder.conftest import DESKTOP, PHONE, SMALL_PHONE
from tests.pictures import IS_LOOKED_AT, photograph
from tests.world import World

pytestmark = pytest.mark.browser


def asking(page: Page, store: StoreServer, world: World) -> None:
    go_to_checkout(page, store)


def half_typed(page: Page, store: StoreServer, world: World) -> None:
    go_to_checkout(page, store)
    page.get_by_label("Your gift card’s code").press_sequentially("7kq4zx9m2fhn")


def mistyped(page: Page, store: StoreServer, world: World) -> None:
    go_to_checkout(page, store)
    pay(page, "7KQ4-ZX9M-2FHN-C0NZ")


def not_accepted(page: Page, store: StoreServer, world: World) -> None:
    go_to_checkout(page, store)
    pay(page, show_code(draw_code()))
    expect(page.get_by_role("alert")).to_contain_text("4 more tries")


def choosing(page: Page, store: StoreServer, world: World) -> None:
    go_to_checkout(page, store)
    pay(page, world.code(2_000).code)
    expect(page.get_by_role("heading", name="Your card has")).to_be_visible()


def approved(page: Page, store: StoreServer, world: World) -> None:
    store.lazy = True
    go_to_checkout(page, store)
    pay(page, world.code().code)
    expect(page.get_by_role("heading", name="Thank you")).to_be_visible()
    page.go_back()
    expect(page.get_by_role("heading", name="You said yes")).to_be_visible()


def released(page: Page, store: StoreServer, world: World) -> None:
    approved(page, store, world)
    with clock.ahead(timedelta(seconds=61)):
        page.reload()


def redeemed(page: Page, store: StoreServer, world: World) -> None:
    go_to_checkout(page, store)
    pay(page, world.code().code)
    expect(page.get_by_role("heading", name="Thank you")).to_be_visible()
    page.go_back()


def cancelled(page: Page, store: StoreServer, world: World) -> None:
    go_to_checkout(page, store)
    press(page, "Cancel and go back")
    expect(page.get_by_role("heading", name="Not paid")).to_be_visible()
    page.go_back()


def exhausted(page: Page, store: StoreServer, world: World) -> None:
    go_to_checkout(page, store)
    for _ in range(5):
        pay(page, show_code(draw_code()))
        page.wait_for_load_state()
    expect(page.get_by_role("heading", name="Five codes")).to_be_visible()


def expired(page: Page, store: StoreServer, world: World) -> None:
    go_to_checkout(page, store)
    with clock.ahead(timedelta(minutes=31)):
        page.reload()


def unknown(page: Page, store: StoreServer, world: World) -> None:
    page.goto(f"{store.scrip}/oauth/authorize?client_id=x&request_uri=x")


def long_names(page: Page, store: StoreServer, world: World) -> None:
    """Names that do not fit into one line, and an amount of many digits."""
    other = add_store("Donaudampfschifffahrtselektrizitätenhauptbetriebswerk Versand", mode="test")
    made = add_client(name="checkout", mode="test", store_id=other.id, scopes=PARTY_SCOPES["store"])
    replace_redirect_uris(made.client_id, [store.callback])
    store.credentials, store.amount, store.order = made, "123456789.01", "№ 2026-11-28/" + "4711" * 20
    go_to_checkout(page, store)


STATES = (
    asking,
    half_typed,
    mistyped,
    not_accepted,
    choosing,
    approved,
    released,
    redeemed,
    cancelled,
    exhausted,
    expired,
    unknown,
    long_names,
)


@pytest.mark.parametrize("reach", STATES if IS_LOOKED_AT else STATES[::2], ids=lambda reach: reach.__name__)
def test_a_state_is_photographed(
    reach: Callable[[Page, StoreServer, World], None],
    new_context: Callable[..., BrowserContext],
    store: StoreServer,
    world: World,
) -> None:
    """Nothing overflows sideways on a phone, everything that can be pressed is large enough for a thumb, has a name and
    enough contrast, there is one heading of the first level, and the console has no error."""
    page = new_context(reduced_motion="reduce").new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda said: errors.append(said.text) if "Content Security" in said.text else None)
    reach(page, store, world)
    for device, viewport in (("small phone", SMALL_PHONE), ("phone", PHONE), ("desktop", DESKTOP)):
        page.set_viewport_size(viewport)
        overflow = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert overflow == 0, device
        assert page.evaluate(FAULTS) == [], device
        if viewport is SMALL_PHONE:
            continue
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
            assert page.evaluate(PALE) == [], (device, scheme)
            photograph(page, "checkout", f"{reach.__name__}-{device}-{scheme}", full_page=True)
    assert errors == []


#: What WCAG 2.2 asks of targets (2.5.8 wants 24 px, we 44), names and headings.
FAULTS = """() => {
    const faults = [];
    for (const each of document.querySelectorAll("button, a[href], input:not([type=hidden])")) {
        const { height, width } = each.getBoundingClientRect();
        if (height < 44 || width < 44) faults.push(`${each.outerHTML} is too small`);
        if (!(each.labels?.length || each.textContent.trim())) faults.push(`${each.outerHTML} has no name`);
    }
    if (document.querySelectorAll("h1").length !== 1) faults.push("not one h1");
    if (!document.documentElement.lang || !document.title) faults.push("no language or title");
    if (document.querySelectorAll("main").length !== 1) faults.push("not one main");
    const ids = [...document.querySelectorAll("[id]")].map((each) => each.id);
    if (new Set(ids).size !== ids.length) faults.push("an id stands twice");
    for (const name of ["aria-describedby", "aria-labelledby"])
        for (const each of document.querySelectorAll(`[${name}]`))
            for (const id of each.getAttribute(name).split(" "))
                if (!document.getElementById(id)) faults.push(`${id} is nowhere`);
    return faults;
}"""
#: Text on a plain ground with less contrast than 4.5 : 1 (WCAG 2.2, 1.4.3).
PALE = """() => {
    const parts = (color) => color.match(/[\\d.]+/g).map(Number);
    const light = (color) => parts(color).slice(0, 3)
        .map((value) => (value /= 255) <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4)
        .reduce((sum, value, place) => sum + value * [0.2126, 0.7152, 0.0722][place], 0);
    const pale = [];
    for (const each of document.querySelectorAll("h1, main p, li, label, button, a, footer p")) {
        if (!each.textContent.trim() || each.closest(".card") || each.hidden) continue;
        let ground = each;
        while (ground && (parts(getComputedStyle(ground).backgroundColor)[3] === 0)) ground = ground.parentElement;
        const behind = getComputedStyle(ground || document.body).backgroundColor;
        const [one, other] = [light(getComputedStyle(each).color), light(behind)];
        const contrast = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
        if (contrast < 4.5) pale.push(`${each.textContent.trim()}: ${contrast.toFixed(2)}`);
    }
    return pale;
}"""
