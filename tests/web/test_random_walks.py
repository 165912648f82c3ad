"""Random walks of one card through all that can happen to it: never a 5xx, and the books are right after each."""

from contextlib import ExitStack
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from hypothesis import given, seed, settings
from hypothesis import strategies as st
from werkzeug.test import TestResponse

from app import clock, config
from app.db.transaction import transaction
from app.redemption.expire import expire_due
from app.secrecy import random_secret
from tests.api import Api, api_of, money
from tests.web.bodies import card_body
from tests.web.test_never_500 import SWEEP
from tests.world import assert_audit_is_clean, forgive_all, key_of, make_world

MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)
AMOUNTS = st.sampled_from([1, 500, 2_000, 5_000, 5_001])
ORDERS = st.sampled_from(["order-1", "order-2"])
PASSING = [MINUTE, 11 * MINUTE, 31 * MINUTE, DAY, 3 * DAY, 8 * DAY, 31 * DAY, 91 * DAY, 366 * DAY]
#: By then every hold, link and card of a walk is over, whatever it waited for.
AFTER_ALL = 1_200 * DAY
STEPS = [
    "claim",
    "claim",
    "exchange",
    "exchange",
    "exchange",
    "confirm",
    "settle",
    "settle",
    "void",
    "extend",
    "extend",
    "refund",
]
MORE_STEPS = ["reissue", "address", "sweep", "wait", "resend", "look"]


class Walker:
    """Knows one card, its links, codes and payments, and does the next thing with one of them."""

    def __init__(self, api: Api, draw: Any, moved: ExitStack) -> None:
        self.api, self.draw, self.moved = api, draw, moved
        self.links: list[str] = []
        self.codes: list[str] = []
        self.payments: list[str] = []
        issued = self.post("/v1/cards", card_body(api.world.programme_id, deliver="link"))
        assert issued.status_code == 201
        self.card = f"/v1/cards/{issued.get_json()['id']}"
        self.links.append(issued.get_json()["claim_link"])

    def post(self, path: str, body: object, store: str = "bookshop") -> TestResponse:
        machine = getattr(self.api, store) if path.startswith("/v1/payments") else self.api.acme
        answer: TestResponse = machine.post(path, body)
        assert answer.status_code < 500, (path, body, answer.text)
        return answer

    def newest(self, known: list[str]) -> str | None:
        """The newest, mostly; sometimes one from before."""
        return known[-self.draw(st.sampled_from([1, 1, 1, 1, 2, 3])) % len(known)] if known else None

    def claim(self) -> None:
        link_id, key = key_of(self.newest(self.links) or "")
        answer = self.api.acme.client.post(f"/claim/{link_id}", json={"key": key, "nonce": random_secret()})
        assert answer.status_code in (200, 409, 410, 429), answer.text
        if answer.status_code == 200:
            self.codes.append(answer.get_json()["code"])

    def resend(self) -> None:
        link_id, key = key_of(self.newest(self.links) or "")
        answer = self.api.acme.client.post(f"/claim/{link_id}/resend", json={"key": key})
        assert answer.status_code in (202, 409, 410, 429), answer.text

    def exchange(self) -> None:
        if code := self.newest(self.codes):
            forgive_all()  # a walk is about cards, and all of them come from one store
            store = self.draw(st.sampled_from(["bookshop", "bookshop", "bookshop", "toyshop"]))
            amount = self.draw(st.none() | AMOUNTS)
            body = {"code": code, "order_reference": self.draw(ORDERS), "amount": amount and money(amount)}
            answer = self.post("/v1/payments", body, store)
            if answer.status_code == 201 and store == "bookshop":
                self.payments.append(f"/v1/payments/{answer.get_json()['id']}")

    def on_payment(self, verb: str, body: object) -> None:
        if path := self.newest(self.payments):
            self.post(f"{path}/{verb}", body)

    def confirm(self) -> None:
        self.on_payment("confirm", {"order_reference": self.draw(ORDERS)})

    def settle(self) -> None:
        self.on_payment("settlements", {"amount": money(self.draw(AMOUNTS)), "final": self.draw(st.booleans())})

    def void(self) -> None:
        self.on_payment("void", {})

    def extend(self) -> None:
        self.on_payment("extend", {"hold_ttl_s": self.draw(st.sampled_from([60, 86_400, 20 * 86_400, 366 * 86_400]))})

    def refund(self) -> None:
        self.on_payment("refunds", {"amount": money(self.draw(AMOUNTS))})

    def reissue(self) -> None:
        answer = self.post(f"{self.card}/reissue", {"deliver": "link"})
        if answer.status_code == 200:
            self.links.append(answer.get_json()["claim_link"])

    def address(self) -> None:
        self.post(f"{self.card}/holder", {"email": "sam@right.example"})

    def sweep(self) -> None:
        expire_due()

    def wait(self) -> None:
        self.moved.enter_context(clock.ahead(self.draw(st.sampled_from(PASSING))))

    def look(self) -> None:
        """What is shown now is what stands after the sweep has caught up."""
        before = self.shown()
        expire_due()
        after = self.shown()
        assert [one["balance"] for one in after[:1]] == [one["balance"] for one in before[:1]]
        for seen, then in zip(before, after, strict=True):
            assert seen["state"] == then["state"], (seen, then)
            assert [seen.get(name) for name in PARTS] == [then.get(name) for name in PARTS], (seen, then)

    def shown(self) -> list[dict[str, Any]]:
        """The card, then its payments at Bookshop."""
        found = [self.api.acme.get(self.card), *(self.api.bookshop.get(path) for path in self.payments)]
        assert {answer.status_code for answer in found} == {200}
        return [answer.get_json() for answer in found]


#: So many rounds of walks at most, until all of these have happened.
ROUNDS = 8
KINDS = {
    "card_issued",
    "code_shown",
    "code_exchanged",
    "code_refused",
    "payment_confirmed",
    "payment_settled",
    "payment_voided",
    "payment_extended",
    "payment_refunded",
    "payment_expired",
    "link_reissued",
    "card_lapsed",
}

PARTS = ("held", "settled", "released", "refunded", "confirmed", "order_reference")


@pytest.fixture
def own_api(own_database: config.Settings, app: Flask) -> Api:
    """In a database of its own: whoever moves the clock by years lapses every card that there is."""
    return api_of(app.test_client(), make_world())


def test_whatever_happens_to_a_card_the_books_are_right(own_api: Api) -> None:
    for number in range(ROUNDS):
        seed(number)(walk)(own_api)
        if not (unseen := KINDS - kinds_seen()):
            return
    pytest.fail(f"walks that only ever met refusals show nothing: {unseen}")


@given(data=st.data())
@settings(SWEEP, max_examples=25)
def walk(api: Api, data: st.DataObject) -> None:
    with ExitStack() as moved:
        walker = Walker(api, data.draw, moved)
        walker.claim()
        walker.exchange()
        for step in data.draw(st.lists(st.sampled_from([*STEPS, *MORE_STEPS]), min_size=20, max_size=40)):
            getattr(walker, step)()
        for later in (timedelta(), AFTER_ALL):
            moved.enter_context(clock.ahead(later))
            walker.look()
            card, *payments = walker.shown()
            assert card["balance"]["amount_minor"] >= 0
            for payment in payments:
                parts = {name: payment[name]["amount_minor"] for name in ("held", "settled", "released", "refunded")}
                assert parts["refunded"] <= parts["settled"], payment
                assert min(parts.values()) >= 0, payment
            assert_audit_is_clean()
        assert all(payment["held"]["amount_minor"] == 0 for payment in payments)


def kinds_seen() -> set[str]:
    with transaction() as db:
        return set(db.exec_driver_sql("SELECT DISTINCT kind FROM event").scalars())
