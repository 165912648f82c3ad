"""What the service answers: payments, settlements and refunds, frozen, with money in minor units."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from scrip_sdk.money import Money


class NotUnderstood(Exception):
    """An answer has not the shape that it must have. It says which field, never what stood in it."""


@dataclass(frozen=True)
class Payment:
    """A code that became a payment of this store's.

    `state`: held, settled, voided or expired. `balance`: the card's, when this payment last moved. `held` can be
    settled until `expires_at`. `balance_token`: a signed statement for the store's own pages, while held.
    """

    id: str
    state: str
    confirmed: bool
    order_reference: str
    balance: Money
    held: Money
    settled: Money
    released: Money
    refunded: Money
    expires_at: datetime
    created_at: datetime
    balance_token: str | None = field(default=None, repr=False, compare=False)  # signed anew with each answer


@dataclass(frozen=True)
class Settlement:
    """What one settle took, gave free and left held."""

    id: str
    settled: Money
    released: Money
    remaining: Money
    payment: Payment


@dataclass(frozen=True)
class Refund:
    """Money that went back to the card."""

    id: str
    amount: Money
    payment: Payment


@dataclass(frozen=True)
class SentBill:
    """A bill at the service. `state`: received, read, matched, unreadable, approved or rejected.

    Counts are None until it is read, or matched. `reference`: the store's own name for it.
    """

    id: str
    reference: str
    period: str
    state: str
    lines: int | None
    wrong_lines: int | None
    matched_lines: int | None
    broken_lines: int | None
    unreadable_because: str | None


def read_sent_bill(answer: Mapping[str, Any]) -> SentBill:
    """Raises NotUnderstood."""
    counts = ("lines", "wrong_lines", "matched_lines", "broken_lines")
    found: dict[str, Any] = {name: None if answer.get(name) is None else _typed(answer, name, int) for name in counts}
    found |= {name: _text(answer, name) for name in ("id", "reference", "period", "state")}
    because = answer.get("unreadable_because")
    return SentBill(**found, unreadable_because=None if because is None else _text(answer, "unreadable_because"))


def read_payment(answer: Mapping[str, Any]) -> Payment:
    """The payment in an answer; fields that are not known are left alone. Raises NotUnderstood."""
    amounts = {name: _money(answer, name) for name in ("balance", "held", "settled", "released", "refunded")}
    token = answer.get("balance_token")
    return Payment(
        id=_text(answer, "id"),
        state=_text(answer, "state"),
        confirmed=_typed(answer, "confirmed", bool),
        order_reference=_text(answer, "order_reference"),
        expires_at=_time(answer, "expires_at"),
        created_at=_time(answer, "created_at"),
        balance_token=None if token is None else _text(answer, "balance_token"),
        **amounts,
    )


def read_settlement(answer: Mapping[str, Any]) -> Settlement:
    """Raises NotUnderstood."""
    amounts = {name: _money(answer, name) for name in ("settled", "released", "remaining")}
    return Settlement(id=_text(answer, "id"), payment=read_payment(_typed(answer, "payment", dict)), **amounts)


def read_refund(answer: Mapping[str, Any]) -> Refund:
    """Raises NotUnderstood."""
    payment = read_payment(_typed(answer, "payment", dict))
    return Refund(id=_text(answer, "id"), amount=_money(answer, "amount"), payment=payment)


def _typed(answer: Mapping[str, Any], name: str, kind: type[Any]) -> Any:
    value = answer.get(name)
    if type(value) is not kind:
        raise NotUnderstood(name)
    return value


def _text(answer: Mapping[str, Any], name: str) -> str:
    text: str = _typed(answer, name, str)
    return text


def _money(answer: Mapping[str, Any], name: str) -> Money:
    value = _typed(answer, name, dict)
    try:
        return Money(value.get("amount_minor"), value.get("currency"))
    except (TypeError, ValueError):
        raise NotUnderstood(name) from None


def _time(answer: Mapping[str, Any], name: str) -> datetime:
    try:
        read = datetime.fromisoformat(_text(answer, name).replace("Z", "+00:00"))  # Python 3.10 does not read a Z
    except ValueError:
        raise NotUnderstood(name) from None
    if read.tzinfo is None:
        raise NotUnderstood(name)
    return read
