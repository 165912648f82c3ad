"""Split: which gift card pays how much of an order, and what another method pays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from scrip_sdk.money import Money


@dataclass(frozen=True)
class Split:
    """`amounts`: one for each balance, in their order. Another method pays `remainder`. All add up to the total."""

    amounts: tuple[Money, ...]
    remainder: Money

    @property
    def unneeded(self) -> tuple[int, ...]:
        """The places of the cards that pay nothing: their payments can be given back."""
        return tuple(place for place, amount in enumerate(self.amounts) if amount.amount_minor == 0)

    @property
    def covered(self) -> bool:
        """Whether the cards pay all of it: no other method is needed."""
        return self.remainder.amount_minor == 0


def split(total: Money, balances: Sequence[Money]) -> Split:
    """The first card pays as much as it can, then the next. `balances` are what the payments hold.

    Raises ValueError: the total or a balance is below zero, or in another currency than the total.
    """
    for money in (total, *balances):
        if money.currency != total.currency:
            raise ValueError(f"a card in {money.currency} cannot pay a total in {total.currency}")
        if money.amount_minor < 0:
            raise ValueError("no amount may be below zero")
    left, amounts = total.amount_minor, []
    for balance in balances:
        taken = min(left, balance.amount_minor)
        amounts.append(Money(taken, total.currency))
        left -= taken
    return Split(tuple(amounts), Money(left, total.currency))
