"""Exchange: a code becomes a payment, and from then on is worth nothing to anyone but that payment's store."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ARRAY, Connection, bindparam, exists, func, literal_column, or_, select
from sqlalchemy.dialects.postgresql import BYTEA

from app import clock
from app.db.base import AnyRow, AnySelect
from app.db.request import CLAIM_REQUEST, Reference, answer_again, find_answer, keep_answer
from app.db.together import Write, row_of, together
from app.db.transaction import transaction
from app.errors import CodeMistyped, CodeNotAccepted
from app.events.event import event_of
from app.ids import CardId, CodeId, PaymentId, new_id
from app.issuance import one_key
from app.issuance.code import read_code
from app.issuance.code_hash import hashes_to_look_up
from app.issuance.models import Card, CardKey, Code, Programme, ProgrammeStore
from app.ledger.accounts import OWED, opening_of
from app.money import Money
from app.redemption import rules
from app.redemption.models import PaymentRow
from app.redemption.payment import COLUMNS, Payment, describe_payment


@dataclass(frozen=True, slots=True)
class Exchanged:
    """A payment, and whether this exchange opened it (`opened`) or found it open."""

    payment: Payment
    opened: bool
    replayed: bool = False


@dataclass(frozen=True, slots=True)
class CodeLookedAt:
    """The card of a code that a store may exchange: its balance, and the open payment that it would get again."""

    card_id: CardId
    balance: Money
    payment: Payment | None


def exchange_code(
    typed: str, *, asker: rules.Asker, reference: Reference, amount: Money | None = None, hold_ttl_s: int | None = None
) -> Exchanged:
    """Opens a payment that holds the card's balance, or `amount` of it, for `hold_ttl_s` at most.

    The same store and shopper again, while the payment is open, get the same payment.

    Raises CodeMistyped (no try), CodeNotAccepted for every code that is not acceptable, CurrencyMismatch,
    ReferenceReused, Busy.
    """
    code = read_code(typed)
    if code is None:
        raise CodeMistyped()
    hashes = hashes_to_look_up(code)
    try:
        with transaction() as db:
            code_id = find_code(db, hashes)
            if code_id is not None:
                return exchange_proven(
                    db, code_id, asker=asker, reference=reference, amount=amount, hold_ttl_s=hold_ttl_s
                )
            # The repeat of a request whose payment has ended finds its code dead; any other is known by its claim.
            if again := find_answer(db, reference, Exchanged):
                return again
            raise rules.Unaccepted("unknown")
    except rules.Unaccepted as refusal:
        _record_try(asker, refusal.reason)
        raise CodeNotAccepted() from None


def find_code(db: Connection, hashes: Sequence[bytes]) -> CodeId | None:
    """The code that has one of these hashes; None for an unknown and for a dead one."""
    return db.scalar(_HASHED, {"hashes": hashes})


def look_at_code(db: Connection, code_id: CodeId, *, asker: rules.Asker) -> CodeLookedAt:
    """What an exchange of this code would find at this moment; nothing is locked or written.

    Raises Unaccepted, whose reason is for the events alone.
    """
    row = db.execute(_LOOK, {"wanted_code": code_id, "asking_store": asker.store_id}).one()
    now = clock.read(row.stamp)
    repeated = rules.decide_exchange(_seen(row), asker, now)
    payment = describe_payment(_payment(db, repeated), now) if repeated is not None else None
    return CodeLookedAt(row.card_id, Money(row.balance_minor, row.currency), payment)


def exchange_proven(
    db: Connection,
    code_id: CodeId,
    *,
    asker: rules.Asker,
    reference: Reference,
    amount: Money | None = None,
    hold_ttl_s: int | None = None,
) -> Exchanged:
    """The exchange of a code that somebody has just proven to know; it is decided on locked rows.

    Raises Unaccepted, CurrencyMismatch, ReferenceReused, Busy.
    """
    wanted = {"wanted_code": code_id, "asking_store": asker.store_id}
    row = db.execute(_CLAIM_AND_LOCK, wanted | reference.claim).one()
    if again := answer_again(db, reference, Exchanged, claimed=row.claimed > 0):
        return again
    now = clock.read(row.stamp)
    if (repeated := rules.decide_exchange(_seen(row), asker, now)) is not None:
        answer = Exchanged(describe_payment(_payment(db, repeated), now), opened=False)
        together(db, keep_answer(reference, answer))
        return answer
    held = rules.hold_amount(row.balance_minor, amount, row.currency)
    until = rules.hold_until(now, asked_s=hold_ttl_s, programme_s=row.hold_ttl_s)
    payment = _new_payment(row, asker, held, until, now)
    answer = Exchanged(payment, opened=True)
    _write(db, row, payment, asker, answer, reference)
    return answer


def _new_payment(row: AnyRow, asker: rules.Asker, held_minor: int, until: datetime, now: datetime) -> Payment:
    nothing = Money(0, row.currency)
    return Payment(
        id=PaymentId(new_id("pay")),
        store_id=asker.store_id,
        state="held",
        confirmed=False,
        order_reference=asker.order_reference,
        balance=Money(row.balance_minor, row.currency),
        held=Money(held_minor, row.currency),
        settled=nothing,
        released=nothing,
        refunded=nothing,
        expires_at=until,
        created_at=now,
        as_of=now,
    )


def _write(
    db: Connection, row: AnyRow, payment: Payment, asker: rules.Asker, answer: Exchanged, reference: Reference
) -> None:
    held_minor = payment.held.amount_minor
    together(
        db,
        _payment_insert(
            id=payment.id,
            card_id=row.card_id,
            code_id=row.code_id,
            store_id=asker.store_id,
            mode=row.mode,
            currency=row.currency,
            order_reference=asker.order_reference,
            balance_minor=row.balance_minor,
            hold_minor=held_minor,
            held_minor=held_minor,
            created_at=payment.created_at,
            expires_at=payment.expires_at,
        ),
        one_key.bind_code(
            row.code_id,
            store_id=asker.store_id,
            shopper_key=asker.shopper_key,
            order_reference=asker.order_reference,
            until=payment.expires_at,
        ),
        one_key.point_at(row.card_id, code_id=row.code_id, payment_id=payment.id),
        opening_of(OWED, asker.store_id, row.currency, row.mode),
        event_of(
            "code_exchanged",
            at=payment.created_at,
            card_id=row.card_id,
            payment_id=payment.id,
            facts={"store_id": asker.store_id, "held_minor": held_minor, "order_reference": asker.order_reference},
        ),
        keep_answer(reference, answer),
    )


#: A hold of which nothing has been taken yet.
_payment_insert = row_of(PaymentRow, state="held", settled_minor=0, released_minor=0, refunded_minor=0, expired_minor=0)


def _record_try(asker: rules.Asker, reason: str) -> None:
    """In a transaction of its own: the refused one is gone."""
    with transaction() as db:
        together(db, refused_code(asker, reason, at=clock.now(db)))


def refused_code(asker: rules.Asker, reason: str, *, at: datetime) -> Write:
    """The event of a try that failed. Its reason is told to nobody else."""
    return event_of("code_refused", at=at, facts={"store_id": asker.store_id, "reason": reason})


def _payment(db: Connection, payment_id: PaymentId) -> AnyRow:
    return db.execute(select(*COLUMNS).where(PaymentRow.id == payment_id)).one()


def _seen(row: AnyRow) -> rules.CodeSeen:
    return rules.CodeSeen(
        state=row.code_state,
        bound_store_id=row.bound_store_id,
        bound_shopper_key=row.bound_shopper_key,
        bound_order_reference=row.bound_order_reference,
        bound_until=row.bound_until,
        card_state=row.card_state,
        card_expires_at=row.card_expires_at,
        mode=row.mode,
        store_is_in_programme=row.store_is_in_programme,
        is_the_key=row.key_code_id == row.code_id,
        payment_id=row.payment_id,
    )


def _locking(claim: AnySelect, *, locks: bool = True) -> AnySelect:
    """Claims the request, then locks card, key and code; time and balance are read after any wait (see holds.py)."""
    claimed = claim.subquery("claim")
    is_listed = exists().where(
        ProgrammeStore.programme_id == Programme.id, ProgrammeStore.store_id == bindparam("asking_store")
    )
    inner = (
        select(
            claimed.c.claimed,
            Code.id.label("code_id"),
            Code.state.label("code_state"),
            Code.store_id.label("bound_store_id"),
            Code.shopper_key.label("bound_shopper_key"),
            Code.order_reference.label("bound_order_reference"),
            Code.bound_until,
            Card.id.label("card_id"),
            Card.account_id,
            Card.mode,
            Card.currency,
            Card.state.label("card_state"),
            Card.expires_at.label("card_expires_at"),
            CardKey.code_id.label("key_code_id"),
            CardKey.payment_id,
            Programme.hold_ttl_s,
            or_(Programme.all_stores, is_listed).label("store_is_in_programme"),
        )
        .select_from(claimed)
        .join(Code, literal_column("true"))
        .join(Card, Card.id == Code.card_id)
        .join(CardKey, CardKey.card_id == Card.id)
        .join(Programme, Programme.id == Card.programme_id)
        .where(Code.id == bindparam("wanted_code"))
    )
    if locks:
        inner = inner.with_for_update(of=[Card, CardKey, Code])
    found = inner.subquery("locked")
    stamp, balance = func.clock_timestamp().label("stamp"), func.balance_of(found.c.account_id).label("balance_minor")
    return select(found, stamp, balance)


_HASHED = select(Code.id).where(Code.hash == func.any(bindparam("hashes", type_=ARRAY(BYTEA))))
_CLAIM = select(func.count().label("claimed")).select_from(CLAIM_REQUEST.cte("new"))
_CLAIM_AND_LOCK = _locking(_CLAIM)
_LOOK = _locking(select(literal_column("1").label("claimed")), locks=False)
