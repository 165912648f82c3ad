"""What becomes of a line of a bill, decided purely: matched, or the one break that says why not."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime

from app.ids import PaymentId, StoreId
from app.money import Money

MATCHED = "matched"
#: What a line can be instead, in the order in which it is decided.
KINDS = (
    "unknown_payment",
    "other_mode",
    "not_this_store",
    "currency_mismatch",
    "duplicate_line",
    "voided",
    "already_billed",
    "not_settled",
    "refunded_after",
    "amount_over",
    "amount_under",
)
#: Line and books speak of the same payment of this store, and only the amounts differ.
BY_AMOUNT = frozenset(("refunded_after", "amount_over", "amount_under"))

_PERIOD = re.compile(r"20[0-9]{2}-(0[1-9]|1[0-2])")


@dataclass(frozen=True, slots=True)
class Period:
    """A month in UTC, from `begins_at` up to, and without, `ends_at`."""

    name: str
    begins_at: datetime
    ends_at: datetime


def period_named(name: str) -> Period:
    """The month `YYYY-MM`. Raises ValueError for what names none of this century."""
    if not _PERIOD.fullmatch(name):
        raise ValueError("A period is a month such as 2026-11.")
    year, month = int(name[:4]), int(name[5:])
    ends_at = datetime(year + month // 12, month % 12 + 1, 1, tzinfo=UTC)
    return Period(name, datetime(year, month, 1, tzinfo=UTC), ends_at)


def period_of(moment: datetime) -> Period:
    """The month in which a moment lies."""
    return period_named(f"{moment.astimezone(UTC):%Y-%m}")


def as_of(period: Period, received_at: datetime) -> datetime:
    """What happened before this moment counts for a bill: so it matters neither when nor how often it is matched."""
    return min(period.ends_at, received_at)


@dataclass(frozen=True, slots=True)
class PaymentSeen:
    """The payment that a line names, whosever it is; `is_voided`: before the bill's `as_of`."""

    id: PaymentId
    store_id: StoreId
    mode: str
    currency: str
    is_voided: bool = False


@dataclass(frozen=True, slots=True)
class Facts:
    """A line of a bill of `store_id`, and its payment as it stood at the bill's `as_of`.

    `free_settled_minor` and `free_refunded_minor`: settlements and refunds before then that no bill has taken up.
    `has_settled`: something was settled before then, whoever took it up. `other_bill_id`: the last other bill that took
    up something of the payment. `is_duplicate`: an earlier line of the bill names the same payment in this currency.
    """

    line: Money
    store_id: StoreId
    mode: str
    payment: PaymentSeen | None
    is_duplicate: bool = False
    free_settled_minor: int = 0
    free_refunded_minor: int = 0
    has_settled: bool = False
    other_bill_id: str | None = None

    @property
    def expected_minor(self) -> int:
        """What the line should come to. Below zero where goods of an earlier month came back."""
        return self.free_settled_minor - self.free_refunded_minor

    @property
    def has_free(self) -> bool:
        """Whether anything is left to take up; a refund of all that was settled comes to nothing, and is something."""
        return self.free_settled_minor > 0 or self.free_refunded_minor > 0


def decide_line(facts: Facts) -> str:
    """MATCHED or one of KINDS."""
    return _not_ours(facts) or _by_time(facts) or _by_amount(facts)


def _not_ours(facts: Facts) -> str | None:
    """What is wrong with a line whatever became of its payment."""
    if facts.payment is None:
        return "unknown_payment"
    if facts.payment.mode != facts.mode:
        return "other_mode"
    if facts.payment.store_id != facts.store_id:
        return "not_this_store"
    if facts.payment.currency != facts.line.currency:
        return "currency_mismatch"
    return "duplicate_line" if facts.is_duplicate else None


def _by_time(facts: Facts) -> str | None:
    """What became of the payment, so that there is nothing to bill."""
    if facts.payment is not None and facts.payment.is_voided:
        return "voided"
    if not facts.has_free and facts.other_bill_id is not None:
        return "already_billed"
    return None if facts.has_settled else "not_settled"


def _by_amount(facts: Facts) -> str:
    line_minor, expected_minor = facts.line.amount_minor, facts.expected_minor
    if line_minor == expected_minor:
        return MATCHED
    if facts.free_refunded_minor > 0 and line_minor == facts.free_settled_minor:
        return "refunded_after"
    return "amount_over" if line_minor > expected_minor else "amount_under"


def paid_minor(facts: Facts) -> int:
    """What is paid for a line that is accepted although it differs: the smaller amount, in minor units.

    Nothing where nothing is left to take up: a refund that a credit has taken back would be taken back twice.
    """
    return min(facts.line.amount_minor, facts.expected_minor) if facts.has_free else 0


def is_tolerated(facts: Facts, tolerance_minor: int) -> bool:
    """Whether the line's break is closed at once, because its issuer lets a line differ by so much."""
    return decide_line(facts) in BY_AMOUNT and abs(facts.line.amount_minor - facts.expected_minor) <= tolerance_minor
