"""What one card does when it is asked one thing after another: a small model, independent of the service's own rules.

Nothing runs out of time here: no history lasts as long as a hold does.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from tests.histories.record import Value


@dataclass(frozen=True, slots=True)
class Name:
    """What the service called a thing: a place in the card's `names`, empty until an answer has told."""

    place: int


#: An answer as it must be; where it tells a name, whatever the service drew.
Answer = Mapping[str, Value | Name]
Asked = Mapping[str, Value]


@dataclass(frozen=True, slots=True)
class Link:
    """A claim link that waits."""

    id: int


@dataclass(frozen=True, slots=True)
class Code:
    """A code that is not dead: which link and browser it was shown for, and, once exchanged, whose it is."""

    shown: int
    id: int
    link: int
    browser: str
    store: str | None = None
    shopper: str | None = None
    order: str | None = None


@dataclass(frozen=True, slots=True)
class Payment:
    """Amounts in minor units."""

    id: int
    store: str
    order: str
    balance: int
    held: int
    state: str = "held"
    confirmed: bool = False
    settled: int = 0
    released: int = 0
    refunded: int = 0


@dataclass(frozen=True, slots=True)
class Done:
    """A request that was carried out under a key, and what it was answered."""

    request: tuple[Value, str]
    content: tuple[str, frozenset[tuple[str, Value]]]
    answer: tuple[tuple[str, Value | Name], ...]


@dataclass(frozen=True, slots=True)
class Card:
    """A card as it stands; whatever is not its one key is dead."""

    balance: int
    key: Link | Code | None
    names: tuple[str | None, ...]
    opened: frozenset[int] = frozenset()
    payments: tuple[Payment, ...] = ()
    done: frozenset[Done] = frozenset()

    @property
    def held(self) -> Payment | None:
        return next((payment for payment in self.payments if payment.state == "held"), None)


class NeverToldError(Exception):
    """Somebody asks for what nobody has been told of yet: no such order can be."""


def issued(balance: int, link: str) -> Card:
    """A card of which nothing is known but its first link."""
    return Card(balance, Link(0), (link,))


def refused(slug: str) -> Answer:
    return {"refused": slug}


# ── the holder and the issuer ───────────────────────────────────────────────────────────────────────────────────────


def claim(card: Card, asked: Asked) -> tuple[Card, Answer]:
    """Opens the waiting link. The same browser again gets another code, as long as nobody took the one before."""
    link, browser = place_of(card, asked["link"]), str(asked["browser"])
    waits = card.key == Link(link)
    lost = (
        isinstance(card.key, Code) and card.key.store is None and (card.key.link, card.key.browser) == (link, browser)
    )
    if not waits and not lost:
        return card, refused("link-opened" if link in card.opened else "link-superseded")
    shown = len(card.names)
    after = replace(
        card,
        names=(*card.names, None, None),
        key=Code(shown, shown + 1, link, browser),
        opened=card.opened | {link},
    )
    return after, {"code": Name(shown), "balance": card.balance}


def reissue(card: Card, asked: Asked) -> tuple[Card, Answer]:
    if card.held:
        return card, refused("card-held")
    if card.balance == 0:
        return card, refused("card-closed")
    after = _with_link(card)
    return after, {**_shown(after), "shown": True}


def read_card(card: Card, asked: Asked) -> tuple[Card, Answer]:
    return card, _shown(card)


def _shown(card: Card) -> Answer:
    answer: dict[str, Value | Name] = {"state": "active" if card.balance else "spent", "balance": card.balance}
    if card.key is None:
        return {**answer, "reached": None, "reached_id": None, "reached_state": None, "store": None}
    if isinstance(card.key, Link):
        key: tuple[Value | Name, ...] = ("link", Name(card.key.id), "waiting", None)
    elif card.held:
        key = ("payment", Name(card.held.id), "held", card.held.store)
    else:
        key = ("code", Name(card.key.id), "bound" if card.key.store else "live", card.key.store)
    return {**answer, **dict(zip(("reached", "reached_id", "reached_state", "store"), key, strict=True))}


def _with_link(card: Card) -> Card:
    """A new link is the card's one key; its name is told later, if ever."""
    return replace(card, names=(*card.names, None), key=Link(len(card.names)))


# ── stores ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def exchange(card: Card, asked: Asked) -> tuple[Card, Answer]:
    """The code's store and shopper get the payment that is open, or open one; all others an unknown code."""
    code, shown = card.key, place_of(card, asked["code"])
    if not isinstance(code, Code) or code.shown != shown or not _may_use(code, asked, is_held=bool(card.held)):
        return card, refused("code-not-accepted")
    if card.held:
        return card, {**_told(card.held), "opened": False}
    store, order, amount = str(asked["store"]), str(asked["order"]), asked["amount"]
    shopper = None if asked["shopper"] is None else str(asked["shopper"])
    held = min(amount, card.balance) if isinstance(amount, int) else card.balance
    payment = Payment(len(card.names), store, order, card.balance, held)
    after = replace(
        card,
        names=(*card.names, None),
        key=replace(code, store=store, order=order, shopper=shopper),
        payments=(*card.payments, payment),
    )
    return after, {**_told(payment), "opened": True}


def _may_use(code: Code, asked: Asked, *, is_held: bool) -> bool:
    if code.store is None:
        return True
    if code.store != asked["store"]:
        return False
    if code.shopper is not None:
        return code.shopper == asked["shopper"]
    return not is_held or code.order == asked["order"]


def confirm(card: Card, payment: Payment, asked: Asked) -> tuple[Card, Answer]:
    if payment.state != "held":
        return card, refused("payment-closed")
    if _is_of_another_order(payment, asked["order"]):
        return card, refused("order-superseded")
    held = _minor(asked, "amount") if asked["amount"] is not None else payment.held
    if held > payment.held:
        return card, refused("amount-over-hold")
    released = payment.released + payment.held - held
    payment = replace(payment, confirmed=True, order=str(asked["order"]), held=held, released=released)
    return _with_payment(card, payment), _told(payment)


def settle(card: Card, payment: Payment, asked: Asked) -> tuple[Card, Answer]:
    if payment.state != "held":
        return card, refused("payment-closed")
    if asked["order"] is not None and _is_of_another_order(payment, asked["order"]):
        return card, refused("order-superseded")
    took = _minor(asked, "amount")
    if took > payment.held:
        return card, refused("amount-over-hold")
    freed = payment.held - took if asked["final"] else 0
    left = payment.held - took - freed
    balance = card.balance - took
    payment = replace(
        payment,
        order=str(asked["order"] or payment.order),
        balance=balance,
        held=left,
        settled=payment.settled + took,
        released=payment.released + freed,
        state="held" if left else "settled",
    )
    after = _with_payment(replace(card, balance=balance), payment)
    if not left:
        after = _with_link(after) if balance else replace(after, key=None)
    return after, {**_told(payment), "took": took, "freed": freed, "left": left}


def void(card: Card, payment: Payment, asked: Asked) -> tuple[Card, Answer]:
    """Once a part was settled, the rest goes back by a new link; else the code stays with its store and shopper."""
    if payment.state != "held":
        return card, refused("payment-closed")
    state = "settled" if payment.settled else "voided"
    payment = replace(payment, state=state, held=0, released=payment.released + payment.held)
    after = _with_payment(card, payment)
    return _with_link(after) if payment.settled else after, _told(payment)


def extend(card: Card, payment: Payment, asked: Asked) -> tuple[Card, Answer]:
    if payment.state != "held":
        return card, refused("payment-closed")
    return card, _told(payment) if payment.confirmed else refused("payment-unconfirmed")


def refund(card: Card, payment: Payment, asked: Asked) -> tuple[Card, Answer]:
    """The money goes back to the card. One that was spent gets a link."""
    amount = _minor(asked, "amount")
    if payment.refunded + amount > payment.settled:
        return card, refused("amount-over-settled")
    balance = card.balance + amount
    payment = replace(
        payment,
        refunded=payment.refunded + amount,
        balance=balance if payment.state == "held" else payment.balance,
    )
    after = _with_payment(replace(card, balance=balance), payment)
    return _with_link(after) if card.balance == 0 else after, {**_told(payment), "amount": amount}


def read_payment(card: Card, payment: Payment, asked: Asked) -> tuple[Card, Answer]:
    return card, _told(payment)


def _of_its_store(
    decide: Callable[[Card, Payment, Asked], tuple[Card, Answer]],
) -> Callable[[Card, Asked], tuple[Card, Answer]]:
    """Another store's payment is none."""

    def decide_by_id(card: Card, asked: Asked) -> tuple[Card, Answer]:
        place = place_of(card, asked["payment"])
        payment = next((one for one in card.payments if one.id == place), None)
        if payment is None:
            raise NeverToldError
        return decide(card, payment, asked) if payment.store == asked["store"] else (card, refused("not-found"))

    return decide_by_id


def _told(payment: Payment) -> Answer:
    told: dict[str, Value | Name] = {name: getattr(payment, name) for name in Payment.__slots__ if name != "store"}
    return {**told, "id": Name(payment.id)}


def _with_payment(card: Card, payment: Payment) -> Card:
    return replace(card, payments=tuple(payment if one.id == payment.id else one for one in card.payments))


def _is_of_another_order(payment: Payment, order: Value) -> bool:
    """The first confirm or settle fixes the order."""
    return (payment.confirmed or payment.settled > 0) and order != payment.order


def _minor(asked: Asked, name: str) -> int:
    amount = asked[name]
    assert isinstance(amount, int)
    return amount


def place_of(card: Card, name: Value) -> int:
    if name not in card.names:
        raise NeverToldError
    return card.names.index(str(name))


VERBS: Mapping[str, Callable[[Card, Asked], tuple[Card, Answer]]] = {
    "claim": claim,
    "reissue": reissue,
    "read_card": read_card,
    "exchange": exchange,
    "confirm": _of_its_store(confirm),
    "settle": _of_its_store(settle),
    "void": _of_its_store(void),
    "extend": _of_its_store(extend),
    "refund": _of_its_store(refund),
    "read_payment": _of_its_store(read_payment),
}
#: Those that come with an Idempotency-Key.
KEYED = frozenset(VERBS) - {"claim", "read_card", "read_payment"}
