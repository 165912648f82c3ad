"""The outbox: what the service is to be told once an order stands, kept beside the order until it was told."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Literal, Protocol

from scrip_sdk.keys import request_key
from scrip_sdk.money import Money

Verb = Literal["settle", "void", "refund"]
State = Literal["pending", "done", "dead"]
VERBS: tuple[Verb, ...] = ("settle", "void", "refund")
STATES: tuple[State, ...] = ("pending", "done", "dead")

#: Longer than an instruction's calls may take together: one whose deliverer was killed waits for so long.
LEASE_S = 60.0
_UNLESS_PLACED = "unless-placed"
#: The longest texts, in characters: what the service takes.
LONGEST_ORDER_REFERENCE, LONGEST_REASON = 200, 500


class InstructionDiffers(Exception):
    """Another instruction has this key already: the same key is the same request, with the same content.

    No ValueError: the amount may be a good one, and it was decided before.
    """


@dataclass(frozen=True)
class Instruction:
    """One thing to tell the service: a row of the outbox, with no secret in it.

    `amount` is None for a void. `key` is the Idempotency-Key of every try. `due_at`: not before then; `tries` counts
    claims. `last_error` is a slug. `ended_at` is when it was done or dead, `answer_id` the settlement's or refund's.
    All times are aware.
    """

    verb: Verb
    payment_id: str
    order_reference: str
    amount: Money | None
    final: bool
    key: str
    id: str
    created_at: datetime
    due_at: datetime
    reason: str | None = None
    tries: int = 0
    state: State = "pending"
    last_error: str | None = None
    ended_at: datetime | None = None
    answer_id: str | None = None

    def __post_init__(self) -> None:
        """Raises ValueError for what the service could only refuse."""
        if self.verb not in VERBS or self.state not in STATES:
            raise ValueError(f"unknown verb or state: {self.verb!r}, {self.state!r}")
        if (self.amount is None) != (self.verb == "void"):
            raise ValueError("a settle and a refund have an amount, a void has none")
        if self.amount is not None and self.amount.amount_minor <= 0:
            raise ValueError("the amount must be above zero")
        if not self.payment_id or not 0 < len(self.order_reference) <= LONGEST_ORDER_REFERENCE:
            raise ValueError("a payment ID and an order reference of 1 to 200 characters are needed")
        if self.reason is not None and not 0 < len(self.reason) <= LONGEST_REASON:
            raise ValueError("the reason must have 1 to 500 characters")
        if self.created_at.tzinfo is None or self.due_at.tzinfo is None:
            raise ValueError("the times must have an offset")

    @property
    def unless_placed(self) -> bool:
        """Whether it is a void that is dropped when the outbox has a settle of its order, added before it or after."""
        return self.key == request_key("void", self.payment_id, self.order_reference, part=_UNLESS_PLACED)

    def same_request(self, other: Instruction) -> bool:
        """Whether both ask the service for the same thing under the same key."""
        return _asked(self) == _asked(other)


def settle_later(
    payment_id: str,
    amount: Money,
    *,
    order_reference: str,
    final: bool = True,
    part: str = "",
    at: datetime | None = None,
    due_at: datetime | None = None,
) -> Instruction:
    """Take `amount` once the order stands. `part` names the parcel where an order is settled in several.

    `at` is now, and `due_at` at once, unless given. Raises ValueError.
    """
    return _new("settle", payment_id, order_reference, amount, part, at, due_at, final=final)


def void_later(
    payment_id: str,
    *,
    order_reference: str,
    unless_placed: bool = False,
    at: datetime | None = None,
    due_at: datetime | None = None,
) -> Instruction:
    """Give the hold back: the order fell through. A payment is voided once, so nothing else names it.

    With `unless_placed` it is not known yet whether it will (`scrip_sdk.order.void_unless_placed`). Raises ValueError.
    """
    return _new("void", payment_id, order_reference, None, _UNLESS_PLACED if unless_placed else "", at, due_at)


def refund_later(
    payment_id: str,
    amount: Money,
    *,
    order_reference: str,
    part: str,
    reason: str | None = None,
    at: datetime | None = None,
    due_at: datetime | None = None,
) -> Instruction:
    """Return settled money to the card. `part` is the store's own name for this refund: of the same name there is one.

    Raises ValueError.
    """
    if not part:
        raise ValueError("a refund needs a name of its own, or a second one would be taken for the first")
    return _new("refund", payment_id, order_reference, amount, part, at, due_at, reason=reason)


@dataclass(frozen=True)
class Counts:
    """How many instructions stand in each state, and since when the oldest pending one waits."""

    pending: int
    done: int
    dead: int
    oldest_pending_at: datetime | None


class Outbox(Protocol):
    """Where instructions are kept. The service is told by `scrip_sdk.outbox.deliver`, and by nobody else.

    Every method may be called by several threads and processes at once.
    """

    def add(self, instruction: Instruction) -> Instruction:
        """Keeps it, where the store has one in the store's own transaction: then it stands exactly if the order does.

        One that has this key already stays as it is and is returned. Raises InstructionDiffers when that one asks for
        something else.
        """
        ...

    def claim(self, now: datetime, *, limit: int, lease_s: float) -> Sequence[Instruction]:
        """Takes up to `limit` pending ones that are due, the longest due first, for `lease_s` seconds from `now`.

        Nobody else gets one of them until its lease is over, or it was put off. Of a payment only the pending one that
        was added first is ever given: a refund never goes before its settle. Each has its `tries` counted up.
        """
        ...

    def done(self, instruction: Instruction, *, at: datetime, answer_id: str | None = None) -> None:
        """The service has done it. True whoever says so, and whatever the row says by now; done stays done."""
        ...

    def retry(self, instruction: Instruction, *, at: datetime, error: str) -> None:
        """Not yet: due again at `at`, its lease over. Without effect unless it is pending with the same `tries`: who
        claimed it later knows better."""
        ...

    def dead(self, instruction: Instruction, *, at: datetime, error: str) -> bool:
        """Never: a person must look. Without effect as in `retry`. Returns whether it is now dead by this call."""
        ...

    def revive(self, instruction_id: str, *, at: datetime) -> Instruction:
        """Sets a dead one going again, and brings a pending one forward: due at `at`; `tries` stay.

        Nobody's lease ends by it, but one that is longer than `LEASE_S` from `at` on ends then: a clock was wrong.
        Raises LookupError when none has this ID, or it is done.
        """
        ...

    def withdraw_voids(self, payment_id: str, *, at: datetime) -> bool:
        """Takes out what would void a payment that is wanted after all: its pending voids are gone, as if never added.

        Returns whether none is left: False when a deliverer holds one at `at`, and may be sending it.
        """
        ...

    def counts(self) -> Counts:
        """How many there are."""
        ...

    def list(
        self,
        *,
        state: State | None = None,
        payment_id: str | None = None,
        limit: int = 100,
        after: str | None = None,
    ) -> Sequence[Instruction]:
        """Up to `limit` in the order in which they were added, from the one behind the ID `after` on."""
        ...


def utc_now() -> datetime:
    """The time."""
    return datetime.now(timezone.utc)


def _new(
    verb: Verb,
    payment_id: str,
    order_reference: str,
    amount: Money | None,
    part: str,
    at: datetime | None,
    due_at: datetime | None,
    *,
    final: bool = True,
    reason: str | None = None,
) -> Instruction:
    created_at = at or utc_now()
    return Instruction(
        verb=verb,
        payment_id=payment_id,
        order_reference=order_reference,
        amount=amount,
        final=final,
        key=request_key(verb, payment_id, order_reference, part=part),
        id=f"ins_{secrets.token_hex(13)}",
        created_at=created_at,
        due_at=due_at or created_at,
        reason=reason,
    )


def _asked(instruction: Instruction) -> tuple[object, ...]:
    one = instruction
    return (one.key, one.verb, one.payment_id, one.order_reference, one.amount, one.final, one.reason)
