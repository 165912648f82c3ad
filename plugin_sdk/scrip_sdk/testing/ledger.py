"""What the fake service keeps: cards, their codes, payments and letters, and the check that all sums agree."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from scrip_sdk.money import Money

_ID_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"


def new_id(prefix: str) -> str:
    """An identifier as the service makes them: a prefix and 26 characters that sort by age (RFC 9562, UUIDv7)."""
    value = int(time.time() * 1_000) << 80 | 0x7 << 76 | secrets.randbits(12) << 64 | 0b10 << 62 | secrets.randbits(62)
    return f"{prefix}_{''.join(_ID_ALPHABET[value >> shift & 31] for shift in range(125, -1, -5))}"


@dataclass(eq=False)
class FakeCode:
    """A code of a card: live, bound to one store, or dead."""

    text: str = field(repr=False)
    state: str = "live"
    store_id: str | None = None
    shopper_key: str | None = None
    order_reference: str = ""
    bound_until: datetime | None = None


@dataclass(eq=False)
class FakePayment:
    """A payment as it stands; amounts in minor units."""

    id: str
    card: FakeCard = field(repr=False)
    code: FakeCode = field(repr=False)
    store_id: str
    order_reference: str
    hold_minor: int
    held_minor: int
    balance_minor: int
    created_at: datetime
    expires_at: datetime
    state: str = "held"
    confirmed: bool = False
    provisional: bool = False
    settled_minor: int = 0
    released_minor: int = 0
    refunded_minor: int = 0
    expired_minor: int = 0
    expired_at: datetime | None = None
    settlements: list[int] = field(default_factory=list)
    refunds: list[int] = field(default_factory=list)

    def money(self, amount_minor: int) -> Money:
        """So many minor units of the payment's currency."""
        return Money(amount_minor, self.card.currency)


@dataclass(frozen=True)
class Letter:
    """What the holder of a card was told, as `receipt`, `reissue`, `hold_expired` or `refund`.

    `has_link`: it brings a new claim link, for all that is `left`; `taken` is what a store took, or gave back.
    """

    kind: str
    card_id: str
    payment_id: str | None
    left: Money
    taken: Money | None
    has_link: bool
    at: datetime


@dataclass(eq=False)
class FakeCard:
    """Stored value, and the one key through which it is reached: a waiting link, a code, or a code with a payment."""

    id: str
    currency: str
    issued_minor: int
    balance_minor: int
    code: FakeCode | None = None
    payment: FakePayment | None = None
    has_link: bool = False
    payments: list[FakePayment] = field(default_factory=list, repr=False)

    @property
    def is_spent(self) -> bool:
        """Nothing is left, and no store holds anything of it."""
        return self.balance_minor == 0 and self.payment is None


def sums_that_differ(cards: Iterable[FakeCard]) -> list[str]:
    """A sentence for each sum that does not agree: none on a good day."""
    return [sentence for card in cards for sentence in _differing(card)]


def _differing(card: FakeCard) -> Iterable[str]:
    settled = sum(payment.settled_minor for payment in card.payments)
    refunded = sum(payment.refunded_minor for payment in card.payments)
    if card.issued_minor + refunded != card.balance_minor + settled:
        yield f"{card.id}: issued and refunded are not what is left and settled"
    if card.balance_minor < 0:
        yield f"{card.id}: the balance is below zero"
    if [payment for payment in card.payments if payment.state == "held"] != ([card.payment] if card.payment else []):
        yield f"{card.id}: more than one payment holds it, or another than it knows"
    for payment in card.payments:
        if payment.held_minor + payment.settled_minor + payment.released_minor != payment.hold_minor:
            yield f"{payment.id}: held, settled and released are not what was held first"
        if (sum(payment.settlements), sum(payment.refunds)) != (payment.settled_minor, payment.refunded_minor):
            yield f"{payment.id}: its settlements or refunds do not add up"
        if payment.refunded_minor > payment.settled_minor or payment.held_minor > card.balance_minor:
            yield f"{payment.id}: more is refunded than settled, or held than is there"
