"""Exchange: a code becomes a payment, and from then on is worth nothing to anyone but that payment's store."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, bindparam, func, literal_column, select, update
from sqlalchemy.sql.dml import Update

from app import clock
from app.db.base import AnyRow, AnySelect, Base
from app.db.request import CLAIM_REQUEST, Reference, answer_again, find_answer, keep_answer
from app.db.together import Write, row_of, together, write
from app.db.transaction import transaction
from app.errors import CodeMistyped
from app.events.event import event_of
from app.guard.tries import one_try, watch_store
from app.ids import CardId, CodeId, PaymentId, new_id
from app.issuance import one_key
from app.issuance.code import read_code
from app.issuance.code_hash import hashes_to_look_up
from app.issuance.models import Card, CardKey, Code
from app.ledger.accounts import OWED, opening_of
from app.money import Money
from app.redemption import codes, rules
from app.redemption.models import CodeToken, PaymentRow
from app.redemption.payment import COLUMNS, Payment, describe_payment
from app.secrecy import fingerprint


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

    Raises CodeMistyped (no try), TryLater before the code is looked at, CodeNotAccepted for every code that is not
    acceptable, CurrencyMismatch, ReferenceReused, Busy.
    """
    code = read_code(typed)
    if code is None:
        raise CodeMistyped()
    with transaction() as db:  # the repeat of what was done is no try: it is answered, whoever has to wait
        if again := find_answer(db, reference, Exchanged):
            return again
    who = watch_store(asker.store_id, shopper_key=asker.shopper_key, network=asker.network)
    with codes.recorded(asker), one_try(who):
        hashes = hashes_to_look_up(code)
        with transaction() as db:
            try:
                code_id = codes.find_code(db, hashes, asker=asker).code_id
            except rules.Unaccepted:
                # The repeat of a request whose payment has ended finds its code dead; any other is known by its claim.
                # Every refusal asks this, and nothing else, so that its time tells nothing.
                if again := find_answer(db, reference, Exchanged):
                    return again
                raise
            return exchange_proven(db, code_id, asker=asker, reference=reference, amount=amount, hold_ttl_s=hold_ttl_s)


def exchange_code_token(
    code_token: str,
    *,
    asker: rules.Asker,
    reference: Reference,
    amount: Money | None = None,
    hold_ttl_s: int | None = None,
) -> Exchanged:
    """The same for a code that the shopper typed into our field, by the token that the store's page got for it.

    It holds what the shopper saw there at most, and an `amount` must be the same. The token is spent with it.

    Raises CodeNotAccepted for a token that is not this store's, shopper's, order's and amount's, or that is spent or
    over, and for every code that is not acceptable; ReferenceReused, Busy.
    """
    token_hash = fingerprint(code_token)
    with codes.recorded(asker), transaction() as db:
        if db.scalar(_TOKEN_KNOWN, {"wanted_token": token_hash}):
            row = db.execute(_CLAIM_AND_LOCK_TOKEN, _wanted(asker, reference, wanted_token=token_hash)).one()
            return _exchange(db, row, asker, reference, amount, hold_ttl_s, token_hash=token_hash)
        if again := find_answer(db, reference, Exchanged):
            return again
        raise rules.Unaccepted("token_unknown")


def look_at_code(db: Connection, code_id: CodeId, *, asker: rules.Asker) -> CodeLookedAt:
    """What an exchange of this code would find at this moment; nothing is locked or written.

    Raises Unaccepted, whose reason is for the events alone.
    """
    row = db.execute(_LOOK, {"wanted_code": code_id, "asking_store": asker.store_id}).one()
    now = clock.read(row.stamp)
    repeated = rules.decide_exchange(codes.seen_code(row), asker, now)
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
    provisional: bool = False,
) -> Exchanged:
    """The exchange of a code that somebody has just proven to know; it is decided on locked rows.

    A `provisional` payment may be given back by `release_hold` for as long as no store has asked for it.

    Raises Unaccepted, CurrencyMismatch, ReferenceReused, Busy.
    """
    row = db.execute(_CLAIM_AND_LOCK, _wanted(asker, reference, wanted_code=code_id)).one()
    return _exchange(db, row, asker, reference, amount, hold_ttl_s, provisional=provisional)


def _wanted(asker: rules.Asker, reference: Reference, **wanted: object) -> dict[str, object]:
    return {"asking_store": asker.store_id, **wanted, **reference.claim}


def _exchange(
    db: Connection,
    row: AnyRow,
    asker: rules.Asker,
    reference: Reference,
    amount: Money | None,
    hold_ttl_s: int | None,
    *,
    token_hash: bytes | None = None,
    provisional: bool = False,
) -> Exchanged:
    if again := answer_again(db, reference, Exchanged, claimed=row.claimed > 0):
        return again
    now = clock.read(row.stamp)
    spent = None
    if token_hash is not None:
        amount = rules.decide_code_token(_seen_token(row), asker, amount, now)
        spent = _spend(token_hash, now)
    if (repeated := rules.decide_exchange(codes.seen_code(row), asker, now)) is not None:
        answer = Exchanged(describe_payment(_payment(db, repeated), now), opened=False)
        together(db, keep_answer(reference, answer), spent, None if provisional else _adopt(repeated))
        return answer
    held = rules.hold_amount(row.balance_minor, amount, row.currency)
    until = rules.hold_until(now, asked_s=hold_ttl_s, programme_s=row.hold_ttl_s)
    payment = _new_payment(row, asker, held, until, now)
    answer = Exchanged(payment, opened=True)
    _write(db, row, payment, asker, answer, reference, spent, provisional=provisional)
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
    db: Connection,
    row: AnyRow,
    payment: Payment,
    asker: rules.Asker,
    answer: Exchanged,
    reference: Reference,
    spent: Write | None,
    *,
    provisional: bool,
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
            provisional=provisional,
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
            facts={
                "store_id": asker.store_id,
                "mode": asker.mode,
                "held_minor": held_minor,
                "order_reference": asker.order_reference,
            },
        ),
        keep_answer(reference, answer),
        spent,
    )


#: A hold of which nothing has been taken yet.
_payment_insert = row_of(PaymentRow, state="held", settled_minor=0, released_minor=0, refunded_minor=0, expired_minor=0)


@write
def _adopt(payment_id: PaymentId) -> Update:
    """The store itself has asked for the payment: nobody else gives it back from now on."""
    mine = (PaymentRow.id == payment_id, PaymentRow.provisional.is_(True))
    return update(PaymentRow).where(*mine).values(provisional=False)


@write
def _spend(token_hash: bytes, at: datetime) -> Update:
    return update(CodeToken).where(CodeToken.hash == token_hash).values(spent_at=at)


def _payment(db: Connection, payment_id: PaymentId) -> AnyRow:
    return db.execute(select(*COLUMNS).where(PaymentRow.id == payment_id)).one()


def _seen_token(row: AnyRow) -> rules.CodeTokenSeen:
    return rules.CodeTokenSeen(
        store_id=row.token_store_id,
        shopper_key=row.token_shopper_key,
        order_reference=row.token_order_reference,
        amount=Money(row.token_amount_minor, row.token_currency),
        expires_at=row.token_expires_at,
        is_spent=row.token_spent_at is not None,
    )


def _locking(claim: AnySelect, *, locks: bool = True, by_token: bool = False) -> AnySelect:
    """Claims the request, then locks card, key and code; time and balance are read after any wait (see holds.py).

    By a code token, which is locked last: of two that spend it, the second sees what the first has done.
    """
    claimed = claim.subquery("claim")
    found = codes.with_card(
        select(claimed.c.claimed, *codes.COLUMNS).select_from(claimed).join(Code, literal_column("true"))
    )
    locked: list[type[Base]] = [Card, CardKey, Code]
    if by_token:
        found = found.add_columns(*_TOKEN_COLUMNS).join(CodeToken, CodeToken.code_id == Code.id)
        found = found.where(CodeToken.hash == bindparam("wanted_token"))
        locked.append(CodeToken)
    else:
        found = found.where(Code.id == bindparam("wanted_code"))
    inner = (found.with_for_update(of=locked) if locks else found).subquery("locked")
    stamp, balance = func.clock_timestamp().label("stamp"), func.balance_of(inner.c.account_id).label("balance_minor")
    return select(inner, stamp, balance)


_TOKEN_COLUMNS = (
    CodeToken.store_id.label("token_store_id"),
    CodeToken.shopper_key.label("token_shopper_key"),
    CodeToken.order_reference.label("token_order_reference"),
    CodeToken.amount_minor.label("token_amount_minor"),
    CodeToken.currency.label("token_currency"),
    CodeToken.expires_at.label("token_expires_at"),
    CodeToken.spent_at.label("token_spent_at"),
)
_TOKEN_KNOWN = select(CodeToken.card_id).where(CodeToken.hash == bindparam("wanted_token"))
_CLAIM = select(func.count().label("claimed")).select_from(CLAIM_REQUEST.cte("new"))
_CLAIM_AND_LOCK, _CLAIM_AND_LOCK_TOKEN = _locking(_CLAIM), _locking(_CLAIM, by_token=True)
_LOOK = _locking(select(literal_column("1").label("claimed")), locks=False)
