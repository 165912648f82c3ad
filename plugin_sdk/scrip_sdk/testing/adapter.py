"""The cases that every adapter must pass, whatever shop software it is for and whatever it is written in.

Write a `Shop` and an `Order` that drive your store as its shoppers do, and run each case against them:

    @pytest.mark.parametrize("case", CASES.values(), ids=CASES)
    def test_adapter(case, my_shop, fake_service):
        case(my_shop, fake_service)

The store talks to `FakeService`, or to anything else that is a `Service`. All amounts are in minor units of GBP.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Literal, Protocol

from scrip_sdk.code import read_code
from scrip_sdk.money import Money
from scrip_sdk.testing.codes import MISTYPED, draw_code, grouped
from scrip_sdk.testing.fake import FakeScrip
from scrip_sdk.testing.ledger import FakePayment

#: What a shopper was told when he gave a code: it counts towards the order; look at it again; it is not accepted; wait
#: before the next try; gift cards cannot be taken at the moment.
Told = Literal["taken", "mistyped", "refused", "wait", "away"]
Verb = Literal["exchange", "confirm", "settle", "void", "refund"]
#: Settled and refunded, by payment.
Sums = Mapping[str, tuple[int, int]]

PRICE, CARD = 3_000, 5_000


class Order(Protocol):
    """What a shopper is about to buy, for the price that was asked for, and later what he has bought. Each order has a
    shopper of its own."""

    def give(self, code: str) -> Told:
        """The shopper types a code. A store that pays with the cards as they come may have placed the order by that."""
        ...

    def place(self, *, with_rest: bool = False) -> bool:
        """The shopper presses the last button; `with_rest`: what the cards do not pay, the store's other method pays.

        Whether the order stands now. A store that makes the order first says whether the shopper is done with it. It
        may be called again, as people press buttons again.
        """
        ...

    def paid_minor(self) -> int:
        """What the store's own books say that gift cards have paid for this order, told to the service or not; less
        what went back to them."""
        ...

    def rest_minor(self) -> int:
        """What the store's own books say that its other method has paid, or nothing."""
        ...

    def call_off(self) -> None:
        """The shopper leaves the order before it stands, or the store cancels it before it is settled."""
        ...

    def refund(self, amount_minor: int) -> bool:
        """The store gives this much back to the order's gift cards; False where it said no."""
        ...


class Shop(Protocol):
    """A running store with an adapter in it."""

    def order(self, price_minor: int) -> Order:
        """A new shopper, who has chosen goods for this price and is about to pay."""
        ...

    def deliver(self) -> None:
        """Has the service told of everything that waits, what is put off until later included."""
        ...

    def sums(self) -> Sums:
        """What the store's records say of every payment that took money."""
        ...

    def billed(self) -> Mapping[str, int]:
        """What the bill of the month that runs asks for, by payment."""
        ...


class Service(Protocol):
    """What the store talks to, with the switches by which a test breaks it."""

    def issue(self, amount_minor: int) -> str:
        """The code of a new card."""
        ...

    def draw(self) -> str:
        """A code that is well formed and belongs to no card."""
        ...

    def taken_minor(self, code: str) -> int:
        """What the store has taken from the card to which this code belongs or belonged, less what went back to it."""
        ...

    def held_minor(self, code: str) -> int:
        """What the store holds of that card."""
        ...

    def sums(self) -> Sums:
        """What every payment of the store came to, of those that took money."""
        ...

    def lose(self, verb: Verb, times: int = 1) -> None:
        """It is done, and its answer is lost."""
        ...

    def drop(self, verb: Verb, times: int = 1) -> None:
        """The connection breaks before the service hears of it."""
        ...

    def repeat(self, verb: Verb, times: int = 1) -> None:
        """The service gets it twice."""
        ...

    def slow(self, verb: Verb, seconds: float) -> None:
        """It is done at once, and answered late."""
        ...

    def refuse(self, verb: Verb, times: int = 1) -> None:
        """It is answered 503, and not done."""
        ...

    def away(self) -> AbstractContextManager[None]:
        """Inside, nothing reaches the service."""
        ...

    def clear(self) -> None:
        """Nothing is broken any more."""
        ...


Case = Callable[[Shop, Service], None]
CASES: dict[str, Case] = {}


def _case(made: Case) -> Case:
    CASES[made.__name__] = made
    return made


# ── paying ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@_case
def a_card_that_covers_the_order_pays_it_alone(shop: Shop, service: Service) -> None:
    code, order = _paid(shop, service)
    order.place()  # again, from the browser's history
    _assert_paid(shop, service, order, {code: PRICE})


@_case
def what_the_card_does_not_pay_is_paid_in_another_way(shop: Shop, service: Service) -> None:
    code, order = service.issue(1_000), shop.order(PRICE)
    assert order.give(code) == "taken"
    assert order.place(with_rest=True)
    _assert_paid(shop, service, order, {code: 1_000}, rest_minor=2_000)


@_case
def an_order_that_is_not_covered_does_not_stand(shop: Shop, service: Service) -> None:
    code, order = service.issue(1_000), shop.order(PRICE)
    assert order.give(code) == "taken"
    assert not order.place()
    shop.deliver()
    assert service.taken_minor(code) == 0
    assert order.place(with_rest=True)
    _assert_paid(shop, service, order, {code: 1_000}, rest_minor=2_000)


@_case
def of_a_second_card_only_what_is_needed_is_taken(shop: Shop, service: Service) -> None:
    first, second, order = service.issue(1_000), service.issue(CARD), shop.order(PRICE)
    assert [order.give(first), order.give(second)] == ["taken", "taken"]
    assert order.place()
    _assert_paid(shop, service, order, {first: 1_000, second: 2_000})


@_case
def a_wrong_code_takes_nothing_and_the_right_one_pays_after_it(shop: Shop, service: Service) -> None:
    code, order = service.issue(CARD), shop.order(PRICE)
    assert order.give(MISTYPED) == "mistyped"
    assert order.give(service.draw()) == "refused"
    assert not order.place()
    assert order.paid_minor() == 0
    assert order.give(code) == "taken"
    assert order.place()
    _assert_paid(shop, service, order, {code: PRICE})


@_case
def one_code_in_two_orders_pays_once(shop: Shop, service: Service) -> None:
    code, one, other = service.issue(PRICE), shop.order(PRICE), shop.order(PRICE)
    assert one.give(code) == "taken"
    assert other.give(code) == "refused"
    assert one.place()
    _assert_paid(shop, service, one, {code: PRICE})
    assert other.place(with_rest=True)
    shop.deliver()
    assert (other.paid_minor(), other.rest_minor()) == (0, PRICE)
    _assert_paid(shop, service, one, {code: PRICE})


@_case
def an_order_that_is_called_off_gives_its_card_back(shop: Shop, service: Service) -> None:
    code, order = service.issue(1_000), shop.order(PRICE)
    assert order.give(code) == "taken"
    order.call_off()
    shop.deliver()
    assert (order.paid_minor(), service.taken_minor(code), service.held_minor(code)) == (0, 0, 0)
    _assert_same_sums(shop, service)


@_case
def a_refund_reaches_the_card_once_and_never_more_than_it_paid(shop: Shop, service: Service) -> None:
    code, order = _paid(shop, service)
    service.lose("refund")
    assert order.refund(500)
    shop.deliver()
    shop.deliver()
    assert (service.taken_minor(code), order.paid_minor()) == (PRICE - 500, PRICE - 500)
    assert not order.refund(PRICE)
    shop.deliver()
    assert service.taken_minor(code) == PRICE - 500
    _assert_same_sums(shop, service)


# ── faults ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def _settle_case(name: str, breaks: Callable[[Service], None]) -> None:
    def case(shop: Shop, service: Service) -> None:
        code, order = service.issue(CARD), shop.order(PRICE)
        breaks(service)
        assert order.give(code) == "taken"
        order.place()
        service.clear()
        shop.deliver()
        order.place()  # where the shopper was told to press again, he does
        _assert_paid(shop, service, order, {code: PRICE})

    case.__name__ = name
    _case(case)


_settle_case("a_settlement_whose_answer_is_lost_is_done_once", lambda service: service.lose("settle"))
_settle_case("a_settlement_whose_answers_are_lost_is_done_once", lambda service: service.lose("settle", 4))
_settle_case("a_settlement_that_never_arrived_is_made_up_for", lambda service: service.drop("settle", 20))
_settle_case("a_settlement_that_comes_twice_is_done_once", lambda service: service.repeat("settle"))
_settle_case("a_settlement_that_is_refused_for_a_while_is_made_up_for", lambda service: service.refuse("settle", 4))
_settle_case("a_settlement_that_is_answered_late_is_done_once", lambda service: service.slow("settle", 3.0))


@_case
def lost_answers_to_a_code_and_to_a_confirm_burn_nothing(shop: Shop, service: Service) -> None:
    code, order = service.issue(CARD), shop.order(PRICE)
    service.lose("exchange", 20)
    assert order.give(code) == "away"
    service.clear()
    service.lose("confirm")
    assert order.give(code) == "taken"
    assert order.place() or order.place()
    _assert_paid(shop, service, order, {code: PRICE})


@_case
def while_the_service_is_away_the_shop_sells_and_no_code_is_burnt(shop: Shop, service: Service) -> None:
    code, order = service.issue(CARD), shop.order(PRICE)
    with service.away():
        assert order.give(code) == "away"
        assert order.place(with_rest=True)
    shop.deliver()
    assert (order.paid_minor(), order.rest_minor(), service.taken_minor(code)) == (0, PRICE, 0)
    other = shop.order(PRICE)
    assert other.give(code) == "taken"
    assert other.place()
    _assert_paid(shop, service, other, {code: PRICE})


@_case
def a_service_that_goes_away_before_the_last_press_takes_nothing_twice(shop: Shop, service: Service) -> None:
    code, order = service.issue(1_000), shop.order(PRICE)
    assert order.give(code) == "taken"
    with service.away():
        order.place(with_rest=True)
    shop.deliver()
    if order.paid_minor() == 0 and order.rest_minor() < PRICE:  # the shop has asked for the card again
        assert order.give(code) == "taken"
    if order.paid_minor() + order.rest_minor() < PRICE:
        assert order.place(with_rest=True)
    shop.deliver()
    assert order.paid_minor() + order.rest_minor() == PRICE
    assert service.taken_minor(code) == order.paid_minor()
    _assert_same_sums(shop, service)


# ── the end of the month ────────────────────────────────────────────────────────────────────────────────────────────


@_case
def both_sides_say_the_same_sums_and_so_does_the_months_bill(shop: Shop, service: Service) -> None:
    _, order = _paid(shop, service)
    assert order.refund(1_200)
    shop.deliver()
    _assert_same_sums(shop, service)
    asked = {payment: settled - refunded for payment, (settled, refunded) in service.sums().items()}
    assert dict(shop.billed()) == {payment: minor for payment, minor in asked.items() if minor}


def _paid(shop: Shop, service: Service) -> tuple[str, Order]:
    """An order that a card has paid, and the card's code."""
    code, order = service.issue(CARD), shop.order(PRICE)
    assert order.give(code) == "taken"
    assert order.place()
    _assert_paid(shop, service, order, {code: PRICE})
    return code, order


def _assert_paid(
    shop: Shop, service: Service, order: Order, minor_by_code: Mapping[str, int], *, rest_minor: int = 0
) -> None:
    """The order was paid by these cards, so much by each, and by the other method; both sides have it so."""
    shop.deliver()
    assert (order.paid_minor(), order.rest_minor()) == (sum(minor_by_code.values()), rest_minor)
    _assert_same_sums(shop, service)
    assert [service.taken_minor(code) for code in minor_by_code] == list(minor_by_code.values())
    assert [service.held_minor(code) for code in minor_by_code] == [0] * len(minor_by_code)


def _assert_same_sums(shop: Shop, service: Service) -> None:
    assert dict(shop.sums()) == dict(service.sums())


# ── the fake as a service ───────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class FakeService:
    """`FakeScrip` with the switches that the cases use. The store must be told the fake's `url`, `client_id` and
    `client_secret`."""

    fake: FakeScrip

    def issue(self, amount_minor: int) -> str:
        return self.fake.issue(str(Money(amount_minor, "GBP").decimal))

    def draw(self) -> str:
        return grouped(draw_code())

    def taken_minor(self, code: str) -> int:
        return sum(one.settled_minor - one.refunded_minor for one in self._payments(code))

    def held_minor(self, code: str) -> int:
        return sum(one.held_minor for one in self._payments(code))

    def sums(self) -> Sums:
        return {one.id: (one.settled_minor, one.refunded_minor) for one in self.fake.payments if one.settled_minor}

    def lose(self, verb: Verb, times: int = 1) -> None:
        self.fake.lose_answer(times, verb=verb)

    def drop(self, verb: Verb, times: int = 1) -> None:
        self.fake.drop(times, verb=verb)

    def repeat(self, verb: Verb, times: int = 1) -> None:
        self.fake.repeat(times, verb=verb)

    def slow(self, verb: Verb, seconds: float) -> None:
        self.fake.delay(seconds, verb=verb)

    def refuse(self, verb: Verb, times: int = 1) -> None:
        self.fake.refuse("busy", times, verb=verb)

    @contextmanager
    def away(self) -> Iterator[None]:
        self.fake.went_down()
        try:
            yield
        finally:
            self.fake.came_back()

    def clear(self) -> None:
        self.fake.forget_faults()

    def _payments(self, code: str) -> list[FakePayment]:
        return [one for one in self.fake.payments if one.code.text == read_code(code)]
