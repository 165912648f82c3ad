"""Steps of nobody: time goes on, the worker comes by, requests are repeated, somebody looks."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from app.errors import ReferenceReused
from app.ids import CardId, PaymentId
from app.issuance.card import read_card
from app.redemption.expire import expire_due
from app.redemption.payment import read_payment
from tests.simulation import issuer_rules
from tests.simulation.acting import WHICH
from tests.simulation.facts import (
    card_facts,
    payment_facts,
)
from tests.simulation.holder_steps import HolderSteps
from tests.simulation.model import DAY, LATE, MINUTE, PAGE, SAME_BROWSER, Card
from tests.simulation.steps import step
from tests.simulation.store_steps import StoreSteps
from tests.simulation.walk import Difference

#: In the very moment, or so long before it that a verb's last reading of the clock is before it too.
OFF = [timedelta(0), timedelta(0), timedelta(milliseconds=-1)]
AT_THE_END = ["confirm", "extend", "void"]


class TimeSteps(HolderSteps, StoreSteps):
    """What happens by itself, or again, or in the very moment in which something ends."""

    @step(6, needs="asked", back=[0] * 6 + [1, 2, 3, 5, 8], changed=[None, None, "content", "operation"])
    def repeat(self, back: int, changed: str | None) -> None:
        """Same content: the same answer, and nothing is done. Anything else under the same reference: refused."""
        asked = self.asked[-1 - back % len(self.asked)]
        reference = asked.reference
        if changed == "content":
            reference = replace(reference, content_hmacs=(b"another content" * 2,))
        if changed == "operation":
            reference = replace(reference, operation="another")

        def predict(*_: object) -> dict[str, object]:
            if changed:
                raise ReferenceReused
            return {"answer": _without_secrets(asked.answer)}

        self.walk.take("repeat", asked.card, lambda: asked.send(reference), predict, lambda answer: {"answer": answer})

    @step(9, which=WHICH, turn=[0] * 7 + [1, 2, 3], off=[0, 0, -1, 1])
    def come_to(self, which: int, turn: int, off: int) -> None:
        """Time goes on to a moment at which something ends, or a microsecond beside it."""
        at = self.walk.now + timedelta(milliseconds=1)
        ahead = sorted({point for point in self._card(which).turning_points() if point > at})
        if ahead:
            self.walk.now = ahead[turn % len(ahead)] + timedelta(microseconds=off)

    @step(7, needs="payments", which=WHICH, late=[False, False, True], off=OFF, verb=["settle"] * 4 + AT_THE_END)
    def act_at_the_end_of_a_hold(self, which: int, late: bool, off: timedelta, verb: str) -> None:
        """A store comes in the very moment in which its payment ends, or what was left of it for a late settle."""
        payment = self._card_with(which, "payments").payments[-1]
        self._go_to((payment.expired_at or payment.until) + (LATE if late else timedelta(0)) + off)
        {
            "settle": lambda: self.settle(which, 0, "own", "one", final=True, order=None),
            "confirm": lambda: self.confirm(which, 0, "own", payment.order, None),
            "extend": lambda: self.extend(which, 0, "own", DAY),
            "void": lambda: self.void(which, 0, "own"),
        }[verb]()

    @step(4, which=WHICH, of=["link", "browser", "page", "card"], off=OFF)
    def claim_at_the_end(self, which: int, of: str, off: timedelta) -> None:
        """The holder opens the newest link in the very moment in which it, its page or its card ends."""
        card = self._card(which)
        link = card.links[-1]
        opened_at = link.opened_at or self.walk.now
        ends = {
            "link": link.ends_at,
            "browser": opened_at + SAME_BROWSER,
            "page": opened_at + PAGE,
            "card": card.ends_at,
        }
        self._go_to(ends[of] + off)
        self.claim(which, 0, 0, odd_key=False)

    def _go_to(self, moment: datetime) -> None:
        """Time goes on until then, where that is still to come."""
        self.walk.now = max(self.walk.now, moment)

    @step(4, span=[MINUTE] * 4 + [11 * MINUTE, 31 * MINUTE, DAY, DAY, 3 * DAY, 8 * DAY, 15 * DAY, 40 * DAY])
    def wait(self, span: timedelta) -> None:
        self.walk.now += span

    @step(3)
    def sweep(self) -> None:
        """The worker comes by: what is due is ended everywhere."""
        self.walk.everywhere("sweep", _sweep)

    @step(5, which=WHICH)
    def look(self, which: int) -> None:
        """What is shown is what is true, whether or not anything was written down.

        Card and payments are looked at one by one: an end may come between one look and the next.
        """
        card = self._card(which)
        self.walk.take(
            "look",
            card,
            lambda: card_facts(read_card(CardId(card.id), issuer_id=self.parties.issuers[card.issuer])),
            issuer_rules.seen,
            lambda shown: shown,
        )
        for place in range(len(card.payments)):
            self._look_at_payment(card, place)

    def _look_at_payment(self, card: Card, place: int) -> None:
        payment = card.payments[place]
        store_id = self.parties.stores[payment.store]
        self.walk.take(
            "look",
            card,
            lambda: payment_facts(read_payment(PaymentId(payment.id), store_id=store_id)),
            lambda card, now: card.payments[place].seen(now),
            lambda shown: shown,
        )

    def end(self) -> None:
        """Time goes on until nothing can be due any more: then no card is held, and all money is where it belongs."""
        self.walk.audit()
        for _ in range(4):
            self.walk.now += 800 * DAY
            self.walk.everywhere("sweep", _sweep)
        if left := [card.id for card in self.walk.cards if card.state == "active"]:
            raise Difference(f"still active at the end of time: {left}")
        self.walk.audit()


def _sweep() -> None:
    while expire_due():
        pass


def _without_secrets(answer: Any) -> Any:
    again = replace(answer, replayed=True)
    return replace(again, claim_link=None) if hasattr(answer, "claim_link") else again
