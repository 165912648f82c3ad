"""Deliver: tells the service what stands in the outbox, until it has said yes, or that it never will."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from scrip_sdk.client import Client
from scrip_sdk.errors import NotAllowed, PaymentClosed, ScripError
from scrip_sdk.order import is_anothers
from scrip_sdk.outbox import LEASE_S, Instruction, Outbox, utc_now

#: Waits between tries, each by up to a half less at random: the first, twice as long every time, and the longest.
FIRST_WAIT_S, LONGEST_WAIT_S = 0.5, 300.0
#: A settle of a payment whose hold is over succeeds for so long, once its value is free again (docs/money-path.md).
LATE_SETTLE = timedelta(hours=72)
LATE_WAIT_S = 900.0
#: What a day's end mends, and nothing sooner.
LIMIT_WAIT_S = 3_600.0
#: A loop looks at least so often whether it is to stop.
AT_A_TIME = 20
#: No payment has more parcels and returns than this.
MOST_OF_A_PAYMENT = 1_000
#: So many bugs of the service one after the other mean that nothing works there.
MOST_BUGS_IN_A_ROW = 3

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Delivery:
    """What a run has done. `away_s`: the service is away, and whoever asks next should wait so many seconds first."""

    done: int = 0
    put_off: int = 0
    dead: int = 0
    away_s: float | None = None

    @property
    def sent(self) -> int:
        """How many instructions the service was told, in vain or not."""
        return self.done + self.put_off + self.dead


@dataclass(frozen=True)
class _Outcome:
    """What became of one try. `wait_s`: the least wait then. `ends_run`: the next in line would fare alike."""

    kind: Literal["done", "put_off", "dead"]
    error: str = ""
    answer_id: str | None = None
    wait_s: float = 0.0
    ends_run: bool = False
    is_bug: bool = False


def deliver(
    outbox: Outbox,
    client: Client,
    *,
    now: Callable[[], datetime] = utc_now,
    limit: int = 1_000,
    seconds: float = 60,
    on_dead: Callable[[Instruction], None] | None = None,
) -> Delivery:
    """Sends what is due, one after the other: at most `limit`, and none is begun after `seconds`.

    It ends at the first answer that says that the service is away: the others wait in line. `on_dead` is told of each
    instruction that a person must look at; an error is logged before, so that it is not lost where there is no hook.
    May run in several processes at once, and be killed at any moment: what was not marked as done is sent again with
    the same key. Raises what the outbox raises, and nothing that the service says.
    """
    counted = {"done": 0, "put_off": 0, "dead": 0}
    bugs, ends_at = 0, time.monotonic() + seconds
    while sum(counted.values()) < limit and time.monotonic() < ends_at:
        claimed = outbox.claim(now(), limit=1, lease_s=LEASE_S)
        if not claimed:
            break
        outcome = _tell(outbox, client, claimed[0], now)
        wait_s = max(wait_before(claimed[0].tries), outcome.wait_s * (1 + random.random() / 10))  # noqa: S311
        _write_down(outbox, claimed[0], outcome, now(), wait_s, on_dead)
        counted[outcome.kind] += 1
        bugs = bugs + 1 if outcome.is_bug else 0
        if outcome.ends_run or bugs == MOST_BUGS_IN_A_ROW:
            return Delivery(**counted, away_s=wait_s)
    return Delivery(**counted)


def keep_delivering(
    outbox: Outbox,
    client: Client,
    *,
    every_s: float,
    stop: Callable[[float], bool],
    report: Callable[[Delivery], None] = lambda _: None,
    on_dead: Callable[[Instruction], None] | None = None,
    passing: tuple[type[Exception], ...] = (),
) -> None:
    """Delivers again and again, `every_s` seconds apart, and ever longer, up to minutes, while the service is away.

    `stop` waits for so many seconds and says whether to end: `threading.Event().wait`, say. `passing` are the errors of
    the outbox's database: they are logged, and it goes on. Raises the others as `deliver` does.
    """
    absent, pause_s = 0, 0.0
    while not stop(pause_s):
        try:
            delivery = deliver(outbox, client, limit=AT_A_TIME, on_dead=on_dead)
            report(delivery)
        except passing as error:
            # Its name alone: a database's own words may have anything in them.
            log.error("scrip: the outbox's database is away (%s): it is asked again", type(error).__name__)
            pause_s = every_s
            continue
        absent = 0 if delivery.away_s is None else absent + 1
        if delivery.away_s is not None:
            pause_s = max(every_s, delivery.away_s, wait_before(absent))
        else:
            pause_s = every_s if delivery.sent < AT_A_TIME else 0.0


def wait_before(tries: int) -> float:
    """Seconds until the next try after so many (docs/api.md, "When we are away"): not all stores come back at once."""
    longest_s: float = min(FIRST_WAIT_S * 2.0 ** min(max(tries, 1) - 1, 30), LONGEST_WAIT_S)
    return longest_s * (1 - random.random() / 2)  # noqa: S311 – it keeps nothing secret


# ── one instruction ─────────────────────────────────────────────────────────────────────────────────────────────────


def _tell(outbox: Outbox, client: Client, one: Instruction, now: Callable[[], datetime]) -> _Outcome:
    if one.verb == "void" and _is_overtaken(outbox, one):
        return _Outcome("done")
    try:
        try:
            return _Outcome("done", answer_id=_send(client, one))
        except PaymentClosed as closed:
            return _decide_closed(outbox, client, one, closed, now())
    except ScripError as error:
        return _decide(error)
    except Exception:  # a bug on our side of the wire must not stop those in line behind it, for good
        log.exception("scrip: a bug while telling the service of %s %s", one.verb, one.id)
        return _Outcome("put_off", "bug", is_bug=True)


def _is_overtaken(outbox: Outbox, void: Instruction) -> bool:
    """Whether a settle was added later: the same order was placed after all, by a store that did not withdraw this.

    One that counts unless the order is placed may itself have come late: who pressed twice added it once more.
    """
    later = void.unless_placed
    for each in outbox.list(payment_id=void.payment_id, limit=MOST_OF_A_PAYMENT):
        if later and each.verb == "settle" and each.order_reference == void.order_reference:
            return True
        later = later or each.id == void.id
    return False


def _send(client: Client, one: Instruction) -> str | None:
    if one.verb == "void" or one.amount is None:
        # Of a confirm whose answer was lost nobody knows whether it was this order's: another's is left alone.
        if not is_anothers(client.get(one.payment_id), one.order_reference):
            client.void(one.payment_id, key=one.key)
        return None
    if one.verb == "refund":
        return client.refund(one.payment_id, one.amount, key=one.key, reason=one.reason).id
    order = one.order_reference
    return client.settle(one.payment_id, one.amount, order_reference=order, final=one.final, key=one.key).id


def _decide(error: ScripError) -> _Outcome:
    """What a refusal means for an instruction, and whether the next one would hear the same."""
    asked_s = getattr(error, "retry_after_s", None) or 0
    if error.slug in ("refund-limit-reached", "refund-not-covered"):
        return _Outcome("put_off", error.slug, wait_s=LIMIT_WAIT_S)
    if not error.worth_repeating:
        return _Outcome("dead", error.slug)
    if isinstance(error, NotAllowed):
        log.warning("scrip: this store's credentials are not taken (%s): it is tried again until that is mended", error)
        # A scope is missing for one verb; credentials that are not good are not good for any.
        return _Outcome("put_off", error.slug, wait_s=LONGEST_WAIT_S / 2, ends_run=error.slug != "insufficient-scope")
    is_bug = error.status == 500
    return _Outcome("put_off", error.slug, wait_s=asked_s, ends_run=not is_bug, is_bug=is_bug)


def _decide_closed(outbox: Outbox, client: Client, one: Instruction, closed: PaymentClosed, now: datetime) -> _Outcome:
    """The payment holds nothing for this: what it says of itself decides. Raises ScripError: it could not be read."""
    if one.verb == "void":
        return _Outcome("done")  # nothing is held any more, which is all that a void wants
    if one.verb == "refund":
        return _Outcome("dead", closed.slug)
    payment = client.get(one.payment_id)
    if one.amount is not None and payment.order_reference == one.order_reference:
        others = sum(
            each.amount.amount_minor
            for each in outbox.list(payment_id=one.payment_id, state="done", limit=MOST_OF_A_PAYMENT)
            if each.verb == "settle" and each.amount is not None and each.id != one.id
        )
        if payment.settled.amount_minor == others + one.amount.amount_minor and payment.state == "settled":
            return _Outcome("done")
    if payment.state == "expired" and now < payment.expires_at + LATE_SETTLE:
        return _Outcome("put_off", closed.slug, wait_s=LATE_WAIT_S)
    if payment.state == "held" and closed.state is not None:
        return _Outcome("put_off", closed.slug)
    return _Outcome("dead", closed.slug)


def _write_down(
    outbox: Outbox,
    one: Instruction,
    outcome: _Outcome,
    at: datetime,
    wait_s: float,
    on_dead: Callable[[Instruction], None] | None,
) -> None:
    if outcome.kind == "done":
        outbox.done(one, at=at, answer_id=outcome.answer_id)
    elif outcome.kind == "put_off":
        outbox.retry(one, at=at + timedelta(seconds=wait_s), error=outcome.error)
    elif outbox.dead(one, at=at, error=outcome.error):
        told = (one.verb, one.id, one.payment_id, one.order_reference, outcome.error)
        log.error("scrip: %s %s of payment %s for order %s is given up: %s; a person must look", *told)
        if on_dead is not None:
            try:
                on_dead(one)
            except Exception:  # an alarm that fails must not keep the others' money waiting
                log.exception("scrip: the alert hook failed for %s", one.id)
