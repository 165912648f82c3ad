"""The example shop on Vendure as it runs, and shoppers who buy in it over GraphQL."""

import csv
import json
import os
import secrets
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from app.db.embedded import EmbeddedPostgres
from scrip_sdk.testing.adapter import Sums, Told
from tests.plugin_sdk.stores.adapter_service import RealService
from tests.plugin_sdk.stores.service import Service
from tests.plugin_sdk.stores.store_process import Database, StoreProcess, running_program, store_database
from tests.plugin_sdk.stores.traces import Traces
from tests.service import ROOT, free_port

PACKAGE = ROOT / "plugin_sdk" / "vendure"
STAFF, PASSWORD = "staff", "a password of the back office"
GIFT_CARD, BANK = "scrip-gift-card", "bank"
DECLINED = "4000 0000 0000 0002"
#: What a request waits for the service at most; by default it is 8.
PATIENCE_S = 3
MISTYPED = "There is a typing mistake in this gift card code. Please check it."
REFUSED = "This gift card code is not accepted. Please check it, or pay in another way."
AWAY = "Gift cards cannot be taken at the moment. You can try again later, or pay in another way."
TOLD: Mapping[str, Told] = {MISTYPED: "mistyped", REFUSED: "refused", AWAY: "away"}

ADD = "mutation($id: ID!) { addItemToOrder(productVariantId: $id, quantity: 1) { __typename } }"
CHECK_OUT = """mutation($email: String!) {
  setCustomerForOrder(input: {firstName: "Sam", lastName: "Reed", emailAddress: $email}) { __typename }
  setOrderShippingAddress(input: {
    streetLine1: "1 High Street", city: "York", postalCode: "YO1 7HH", countryCode: "GB"
  }) { __typename }
  setOrderShippingMethod(shippingMethodId: ["1"]) { __typename }
  transitionOrderToState(state: "ArrangingPayment") { ... on Order { id code state } }
}"""
PAY = """mutation($method: String!, $metadata: JSON!) {
  addPaymentToOrder(input: {method: $method, metadata: $metadata}) {
    ... on Order { state payments { method amount state transactionId metadata } }
    ... on ErrorResult { errorCode message }
    ... on PaymentFailedError { paymentErrorMessage }
    ... on PaymentDeclinedError { paymentErrorMessage }
  }
}"""
ORDER = """query($id: ID!) { order(id: $id) {
  code state totalWithTax
  payments { id method amount state transactionId metadata refunds { total state } }
} }"""

LOG_IN = "mutation($name: String!, $password: String!) { login(username: $name, password: $password) { __typename } }"
DELIVER = "mutation { deliverScrip(everything: true) { done putOff dead away } }"
#: Without what is given back only if its order never comes.
WAITING = """SELECT verb, state, tries, last_error, due_at, lease_until FROM scrip_instruction
WHERE state = 'pending' AND (verb <> 'void' OR due_at < now() + interval '10 minutes')"""


@dataclass
class Shop:
    """`scrip_sdk.testing.adapter.Shop`: the running shop, and all that it leaves behind."""

    service: RealService
    database: Database
    process: StoreProcess
    environment: dict[str, str]
    traces: Traces
    books: dict[int, str] = field(default_factory=dict)
    token: str = ""

    def order(self, price_minor: int) -> "Order":
        shopper = Shopper(self)
        shopper.ask(ADD, id=self.books[price_minor])
        made = shopper.ask(CHECK_OUT, email=f"sam-{secrets.token_hex(4)}@example.com")["transitionOrderToState"]
        assert made["state"] == "ArrangingPayment", made
        return Order(shopper, made["id"], made["code"])

    def deliver(self) -> None:
        until = time.monotonic() + 30
        while waiting := self.rows(WAITING):
            assert time.monotonic() < until, waiting
            self.staff(DELIVER)

    def sums(self) -> Sums:
        query = (
            "SELECT payment_id, sum(amount_minor) FILTER (WHERE verb = 'settle') AS settled,"
            " coalesce(sum(amount_minor) FILTER (WHERE verb = 'refund'), 0) AS refunded"
            " FROM scrip_instruction WHERE state = 'done' AND verb <> 'void' GROUP BY payment_id"
        )
        return {row.payment_id: (int(row.settled), int(row.refunded)) for row in self.rows(query)}

    def billed(self) -> Mapping[str, int]:
        bill = self.staff("query($month: String!) { scripBill(month: $month) }", month=f"{datetime.now(UTC):%Y-%m}")
        return {line[0]: int(line[4]) for line in csv.reader(bill["scripBill"].splitlines()) if line[-1] == "settled"}

    def staff(self, query: str, **variables: Any) -> dict[str, Any]:
        """What the back office asks; it must be answered."""
        answer = self.post("admin-api", query, variables, self.token)
        assert "errors" not in answer, answer
        data: dict[str, Any] = answer["data"]
        return data

    def log_in(self) -> None:
        """The back office gets its token, which all servers of the shop take."""
        request = self._request("admin-api", LOG_IN, {"name": STAFF, "password": PASSWORD}, "")
        with urlopen(request, timeout=60) as answer:
            self.token = answer.headers["vendure-auth-token"]

    def post(self, api: str, query: str, variables: Mapping[str, Any], token: str) -> dict[str, Any]:
        """The whole answer, whatever it says."""
        return self.post_as(api, query, variables, token)[0]

    def post_as(self, api: str, query: str, variables: Mapping[str, Any], token: str) -> tuple[dict[str, Any], str]:
        """The whole answer, and the token to go on with."""
        try:
            given = urlopen(self._request(api, query, variables, token), timeout=60)
        except HTTPError as error:
            given = error
        with given as answer:
            body = answer.read().decode()
            self.traces.saw(answer.geturl(), body)
            found: dict[str, Any] = json.loads(body)
            return found, answer.headers.get("vendure-auth-token") or token

    def rows(self, query: str, **values: Any) -> list[Any]:
        """What the shop's database says."""
        return self.database.rows(query, **values)

    def _request(self, api: str, query: str, variables: Mapping[str, Any], token: str) -> Request:
        headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
        return Request(
            f"{self.process.url}/{api}", json.dumps({"query": query, "variables": variables}).encode(), headers
        )


@dataclass
class Shopper:
    """A session of the shop's own."""

    shop: Shop
    token: str = ""

    def ask(self, query: str, **variables: Any) -> dict[str, Any]:
        """What a storefront asks; it must be answered, be it with a refusal."""
        answer, self.token = self.shop.post_as("shop-api", query, variables, self.token)
        assert "errors" not in answer, answer
        data: dict[str, Any] = answer["data"]
        return data


@dataclass
class Order:
    """`scrip_sdk.testing.adapter.Order`: a shopper at the payment page."""

    shopper: Shopper
    id: str
    code: str
    #: The form's; the page shows a new form with each answer but that nothing can be said now.
    nonce: str = field(default_factory=secrets.token_urlsafe)
    #: What the shopper was told last.
    words: str = ""

    def give(self, code: str) -> Told:
        answer = self.pay(GIFT_CARD, code=code, nonce=self.nonce)
        told: Told = "taken"
        if "errorCode" in answer:
            self.words = answer["paymentErrorMessage"]
            told = TOLD.get(self.words, "wait")
        if told != "away":
            self.nonce = secrets.token_urlsafe()
        return told

    def pay(self, method: str, **metadata: str) -> dict[str, Any]:
        """What the shop answers to a payment."""
        found: dict[str, Any] = self.shopper.ask(PAY, method=method, metadata=metadata)["addPaymentToOrder"]
        return found

    def place(self, *, with_rest: bool = False) -> bool:
        if with_rest and not self.stands():
            self.pay(BANK)
        return self.stands()

    def stands(self) -> bool:
        """Whether the order is placed, and was not cancelled since."""
        return self.seen()["state"] in ("PaymentAuthorized", "PaymentSettled")

    def seen(self) -> dict[str, Any]:
        """The order as the back office sees it."""
        found: dict[str, Any] = self.shopper.shop.staff(ORDER, id=self.id)["order"]
        return found

    def payments(self, method: str) -> list[dict[str, Any]]:
        """What pays for the order by this method, or has."""
        paid = [each for each in self.seen()["payments"] if each["method"] == method]
        return [each for each in paid if each["state"] in ("Authorized", "Settled")]

    def paid_minor(self) -> int:
        return sum(
            each["amount"] - sum(back["total"] for back in each["refunds"] if back["state"] != "Failed")
            for each in self.payments(GIFT_CARD)
        )

    def rest_minor(self) -> int:
        return sum(each["amount"] for each in self.payments(BANK))

    def call_off(self) -> None:
        """Before it stands the shopper takes his cards off; after that the back office cancels it."""
        if self.stands():
            query = "mutation($id: ID!) { cancelOrder(input: {orderId: $id}) { ... on Order { state } } }"
            assert self.shopper.shop.staff(query, id=self.id)["cancelOrder"] == {"state": "Cancelled"}
        else:
            self.shopper.ask("mutation { removeGiftCards { code } }")

    def refund(self, amount_minor: int) -> bool:
        (payment,) = self.payments(GIFT_CARD)
        query = """mutation($payment: ID!, $amount: Money!) {
          refundOrder(input: {paymentId: $payment, amount: $amount, lines: [], shipping: 0, adjustment: 0}) {
            ... on Refund { state } ... on ErrorResult { errorCode message }
          }
        }"""
        answer = self.shopper.shop.staff(query, payment=payment["id"], amount=amount_minor)["refundOrder"]
        return "errorCode" not in answer and answer["state"] != "Failed"


def node() -> str:
    """Node, where the package is built. Without it the test is skipped, but never in CI."""
    found = shutil.which("node")
    if not found or not (PACKAGE / "dist" / "index.js").exists():
        if os.environ.get("CI") == "true":
            pytest.fail("plugin_sdk/vendure is not built: CI does it")
        pytest.skip("plugin_sdk/vendure is not built, or there is no Node")
    return found


@contextmanager
def running_shop(service: Service, server: EmbeddedPostgres, folder: Path) -> Iterator[Shop]:
    """The shop on a database of its own, with its books; it logs everything that Vendure can log."""
    store, log = RealService(service.new_store()), folder / "shop.log"
    with store_database(server) as database:
        environment = {
            "PATH": os.environ["PATH"],
            **store.store.environment,
            **database.environment,
            "SHOP_STAFF_PASSWORD": PASSWORD,
            "SHOP_SECRET": secrets.token_urlsafe(40),
            "SHOP_LOG": "everything",
            "SHOP_PATIENCE_MS": str(PATIENCE_S * 1_000),
            "SHOP_DELIVERS_EVERY_MS": "300",
        }
        with serving(environment, log) as process:
            shop = Shop(store, database, process, environment, Traces(database, [log]))
            shop.log_in()
            found = shop.staff("{ productVariants { items { id priceWithTax } } }")["productVariants"]["items"]
            shop.books = {each["priceWithTax"]: each["id"] for each in found}
            yield shop


def serving(environment: Mapping[str, str], log: Path) -> AbstractContextManager[StoreProcess]:
    """One server of the shop's."""
    port = free_port()
    return running_program(
        [node(), str(PACKAGE / "example" / "shop.js")],
        env={**environment, "PORT": str(port)},
        cwd=PACKAGE,
        log=log,
        health="/health",
        port=port,
    )


def said_once(log: Path) -> Path:
    """All that a log says, each statement and each line's parameters but once: what is to be searched is a tenth."""
    pieces = (piece for line in log.read_text().splitlines() for piece in line.split(" -- PARAMETERS: "))
    made = log.with_suffix(".once")
    made.write_text("\n".join(dict.fromkeys(pieces)))
    return made
