"""The outbox in the store's own database, so that an instruction stands exactly if the order does."""

import logging
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

from django.db import OperationalError, transaction
from django.db.models import Exists, F, OuterRef, Q

from scrip_sdk.django.models import ScripInstruction, ScripPayment
from scrip_sdk.django.records import alias, instructions, locked, payments
from scrip_sdk.django.signals import instruction_done
from scrip_sdk.django.times import read, stored
from scrip_sdk.outbox import LEASE_S, Counts, Instruction, InstructionDiffers, State

log = logging.getLogger(__name__)

_Row = ScripInstruction
PENDING, DONE, DEAD = _Row.State.PENDING, _Row.State.DONE, _Row.State.DEAD


class DjangoOutbox:
    """`scrip_sdk.outbox.Outbox` on the table of `ScripInstruction`.

    Whatever is called inside a transaction of the store takes part in it. What was done is also written down on the
    payment, in the same transaction. `only`: the payments whose instructions are claimed and listed; all when None.
    """

    def __init__(self, only: "Iterable[str] | None" = None) -> None:
        self._only = None if only is None else sorted(only)

    def add(self, instruction: Instruction) -> Instruction:
        """See the protocol. The unique key decides between two that come at once."""
        row, is_new = instructions().get_or_create(key=instruction.key, defaults=_columns(instruction))
        kept = _instruction(row)
        if not is_new and not kept.same_request(instruction):
            raise InstructionDiffers(f"another instruction has the key of this {instruction.verb}")
        return kept

    def claim(self, now: datetime, *, limit: int, lease_s: float) -> Sequence[Instruction]:
        """See the protocol. Where the database can, rows that somebody else is taking are passed over."""
        earlier = _Row.objects.filter(payment_id=OuterRef("payment_id"), state=PENDING, id__lt=OuterRef("id"))
        free = Q(lease_until=None) | Q(lease_until__lte=stored(now))
        with transaction.atomic(using=alias()):
            due = instructions().filter(free, ~Exists(earlier), state=PENDING, due_at__lte=stored(now))
            if self._only is not None:
                due = due.filter(payment_id__in=self._only)
            found = list(locked(due.order_by("due_at", "id"), skip_locked=True)[:limit])
            # Asked again which they are: where a database cannot lock rows, one of two is told.
            taken = [row for row in found if self._take(row, free, now + timedelta(seconds=lease_s))]
        for row in taken:
            row.tries += 1
        return [_instruction(row) for row in taken]

    def done(self, instruction: Instruction, *, at: datetime, answer_id: str | None = None) -> None:
        """See the protocol. The payment is told once, by whoever ends it."""
        with transaction.atomic(using=alias()):
            ended = instructions().filter(instruction_id=instruction.id).exclude(state=DONE)
            if ended.update(
                state=DONE, ended_at=stored(at), lease_until=None, last_error="", answer_id=answer_id or ""
            ):
                _tell_payment(instruction, at)
                _tell_store(instruction, answer_id)

    def retry(self, instruction: Instruction, *, at: datetime, error: str) -> None:
        """See the protocol."""
        self._mine(instruction).update(due_at=stored(at), lease_until=None, last_error=error[:100])

    def dead(self, instruction: Instruction, *, at: datetime, error: str) -> bool:
        """See the protocol."""
        changes = {"state": DEAD, "ended_at": stored(at), "lease_until": None, "last_error": error[:100]}
        return bool(self._mine(instruction).update(**changes))

    def revive(self, instruction_id: str, *, at: datetime) -> Instruction:
        """See the protocol."""
        latest = stored(at + timedelta(seconds=LEASE_S))
        with transaction.atomic(using=alias()):
            undone = instructions().filter(instruction_id=instruction_id).exclude(state=_Row.State.DONE)
            if not undone.update(state=PENDING, due_at=stored(at), ended_at=None):
                raise LookupError(f"no instruction that is not done has the ID {instruction_id}")
            undone.filter(lease_until__gt=latest).update(lease_until=latest)
        return _instruction(instructions().get(instruction_id=instruction_id))

    def withdraw_voids(self, payment_id: str, *, at: datetime) -> bool:
        """See the protocol."""
        voids = instructions().filter(payment_id=payment_id, verb=_Row.Verb.VOID, state=PENDING)
        free = Q(lease_until=None) | Q(lease_until__lte=stored(at))
        with transaction.atomic(using=alias()):
            list(locked(voids.order_by("id")))  # a claim and this exclude each other
            voids.filter(free).delete()
            return not voids.exists()

    def counts(self) -> Counts:
        """See the protocol."""
        found = {state: instructions().filter(state=state).count() for state in _Row.State.values}
        oldest = (
            instructions().filter(state=PENDING).order_by("created_at").values_list("created_at", flat=True).first()
        )
        return Counts(**found, oldest_pending_at=oldest and read(oldest))

    def list(
        self,
        *,
        state: State | None = None,
        payment_id: str | None = None,
        limit: int = 100,
        after: str | None = None,
    ) -> Sequence[Instruction]:
        """See the protocol."""
        wanted = instructions().order_by("id")
        if self._only is not None:
            wanted = wanted.filter(payment_id__in=self._only)
        if state is not None:
            wanted = wanted.filter(state=state)
        if payment_id is not None:
            wanted = wanted.filter(payment_id=payment_id)
        if after is not None:
            wanted = wanted.filter(id__gt=instructions().filter(instruction_id=after).values("id")[:1])
        return [_instruction(row) for row in wanted[:limit]]

    def _take(self, row: ScripInstruction, free: Q, until: datetime) -> bool:
        same = instructions().filter(free, pk=row.pk, state=PENDING, tries=row.tries)
        return bool(same.update(lease_until=stored(until), tries=row.tries + 1))

    def _mine(self, instruction: Instruction) -> Any:
        """The row, unless somebody else has claimed or ended it since."""
        return instructions().filter(instruction_id=instruction.id, state=PENDING, tries=instruction.tries)


def _tell_payment(instruction: Instruction, at: datetime) -> None:
    """What the service has done, on the store's own record of the payment."""
    payment = payments().filter(payment_id=instruction.payment_id)
    state = ScripPayment.State
    amount_minor = 0 if instruction.amount is None else instruction.amount.amount_minor
    if instruction.verb == "settle":
        payment.update(settled_minor=F("settled_minor") + amount_minor, settled_at=stored(at), changed_at=stored(at))
        whole = Q() if instruction.final else Q(settled_minor__gte=F("held_minor"))
        payment.filter(whole).update(state=state.SETTLED)
    elif instruction.verb == "refund":
        payment.update(refunded_minor=F("refunded_minor") + amount_minor, changed_at=stored(at))
    else:  # which was not sent where an order came to stand after all
        mine = payment.filter(state=state.VOIDING)
        mine.filter(settled_minor__gt=0).update(state=state.SETTLED, changed_at=stored(at))
        mine.filter(settled_minor=0).update(state=state.VOIDED, changed_at=stored(at))


def _tell_store(instruction: Instruction, answer_id: str | None) -> None:
    """Whoever listens writes into the same transaction. A bug of theirs does not unmake what the service has done, nor
    keep the others waiting; a database that is away does."""
    try:
        with transaction.atomic(using=alias()):
            instruction_done.send(sender=ScripInstruction, instruction=instruction, answer_id=answer_id or "")
    except OperationalError:
        raise
    except Exception:
        log.exception("a listener to instruction_done failed for %s %s", instruction.verb, instruction.payment_id)


def _columns(one: Instruction) -> dict[str, Any]:
    return {
        "instruction_id": one.id,
        "verb": one.verb,
        "payment_id": one.payment_id,
        "order_reference": one.order_reference,
        "amount_minor": None if one.amount is None else one.amount.amount_minor,
        "currency": "" if one.amount is None else one.amount.currency,
        "final": one.final,
        "reason": one.reason or "",
        "state": one.state,
        "tries": one.tries,
        "created_at": stored(one.created_at),
        "due_at": stored(one.due_at),
        "ended_at": one.ended_at and stored(one.ended_at),
        "last_error": one.last_error or "",
        "answer_id": one.answer_id or "",
    }


def _instruction(row: ScripInstruction) -> Instruction:
    return Instruction(
        verb=row.verb,
        payment_id=row.payment_id,
        order_reference=row.order_reference,
        amount=row.amount,
        final=row.final,
        key=row.key,
        id=row.instruction_id,
        created_at=read(row.created_at),
        due_at=read(row.due_at),
        reason=row.reason or None,
        tries=row.tries,
        state=row.state,
        last_error=row.last_error or None,
        ended_at=row.ended_at and read(row.ended_at),
        answer_id=row.answer_id or None,
    )
