"""A store's own program, as far as keeping promises goes: it exchanges, confirms, and writes into an outbox."""

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from scrip_sdk import Budget, Client, Money, Payment
from scrip_sdk.outbox import Instruction, Outbox, settle_later, utc_now
from scrip_sdk.outbox.deliver import Delivery, deliver
from scrip_sdk.shopper import shopper_of
from tests.plugin_sdk.stores.service import Card, Store

#: Short, so that tests of an absence are; a busy machine may take longer to answer, so that none counts on an answer.
SHORT = Budget(connect_s=0.3, read_s=0.6, total_s=0.9)
LONG = Budget()
SECRET = "a bookshop's own secret"


def gbp(amount_minor: int) -> Money:
    return Money(amount_minor, "GBP")


def client_of(store: Store, budget: Budget = LONG) -> Client:
    """The store's client; it waits for as short as it may."""
    made = Client(store.service.url, store.credentials.client_id, store.credentials.client_secret, budget=budget)
    made.service.draw = lambda: 0.0
    return made


@dataclass
class Till:
    """A store at work: its client, its outbox, and the time as it knows it, which a test moves on."""

    store: Store
    client: Client
    outbox: Outbox
    ahead: timedelta = timedelta(0)

    def now(self) -> datetime:
        return utc_now() + self.ahead

    def hurry(self) -> None:
        """From now on no call takes as long as a second."""
        self.client.service.budget = SHORT

    def wait(self, **time: float) -> None:
        self.ahead += timedelta(**time)

    def exchange(self, card: Card, order: str, *, shopper: str = "session-1", hold_ttl_s: int | None = None) -> Payment:
        return self.client.exchange(
            card.code,
            order_reference=order,
            key=secrets.token_hex(8),
            shopper=shopper_of(SECRET, shopper),
            hold_ttl_s=hold_ttl_s,
        )

    def sell(self, amount_minor: int = 3_000, *, order: str = "order-1", final: bool = True) -> Instruction:
        """An order that stands on a fresh card of 50.00 GBP, and is to be settled."""
        payment = self.exchange(self.store.card(), order)
        self.client.confirm(payment.id, order_reference=order)
        return self.outbox.add(settle_later(payment.id, gbp(amount_minor), order_reference=order, final=final))

    def deliver(self, on_dead: Callable[[Instruction], None] | None = None, *, limit: int = 1_000) -> Delivery:
        return deliver(self.outbox, self.client, now=self.now, limit=limit, on_dead=on_dead)

    def deliver_all(self, tries: int = 12) -> None:
        """Until nothing is left, however long that takes by the store's clock."""
        for _ in range(tries):
            self.deliver()
            if self.outbox.counts().pending == 0:
                return
            self.wait(minutes=10)
        raise AssertionError(f"still pending after {tries} tries: {self.outbox.list(state='pending')}")

    def row(self, one: Instruction) -> Instruction:
        """The instruction as it stands now."""
        return next(each for each in self.outbox.list(payment_id=one.payment_id) if each.id == one.id)
