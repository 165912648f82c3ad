"""What a store may do with a code and a payment, and when a hold is over: pure decisions."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from app.errors import (
    AmountOverHold,
    AmountOverSettled,
    CardClosed,
    CardHeld,
    CodeNotAccepted,
    CurrencyMismatch,
    OrderSuperseded,
    PaymentClosed,
    PaymentUnconfirmed,
)
from app.ids import CardId, PaymentId, StoreId
from app.money import Money

#: So long a shopper's page and its store have to bring a code token to us.
CODE_TOKEN_TTL = timedelta(seconds=60)
#: A settle that comes after its hold expired still succeeds this long, while the value has not been used elsewhere.
LATE_SETTLE = timedelta(hours=72)


# ── exchange ────────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Asker:
    """The store that asks, for which of its shoppers and which order; `network` is where it says that he is."""

    store_id: StoreId
    mode: str
    shopper_key: str | None
    order_reference: str
    network: str | None = None


@dataclass(frozen=True, slots=True)
class CodeSeen:
    """A code that hashes to a row, its card and its open payment, as they stand."""

    state: str
    bound_store_id: str | None
    bound_shopper_key: str | None
    bound_order_reference: str | None
    bound_until: datetime | None
    card_state: str
    card_expires_at: datetime
    mode: str
    store_is_in_programme: bool
    is_the_key: bool
    payment_id: PaymentId | None
    card_id: CardId | None = None


class Unaccepted(CodeNotAccepted):
    """The code is not accepted."""

    def __init__(self, reason: str, card_id: CardId | None = None) -> None:
        """Both are for the audit events alone: every caller gets the same answer."""
        super().__init__()
        self.reason = reason
        self.card_id = card_id


def decide_exchange(code: CodeSeen, asker: Asker, now: datetime) -> PaymentId | None:
    """The ID of the open payment that this exchange repeats, or None when it may open a new one.

    Raises Unaccepted for every no, in this order: dead, of another mode, of another programme's stores, of a closed
    card, lapsed, bound elsewhere, bound and over, another shopper's.
    """
    if (refusal := refusal_of(code, asker, now)) is not None:
        raise refusal
    return code.payment_id if code.state == "bound" else None


def refusal_of(code: CodeSeen, asker: Asker, now: datetime) -> Unaccepted | None:
    """What `decide_exchange` raises."""
    reason = _reason_against(code, asker, now)
    return None if reason is None else Unaccepted(reason, code.card_id)


def _reason_against(code: CodeSeen, asker: Asker, now: datetime) -> str | None:
    if code.state == "dead" or not code.is_the_key:
        return "dead"
    if code.mode != asker.mode:
        return "other_mode"
    if not code.store_is_in_programme:
        return "other_programme"
    if code.card_state != "active":
        return "card_closed"
    if code.state == "live":
        return "lapsed" if code.card_expires_at <= now else None
    if code.bound_store_id != asker.store_id:
        return "bound_elsewhere"
    if code.bound_until is None or code.bound_until <= now:
        return "binding_over"
    return None if _is_same_shopper(code, asker) else "other_shopper"


def _is_same_shopper(code: CodeSeen, asker: Asker) -> bool:
    """By the shopper's key; where the first exchange gave none, an open payment is its order's alone."""
    if code.bound_shopper_key is not None:
        return code.bound_shopper_key == asker.shopper_key
    return code.payment_id is None or code.bound_order_reference == asker.order_reference


@dataclass(frozen=True, slots=True)
class CodeTokenSeen:
    """A code token as it stands: what it is bound to, and the amount that the shopper saw beside the field."""

    store_id: str
    shopper_key: str | None
    order_reference: str
    amount: Money
    expires_at: datetime
    is_spent: bool


def decide_code_token(token: CodeTokenSeen, asker: Asker, asked: Money | None, now: datetime) -> Money:
    """The most that an exchange by this token may hold: the amount that the shopper saw.

    Raises Unaccepted for every no, in this order: of another store, spent, over, of another shopper, of another
    order, of another amount.
    """
    if token.store_id != asker.store_id:
        raise Unaccepted("token_of_other_store")
    if token.is_spent:
        raise Unaccepted("token_spent")
    if token.expires_at <= now:
        raise Unaccepted("token_over")
    if token.shopper_key != asker.shopper_key:
        raise Unaccepted("token_of_other_shopper")
    if token.order_reference != asker.order_reference:
        raise Unaccepted("token_of_other_order")
    if asked is not None and asked != token.amount:
        raise Unaccepted("token_of_other_amount")
    return token.amount


def check_shown(amount: Money, currency: str) -> None:
    """Raises CurrencyMismatch, which to a shopper's page does not name the card's currency."""
    if amount.currency != currency:
        raise CurrencyMismatch()


def hold_amount(balance_minor: int, asked: Money | None, currency: str) -> int:
    """What the hold takes: the amount asked for, or the balance where that is less or nothing was asked.

    Raises CurrencyMismatch.
    """
    if asked is None:
        return balance_minor
    _check_currency(asked, currency)
    return min(asked.amount_minor, balance_minor)


def hold_until(now: datetime, *, asked_s: int | None, programme_s: int) -> datetime:
    """A store may ask for a shorter hold than its programme gives, not for a longer one."""
    return now + timedelta(seconds=min(asked_s or programme_s, programme_s))


# ── confirm, settle, void, extend, refund ───────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class PaymentSeen:
    """A payment as it stands; amounts in minor units. Once it is over its times, it is expired, whatever is stored."""

    state: str
    currency: str
    order_reference: str
    confirmed: bool
    held_minor: int
    settled_minor: int
    released_minor: int
    refunded_minor: int
    expired_minor: int
    created_at: datetime
    expires_at: datetime
    expired_at: datetime | None
    hold_max_s: int
    confirmed_ttl_s: int

    @property
    def hold_limit(self) -> datetime:
        """The latest that any hold of the programme may last."""
        return self.created_at + timedelta(seconds=self.hold_max_s)


def is_open(payment: PaymentSeen, now: datetime) -> bool:
    """Whether the payment still holds: one moment past its time it does not, even if no job has run."""
    return payment.state == "held" and now < payment.expires_at


def decide_confirm(
    payment: PaymentSeen, order_reference: str, amount: Money | None, now: datetime
) -> tuple[int, datetime]:
    """What stays held and until when, after an order was placed on the payment.

    Confirmed again for the same order, it may hold less but not for longer: that is what extend is for.
    Raises PaymentClosed, OrderSuperseded, CurrencyMismatch, AmountOverHold.
    """
    _check_open(payment, now)
    _check_order(payment, order_reference)
    held = _within_hold(payment, amount) if amount else payment.held_minor
    if payment.confirmed:
        return held, payment.expires_at
    until = min(now + timedelta(seconds=payment.confirmed_ttl_s), payment.hold_limit)
    return held, max(payment.expires_at, until)


@dataclass(frozen=True, slots=True)
class Settling:
    """What a settle does: takes, releases, leaves held, or where its hold had expired, leaves for another late one."""

    settled_minor: int
    released_minor: int
    held_minor: int
    late: bool = False
    late_left_minor: int = 0


def decide_settle(
    payment: PaymentSeen, amount: Money, *, final: bool, order_reference: str | None, now: datetime
) -> Settling:
    """How the hold is split by a settle. Taking the whole hold is final in any case.

    Raises PaymentClosed, OrderSuperseded, CurrencyMismatch, AmountOverHold.
    """
    _check_open(payment, now)
    if order_reference is not None:
        _check_order(payment, order_reference)
    left = payment.held_minor - _within_hold(payment, amount)
    released = left if final else 0
    return Settling(amount.amount_minor, released, left - released)


def decide_late_settle(
    payment: PaymentSeen,
    amount: Money,
    *,
    final: bool,
    order_reference: str | None,
    card_balance_minor: int,
    is_in_use: bool,
    now: datetime,
) -> Settling:
    """A settle of a payment whose hold expired: for 72 hours it takes the value along with its unused link or code.

    At most what was held when it expired, and once where it is final, as in time. `is_in_use`: the card's code is
    with another payment or store. Raises PaymentClosed, OrderSuperseded, CurrencyMismatch, AmountOverHold.
    """
    if payment.expired_at is None or payment.expired_minor == 0 or now >= payment.expired_at + LATE_SETTLE or is_in_use:
        raise closed(payment)
    if order_reference is not None:
        _check_order(payment, order_reference)
    _check_currency(amount, payment.currency)
    left = payment.expired_minor - amount.amount_minor
    if left < 0:
        raise AmountOverHold(f"The hold that expired was {Money(payment.expired_minor, payment.currency)}.")
    if amount.amount_minor > card_balance_minor:
        raise closed(payment)
    return Settling(amount.amount_minor, 0, 0, late=True, late_left_minor=0 if final else left)


def decide_void(payment: PaymentSeen, now: datetime) -> int:
    """How much is released. Raises PaymentClosed."""
    _check_open(payment, now)
    return payment.held_minor


def decide_extend(payment: PaymentSeen, hold_ttl_s: int, now: datetime) -> datetime:
    """Until when a confirmed payment holds after an extension: never shorter, never past the programme's limit.

    Raises PaymentClosed, PaymentUnconfirmed.
    """
    _check_open(payment, now)
    if not payment.confirmed:
        raise PaymentUnconfirmed()
    return max(payment.expires_at, min(now + timedelta(seconds=hold_ttl_s), payment.hold_limit))


def decide_refund(payment: PaymentSeen, amount: Money) -> None:
    """A refund is never refused for its card's state, nor for an open hold.

    Raises CurrencyMismatch, AmountOverSettled.
    """
    _check_currency(amount, payment.currency)
    left = payment.settled_minor - payment.refunded_minor
    if amount.amount_minor > left:
        raise AmountOverSettled(f"At most {Money(left, payment.currency)} can be refunded.")


# ── reissue ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def decide_reissue(*, card_state: str, held_until: datetime | None) -> None:
    """Whether a card's key may be replaced by a new link or a fresh code; `held_until` where a store holds it.

    Raises CardHeld, CardClosed.
    """
    if held_until is not None:
        raise CardHeld(held_until)
    if card_state != "active":
        raise CardClosed()


def closed(payment: PaymentSeen) -> PaymentClosed:
    """The refusal for a payment that no longer holds, with the state that a store may know."""
    state = "expired" if payment.state == "held" else payment.state
    return PaymentClosed(f"The payment is {state}: it holds nothing.", state=state)


def _check_open(payment: PaymentSeen, now: datetime) -> None:
    if not is_open(payment, now):
        raise closed(payment)


def _check_order(payment: PaymentSeen, order_reference: str) -> None:
    """The order is fixed by the first confirm or settle: two tabs of one shopper must not both be paid by one card."""
    is_fixed = payment.confirmed or payment.settled_minor > 0
    if is_fixed and order_reference != payment.order_reference:
        raise OrderSuperseded("The payment was confirmed or settled for another order.")


def _within_hold(payment: PaymentSeen, amount: Money) -> int:
    _check_currency(amount, payment.currency)
    if amount.amount_minor > payment.held_minor:
        held = Money(payment.held_minor, payment.currency)
        raise AmountOverHold(f"The payment holds {held}.", held_minor=payment.held_minor)
    return amount.amount_minor


def _check_currency(amount: Money, currency: str) -> None:
    if amount.currency != currency:
        raise CurrencyMismatch(f"The payment is in {currency}, not {amount.currency}.")
