"""Steps of stores: exchange a code, and all that can be done with a payment."""

from datetime import timedelta
from typing import Any

from app.db.request import Reference
from app.errors import CodeMistyped, CodeNotAccepted
from app.ids import PaymentId
from app.issuance.code import ALPHABET, draw_code
from app.redemption.confirm import confirm_payment
from app.redemption.exchange import exchange_code
from app.redemption.extend import extend_payment
from app.redemption.refund import refund_payment
from app.redemption.rules import Asker
from app.redemption.settle import settle_payment
from app.redemption.void import void_payment
from tests.simulation import store_rules
from tests.simulation.acting import AGE, EXCHANGER, ORDER, SHARE, SHOPPER, STORE, TTL, WHICH, Acting
from tests.simulation.facts import (
    exchanged_facts,
    nothing,
    payment_facts,
    refund_facts,
    settlement_facts,
)
from tests.simulation.model import DAY, MINUTE, Card
from tests.simulation.parties import LIVE_STORE
from tests.simulation.steps import step
from tests.world import forgive_all


class StoreSteps(Acting):
    """Three stores and one of the other mode, who try each other's payments too."""

    @step(
        22,
        needs="codes",
        which=WHICH,
        age=AGE,
        store=EXCHANGER,
        shopper=SHOPPER,
        order=ORDER,
        share=[None] * 7 + SHARE,
        ttl_s=TTL,
    )
    def exchange(
        self, which: int, age: int, store: str, shopper: str | None, order: str, share: str | None, ttl_s: int | None
    ) -> None:
        card = self._card_with(which, "codes")
        place = self._place(card.codes, age)
        amount = self._amount(share, card.balance) if share else None
        is_live = store == LIVE_STORE
        store_id = self.parties.stores[store]
        asker = Asker(store_id, "live" if is_live else "test", shopper, order)
        ttl = timedelta(seconds=ttl_s) if ttl_s else None

        def send(reference: Reference) -> Any:
            forgive_all()  # the model knows cards and money; who has to wait is another story
            return exchange_code(
                card.codes[place].text, asker=asker, reference=reference, amount=amount, hold_ttl_s=ttl_s
            )

        reference = self._reference(store_id, "exchange", card.id)
        done = self.walk.take(
            "exchange",
            card,
            lambda: send(reference),
            lambda card, now: store_rules.exchange(
                card,
                card.codes[place],
                store=store,
                is_live_store=is_live,
                shopper=shopper,
                order=order,
                amount=amount,
                ttl=ttl,
                now=now,
            ),
            exchanged_facts,
        )
        self._keep(done.refused is None, card, reference, send, done.answer)

    @step(2, needs="codes", which=WHICH, is_typo=[True, False])
    def guess(self, which: int, is_typo: bool) -> None:
        """A code that nobody was ever shown, or one with a slip of the finger."""
        card = self._card_with(which, "codes")
        code = card.codes[-1].text
        typed = code[:-1] + ALPHABET[(ALPHABET.index(code[-1]) + 1) % 32] if is_typo else draw_code()
        store_id = self.parties.stores["bookshop"]
        reference = self._reference(store_id, "exchange", card.id)

        def refuse(*_: object) -> None:
            raise CodeMistyped if is_typo else CodeNotAccepted

        forgive_all()
        asker = Asker(store_id, "test", "sam", "order-1")
        self.walk.take("guess", card, lambda: exchange_code(typed, asker=asker, reference=reference), refuse, nothing)

    @step(9, needs="payments", which=WHICH, age=AGE, store=STORE, order=ORDER, share=[None] * 7 + SHARE)
    def confirm(self, which: int, age: int, store: str, order: str, share: str | None) -> None:
        card, place, name = self._payment(which, age, store)
        amount = self._amount(share, card.payments[place].held) if share else None
        self._on_payment(
            "confirm",
            card,
            place,
            name,
            lambda pay, **who: confirm_payment(pay, order_reference=order, amount=amount, **who),
            lambda card, payment, **at: store_rules.confirm(card, payment, order=order, amount=amount, **at),
            payment_facts,
        )

    @step(5, needs="payments", which=WHICH, age=AGE, store=STORE, ttl=[MINUTE, DAY, 8 * DAY, 366 * DAY])
    def extend(self, which: int, age: int, store: str, ttl: timedelta) -> None:
        card, place, name = self._payment(which, age, store)
        self._on_payment(
            "extend",
            card,
            place,
            name,
            lambda pay, **who: extend_payment(pay, int(ttl.total_seconds()), **who),
            lambda card, payment, **at: store_rules.extend(card, payment, ttl=ttl, **at),
            payment_facts,
        )

    @step(
        16,
        needs="payments",
        which=WHICH,
        age=AGE,
        store=STORE,
        share=SHARE,
        final=[True, False],
        order=[None] * 5 + ORDER,
    )
    def settle(self, which: int, age: int, store: str, share: str, final: bool, order: str | None) -> None:
        card, place, name = self._payment(which, age, store)
        payment = card.payments[place]
        amount = self._amount(share, payment.held or payment.late)
        self._on_payment(
            "settle",
            card,
            place,
            name,
            lambda pay, **who: settle_payment(pay, amount, final=final, order_reference=order, **who),
            lambda card, payment, **at: store_rules.settle(
                card, payment, amount=amount, final=final, order=order, **at
            ),
            settlement_facts,
        )

    @step(6, needs="payments", which=WHICH, age=AGE, store=STORE)
    def void(self, which: int, age: int, store: str) -> None:
        card, place, name = self._payment(which, age, store)
        self._on_payment("void", card, place, name, void_payment, store_rules.void, payment_facts)

    @step(8, needs="payments", which=WHICH, age=AGE, store=STORE, share=SHARE)
    def refund(self, which: int, age: int, store: str, share: str) -> None:
        card, place, name = self._payment(which, age, store)
        payment = card.payments[place]
        amount = self._amount(share, payment.settled - payment.refunded)
        self._on_payment(
            "refund",
            card,
            place,
            name,
            lambda pay, **who: refund_payment(pay, amount, **who),
            lambda card, payment, **at: store_rules.refund(card, payment, amount=amount, **at),
            refund_facts,
        )

    def _on_payment(
        self, verb: str, card: Card, place: int, store: str, call: Any, predict: Any, facts_of: Any
    ) -> None:
        payment_id = PaymentId(card.payments[place].id)
        store_id = self.parties.stores[store]
        reference = self._reference(store_id, verb, payment_id)

        def send(reference: Reference) -> Any:
            return call(payment_id, store_id=store_id, reference=reference)

        done = self.walk.take(
            verb,
            card,
            lambda: send(reference),
            lambda card, now: predict(card, card.payments[place], store=store, now=now),
            facts_of,
        )
        self._keep(done.refused is None, card, reference, send, done.answer)
