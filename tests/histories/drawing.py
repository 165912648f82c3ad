"""What the clients know of a card together, and what one of them asks next."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from tests.histories.record import Names, Value
from tests.histories.requests import Request, Requests, changed

Any_ = TypeVar("Any_")

STORES = ("bookshop", "toyshop", "gameshop")
SHOPPERS = ("shopper-1", "shopper-1", "shopper-1", "shopper-2", None)
ORDERS = ("order-1", "order-1", "order-2")

#: How likely each verb is, by how far the card has come as far as its clients know.
ALWAYS = {"again": 2, "misuse": 1, "read_card": 2}
OF_PAYMENTS = {"refund": 4, "read_payment": 2, "settle": 1, "void": 1, "confirm": 1}
WEIGHTS: Mapping[str, Mapping[str, int]] = {
    "link": {**ALWAYS, **OF_PAYMENTS, "claim": 12, "reissue": 1},
    "code": {**ALWAYS, **OF_PAYMENTS, "exchange": 12, "claim": 1, "reissue": 1},
    "payment": {**ALWAYS, **OF_PAYMENTS, "settle": 9, "confirm": 4, "extend": 3, "exchange": 1, "reissue": 1},
    "closed": {**ALWAYS, **OF_PAYMENTS, "reissue": 7, "exchange": 1, "claim": 1},
}


@dataclass
class Known:
    """What was told of one card so far. Lists only grow, so threads share it without a lock."""

    name: str
    card_id: str
    links: list[str]
    codes: list[str] = field(default_factory=list)
    payments: list[tuple[str, str]] = field(default_factory=list)
    sent: list[Request] = field(default_factory=list)
    stage: str = "link"

    def learn(self, request: Request, answer: Mapping[str, Value], body: Mapping[str, object]) -> None:
        """A good answer: what it gave, and how far the card has come by it."""
        if request.verb == "claim":
            self.codes.append(str(body["code"]))
            self.stage = "code"
        elif request.verb == "reissue" and body["claim_link"] is not None:
            self.links.append(str(body["claim_link"]))
            self.stage = "link"
        elif request.verb == "exchange":
            self._learn_payment(request.party, str(body["id"]))
            self.stage = "payment"
        elif request.verb == "read_card" and answer["reached"] == "payment":
            self._learn_payment(str(answer["store"]), str(_key(body)["id"]))
        elif answer.get("state") in ("settled", "voided"):
            self.stage = "code" if answer["state"] == "voided" else "closed"

    def _learn_payment(self, store: str, payment_id: str) -> None:
        if (store, payment_id) not in self.payments:
            self.payments.append((store, payment_id))


def _key(body: Mapping[str, object]) -> Mapping[str, object]:
    reached = body["reached_through"]
    assert isinstance(reached, dict)
    return reached


class Drawing:
    """One client's dice."""

    def __init__(self, dice: random.Random, names: Names, name: str) -> None:
        self._dice, self._names, self._name, self._keys = dice, names, name, 0
        self._requests = Requests(names)
        #: The same for all links that this client opens: its browser.
        self._nonce = f"{dice.getrandbits(256):064x}"

    def draw(self, known: Known) -> Request:
        """The next request, of those that need nothing that nobody knows yet."""
        possible = {"exchange": known.codes, "again": known.sent, "misuse": known.sent}
        possible |= dict.fromkeys((*OF_PAYMENTS, "extend"), known.payments)
        weights = {verb: weight for verb, weight in WEIGHTS[known.stage].items() if possible.get(verb, True)}
        verb = self._dice.choices([*weights], [*weights.values()])[0]
        if verb == "claim":
            return self._requests.claim(self._newest(known.links), self._nonce)
        if verb == "reissue":
            return self._requests.reissue(known.card_id, self._key())
        if verb == "read_card":
            return self._requests.read_card(known.card_id)
        if verb == "exchange":
            return self._exchange(known)
        if verb in ("again", "misuse"):
            return self._again(known, misuse=verb == "misuse")
        return self._on_payment(verb, known)

    def _exchange(self, known: Known) -> Request:
        pick = self._dice.choice
        return self._requests.exchange(
            self._newest(known.codes),
            pick(STORES),
            self._key(),
            shopper=pick(SHOPPERS),
            order=pick(ORDERS),
            amount=pick((None, None, None, 2_000, 9_000)),
        )

    def _on_payment(self, verb: str, known: Known) -> Request:
        requests, pick = self._requests, self._dice.choice
        store, payment = self._newest(known.payments)
        if self._dice.random() < 0.03:
            store = pick(STORES)
        if verb == "read_payment":
            return requests.read_payment(payment, store)
        if verb == "confirm":
            amount = pick((None, None, 3_000, 1_500))
            return requests.confirm(payment, store, self._key(), order=pick(ORDERS), amount=amount)
        if verb == "settle":
            final, order = self._dice.random() < 0.25, pick((None, None, *ORDERS))
            return requests.settle(
                payment, store, self._key(), amount=pick((100, 700, 1_500)), final=final, order=order
            )
        if verb == "extend":
            return requests.extend(payment, store, self._key(), hold_ttl_s=pick((3_600, 10 * 86_400)))
        if verb == "refund":
            return requests.refund(payment, store, self._key(), amount=pick((50, 400, 1_000)))
        return requests.void(payment, store, self._key())

    def _again(self, known: Known, *, misuse: bool) -> Request:
        """What anybody has sent before, or under its key something else."""
        request = self._newest(known.sent)
        if misuse and "amount" in request.asked and request.verb != "exchange":
            return changed(request, "amount", 1 + self._dice.randrange(90))
        return request

    def _newest(self, known: Sequence[Any_]) -> Any_:
        """The newest, mostly; sometimes one from before."""
        return known[-self._dice.choice((1, 1, 1, 1, 1, 2, 3)) % len(known)]

    def _key(self) -> str:
        self._keys += 1
        return f"{self._name}-{self._keys}"
