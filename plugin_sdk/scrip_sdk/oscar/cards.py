"""The cards that a shopper has put on an order that is not placed yet, and what each of them pays."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from scrip_sdk import Money
from scrip_sdk.django.models import ScripPayment
from scrip_sdk.oscar.settings import is_hosted
from scrip_sdk.split import split

#: More would make a placing wait too long, one confirm after the other.
CARDS_MAX = 5
#: Where Oscar keeps what a checkout has gathered, and forgets it when the order is placed.
NAMESPACE, IDS, HOSTED, NUMBERS = "scrip", "payment_ids", "hosted", "numbers"
#: So many baskets of one session are remembered: a shopper who logs in, or whose placing died, gets another.
NUMBERS_MAX = 5
OPEN = (ScripPayment.State.APPLIED, ScripPayment.State.CONFIRMED)


@dataclass(frozen=True)
class Card:
    """One card on the order: what it holds, and what it pays of this order."""

    payment_id: str
    holds: Money
    pays: Money


@dataclass(frozen=True)
class Plan:
    """How an order of `total` is paid: by these cards, and `rest` by something else."""

    total: Money
    cards: Sequence[Card]
    rest: Money

    @property
    def takes(self) -> dict[str, Money]:
        """What is taken of which payment; a card that is not needed is not in it."""
        return {card.payment_id: card.pays for card in self.cards if card.pays}

    @property
    def spare(self) -> list[str]:
        """The payments that the order does not need."""
        return [card.payment_id for card in self.cards if not card.pays]

    @property
    def can_take_more(self) -> bool:
        """Whether another card would pay anything."""
        return bool(self.rest) and len(self.cards) < CARDS_MAX


class AppliedCards:
    """The cards of one checkout session, which keeps their payment IDs, and its baskets' order numbers."""

    def __init__(self, checkout_session: Any) -> None:
        self._session = checkout_session

    @property
    def payment_ids(self) -> list[str]:
        """In the order in which they were applied."""
        return list(self._session._get(NAMESPACE, IDS, []))

    def add(self, payment_id: str) -> bool:
        """Returns whether it is new."""
        known = self.payment_ids
        if payment_id in known:
            return False
        self._session._set(NAMESPACE, IDS, [*known, payment_id])
        return True

    def forget(self, payment_id: str) -> bool:
        """Takes it out of the session; returns whether it was there."""
        known = self.payment_ids
        if payment_id not in known:
            return False
        self._session._set(NAMESPACE, IDS, [each for each in known if each != payment_id])
        return True

    @property
    def is_hosted_wanted(self) -> bool:
        """Whether the shopper wants to pay the rest with a card at the service's page."""
        return is_hosted() and bool(self._session._get(NAMESPACE, HOSTED, False))

    def want_hosted(self, wanted: bool) -> None:
        """Keeps it in mind until the order is placed."""
        self._session._set(NAMESPACE, HOSTED, wanted)

    def number_of(self, basket_id: int) -> "str | None":
        """What the order of this basket will be called; None as long as nobody has asked."""
        return next((number for known, number in self._numbers() if known == basket_id), None)

    def keep_number(self, basket_id: int, number: str) -> None:
        """Keeps it until an order is placed, beside those of earlier baskets, whose cards may still be here."""
        self._session._set(NAMESPACE, NUMBERS, [[basket_id, number], *self._numbers()][:NUMBERS_MAX])

    def basket_of(self, number: str) -> "int | None":
        """The basket of this session whose order was to have this number."""
        return next((basket_id for basket_id, known in self._numbers() if known == number), None)

    def _numbers(self) -> "list[list[Any]]":
        return list(self._session._get(NAMESPACE, NUMBERS, []))

    def rows(self) -> list[ScripPayment]:
        """What the store has written down of them, without those that are over or were given back."""
        ids = self.payment_ids
        if not ids:
            return []
        found = {row.payment_id: row for row in ScripPayment.objects.filter(payment_id__in=ids, state__in=OPEN)}
        return [found[each] for each in ids if each in found]

    def plan(self, total: "Money | None") -> "Plan | None":
        """How a total is paid; None while it is not known."""
        return None if total is None else plan(total, self.rows())


def plan(total: Money, rows: "Sequence[ScripPayment]") -> Plan:
    """Splits the total over the cards in their order; cards of another currency pay nothing."""
    fitting = [row for row in rows if row.currency == total.currency]
    shares = split(total, [row.held for row in fitting])
    return Plan(
        total=total,
        cards=[Card(row.payment_id, row.held, pays) for row, pays in zip(fitting, shares.amounts, strict=True)],
        rest=shares.remainder,
    )


def money_of(price: Any) -> "Money | None":
    """Oscar's price, with its tax, as money."""
    if price is None:
        return None
    amount = price.incl_tax if price.is_tax_known else price.excl_tax
    return Money.of(Decimal(amount), price.currency)
