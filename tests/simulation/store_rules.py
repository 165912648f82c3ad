"""What a store can do with a code and a payment, read from the documents."""

from datetime import datetime, timedelta

from app.errors import (
    AmountOverHold,
    AmountOverSettled,
    CodeNotAccepted,
    CurrencyMismatch,
    NotFound,
    OrderSuperseded,
    PaymentClosed,
    PaymentUnconfirmed,
)
from app.money import Money
from tests.simulation.model import LATE, RELEASED_LIVES, REVIVED_LIVES, Card, Code, Payment


def exchange(
    card: Card,
    code: Code,
    *,
    store: str,
    is_live_store: bool,
    shopper: str | None,
    order: str,
    amount: Money | None,
    ttl: timedelta | None,
    now: datetime,
) -> dict[str, object]:
    """Opens a payment, or finds the same store's and shopper's open one."""
    _check_code(card, code, store, is_live_store, shopper, order, now)
    payment = card.payment
    if payment is not None:
        return {"opened": False, **payment.seen(now)}
    if amount and amount.currency != "GBP":
        raise CurrencyMismatch
    held = min(amount.amount_minor, card.balance) if amount else card.balance
    payment = Payment(store, order, card.balance, held, held, now, now + min(ttl or card.terms.hold, card.terms.hold))
    card.payments.append(payment)
    code.state, code.store, code.shopper, code.order, code.until = "bound", store, shopper, order, payment.until
    return {"opened": True, **payment.seen(now)}


def _check_code(
    card: Card, code: Code, store: str, is_live_store: bool, shopper: str | None, order: str, now: datetime
) -> None:
    is_taken = card.terms.stores is None or store in card.terms.stores
    if code is not card.code or is_live_store or not is_taken:
        raise CodeNotAccepted
    if code.state == "live":
        if card.has_lapsed(now):
            raise CodeNotAccepted
        return
    if code.store != store or code.until is None or code.until <= now:
        raise CodeNotAccepted
    if code.shopper is not None and code.shopper != shopper:
        raise CodeNotAccepted
    if code.shopper is None and card.payment is not None and code.order != order:
        raise CodeNotAccepted


def confirm(
    card: Card, payment: Payment, *, store: str, order: str, amount: Money | None, now: datetime
) -> dict[str, object]:
    """Fixes the order, may lower the hold, and the first time makes it last longer."""
    _check_open(payment, store, now)
    _check_order(payment, order)
    kept = payment.held
    if amount:
        kept = _within(payment.held, amount)
    payment.released, payment.held = payment.released + payment.held - kept, kept
    if not payment.confirmed:
        longer = min(now + card.terms.confirmed, payment.made_at + card.terms.longest)
        _hold_until(card, payment, longer)
    payment.confirmed, payment.order = True, order
    return payment.seen(now)


def extend(card: Card, payment: Payment, *, store: str, ttl: timedelta, now: datetime) -> dict[str, object]:
    """A confirmed payment lasts longer, up to the programme's limit."""
    _check_open(payment, store, now)
    if not payment.confirmed:
        raise PaymentUnconfirmed
    _hold_until(card, payment, min(now + ttl, payment.made_at + card.terms.longest))
    return payment.seen(now)


def void(card: Card, payment: Payment, *, store: str, now: datetime) -> dict[str, object]:
    """Gives the hold back: the code stays with the store for a first hold's time, unless a part was settled."""
    _check_open(payment, store, now)
    card.release(payment, "voided")
    card.keep(now + RELEASED_LIVES)
    if payment.settled:
        card.make_link("void", "hold_expired", now)
    else:
        code = card.codes[-1]
        code.until = min(payment.until, now + card.terms.hold)
        card.keep(code.until)
    return payment.seen(now)


def settle(
    card: Card, payment: Payment, *, store: str, amount: Money, final: bool, order: str | None, now: datetime
) -> dict[str, object]:
    """Takes an amount for good, in time or late."""
    if store != payment.store:
        raise NotFound
    if not payment.is_open(now):
        return _settle_late(card, payment, amount, final, order, now)
    if order is not None:
        _check_order(payment, order)
    taken = _within(payment.held, amount)
    _take(card, payment, taken, order)
    payment.held -= taken
    released = payment.held if final else 0
    payment.released, payment.held = payment.released + released, payment.held - released
    if payment.held:
        card.letters.append("receipt")
    else:
        payment.state = "settled"
        _give_rest(card, now)
    return {"taken": taken, "given_free": released, "left_held": payment.held, **payment.seen(now)}


def _settle_late(
    card: Card, payment: Payment, amount: Money, final: bool, order: str | None, now: datetime
) -> dict[str, object]:
    """For 72 hours after the hold's end, while the value is with no other payment and no other store."""
    card.write_down(now)
    is_elsewhere = card.is_with_store() and (card.payment is not None or card.codes[-1].store != payment.store)
    if payment.expired_at is None or not payment.late or now >= payment.expired_at + LATE or is_elsewhere:
        raise PaymentClosed
    if order is not None:
        _check_order(payment, order)
    taken = _within(payment.late, amount)
    if taken > card.balance:
        raise PaymentClosed
    _take(card, payment, taken, order)
    payment.state = "settled"
    payment.released -= taken
    payment.late = 0 if final else payment.late - taken
    _give_rest(card, now)
    return {"taken": taken, "given_free": 0, "left_held": 0, **payment.seen(now)}


def refund(card: Card, payment: Payment, *, store: str, amount: Money, now: datetime) -> dict[str, object]:
    """Money goes back to the card: an open key stays; a card without one comes back with a new link."""
    if store != payment.store:
        raise NotFound
    if amount.currency != "GBP":
        raise CurrencyMismatch
    if amount.amount_minor > payment.settled - payment.refunded:
        raise AmountOverSettled
    if not payment.is_open(now):
        card.write_down(now)
    payment.refunded += amount.amount_minor
    card.refunded += amount.amount_minor
    card.balance += amount.amount_minor
    if payment.state == "held":
        payment.balance = card.balance
    if card.state == "active" and not (card.link and card.link.state == "lapsed"):
        card.keep(now + RELEASED_LIVES)
        card.letters.append("refund")
    else:
        card.keep(now + (REVIVED_LIVES if card.ends_at <= now else RELEASED_LIVES))
        card.make_link("refund", "refund", now)
    return {"amount": amount.amount_minor, **payment.seen(now)}


def _check_open(payment: Payment, store: str, now: datetime) -> None:
    if store != payment.store:
        raise NotFound
    if not payment.is_open(now):
        raise PaymentClosed


def _check_order(payment: Payment, order: str) -> None:
    if (payment.confirmed or payment.settled) and order != payment.order:
        raise OrderSuperseded


def _within(most: int, amount: Money) -> int:
    if amount.currency != "GBP":
        raise CurrencyMismatch
    if amount.amount_minor > most:
        raise AmountOverHold
    return amount.amount_minor


def _hold_until(card: Card, payment: Payment, longer: datetime) -> None:
    payment.until = max(payment.until, longer)
    card.codes[-1].until = payment.until


def _take(card: Card, payment: Payment, taken: int, order: str | None) -> None:
    payment.settled += taken
    card.settled += taken
    card.balance -= taken
    payment.balance = card.balance
    payment.order = order or payment.order


def _give_rest(card: Card, now: datetime) -> None:
    """What is left goes to the holder by a new link, or a receipt says that nothing is."""
    if card.balance:
        card.keep(now + RELEASED_LIVES)
        card.make_link("settlement", "reissue", now)
    else:
        card.kill_key()
        card.state = "spent"
        card.letters.append("receipt")
