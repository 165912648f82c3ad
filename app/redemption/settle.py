"""Settle: the order completed; its money leaves the card, and what is left goes back to the holder by a new link."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select

from app.db.request import Reference, answer_again, keep_answer
from app.db.together import Write, row_of, together
from app.db.transaction import transaction
from app.events.event import event_of
from app.ids import CardId, PaymentId, StoreId, new_id
from app.issuance import links, one_key
from app.issuance import rules as issuance_rules
from app.issuance.models import Code
from app.issuance.reissue import queue_reissue
from app.ledger.accounts import OWED, account_id
from app.ledger.transfer import transfer_of
from app.mail.letter import letter_of
from app.money import Money
from app.redemption import rules
from app.redemption.holds import Locked, change_payment, lock_payment
from app.redemption.models import SettlementRow
from app.redemption.payment import Payment, described_with


@dataclass(frozen=True, slots=True)
class Settlement:
    """What one settle took (`settled`), gave free (`released`) and left held (`remaining`)."""

    id: str
    settled: Money
    released: Money
    remaining: Money
    payment: Payment
    replayed: bool = False


def settle_payment(
    payment_id: PaymentId,
    amount: Money,
    *,
    store_id: StoreId,
    reference: Reference,
    final: bool = True,
    order_reference: str | None = None,
) -> Settlement:
    """Takes `amount` from the hold; `final` releases the rest, kills the code and mails a new link for what is left.

    A settle of an expired payment succeeds for 72 hours while the value is not with a store: it takes the waiting link
    or unused code with it.

    Raises NotFound, PaymentClosed, OrderSuperseded, CurrencyMismatch, AmountOverHold, ReferenceReused, Busy.
    """
    with transaction() as db:
        locked = lock_payment(db, payment_id, store_id=store_id, reference=reference)
        if again := answer_again(db, reference, Settlement, claimed=locked.is_first):
            return again
        if rules.is_open(locked.payment, locked.now):
            decided = rules.decide_settle(
                locked.payment, amount, final=final, order_reference=order_reference, now=locked.now
            )
        else:
            decided = _decide_late(db, locked, amount, order_reference, final=final)
            _take_key_along(db, locked)
        return _write(db, locked, decided, order_reference or locked.row.order_reference, reference)


def _decide_late(
    db: Connection, locked: Locked, amount: Money, order_reference: str | None, *, final: bool
) -> rules.Settling:
    elsewhere = select(Code.id).where(Code.id == locked.row.key_code_id, Code.store_id != locked.row.store_id)
    return rules.decide_late_settle(
        locked.payment,
        amount,
        final=final,
        order_reference=order_reference,
        card_balance_minor=locked.balance_minor if locked.row.card_state == "active" else 0,
        is_in_use=locked.row.key_payment_id is not None or db.execute(elsewhere).first() is not None,
        now=locked.now,
    )


def _take_key_along(db: Connection, locked: Locked) -> None:
    """A statement of its own, before the new link is made: a card has one waiting link at most."""
    together(
        db,
        links.supersede_link(locked.row.link_id) if locked.row.link_id else None,
        one_key.kill_code(locked.row.key_code_id, locked.now) if locked.row.key_code_id else None,
        one_key.point_at(locked.row.card_id),
    )


def _write(
    db: Connection, locked: Locked, decided: rules.Settling, order_reference: str, reference: Reference
) -> Settlement:
    seen, row, now = locked.payment, locked.row, locked.now
    is_closed = decided.held_minor == 0
    given_back = -decided.settled_minor if decided.late else decided.released_minor
    changes: dict[str, Any] = {
        "state": "settled" if is_closed else "held",
        "held_minor": decided.held_minor,
        "settled_minor": seen.settled_minor + decided.settled_minor,
        "released_minor": seen.released_minor + given_back,
        "balance_minor": locked.balance_minor - decided.settled_minor,
        "expired_minor": decided.late_left_minor,
        "order_reference": order_reference,
        "ended_at": now if is_closed else None,
        "provisional": False,
    }
    settlement = Settlement(
        id=new_id("set"),
        settled=locked.money(decided.settled_minor),
        released=locked.money(decided.released_minor),
        remaining=locked.money(decided.held_minor),
        payment=described_with(row, changes, now),
    )
    together(
        db,
        change_payment(row.id, **changes),
        _settlement_insert(locked, settlement, order_reference, late=decided.late),
        transfer_of(
            "settle",
            settlement.settled,
            debit_id=row.account_id,
            credit_id=account_id(OWED, row.store_id, row.currency),
            mode=row.mode,
            card_id=row.card_id,
            payment_id=row.id,
            at=now,
        ),
        _event(locked, settlement, order_reference, late=decided.late),
        _after(locked, settlement, is_closed=is_closed, late=decided.late),
        keep_answer(reference, settlement),
    )
    return settlement


def _after(locked: Locked, settlement: Settlement, *, is_closed: bool, late: bool) -> list[Write | None]:
    """What becomes of the card: still held, spent, or reachable through a new link. Each way the holder is told."""
    row, now = locked.row, locked.now
    left = locked.balance_minor - settlement.settled.amount_minor
    facts = {"store": row.store_name, "taken_minor": settlement.settled.amount_minor, "left_minor": left}
    receipt = letter_of("receipt", card_id=row.card_id, facts=facts, due_at=now)
    if not is_closed:
        return [receipt]
    end_of_code = None if late else one_key.kill_code(row.code_id, now)
    if left == 0:
        nothing = None if late else one_key.point_at(row.card_id)
        return [end_of_code, nothing, one_key.spend_card(row.card_id), receipt]
    return [end_of_code, *_reissue_rest(row.card_id, row.card_expires_at, now, facts)]


def _reissue_rest(
    card_id: CardId, card_expires_at: datetime, now: datetime, facts: dict[str, object]
) -> list[Write | None]:
    expires_at = issuance_rules.after_release(card_expires_at, now)
    _, writes = queue_reissue(card_id, "reissue", reason="settlement", card_expires_at=expires_at, at=now, facts=facts)
    return [one_key.keep_card(card_id, expires_at), *writes]


def _settlement_insert(locked: Locked, settlement: Settlement, order_reference: str, *, late: bool) -> Write:
    return _settlement(
        id=settlement.id,
        payment_id=locked.row.id,
        card_id=locked.row.card_id,
        store_id=locked.row.store_id,
        amount_minor=settlement.settled.amount_minor,
        order_reference=order_reference,
        late=late,
        at=locked.now,
    )


_settlement = row_of(SettlementRow)


def _event(locked: Locked, settlement: Settlement, order_reference: str, *, late: bool) -> Write:
    facts = {
        "settlement_id": settlement.id,
        "store_id": locked.row.store_id,
        "mode": locked.row.mode,
        "currency": locked.row.currency,
        "settled_minor": settlement.settled.amount_minor,
        "released_minor": settlement.released.amount_minor,
        "held_minor": settlement.remaining.amount_minor,
        "order_reference": order_reference,
        "late": late,
    }
    return event_of("payment_settled", at=locked.now, card_id=locked.row.card_id, payment_id=locked.row.id, facts=facts)
