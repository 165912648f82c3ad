"""A shop in a few lines: the least that takes cards and passes every case of `scrip_sdk.testing.adapter`."""

import itertools
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from scrip_sdk import Client, CodeMistyped, CodeRefused, Money, ScripError, TryLater
from scrip_sdk.bill import make_bill
from scrip_sdk.keys import exchange_key, new_nonce
from scrip_sdk.order import OrderNotConfirmed, confirm_order
from scrip_sdk.outbox import Outbox, refund_later, settle_later, utc_now, void_later
from scrip_sdk.outbox.deliver import deliver
from scrip_sdk.shopper import Shopper, shopper_of
from scrip_sdk.split import split
from scrip_sdk.testing.adapter import Sums, Told

#: What was put off is due by then, in a shop that tests do not wait for.
LATER = timedelta(hours=1)
NOTHING = Money(0, "GBP")


@dataclass
class Till:
    """The shop: what it knows of its orders stands in the outbox."""

    client: Client
    outbox: Outbox
    sale: "type[Sale] | None" = None
    numbers: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))

    def order(self, price_minor: int) -> "Sale":
        return (self.sale or Sale)(self, f"till-{next(self.numbers)}", Money(price_minor, "GBP"))

    def deliver(self) -> None:
        for _ in range(10):
            deliver(self.outbox, self.client, now=self.later)

    def later(self) -> datetime:
        return utc_now() + LATER

    def sums(self) -> Sums:
        minor = {verb: self._minor(verb) for verb in ("settle", "refund")}
        return {payment: (settled, minor["refund"].get(payment, 0)) for payment, settled in minor["settle"].items()}

    def billed(self) -> Mapping[str, int]:
        bill = make_bill(self.outbox, f"{datetime.now(UTC):%Y-%m}")
        return {line.payment_id: line.amount.amount_minor for line in bill.lines}

    def _minor(self, verb: str) -> dict[str, int]:
        minor: dict[str, int] = {}
        for one in self.outbox.list(state="done", limit=1_000):
            if one.verb == verb and one.amount is not None:
                minor[one.payment_id] = minor.get(one.payment_id, 0) + one.amount.amount_minor
        return minor


@dataclass
class Sale:
    """An order: placed once its cards are confirmed and the rest is paid."""

    till: Till
    reference: str
    price: Money
    #: The form's; it comes again with a code whose answer was lost.
    nonce: str = field(default_factory=new_nonce)
    shopper: Shopper = field(default_factory=lambda: shopper_of(secrets.token_bytes(16), "sam"))
    held: dict[str, Money] = field(default_factory=dict)
    paid: dict[str, Money] = field(default_factory=dict)
    rest: Money = NOTHING
    stands: bool = False

    def give(self, code: str) -> Told:
        try:
            key = exchange_key(self.nonce, order_reference=self.reference, shopper=self.shopper, amount=self.price)
            payment = self.till.client.exchange(
                code, order_reference=self.reference, key=key, shopper=self.shopper, amount=self.price
            )
        except CodeMistyped:
            return "mistyped"
        except CodeRefused:
            self.nonce = new_nonce()
            return "refused"
        except TryLater:
            return "wait"
        except ScripError:
            return "away"
        self.nonce, self.held[payment.id] = new_nonce(), payment.held
        return "taken"

    def place(self, *, with_rest: bool = False) -> bool:
        if self.stands:
            return True
        plan = split(self.price, list(self.held.values()))
        if plan.remainder and not with_rest:
            return False
        parts = [part for part in zip(self.held, plan.amounts, strict=True) if part[1]]
        try:
            confirm_order(self.till.client, self.reference, parts)
        except OrderNotConfirmed as failed:
            for void in failed.to_void:
                self.till.outbox.add(void)
            self.held.clear()
            return False
        for payment_id, amount in parts:
            self.till.outbox.add(settle_later(payment_id, amount, order_reference=self.reference))
        self.paid, self.rest, self.stands = dict(parts), plan.remainder, True
        deliver(self.till.outbox, self.till.client)
        return True

    def paid_minor(self) -> int:
        return sum(amount.amount_minor for amount in self.paid.values())

    def rest_minor(self) -> int:
        return self.rest.amount_minor

    def call_off(self) -> None:
        for payment_id in self.held:
            self.till.outbox.add(void_later(payment_id, order_reference=self.reference))

    def refund(self, amount_minor: int) -> bool:
        amount = Money(amount_minor, "GBP")
        payment_id = next((each for each, paid in self.paid.items() if not paid < amount), None)
        if payment_id is None:
            return False
        self.paid[payment_id] -= amount
        self.till.outbox.add(
            refund_later(payment_id, amount, order_reference=self.reference, part=str(self.paid[payment_id]))
        )
        return True
