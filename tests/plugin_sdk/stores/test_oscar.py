"""The shop on django-oscar, against the real service, with faults between them."""

import csv
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest
from playwright.sync_api import Browser, Page
from sqlalchemy import text

from app.db.embedded import EmbeddedPostgres
from tests.plugin_sdk.stores.fault_proxy import FaultProxy
from tests.plugin_sdk.stores.oscar_shop import DECLINED, GOOD, PASSWORD, PATIENCE_S, STAFF, Shop, Shopper, running_shop
from tests.plugin_sdk.stores.service import Service
from tests.plugin_sdk.stores.sums import assert_same_sums

PAYMENTS, CONFIRM = "/v1/payments", "/v1/payments/*/confirm"
REFUSED = "This gift card code is not accepted. Please check it, or pay in another way."
AWAY = "Gift cards cannot be taken at the moment. You can try again later, or pay in another way."
THANKS, PAY = "/checkout/thank-you/", "/checkout/payment-details/"
#: While a request waits for a service that is away, a shop's page takes so long at most: by default 12.
LONGEST_S = PATIENCE_S + 4


@pytest.fixture(scope="module")
def shop(service: Service, server: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """One shop for all of this module."""
    with running_shop(service, server, tmp_path_factory.mktemp("shop")) as shop:
        yield shop


@pytest.fixture
def sam(shop: Shop, faults: FaultProxy) -> Shopper:
    return shop.shopper()


def assert_paid(shop: Shop, sam: Shopper, *amounts_minor: int, bank: int = 0) -> list[str]:
    """The one order of this shopper stands, and each card paid once what it should; returns the payment IDs."""
    assert sam.page.path == THANKS, (sam.page.url, sam.page.alerts(), sam.page.words[:900])
    shop.deliver()
    number = sam.order().number
    sources = {ref: source for ref, source in shop.sources(number).items() if source.name == "Gift card"}
    assert [shop.store.settlements(payment_id) for payment_id in sources] == [[amount] for amount in amounts_minor]
    recorded = [(source.amount_allocated * 100, source.amount_debited * 100) for source in sources.values()]
    assert recorded == [(amount, amount) for amount in amounts_minor]
    assert shop.charges(number) == ([bank] if bank else [])
    assert sum(amounts_minor) + bank == sam.order().total_incl_tax * 100
    return list(sources)


def timed(do: Callable[[], object]) -> float:
    """How many seconds it took."""
    began = time.monotonic()
    do()
    return time.monotonic() - began


# ── paying ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_card_that_covers_the_order_pays_it_alone(shop: Shop, sam: Shopper) -> None:
    made = shop.card()
    sam.go_to_payment("Night Trains")
    page = sam.apply(made.code)
    assert (page.all_pays(), page.rest()) == (["£30.00"], "£0.00"), page.words
    assert "£50.00" in page.words and "bank-card-form" not in page.body
    sam.preview()
    sam.place()
    assert_paid(shop, sam, 3_000)
    assert shop.store.balance_minor(made) == 2_000


def test_in_a_browser_a_card_and_a_bank_card_share_an_order(shop: Shop, browser: Browser, faults: FaultProxy) -> None:
    """A typing mistake is told in the page and never sent; the code is on no later page, and in no address."""
    made = shop.card(1_000)
    context = browser.new_context()
    page = context.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(f"{request.method} {request.url}"))
    page.on("framenavigated", lambda frame: shop.traces.saw(frame.url))
    buy_as_guest(page, shop.url, "sam@example.com")
    field = page.get_by_label("Code of your gift card")
    field.press_sequentially(made.code[:-1] + ("3" if made.code[-1] == "2" else "2"))
    page.get_by_role("button", name="Use this card").click()
    assert "typing mistake" in (page.get_by_role("alert").filter(has_text="mistake").inner_text())
    assert not any("/gift-card/" in each for each in asked)
    field.fill("")
    field.press_sequentially(made.code.replace("-", "").lower())
    assert field.input_value() == made.code
    page.get_by_role("button", name="Use this card").click()
    page.locator("#gift-cards-applied").wait_for()
    shop.traces.saw(page.url, page.content())
    assert page.locator("#gift-cards-rest").inner_text() == "£20.00"
    assert page.get_by_label("Code of another gift card").input_value() == ""
    page.get_by_label("Card number").fill(GOOD)
    page.get_by_role("button", name="Continue").click()
    shop.traces.saw(page.url, page.content())
    page.get_by_role("button", name="Place order").dblclick()
    page.wait_for_url("**/thank-you/")
    shop.traces.saw(page.url, page.content())
    number = page.locator(".lead strong").inner_text()
    assert all(each.split()[1].startswith(shop.url) for each in asked), "the page has loaded something from elsewhere"
    context.close()
    shop.deliver()
    assert (shop.charges(number), [shop.store.settlements(ref) for ref in shop.sources(number) if "pay_" in ref]) == (
        [2_000],
        [[1_000]],
    )


def buy_as_guest(page: Page, url: str, email: str) -> None:
    """From the shelf to the payment page."""
    page.goto(url)
    page.locator("li", has_text="Night Trains").get_by_role("button", name="Add to basket").click()
    page.goto(f"{url}/checkout/")
    page.get_by_label("My email address is").fill(email)
    page.locator("input[value=anonymous]").check()
    page.get_by_role("button", name="Continue").click()


def test_two_cards_and_of_the_second_only_what_is_needed(shop: Shop, sam: Shopper) -> None:
    sam.ready(1_000, 5_000)
    assert "Gift card 1: £10.00 of £10.00 Gift card 2: £20.00 of £50.00" in sam.page.words
    sam.place()
    assert_paid(shop, sam, 1_000, 2_000)


def test_a_basket_that_changes_is_split_anew_and_never_placed_unseen(shop: Shop, sam: Shopper) -> None:
    """The page that was open when another book came cannot place the order that it does not show."""
    old = sam.ready(5_000, title="The Salt Almanac")
    sam.put_into_basket("Night Trains")
    page = sam.place(old)
    assert "Your order has changed" in page.words and not shop.orders(sam.email)
    assert page.all_pays() == ["£42.00"]
    sam.preview()
    sam.place()
    assert_paid(shop, sam, 4_200)


def test_a_card_that_a_smaller_basket_does_not_need_is_given_back(shop: Shop, sam: Shopper) -> None:
    sam.ready(2_000, 5_000)
    spare = sam.get(PAY).payment_ids()[1]
    lines = sam.get("/basket/").fields("basket_formset")
    sam.put_into_basket("The Salt Almanac")
    sam.post("/basket/", {**lines, "form-0-quantity": "0"})
    assert sam.get(PAY).all_pays() == ["£12.00", "£0.00"]
    sam.preview()
    sam.place()
    assert_paid(shop, sam, 1_200)
    assert shop.store.payments()[spare].state == "voided"


def test_a_book_that_is_sent_asks_for_an_address_first(shop: Shop, sam: Shopper) -> None:
    page = sam.go_to_payment("The Cartographer's Daughter")
    assert page.path == "/checkout/shipping-address/"
    where = {"first_name": "Sam", "last_name": "Reed", "line1": "1 High Street", "line4": "York", "postcode": "YO1 7HH"}
    page = sam.post("/checkout/shipping-address/", {**where, "country": "GB"})
    assert page.path == PAY, page.words
    sam.apply(shop.card().code)
    sam.preview()
    sam.place()
    assert_paid(shop, sam, 3_000)


# ── codes ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_wrong_codes_say_one_thing_and_mistyped_ones_another(shop: Shop, sam: Shopper, faults: FaultProxy) -> None:
    """Unknown, spent and another shopper's: the same words."""
    spent, held = shop.card(3_000), shop.card()
    sam.go_to_payment("Night Trains")
    sam.apply(spent.code)
    sam.preview()
    sam.place()
    assert_paid(shop, sam, 3_000)
    sam.go_to_payment("Night Trains")
    sam.apply(held.code)
    other = shop.shopper()
    other.go_to_payment("Night Trains")
    for code in (spent.code, "0000-0000-0000-0000", held.code):
        page = other.apply(code)
        assert page.alerts() == [REFUSED], (code, page.words)
    asked = len(faults.seen("POST", PAYMENTS))
    mistyped = spent.code[:-1] + ("3" if spent.code[-1] == "2" else "2")
    assert ["typing mistake" in other.apply(code).alerts()[0] for code in (mistyped, "")] == [True, True]
    assert len(faults.seen("POST", PAYMENTS)) == asked
    faults.refuse("POST", PAYMENTS, status=429, retry_after_s=47)
    assert other.apply(held.code).alerts() == ["Too many tries. Please wait 47 seconds before the next one."]


def test_a_card_that_was_taken_off_can_be_typed_again(shop: Shop, sam: Shopper) -> None:
    made, other = shop.card(), shop.shopper()
    old = sam.go_to_payment("Night Trains")
    (payment_id,) = sam.apply(made.code, old).payment_ids()
    other.go_to_payment("Night Trains")
    other.take_off(payment_id)
    assert shop.store.payments()[payment_id].state == "held", "somebody else's session took it off"
    page = sam.take_off(payment_id)
    assert page.payment_ids() == [] and "bank-card-form" in page.body
    shop.deliver()
    assert shop.store.payments()[payment_id].state == "voided"
    (again,) = sam.apply(made.code, old).payment_ids()  # by the browser's Back button, too
    assert again != payment_id
    sam.preview()
    sam.place()
    assert assert_paid(shop, sam, 3_000) == [again]


def test_one_code_in_two_sessions_pays_once(shop: Shop, sam: Shopper) -> None:
    made, other = shop.card(), shop.shopper()
    for each in (sam, other):
        each.go_to_payment("Night Trains")
    with ThreadPoolExecutor(2) as pool:
        pages = list(pool.map(lambda each: each.apply(made.code), (sam, other)))
    assert sorted(page.alerts() for page in pages) == [[], [REFUSED]]
    winner = sam if sam.page.all_pays() else other
    winner.preview()
    winner.place()
    assert_paid(shop, winner, 3_000)
    assert shop.store.balance_minor(made) == 2_000


# ── the bank says no, the shop breaks ───────────────────────────────────────────────────────────────────────────────


def test_a_declined_bank_card_keeps_the_gift_card_on_the_order(shop: Shop, sam: Shopper, faults: FaultProxy) -> None:
    """And a basket that grows meanwhile takes more of it, not only what was confirmed for the smaller one."""
    sam.ready(4_000, title="Night Trains")
    sam.put_into_basket("Night Trains")
    sam.get(PAY)
    sam.preview(DECLINED)
    page = sam.place()
    assert "The bank has declined the card" in page.alerts()[0] and not shop.orders(sam.email)
    assert (page.all_pays(), page.rest()) == (["£40.00"], "£20.00")
    exchanged = len(faults.seen("POST", PAYMENTS))
    sam.preview(GOOD)
    sam.place()
    assert_paid(shop, sam, 4_000, bank=2_000)
    assert len(faults.seen("POST", PAYMENTS)) == exchanged, "the code was sent again"


@pytest.fixture
def broken_orders(shop: Shop) -> Iterator[Callable[[], None]]:
    """The shop's database refuses orders, until the yielded function is called."""
    shop.run("CREATE FUNCTION broken() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RAISE 'no order today'; END$$")
    shop.run("CREATE TRIGGER broken BEFORE INSERT ON order_order FOR EACH ROW EXECUTE FUNCTION broken()")

    def mend() -> None:
        shop.run("DROP FUNCTION IF EXISTS broken CASCADE")

    yield mend
    mend()


def test_an_order_that_cannot_be_made_loses_nothing_and_can_be_tried_again(
    shop: Shop, sam: Shopper, broken_orders: Callable[[], None]
) -> None:
    """Its bank card is charged once, and no code is typed again. Who never comes back has his card freed."""
    gone = shop.shopper()
    gone.ready(5_000)
    sam.ready(1_000, bank_card=GOOD)
    for each in (sam, gone):
        assert "A problem occurred while placing this order" in each.place().alerts()[0]
        assert shop.orders(each.email) == []
    broken_orders()
    sam.place()
    assert_paid(shop, sam, 1_000, bank=2_000)
    (lost,) = gone.get(PAY).payment_ids()
    assert shop.store.payments()[lost].confirmed_at is not None
    shop.run("UPDATE scrip_payment SET confirmed_at = now() - interval '1 hour' WHERE payment_id = :id", id=lost)
    until = time.monotonic() + 10
    while shop.store.payments()[lost].state == "held" and time.monotonic() < until:
        time.sleep(0.1)
    assert shop.store.payments()[lost].state == "voided"
    assert gone.get(PAY).payment_ids() == []


def test_a_card_confirmed_for_a_basket_that_is_merged_into_another_is_typed_again_and_pays(
    shop: Shop, sam: Shopper
) -> None:
    """The bank says no, then he logs in, and the book from last time makes another order of it."""
    member = shop.shopper()
    member.join()
    member.put_into_basket("The Salt Almanac")
    made = shop.card(1_000)
    sam.go_to_payment("Night Trains")
    (first,) = sam.apply(made.code).payment_ids()
    sam.preview(DECLINED)
    assert "declined" in sam.place().alerts()[0]
    sam.log_in(member.email)
    sam.preview(GOOD)
    page = sam.place()
    assert "no longer reserved" in page.alerts()[0] and "type its code again" in page.alerts()[0], page.words
    assert page.payment_ids() == []
    (again,) = sam.apply(made.code, page).payment_ids()
    assert again != first
    sam.preview(GOOD)
    assert sam.place().path == THANKS, sam.page.alerts()
    shop.deliver()
    assert [shop.store.settlements(each) for each in (first, again)] == [[], [1_000]]
    ((number,),) = shop.rows("SELECT order_reference FROM scrip_payment WHERE payment_id = :id", id=again)
    assert shop.charges(number) == [3_200]


def test_where_one_of_two_cards_is_refused_both_are_off_the_order_and_said_so(
    shop: Shop, sam: Shopper, faults: FaultProxy
) -> None:
    """The one that was good is given back, and can be typed again."""
    made = shop.card(1_000)
    sam.go_to_payment("Night Trains")
    sam.apply(made.code)
    second = sam.apply(shop.card().code).payment_ids()[1]
    sam.preview()
    faults.refuse("POST", f"{PAYMENTS}/{second}/confirm", status=409)
    page = sam.place()
    assert "Gift cards 1, 2 are no longer reserved" in page.alerts()[0], page.words
    assert sam.apply(made.code, page).all_pays() == ["£10.00"]
    sam.preview(GOOD)
    sam.place()
    assert_paid(shop, sam, 1_000, bank=2_000)


def test_a_card_of_a_placing_that_was_killed_pays_for_the_next_basket(shop: Shop, sam: Shopper) -> None:
    """While it may still go on, the card stays its own; after that it is given back, and typed again."""
    made = shop.card(1_000)
    sam.go_to_payment("Night Trains")
    (first,) = sam.apply(made.code).payment_ids()
    sam.preview(DECLINED)
    sam.place()
    shop.run("UPDATE basket_basket SET status = 'Frozen' WHERE id = :id", id=sam.basket_id())  # what a kill leaves
    sam.go_to_payment("Night Trains")
    sam.preview(GOOD)
    assert "being placed at this moment" in sam.place().alerts()[0]
    assert "being placed at this moment" in sam.take_off(first).alerts()[0]
    assert shop.store.payments()[first].state == "held"
    shop.run("UPDATE scrip_payment SET confirmed_at = now() - interval '3 minutes' WHERE payment_id = :id", id=first)
    sam.preview(GOOD)
    page = sam.place()
    assert "type its code again" in page.alerts()[0], page.words
    sam.apply(made.code, page)
    sam.preview(GOOD)
    sam.place()
    assert_paid(shop, sam, 1_000, bank=2_000)
    assert shop.store.payments()[first].state == "voided"


def test_what_a_shopper_was_shown_is_known_again_where_sessions_are_in_cookies(shop: Shop) -> None:
    """There a session has another key after each request."""
    script = """
from types import SimpleNamespace
from django.contrib.auth.models import AnonymousUser
from django.contrib.sessions.backends.signed_cookies import SessionStore
from django.core import signing
from scrip_sdk.oscar.placing import _salt, read_seen
def request(session_key, **fields):
    session = SessionStore(session_key)
    return SimpleNamespace(session=session, user=AnonymousUser(), META={"REMOTE_ADDR": "192.0.2.1"}, POST=fields)
shown = request(None)
note = signing.dumps({"order": "1"}, salt=_salt(shown))
shown.session["more"] = "that makes it another cookie"
shown.session.save()
print(read_seen(request(shown.session.session_key, gift_card_seen=note)), read_seen(request(None, gift_card_seen=note)))
"""
    assert shop.manage("shell", "--no-imports", "-c", script).splitlines()[-1] == "{'order': '1'} None"


def test_a_card_is_not_taken_off_while_the_bank_is_being_charged(shop: Shop, sam: Shopper) -> None:
    """In a second tab; and once the order stands, it does not say that nothing was taken."""
    sam.ready(1_000, bank_card=GOOD)
    preview, tab = sam.page, sam.tab()
    (payment_id,) = tab.get(PAY).payment_ids()
    engine = shop.database.engine()
    with ThreadPoolExecutor(1) as pool, engine.begin() as bank:
        bank.execute(text("LOCK TABLE shop_bankcharge IN EXCLUSIVE MODE"))
        placing = pool.submit(sam.place, preview)
        waiting = "SELECT 1 FROM pg_locks WHERE NOT granted AND relation = 'shop_bankcharge'::regclass"
        until = time.monotonic() + 10
        while not shop.rows(waiting):
            assert time.monotonic() < until and not placing.done()
        assert "being placed at this moment" in tab.take_off(payment_id).alerts()[0]
        bank.commit()
        placing.result()
    engine.dispose()
    assert_paid(shop, sam, 1_000, bank=2_000)


# ── faults ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_whatever_happens_to_the_settle_the_order_stands_and_is_settled_once(
    shop: Shop, sam: Shopper, faults: FaultProxy
) -> None:
    """Six shoppers press at once, and each meets a fault of his own; the last one's service is gone for long."""
    shoppers = {each: shop.shopper() for each in ("lost once", "lost thrice", "twice", "503", "slow", "gone")}
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda each: each.ready(5_000), shoppers.values()))
    for fault, each in shoppers.items():
        path = f"{PAYMENTS}/{each.get(PAY).payment_ids()[0]}/settlements"
        match fault:
            case "lost once":
                faults.lose("POST", path)
            case "lost thrice":
                faults.lose("POST", path, times=3)
            case "twice":
                faults.twice("POST", path)
            case "503":
                faults.refuse("POST", path, times=2)
            case "slow":
                faults.slow("POST", path, seconds=3)
            case "gone":
                faults.drop("POST", path, times=-1)
        each.preview()
    with ThreadPoolExecutor(6) as pool:
        took = list(pool.map(lambda each: timed(each.place), shoppers.values()))
    assert max(took) < LONGEST_S
    gone = shoppers.pop("gone")
    assert gone.page.path == THANKS
    assert [source.amount_debited for source in shop.sources(gone.order().number).values()] == [0]
    faults.clear()
    for each in (*shoppers.values(), gone):
        assert_paid(shop, each, 3_000)


def test_while_the_service_is_away_the_shop_sells_and_no_code_is_burnt(
    shop: Shop, sam: Shopper, faults: FaultProxy
) -> None:
    """One shopper types a code, another presses the button: both pay by bank card, and both cards are as before."""
    made, other = shop.card(), shop.shopper()
    sam.go_to_payment("Night Trains")
    other.ready(5_000)
    (held,) = other.get(PAY).payment_ids()
    other.preview()
    with faults.away():
        with ThreadPoolExecutor(2) as pool:
            typed, placed = pool.submit(timed, lambda: sam.apply(made.code)), pool.submit(timed, other.place)
        assert max(typed.result(), placed.result()) < LONGEST_S
        assert sam.page.alerts() == [AWAY]
        assert "cannot be reached" in other.page.alerts()[0] and not shop.orders(other.email)
        other.take_off(held)
        for each in (sam, other):
            each.preview(GOOD)
            assert each.place().path == THANKS
    for each in (sam, other):
        assert_paid(shop, each, bank=3_000)
    assert shop.store.payments()[held].state == "voided"
    third = shop.shopper()
    third.go_to_payment("Night Trains")
    assert third.apply(made.code).all_pays() == ["£30.00"]


def test_lost_answers_to_exchange_and_confirm_burn_nothing(shop: Shop, sam: Shopper, faults: FaultProxy) -> None:
    made = shop.card()
    sam.go_to_payment("Night Trains")
    lost = faults.lose("POST", PAYMENTS, times=20)
    assert sam.apply(made.code).alerts() == [AWAY] and lost.met > 1
    faults.clear()
    assert sam.apply(made.code).all_pays() == ["£30.00"]
    sam.preview()
    faults.lose("POST", CONFIRM)
    sam.place()
    assert_paid(shop, sam, 3_000)


# ── presses of the button ───────────────────────────────────────────────────────────────────────────────────────────


def test_four_presses_at_once_make_one_order_and_one_settlement(shop: Shop, sam: Shopper) -> None:
    preview = sam.ready(1_000, bank_card=GOOD)
    with ThreadPoolExecutor(4) as pool:
        pages = list(pool.map(lambda _: sam.place(preview), range(4)))
    assert [page.path for page in pages] == [THANKS] * 4, [page.words[:300] for page in pages]
    assert_paid(shop, sam, 1_000, bank=2_000)
    assert sam.place(preview).path == THANKS, "from the browser's history"
    assert_paid(shop, sam, 1_000, bank=2_000)


# ── the hosted checkout ─────────────────────────────────────────────────────────────────────────────────────────────


def test_a_store_that_never_sees_a_code_sends_its_shopper_away_and_back(shop: Shop, faults: FaultProxy) -> None:
    """One card pays all, and its order is placed by coming back; the other leaves a rest; a third shopper says no."""
    with shop.hosted() as hosted:
        sam, ann, eve = (hosted.shopper() for _ in range(3))
        for each in (sam, ann, eve):
            each.go_to_payment("Night Trains")
            assert "gift_card_code" not in each.page.body
            each.post("/checkout/gift-card/", {})
            assert "Gift card, at its own page: £30.00" in each.page.words
            each.place()
            assert each.page.url.startswith(f"{shop.store.service.url}/oauth/authorize")
        sam.type_at_the_service(shop.card().code)
        assert_paid(shop, sam, 3_000)
        ann.type_at_the_service(shop.card(1_000).code)
        assert (ann.page.path, ann.page.all_pays(), ann.page.rest()) == (PAY, ["£10.00"], "£20.00")
        ann.preview(GOOD)
        ann.place()
        assert_paid(shop, ann, 1_000, bank=2_000)
        assert "Nothing was taken" in eve.say_no_at_the_service().words
        assert eve.get("/basket/").fields("basket_formset")["form-0-quantity"] == "1"
        eve.post("/checkout/gift-card/", {})
        eve.place()
        # The three calls of coming back have one time budget, of 3 seconds.
        for method, path, late_s in (
            ("POST", "/oauth/token", 0.5),
            ("GET", f"{PAYMENTS}/*", 0.5),
            ("POST", CONFIRM, 2.4),
        ):
            faults.slow(method, path, seconds=late_s)
        assert "cannot be reached" in eve.type_at_the_service(shop.card().code).alerts()[0]
        eve.preview()
        eve.place()
        assert_paid(shop, eve, 3_000)


# ── the back office, and the end of the month ───────────────────────────────────────────────────────────────────────


def test_a_refund_from_the_back_office_reaches_the_card_once(shop: Shop, sam: Shopper) -> None:
    made = shop.card()
    sam.go_to_payment("Night Trains")
    sam.apply(made.code)
    sam.preview()
    sam.place()
    (payment_id,) = assert_paid(shop, sam, 3_000)
    number = sam.order().number
    staff = shop.shopper()
    staff.get("/dashboard/login/")
    staff.post("/dashboard/login/", {"username": STAFF, "password": PASSWORD})
    page = staff.get(f"/dashboard/orders/{number}/")
    fields = {**page.fields(f"refund-{payment_id}"), "amount": "5.00"}
    assert "goes back to the gift card" in staff.post(f"/dashboard/orders/{number}/", fields).words
    staff.post(f"/dashboard/orders/{number}/", fields)
    shop.deliver()
    assert shop.store.balance_minor(made) == 2_500
    assert shop.sources(number)[payment_id].amount_refunded == 5
    over = {**staff.page.fields(f"refund-{payment_id}"), "amount": "25.01"}
    assert "more than the gift card has paid" in staff.post(f"/dashboard/orders/{number}/", over).words
    other = {**fields, "amount": "6.00"}
    assert "another amount already" in staff.post(f"/dashboard/orders/{number}/", other).words
    forged = {**staff.page.fields(f"refund-{payment_id}"), "amount": "5.00", "csrfmiddlewaretoken": ""}
    assert staff.post(f"/dashboard/orders/{number}/", forged).status == 403
    clerk = shop.shopper()
    clerk.join()
    shop.run("UPDATE auth_user SET is_staff = true WHERE email = :email", email=clerk.email)
    shop.run(
        "INSERT INTO auth_user_user_permissions (user_id, permission_id) SELECT auth_user.id, auth_permission.id"
        " FROM auth_user, auth_permission WHERE email = :email AND codename LIKE '%\\_order'",
        email=clerk.email,
    )
    page = clerk.get(f"/dashboard/orders/{number}/")
    assert payment_id in page.words and "refund-" not in page.body
    del forged["csrfmiddlewaretoken"]
    assert "You may not refund" in clerk.post(f"/dashboard/orders/{number}/", forged).words
    assert shop.waiting() == 0 and shop.store.balance_minor(made) == 2_500


def test_both_sides_say_the_same_sums_and_so_does_the_months_bill(shop: Shop) -> None:
    sums = assert_same_sums(shop.store, shop.database)
    bill = shop.manage("scrip_bill", "--month", f"{datetime.now(UTC):%Y-%m}").splitlines()
    billed = {line[0]: int(line[4]) for line in csv.reader(bill) if line[-1] == "settled"}
    assert billed == {payment_id: each.settled_minor - each.refunded_minor for payment_id, each in sums.items()}


def test_no_code_stays_in_the_shop(shop: Shop) -> None:
    assert len(shop.codes) > 20
    shop.traces.assert_without(*shop.codes)
