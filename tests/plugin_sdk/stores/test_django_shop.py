"""A Django shop of one's own, as processes, with faults between it and the service: an order stands and is paid once.

Once as Django is by default, and once with each request in one transaction (ATOMIC_REQUESTS).
"""

import re
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx2
import pytest
from sqlalchemy import text

from app.db.embedded import EmbeddedPostgres
from tests.plugin_sdk.stores.fault_proxy import FaultProxy, Rule
from tests.plugin_sdk.stores.service import Service, Store
from tests.plugin_sdk.stores.store_process import (
    Database,
    StoreProcess,
    end_in_order,
    run_python,
    running_store,
    store_database,
    store_environment,
    stores_python,
)
from tests.plugin_sdk.stores.sums import assert_same_sums
from tests.plugin_sdk.stores.traces import Traces
from tests.service import ROOT

pytestmark = pytest.mark.slow

EXAMPLES, FAULTY = ROOT / "plugin_sdk" / "examples", Path(__file__).parent / "django_faulty"
SETTLEMENTS, CONFIRM = "/v1/payments/*/settlements", "/v1/payments/*/confirm"
NEWEST = "WHERE id = (SELECT max(id) FROM scrip_payment)"
#: What a shopper waits for at the worst, by the shop's settings: the confirms, and a little of the delivery.
PATIENCE_S = 7
#: Rows stay locked in this mode while the service is asked, so it is the harder one.
atomic = pytest.mark.parametrize("shop", ["atomic requests"], indirect=True)


@dataclass
class Shop:
    """The running shop, and what it leaves behind."""

    store: Store
    database: Database
    process: StoreProcess
    fault: Path
    traces: Traces
    codes: list[str] = field(default_factory=list)
    #: How many orders there were when the test began.
    before: int = 0
    browsers: list[httpx2.Client] = field(default_factory=list)

    def card(self, amount_minor: int = 5_000) -> str:
        self.codes.append(self.store.card(amount_minor).code)
        return self.codes[-1]

    def shopper(self) -> "Shopper":
        return Shopper(self)

    def rows(self, query: str) -> list[tuple[object, ...]]:
        engine = self.database.engine()
        with engine.begin() as db:
            result = db.execute(text(query))
            found = [tuple(row) for row in result] if result.returns_rows else []
        engine.dispose()
        return found

    def orders(self) -> list[str]:
        """Those of this test."""
        return [str(number) for (number,) in self.rows("SELECT number FROM django_shop_order ORDER BY id")][
            self.before :
        ]

    def finish(self) -> None:
        """Until the command has delivered all that waits; what was put off is made due now."""
        self.rows("UPDATE scrip_instruction SET due_at = created_at WHERE state = 'pending'")
        until = time.monotonic() + 30
        while self.rows("SELECT 1 FROM scrip_instruction WHERE state = 'pending'"):
            assert time.monotonic() < until, self.rows("SELECT * FROM scrip_instruction WHERE state = 'pending'")
            time.sleep(0.1)


class Shopper:
    """A browser without scripts."""

    def __init__(self, shop: Shop) -> None:
        self.shop = shop
        self.browser = httpx2.Client(base_url=shop.process.url, follow_redirects=True, timeout=30)
        shop.browsers.append(self.browser)

    def see(self, answer: "httpx2.Response") -> str:
        self.shop.traces.saw(str(answer.url), answer.text)
        return str(answer.text)

    def type_code(self, code: str) -> str:
        page = self.see(self.browser.get("/"))
        nonce = re.search(r'name="nonce" value="([^"]+)"', page)
        assert nonce is not None
        return self.post("/card", page, scrip_code=code, nonce=nonce[1])

    def place(self) -> str:
        return self.press(self.see(self.browser.get("/")))

    def press(self, page: str) -> str:
        """The button on this page, however old it is."""
        [order] = re.findall(r'name="order" value="([\w-]+)"', page)
        return self.post("/place", page, order=order)

    def post(self, path: str, page: str, **fields: str) -> str:
        form = {"csrfmiddlewaretoken": re.findall(r'csrfmiddlewaretoken" value="(\w+)"', page)[-1], **fields}
        return self.see(self.browser.post(path, data=form, headers={"Referer": str(self.browser.base_url)}))


@pytest.fixture(scope="module", params=["autocommit", "atomic requests"])
def shop(
    service: Service, server: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Shop]:
    folder = tmp_path_factory.mktemp("shop")
    (mails := folder / "mails").mkdir()
    (fault := folder / "fault").touch()
    store, log = service.new_store(), folder / "shop.log"
    with ExitStack() as stack:
        database = stack.enter_context(store_database(server))
        env = store_environment(
            store.environment,
            database.environment,
            {
                "PYTHONPATH": f"{ROOT / 'plugin_sdk'}:{EXAMPLES}:{FAULTY}",
                "DJANGO_SETTINGS_MODULE": "faulty_settings",
                "SHOP_SECRET_KEY": "shop" * 16,
                "SHOP_MAILS": str(mails),
                "SHOP_FAULT": str(fault),
                "SHOP_ATOMIC_REQUESTS": "yes" if request.param == "atomic requests" else "no",
            },
        )
        run_python([str(EXAMPLES / "django_shop" / "manage.py"), "migrate", "-v0"], env=env, cwd=folder)
        process = stack.enter_context(running_store("faulty_wsgi:application", env=env, cwd=folder, log=log))
        stack.enter_context(delivering(env, log))
        yield Shop(store, database, process, fault, Traces(database, files=[log, mails]))


@contextmanager
def delivering(env: Mapping[str, str], log: Path) -> Iterator[None]:
    """`manage.py scrip_deliver` beside the shop, until it is told to end."""
    command = [stores_python(), str(EXAMPLES / "django_shop" / "manage.py"), "scrip_deliver", "--every", "0.3"]
    with log.open("ab") as output, subprocess.Popen(command, env=env, stdout=output, stderr=output) as process:
        try:
            yield
        finally:
            assert end_in_order(process) == 0, log.read_text()[-10_000:]


@pytest.fixture
def shopper(shop: Shop, faults: FaultProxy) -> Iterator[Shopper]:
    """With a basket, and a shop in which nothing is wrong and nothing waits."""
    shop.fault.write_text("")
    shop.before = 0
    shop.before = len(shop.orders())
    yield shop.shopper()
    while shop.browsers:
        shop.browsers.pop().close()
    faults.clear()
    shop.fault.write_text("")


def assert_paid(shop: Shop, *orders: str, minor: int = 3_000) -> None:
    """These orders of this test were paid by card, each settled once; the shop and the service say the same."""
    rows = shop.rows("SELECT order_reference, settled_minor FROM scrip_payment WHERE state = 'settled' ORDER BY id")
    found = [(order, settled) for order, settled in rows if order in shop.orders()]
    assert found == [(order, minor) for order in orders]
    settled = {
        payment.order_reference: payment.id for payment in shop.store.payments().values() if payment.settled_minor
    }
    assert [shop.store.settlements(settled[order]) for order in orders] == [[minor]] * len(orders)


def order_of(page: str) -> str:
    found = re.search(r"Order <output>([\w-]+)</output>", page)
    assert found is not None, page
    return found[1]


def test_a_card_pays_for_an_order(shop: Shop, shopper: Shopper) -> None:
    assert "0.00 GBP" in shopper.type_code(shop.card())
    order = order_of(shopper.place())
    shop.finish()
    assert_paid(shop, order)


@atomic
def test_a_card_that_is_not_enough_leaves_the_rest_to_another_method(shop: Shop, shopper: Shopper) -> None:
    assert "18.00 GBP" in shopper.type_code(shop.card(1_200))
    order = order_of(shopper.place())
    shop.finish()
    assert_paid(shop, order, minor=1_200)


@atomic
def test_a_wrong_code_says_one_thing_and_a_mistyped_one_is_not_asked(
    shop: Shop, shopper: Shopper, faults: FaultProxy
) -> None:
    code = shop.card()
    mistyped = code[:-1] + ("A" if code[-1] != "A" else "B")
    assert "typing mistake" in shopper.type_code(mistyped) and not faults.seen("POST", "/v1/payments")
    spent = shop.shopper()
    spent.type_code(code)
    spent.place()
    answers = {re.sub(r'value="[^"]*"', "", shopper.type_code(each)) for each in (code, "0000-0000-0000-0000")}
    assert len(answers) == 1 and "not accepted" in answers.pop()


@atomic
@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(lambda faults: faults.lose("POST", SETTLEMENTS), id="lost once"),
        pytest.param(lambda faults: faults.lose("POST", SETTLEMENTS, times=3), id="lost three times"),
        pytest.param(lambda faults: faults.twice("POST", SETTLEMENTS), id="duplicated"),
        pytest.param(lambda faults: faults.refuse("POST", SETTLEMENTS, retry_after_s=2), id="503"),
        pytest.param(lambda faults: faults.slow("POST", SETTLEMENTS, seconds=2.2, times=1), id="slow"),
    ],
)
def test_whatever_befalls_a_settle_the_order_stands_and_is_settled_once(
    shop: Shop, shopper: Shopper, faults: FaultProxy, fault: "Callable[[FaultProxy], Rule]"
) -> None:
    shopper.type_code(shop.card())
    rule = fault(faults)
    began = time.monotonic()
    order = order_of(shopper.place())
    assert time.monotonic() - began < PATIENCE_S
    shop.finish()
    assert rule.met
    assert_paid(shop, order)


@atomic
def test_a_lost_exchange_or_confirm_burns_no_code(shop: Shop, shopper: Shopper, faults: FaultProxy) -> None:
    faults.lose("POST", "/v1/payments")
    faults.lose("POST", CONFIRM)
    assert "0.00 GBP" in shopper.type_code(shop.card())
    order = order_of(shopper.place())
    shop.finish()
    assert_paid(shop, order)


@atomic
def test_the_shop_sells_on_while_the_service_is_away(shop: Shop, shopper: Shopper, faults: FaultProxy) -> None:
    """Nothing is typed again when it is back; and an order that stood before is delivered then."""
    shopper.type_code(shop.card())
    faults.refuse("POST", SETTLEMENTS, times=-1)
    early = order_of(shopper.place())
    shopper.type_code(shop.card())
    other = shop.shopper()
    with faults.away():
        began = time.monotonic()
        assert "cannot be taken at the moment" in shopper.place()
        assert "cannot be taken at the moment" in other.type_code(shop.card())
        assert time.monotonic() - began < 2 * PATIENCE_S
        assert order_of(other.place()), "it does not sell without a card"
    faults.clear()
    late = order_of(shopper.place())
    shop.finish()
    assert_paid(shop, early, late)


@pytest.mark.parametrize("fault", ["die", "fail"])
def test_what_was_confirmed_for_an_order_that_never_came_is_given_back(
    shop: Shop, shopper: Shopper, fault: str
) -> None:
    """Killed, or rolled back, between the confirm and the order: the record of the card was committed before."""
    code = shop.card()
    shopper.type_code(code)
    shop.fault.write_text(fault)
    try:
        assert "Server Error" in shopper.place()
    except httpx2.HTTPError:
        assert fault == "die"
    shop.fault.write_text("")
    [(payment_id, state)] = shop.rows(f"SELECT payment_id, state FROM scrip_payment {NEWEST}")
    service_side = shop.store.payments()[str(payment_id)]
    assert service_side.state == "held" and service_side.confirmed_at is not None, "it was not confirmed"
    assert shop.orders() == [] and state in ("applied", "confirmed")
    shop.rows(
        "UPDATE scrip_payment SET confirmed_at = confirmed_at - interval '16 minutes', "
        f"expires_at = CASE WHEN state = 'applied' THEN now() - interval '1 second' ELSE expires_at END {NEWEST}"
    )
    until = time.monotonic() + 30
    while shop.store.payments()[str(payment_id)].state == "held" and time.monotonic() < until:
        time.sleep(0.1)
    assert shop.store.payments()[str(payment_id)].state == "voided"
    assert "0.00 GBP" in shopper.type_code(code), "the shopper can type it again"
    order = order_of(shopper.place())
    shop.finish()
    assert_paid(shop, order)


def test_who_presses_four_times_orders_once(shop: Shop, shopper: Shopper) -> None:
    shopper.type_code(shop.card())
    page = shopper.see(shopper.browser.get("/"))
    shop.fault.write_text("slow")
    with ThreadPoolExecutor(4) as pool:
        pages = list(pool.map(lambda _: shopper.press(page), range(4)))
    [order] = shop.orders()
    assert [order_of(each) for each in (*pages, shopper.press(page))] == [order] * 5
    shop.finish()
    assert_paid(shop, order)


@atomic
def test_a_card_that_is_removed_is_free_for_another_order(shop: Shop, shopper: Shopper) -> None:
    code = shop.card()
    page = shopper.type_code(code)
    card = re.search(r'name="card" value="(pay_\w+)"', page)
    assert card is not None
    assert "30.00 GBP" in shopper.post("/remove", page, card=card[1])
    shop.finish()  # a process that has lately found the service away leaves it to the command
    assert shop.store.payments()[card[1]].state == "voided"
    assert "0.00 GBP" in shopper.type_code(code)
    order = order_of(shopper.place())
    shop.finish()
    assert_paid(shop, order)


@atomic
def test_one_code_in_two_sessions_pays_once(shop: Shop, shopper: Shopper) -> None:
    code, other = shop.card(), shop.shopper()
    assert "0.00 GBP" in shopper.type_code(code)
    assert "not accepted" in other.type_code(code)
    first, second = order_of(shopper.place()), order_of(other.place())
    assert shop.orders() == [first, second]
    shop.finish()
    assert_paid(shop, first)


def test_the_code_stays_nowhere(shop: Shop, shopper: Shopper, faults: FaultProxy) -> None:
    """Of all orders of this file: in no table, session, log, mail, page or address. And all sums are right."""
    shopper.type_code(shop.card())
    shopper.place()
    assert len(shop.codes) >= 4
    shop.traces.assert_without(*shop.codes)
    assert_same_sums(shop.store, shop.database)
    secret = shop.store.credentials.client_secret
    assert not shop.traces.search({"client secret": secret})
