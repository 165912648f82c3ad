"""Each state of the pages is photographed on a phone and a desktop, light and dark, for people to look at."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from app import clock
from app.issuance.holder_data import HolderData
from app.issuance.issue import issue_card
from app.issuance.issuer import add_issuer
from app.issuance.programme import ProgrammeTerms, create_programme
from app.money import Money
from app.redemption.reissue import resend_link
from app.redemption.settle import settle_payment
from app.redemption.store import add_store
from app.redemption.void import void_payment
from tests.holder.asking import newest_link
from tests.holder.conftest import DESKTOP, PHONE, SMALL_PHONE, Served
from tests.pictures import IS_LOOKED_AT, photograph
from tests.world import TERMS, World, key_of, reference

pytestmark = pytest.mark.browser


def show_code(page: Page, link: str) -> None:
    page.goto(link)
    page.get_by_role("button", name="Show my code").click()
    expect(page.locator("[data-code]")).to_be_visible()


def open_again(page: Page, link: str) -> None:
    """A link that another browser has opened."""
    page.goto(link)
    page.get_by_role("button", name="Show my code").click()
    expect(page.locator("[data-page=refused]")).to_be_visible()


def ready(page: Page, served: Served, world: World) -> None:
    page.goto(served.claim_url(world.issue().claim_link))


def without_key(page: Page, served: Served, world: World) -> None:
    page.goto(served.claim_url(world.issue().claim_link).partition("#")[0])


def incomplete(page: Page, served: Served, world: World) -> None:
    page.goto(served.claim_url(world.issue().claim_link)[:-9])
    expect(page.get_by_role("alert").locator("visible=true")).to_be_visible()


def missing(page: Page, served: Served, world: World) -> None:
    page.goto(served.claim_url(world.issue().claim_link).partition("#")[0][:-9])


def claimed(page: Page, served: Served, world: World) -> None:
    show_code(page, served.claim_url(world.issue().claim_link))


def claimed_large(page: Page, served: Served, world: World) -> None:
    show_code(page, served.claim_url(world.issue(50_000).claim_link))


def card_after_reload(page: Page, served: Served, world: World) -> None:
    claimed(page, served, world)
    page.reload()
    expect(page.locator("[data-page=card]")).to_be_visible()


def opened(page: Page, served: Served, world: World) -> None:
    card = world.issue()
    world.claim(card.claim_link)
    open_again(page, served.claim_url(card.claim_link))


def opened_and_held(page: Page, served: Served, world: World) -> None:
    card = world.issue()
    world.exchange(world.claim(card.claim_link).code)
    open_again(page, served.claim_url(card.claim_link))


def opened_and_partly_settled(page: Page, served: Served, world: World) -> None:
    card = world.issue()
    payment = world.exchange(world.claim(card.claim_link).code).payment
    world.settle(payment.id, 1_250, final=False)
    open_again(page, served.claim_url(card.claim_link))


def spent(page: Page, served: Served, world: World) -> None:
    card = world.issue()
    payment = world.exchange(world.claim(card.claim_link).code).payment
    world.settle(payment.id, 5_000, final=True)
    open_again(page, served.claim_url(card.claim_link))


def superseded(page: Page, served: Served, world: World) -> None:
    card = world.issue()
    payment = world.exchange(world.claim(card.claim_link).code).payment
    world.settle(payment.id, 3_000, final=True)
    open_again(page, served.claim_url(card.claim_link))


def lapsed(page: Page, served: Served, world: World) -> None:
    link = served.claim_url(world.issue().claim_link)
    page.goto(link)
    with clock.ahead(timedelta(days=100)):
        page.get_by_role("button", name="Show my code").click()
        expect(page.locator("[data-page=refused]")).to_be_visible()


def not_accepted(page: Page, served: Served, world: World) -> None:
    link = served.claim_url(world.issue().claim_link)
    open_again(page, link[:-3] + "AAA")


def new_link_sent(page: Page, served: Served, world: World) -> None:
    opened(page, served, world)
    page.get_by_role("button", name="Send me a new link").click()
    expect(page.locator("[data-page=link-sent]")).to_be_visible()


def unreachable(page: Page, served: Served, world: World) -> None:
    page.goto(served.claim_url(world.issue().claim_link))
    page.route("**/claim/*", lambda route: route.abort())
    page.clock.install()
    page.get_by_role("button", name="Show my code").click()
    page.clock.run_for(60_000)
    expect(page.get_by_role("alert").locator("visible=true")).to_be_visible(timeout=15_000)


def asked_too_soon(page: Page, served: Served, world: World) -> None:
    card = world.issue()
    world.claim(card.claim_link)
    link_id, key = key_of(card.claim_link or "")
    resend_link(link_id, key=key)
    newer = "{}/claim/{}#{}".format(served.url, *newest_link(card.id))
    world.claim(newer)
    open_again(page, newer)
    page.get_by_role("button", name="Send me a new link").click()
    expect(page.get_by_role("alert").locator("visible=true")).to_contain_text("Please wait 10 minutes")


def at_store(page: Page, served: Served, world: World) -> None:
    card = world.issue()
    payment = world.exchange(world.claim(card.claim_link).code).payment
    void_payment(payment.id, store_id=world.bookshop, reference=reference(world.bookshop))
    open_again(page, served.claim_url(card.claim_link))


def hold_over(page: Page, served: Served, world: World) -> None:
    card = world.issue()
    world.exchange(world.claim(card.claim_link).code)
    with clock.ahead(timedelta(minutes=40)):
        open_again(page, served.claim_url(card.claim_link))


def long_names_and_amounts(page: Page, served: Served, world: World) -> None:
    """Three decimals, many digits, and names that do not fit into one line."""
    issuer = add_issuer("Königlich Bayerische Buchhandlung & Söhne International plc", mode="test")
    store = add_store("Donaudampfschifffahrtselektrizitätenhauptbetriebswerk Versand", mode="test")
    terms = ProgrammeTerms(**{**TERMS, "currency": "KWD", "card_max_minor": 10**9})
    programme = create_programme(terms, issuer_id=issuer.id, mode="test", reference=reference(issuer.id))
    world = World(issuer.id, programme.id, store.id, world.toyshop)
    card = issue_card(
        programme.id,
        Money(123_456_789, "KWD"),
        issuer_id=issuer.id,
        client_id=world.client_id,
        holder=HolderData("a@b.example"),
        deliver="link",
        reference=reference(issuer.id),
    )
    payment = world.exchange(world.claim(card.claim_link).code).payment
    settling = reference(store.id)
    settle_payment(payment.id, Money(23_456_780, "KWD"), store_id=store.id, reference=settling, final=False)
    open_again(page, served.claim_url(card.claim_link))


STATES = (
    asked_too_soon,
    at_store,
    hold_over,
    long_names_and_amounts,
    ready,
    without_key,
    incomplete,
    missing,
    claimed,
    claimed_large,
    card_after_reload,
    opened,
    opened_and_held,
    opened_and_partly_settled,
    spent,
    superseded,
    lapsed,
    not_accepted,
    new_link_sent,
    unreachable,
)


@pytest.mark.parametrize("reach", STATES if IS_LOOKED_AT else STATES[::3], ids=lambda reach: reach.__name__)
def test_a_state_is_photographed(
    reach: Callable[[Page, Served, World], None],
    new_context: Callable[..., BrowserContext],
    served: Served,
    world: World,
) -> None:
    """Nothing overflows sideways on a phone, and no state has an error in the browser's console."""
    page = new_context(reduced_motion="reduce").new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda said: errors.append(said.text) if "Content Security" in said.text else None)
    reach(page, served, world)
    for device, viewport in (("small phone", SMALL_PHONE), ("phone", PHONE), ("desktop", DESKTOP)):
        page.set_viewport_size(viewport)
        overflow = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert overflow == 0, device
        if viewport is SMALL_PHONE:
            continue
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
            photograph(page, "holder", f"{reach.__name__}-{device}-{scheme}", full_page=True)
    assert errors == []
