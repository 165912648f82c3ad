"""What each verb does to a card and a payment, as the service does it; written from its documentation alone.

A card of the fake never lapses, every store may take it, and there is one programme with the service's usual times.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from scrip_sdk.money import Money
from scrip_sdk.testing.codes import draw_code, read_magic
from scrip_sdk.testing.ledger import FakeCard, FakeCode, FakePayment, Letter, new_id
from scrip_sdk.testing.refusals import Refused

HOLD = timedelta(minutes=30)
CONFIRMED = timedelta(days=7)
HOLD_MAX = timedelta(days=30)
LATE_SETTLE = timedelta(hours=72)
CODE_TOKEN = timedelta(seconds=60)
REFUNDS_COUNT = timedelta(days=1)


@dataclass(frozen=True)
class Asker:
    """The store that asks, for which of its shoppers and which order."""

    store_id: str
    shopper_key: str | None
    order_reference: str

    def is_same_shopper(self, other: Asker) -> bool:
        """Whether both are for one shopper of one store, or for none that is named."""
        return (self.store_id, self.shopper_key) == (other.store_id, other.shopper_key)


@dataclass
class CodeToken:
    """What the field gave a page for a code that a shopper typed there."""

    card: FakeCard
    code: FakeCode
    asker: Asker
    amount: Money
    expires_at: datetime
    is_spent: bool = False


class Books:
    """All cards and payments of one fake service."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self.now = now
        self.cards: list[FakeCard] = []
        self.codes: dict[str, tuple[FakeCard, FakeCode]] = {}
        self.payments: dict[str, FakePayment] = {}
        self.code_tokens: dict[str, CodeToken] = {}
        self.letters: list[Letter] = []
        self.refund_limits: dict[tuple[str, str], int] = {}
        self._refunds: list[tuple[str, datetime, Money]] = []

    # ── cards ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def issue(self, amount: Money, code_text: str) -> FakeCard:
        """A card whose live code this is, sixteen characters."""
        code = FakeCode(code_text)
        card = FakeCard(new_id("card"), amount.currency, amount.amount_minor, amount.amount_minor, code)
        self.cards.append(card)
        self.codes[code_text] = card, code
        return card

    def claim(self, card: FakeCard) -> str:
        """The holder opens the newest letter's link and is shown a fresh code. Raises LookupError without a link."""
        self.close_due(card)
        if not card.has_link:
            raise LookupError("no letter with a link waits for this card's holder")
        text = draw_code()
        card.has_link, card.code = False, FakeCode(text)
        self.codes[text] = card, card.code
        return text

    def close_due(self, card: FakeCard) -> None:
        """Ends a hold, or the time of a code that its store has voided, when it is over."""
        now, payment, code = self.now(), card.payment, card.code
        if payment is not None and payment.expires_at <= now:
            payment.expired_minor, payment.expired_at = payment.held_minor, payment.expires_at
            payment.state = "settled" if payment.settled_minor else "expired"
            self._release(payment)
            self._new_link(card, "hold_expired", payment)
        elif payment is None and code and code.state == "bound" and code.bound_until and code.bound_until <= now:
            self._new_link(card, "hold_expired", None)

    def _release(self, payment: FakePayment) -> None:
        payment.released_minor += payment.held_minor
        payment.held_minor = 0
        payment.card.payment = None

    def _new_link(self, card: FakeCard, kind: str, payment: FakePayment | None, taken: Money | None = None) -> None:
        """The code is dead for good, and what is left goes to the holder."""
        self._kill_code(card)
        card.has_link = True
        self._tell(card, kind, payment, taken, has_link=True)

    def _kill_code(self, card: FakeCard) -> None:
        if card.code is not None:
            card.code.state = "dead"
            card.code = None

    def _tell(
        self, card: FakeCard, kind: str, payment: FakePayment | None, taken: Money | None, *, has_link: bool = False
    ) -> None:
        left = Money(card.balance_minor, card.currency)
        self.letters.append(Letter(kind, card.id, payment.id if payment else None, left, taken, has_link, self.now()))

    # ── exchange ────────────────────────────────────────────────────────────────────────────────────────────────────

    def find(self, code_text: str, asker: Asker) -> tuple[FakeCard, FakeCode]:
        """The card of a code that this asker may exchange now. Raises Refused `code-not-accepted` for every reason."""
        magic = read_magic(code_text)
        has_card = magic is not None and magic.kind not in ("empty", "refused") and magic.amount.amount_minor > 0
        if magic is not None and has_card and code_text not in self.codes:
            self.issue(magic.amount, code_text)
        if code_text not in self.codes:
            raise Refused("code-not-accepted")
        card, code = self.codes[code_text]
        self.check(card, code, asker)
        return card, code

    def check(self, card: FakeCard, code: FakeCode, asker: Asker) -> None:
        """Whether this asker may exchange the code at this moment. Raises Refused `code-not-accepted`."""
        self.close_due(card)
        if code.state == "live":
            return
        if code.state == "dead" or code.store_id != asker.store_id:
            raise Refused("code-not-accepted")
        if code.shopper_key is not None:
            is_same = code.shopper_key == asker.shopper_key
        else:
            is_same = card.payment is None or code.order_reference == asker.order_reference
        if not is_same:
            raise Refused("code-not-accepted")

    def exchange(
        self,
        card: FakeCard,
        code: FakeCode,
        asker: Asker,
        amount: Money | None,
        hold_ttl_s: int | None,
        *,
        provisional: bool = False,
    ) -> tuple[FakePayment, bool]:
        """The payment, and whether this exchange opened it. Raises Refused `currency-mismatch`."""
        if card.payment is not None:
            card.payment.provisional = card.payment.provisional and provisional
            return card.payment, False
        if amount is not None and amount.currency != card.currency:
            raise Refused("currency-mismatch", f"The payment is in {card.currency}, not {amount.currency}.")
        held = card.balance_minor if amount is None else min(amount.amount_minor, card.balance_minor)
        now = self.now()
        until = now + (HOLD if hold_ttl_s is None else min(HOLD, timedelta(seconds=hold_ttl_s)))
        payment = FakePayment(
            id=new_id("pay"),
            card=card,
            code=code,
            store_id=asker.store_id,
            order_reference=asker.order_reference,
            hold_minor=held,
            held_minor=held,
            balance_minor=card.balance_minor,
            created_at=now,
            expires_at=until,
            provisional=provisional,
        )
        code.state, code.store_id, code.shopper_key = "bound", asker.store_id, asker.shopper_key
        code.order_reference, code.bound_until = asker.order_reference, until
        card.payment = payment
        card.payments.append(payment)
        self.payments[payment.id] = payment
        return payment, True

    def make_code_token(self, code_text: str, asker: Asker, amount: Money, text: str) -> None:
        """Keeps a code token for a code that this asker may exchange now. Raises Refused."""
        card, code = self.find(code_text, asker)
        if amount.currency != card.currency:
            raise Refused("currency-mismatch")
        self.code_tokens[text] = CodeToken(card, code, asker, amount, self.now() + CODE_TOKEN)

    def exchange_token(
        self, text: str, asker: Asker, amount: Money | None, hold_ttl_s: int | None
    ) -> tuple[FakePayment, bool]:
        """The same by a code token, once. Raises Refused `code-not-accepted` for whatever does not fit."""
        token = self.code_tokens.get(text)
        if (
            token is None
            or token.is_spent
            or token.asker != asker
            or token.expires_at <= self.now()
            or amount not in (None, token.amount)
        ):
            raise Refused("code-not-accepted")
        self.check(token.card, token.code, asker)
        token.is_spent = True
        return self.exchange(token.card, token.code, asker, token.amount, hold_ttl_s)

    # ── confirm, settle, void, extend, refund ───────────────────────────────────────────────────────────────────────

    def payment_of(self, payment_id: str, store_id: str) -> FakePayment:
        """A payment of this store, with what is due on its card ended. Raises Refused `not-found` for another's."""
        payment = self.payments.get(payment_id)
        if payment is None or payment.store_id != store_id:
            raise Refused("not-found", "There is no such payment.")
        self.close_due(payment.card)
        return payment

    def confirm(self, payment: FakePayment, order_reference: str, amount: Money | None) -> None:
        """Raises Refused `payment-closed`, `order-superseded`, `currency-mismatch`, `amount-over-hold`."""
        _check_open(payment)
        _check_order(payment, order_reference)
        held = payment.held_minor if amount is None else _within_hold(payment, amount)
        payment.released_minor += payment.held_minor - held
        payment.held_minor, payment.order_reference, payment.provisional = held, order_reference, False
        if not payment.confirmed:
            self._hold_until(payment, min(self.now() + CONFIRMED, payment.created_at + HOLD_MAX))
        payment.confirmed = True

    def extend(self, payment: FakePayment, hold_ttl_s: int) -> None:
        """Raises Refused `payment-closed`, `payment-unconfirmed`."""
        _check_open(payment)
        if not payment.confirmed:
            raise Refused("payment-unconfirmed")
        self._hold_until(payment, min(self.now() + timedelta(seconds=hold_ttl_s), payment.created_at + HOLD_MAX))

    def void(self, payment: FakePayment) -> None:
        """Raises Refused `payment-closed`."""
        _check_open(payment)
        card = payment.card
        payment.state = "settled" if payment.settled_minor else "voided"
        self._release(payment)
        if payment.settled_minor:
            self._new_link(card, "hold_expired", payment)
        else:
            payment.code.bound_until = min(payment.expires_at, self.now() + HOLD)

    def settle(
        self, payment: FakePayment, amount: Money, *, final: bool, order_reference: str | None
    ) -> tuple[int, int]:
        """Takes the amount; returns how much it gave free and how much stays held.

        Raises Refused `payment-closed`, `order-superseded`, `currency-mismatch`, `amount-over-hold`.
        """
        card, is_late = payment.card, payment.state != "held"
        if is_late:
            released = held = 0
            late_left = self._decide_late(payment, amount, order_reference)
            payment.expired_minor = 0 if final else late_left
            self._kill_code(card)
            card.has_link = False
            payment.released_minor -= amount.amount_minor
        else:
            if order_reference is not None:
                _check_order(payment, order_reference)
            left = payment.held_minor - _within_hold(payment, amount)
            released = left if final else 0
            held = left - released
            payment.released_minor += released
        payment.held_minor = held
        payment.settled_minor += amount.amount_minor
        payment.settlements.append(amount.amount_minor)
        card.balance_minor -= amount.amount_minor
        payment.balance_minor = card.balance_minor
        payment.order_reference = order_reference or payment.order_reference
        payment.provisional = False
        self._after_settle(payment, amount)
        return released, held

    def _after_settle(self, payment: FakePayment, amount: Money) -> None:
        card = payment.card
        if payment.held_minor:
            self._tell(card, "receipt", payment, amount)
            return
        payment.state = "settled"
        card.payment = None
        if card.balance_minor:
            self._new_link(card, "reissue", payment, amount)
        else:
            self._kill_code(card)
            self._tell(card, "receipt", payment, amount)

    def _decide_late(self, payment: FakePayment, amount: Money, order_reference: str | None) -> int:
        """For 72 hours a hold that expired can still be settled, while its value is with no store; what it leaves."""
        card = payment.card
        is_elsewhere = card.code is not None and card.code.store_id not in (None, payment.store_id)
        if (
            payment.expired_at is None
            or not payment.expired_minor
            or self.now() >= payment.expired_at + LATE_SETTLE
            or card.payment is not None
            or is_elsewhere
        ):
            raise _closed(payment)
        if order_reference is not None:
            _check_order(payment, order_reference)
        _check_currency(payment, amount)
        left = payment.expired_minor - amount.amount_minor
        if left < 0:
            raise Refused("amount-over-hold", f"The hold that expired was {payment.money(payment.expired_minor)}.")
        if amount.amount_minor > card.balance_minor:
            raise _closed(payment)
        return left

    def refund(self, payment: FakePayment, amount: Money) -> None:
        """Raises Refused `currency-mismatch`, `amount-over-settled`, `refund-limit-reached`."""
        card, now = payment.card, self.now()
        _check_currency(payment, amount)
        left = payment.settled_minor - payment.refunded_minor
        if amount.amount_minor > left:
            raise Refused("amount-over-settled", f"At most {payment.money(left)} can be refunded.")
        self._check_refund_limit(payment.store_id, amount, now)
        was_spent = card.is_spent
        self._refunds.append((payment.store_id, now, amount))
        payment.refunded_minor += amount.amount_minor
        payment.refunds.append(amount.amount_minor)
        card.balance_minor += amount.amount_minor
        if payment.state == "held":
            payment.balance_minor = card.balance_minor
        if was_spent:
            self._new_link(card, "refund", payment, amount)
        else:
            self._tell(card, "refund", payment, amount)

    def _check_refund_limit(self, store_id: str, amount: Money, now: datetime) -> None:
        limit_minor = self.refund_limits.get((store_id, amount.currency))
        if limit_minor is None:
            return
        used = sum(
            money.amount_minor
            for store, at, money in self._refunds
            if store == store_id and money.currency == amount.currency and at > now - REFUNDS_COUNT
        )
        left = Money(max(0, limit_minor - used), amount.currency)
        if amount.amount_minor > left.amount_minor:
            detail = f"By a client that has a secret, {left} more can be refunded now."
            raise Refused("refund-limit-reached", detail, left_minor=left.amount_minor)

    def _hold_until(self, payment: FakePayment, until: datetime) -> None:
        payment.expires_at = payment.code.bound_until = max(payment.expires_at, until)


def _closed(payment: FakePayment) -> Refused:
    return Refused("payment-closed", f"The payment is {payment.state}: it holds nothing.", state=payment.state)


def _check_open(payment: FakePayment) -> None:
    if payment.state != "held":
        raise _closed(payment)


def _check_order(payment: FakePayment, order_reference: str) -> None:
    if (payment.confirmed or payment.settled_minor) and order_reference != payment.order_reference:
        raise Refused("order-superseded", "The payment was confirmed or settled for another order.")


def _within_hold(payment: FakePayment, amount: Money) -> int:
    _check_currency(payment, amount)
    if amount.amount_minor > payment.held_minor:
        detail = f"The payment holds {payment.money(payment.held_minor)}."
        raise Refused("amount-over-hold", detail, held_minor=payment.held_minor)
    return amount.amount_minor


def _check_currency(payment: FakePayment, amount: Money) -> None:
    if amount.currency != payment.card.currency:
        raise Refused("currency-mismatch", f"The payment is in {payment.card.currency}, not {amount.currency}.")
