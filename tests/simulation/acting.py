"""What all steps share: the world, the walk, who and what is meant by a draw, and the requests that were made."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from app.db.request import Reference
from app.money import Money
from app.secrecy import random_secret
from tests.simulation.model import Card
from tests.simulation.parties import LIVE_STORE, STORES, make_parties
from tests.simulation.steps import Step
from tests.simulation.walk import Tally, Walk
from tests.world import key_of

#: Mostly the card that was touched last, and of its links, codes and payments mostly the newest.
WHICH = [0] * 12 + [1] * 4 + [2, 2, 3, 4, 5, 6, 7]
AGE = [0] * 7 + [1, 1, 2]
STORE = ["own"] * 16 + [*STORES, LIVE_STORE]
EXCHANGER = ["bookshop"] * 8 + ["toyshop"] * 3 + ["gameshop", LIVE_STORE]
SHOPPER = ["sam", "sam", "sam", "pat", None, None]
ORDER = ["order-1"] * 4 + ["order-2"]
SHARE = ["all", "half", "half", "some", "one", "more", "dollars"]
ISSUER = ["own"] * 8 + ["acme", "globex"]
TTL = [None, None, None, 60, 600, 86_400]
LONGEST_WALK_CARDS = 8


@dataclass(frozen=True)
class Asked:
    """A request that was carried out: how to send it again, under which reference, and what was answered."""

    card: Card
    reference: Reference
    send: Callable[[Reference], Any]
    answer: Any


class Acting:
    """Whoever takes steps in a world."""

    def __init__(self, db: Connection, tally: Tally) -> None:
        self.parties = make_parties()
        names = {name: str(store) for name, store in self.parties.stores.items()}
        self.walk = Walk(db, tally, list(self.parties.issuers.values()), names)
        self.asked: list[Asked] = []
        self.unused: list[str] = []
        self.nonces = [random_secret() for _ in range(3)]

    def take(self, step: Step) -> None:
        """Takes a step. Raises Difference."""
        getattr(self, step.name)(**step.arguments)

    def can(self, needs: str | None) -> bool:
        """Whether there is what a step needs."""
        if needs == "room":
            return len(self.walk.cards) < LONGEST_WALK_CARDS
        if needs == "asked":
            return bool(self.asked)
        return needs is None or any(getattr(card, needs) for card in self.walk.cards)

    def _card(self, which: int) -> Card:
        return self.walk.cards[which % len(self.walk.cards)]

    def _card_with(self, which: int, what: str) -> Card:
        """A card that has such things; the one touched last is the first."""
        cards = [card for card in self.walk.cards if getattr(card, what)]
        return cards[which % len(cards)]

    def _place(self, things: list[Any], age: int) -> int:
        return len(things) - 1 - age % len(things)

    def _payment(self, which: int, age: int, store: str) -> tuple[Card, int, str]:
        card = self._card_with(which, "payments")
        place = self._place(card.payments, age)
        return card, place, card.payments[place].store if store == "own" else store

    def _asker(self, which: int, by: str) -> str:
        return self._card(which).issuer if by == "own" else by

    def _amount(self, share: str, of: int) -> Money:
        minor = {"half": of // 2, "some": of // 5, "one": 1, "more": of + 1}.get(share, of)
        return Money(max(1, minor), "USD" if share == "dollars" else "GBP")

    def _reference(self, party_id: str, operation: str, target: str) -> Reference:
        """Under a fresh key, or under that of a request that was refused: nothing was kept of it."""
        key = self.unused.pop() if self.unused else random_secret()
        return Reference(party_id, key, operation, target, (hashlib.sha256(key.encode()).digest(),))

    def _keep(self, is_done: bool, card: Card | None, reference: Reference, send: Any, answer: Any) -> None:
        if is_done and card is not None:
            self.asked = [*self.asked[-9:], Asked(card, reference, send, answer)]
        else:
            self.unused.append(reference.key)
        if card is not None and is_done and getattr(answer, "claim_link", None):
            card.links[-1].keys += (key_of(answer.claim_link)[1],)
