"""What the verbs of a payment share: locking it with its card, seeing it, and ending a hold whose time is over."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, bindparam, func, literal_column, select, update
from sqlalchemy.sql.dml import Update

from app import clock
from app.db.base import AnyRow, AnySelect
from app.db.request import CLAIM_REQUEST, Reference
from app.db.together import Write, together, write
from app.errors import NotFound
from app.events.event import event_of
from app.ids import CardId, IssuerId, PaymentId, StoreId
from app.issuance import one_key
from app.issuance import rules as issuance_rules
from app.issuance.lapse import lapse_card, lapse_link
from app.issuance.models import Card, CardKey, ClaimLink, Code, Programme
from app.issuance.reissue import queue_reissue
from app.ledger.models import Account
from app.money import Money
from app.redemption import rules
from app.redemption.models import PaymentRow, Store
from app.redemption.payment import COLUMNS


@dataclass(frozen=True, slots=True)
class Locked:
    """A payment with its card and the card's key, locked and read at `now`; amounts in minor units."""

    is_first: bool
    now: datetime
    row: AnyRow
    payment: rules.PaymentSeen
    balance_minor: int

    def money(self, amount_minor: int) -> Money:
        return Money(amount_minor, self.row.currency)


def lock_payment(
    db: Connection, payment_id: PaymentId, *, store_id: StoreId, reference: Reference | None = None
) -> Locked:
    """Claims the request and locks card, key and payment, and reads all that the verbs decide by, in one statement.

    Without a reference there is no request to claim: the caller sees to it that this is done once. Where the payment is
    not open, whatever is due on its card is ended first. Raises NotFound for anybody else's.
    """
    if reference is None:
        locked = _read_locked(db, _LOCK, payment_id, store_id)
    else:
        locked = _read_locked(db, _CLAIM_AND_LOCK, payment_id, store_id, **reference.claim)
    while (
        locked.is_first
        and not rules.is_open(locked.payment, locked.now)
        and close_due(db, locked.row.card_id, locked.now)
    ):
        locked = _read_locked(db, _LOCK, payment_id, store_id)  # a moment later, at which something else may be due
    return locked


def close_due(db: Connection, card_id: CardId, now: datetime) -> bool:
    """Ends what is past its time on a locked card: its hold, its bound code, its link, or the card itself.

    Verbs for which it makes a difference call this first, so that no sweeper is needed to be right. Returns whether
    it wrote.
    """
    card = db.execute(_DUE.where(Card.id == card_id)).one()
    if card.payment_id is not None:
        writes = _expire_hold(card, now) if card.payment_expires_at <= now else []
    elif card.code_state == "bound":
        writes = _end_binding(card, now) if card.bound_until <= now else []
    elif issuance_rules.has_lapsed(state=card.state, expires_at=card.expires_at, held=False, now=now):
        writes = _lapse(card, now) if card.state == "active" else []
    else:
        is_past = card.link_state == "waiting" and card.link_expires_at <= now
        writes = _lapse_link(card, now) if is_past else []
    if writes:
        together(db, writes)
    return bool(writes)


def lock_card(db: Connection, card_id: CardId, *, issuer_id: IssuerId | None = None) -> datetime | None:
    """Locks a card (of this issuer) and its key, and returns the time; None where there is none."""
    query = select(Card.id).join(CardKey, CardKey.card_id == Card.id).where(Card.id == card_id)
    if issuer_id is not None:
        query = query.where(Card.issuer_id == issuer_id)
    if db.execute(query.with_for_update(of=[Card, CardKey])).first() is None:
        return None
    return clock.now(db)


def keep_for(card_id: CardId, expires_at: datetime, now: datetime, *, at_least: datetime | None = None) -> Write | None:
    """Value that came back from a hold keeps its card alive for a while, `at_least` until then."""
    until = max(issuance_rules.after_release(expires_at, now), at_least or now)
    return one_key.keep_card(card_id, until) if until != expires_at else None


@write
def change_payment(payment_id: PaymentId, **changes: object) -> Update:
    """These columns of a payment, and no others."""
    return update(PaymentRow).where(PaymentRow.id == payment_id).values(changes)


def _read_locked(db: Connection, query: AnySelect, payment_id: PaymentId, store_id: StoreId, **claim: object) -> Locked:
    row = db.execute(query, {"wanted_payment": payment_id, "wanted_store": store_id, **claim}).first()
    if row is None:
        raise NotFound("There is no such payment.")
    payment = rules.PaymentSeen(
        state=row.state,
        currency=row.currency,
        order_reference=row.order_reference,
        confirmed=row.confirmed_at is not None,
        held_minor=row.held_minor,
        settled_minor=row.settled_minor,
        released_minor=row.released_minor,
        refunded_minor=row.refunded_minor,
        expired_minor=row.expired_minor,
        created_at=row.created_at,
        expires_at=row.expires_at,
        expired_at=row.expired_at,
        hold_max_s=row.hold_max_s,
        confirmed_ttl_s=row.confirmed_ttl_s,
    )
    return Locked(row.claimed > 0, clock.read(row.stamp), row, payment, row.card_balance_minor)


def _locking(claim: AnySelect) -> AnySelect:
    """A statement made once, for building it costs more than running it.

    The row is locked inside; its time and balance are read outside, so that both are from after any wait. The count
    over the claim is part of the locked row, so the claim comes before the locks: twins meet there and nowhere else,
    and cannot deadlock.
    """
    claimed = claim.subquery("claim")
    inner = (
        select(
            *COLUMNS,
            claimed.c.claimed,
            PaymentRow.card_id,
            PaymentRow.code_id,
            PaymentRow.mode,
            PaymentRow.expired_at,
            PaymentRow.expired_minor,
            PaymentRow.provisional,
            Card.issuer_id,
            Card.account_id,
            Card.state.label("card_state"),
            Card.expires_at.label("card_expires_at"),
            CardKey.link_id,
            CardKey.code_id.label("key_code_id"),
            CardKey.payment_id.label("key_payment_id"),
            ClaimLink.state.label("link_state"),
            Programme.hold_ttl_s,
            Programme.hold_max_s,
            Programme.confirmed_ttl_s,
            Store.name.label("store_name"),
        )
        .select_from(claimed)
        .join(PaymentRow, literal_column("true"))
        .join(Card, Card.id == PaymentRow.card_id)
        .join(CardKey, CardKey.card_id == PaymentRow.card_id)
        .join(Programme, Programme.id == Card.programme_id)
        .join(Store, Store.id == PaymentRow.store_id)
        .outerjoin(ClaimLink, ClaimLink.id == CardKey.link_id)
        .where(PaymentRow.id == bindparam("wanted_payment"), PaymentRow.store_id == bindparam("wanted_store"))
        .with_for_update(of=[Card, CardKey, PaymentRow])
        .subquery("locked")
    )
    return select(
        inner,
        func.clock_timestamp().label("stamp"),
        func.balance_of(inner.c.account_id).label("card_balance_minor"),
    )


_CLAIM = select(func.count().label("claimed")).select_from(CLAIM_REQUEST.cte("claimed"))
_CLAIM_AND_LOCK = _locking(_CLAIM)
_LOCK = _locking(select(literal_column("1").label("claimed")))

_DUE = (
    select(
        Card.id,
        Card.issuer_id,
        Card.account_id,
        Card.mode,
        Card.currency,
        Card.state,
        Card.expires_at,
        Account.balance_minor,
        CardKey.payment_id,
        CardKey.code_id,
        CardKey.link_id,
        PaymentRow.expires_at.label("payment_expires_at"),
        PaymentRow.settled_minor,
        PaymentRow.held_minor,
        Code.state.label("code_state"),
        Code.bound_until,
        Code.store_id,
        Store.name.label("store_name"),
        ClaimLink.state.label("link_state"),
        ClaimLink.expires_at.label("link_expires_at"),
    )
    .join(Account, Account.id == Card.account_id)
    .join(CardKey, CardKey.card_id == Card.id)
    .outerjoin(PaymentRow, PaymentRow.id == CardKey.payment_id)
    .outerjoin(Code, Code.id == CardKey.code_id)
    .outerjoin(Store, Store.id == Code.store_id)
    .outerjoin(ClaimLink, ClaimLink.id == CardKey.link_id)
)


def _expire_hold(card: AnyRow, now: datetime) -> list[Write | None]:
    """The hold is over: what it held is free again, its code is dead, and a new link goes out."""
    state = "settled" if card.settled_minor else "expired"
    ended = _end_hold(card.payment_id, state=state, ended_at=now, expired_at=card.payment_expires_at)
    facts = {"released_minor": card.held_minor, "store_id": card.store_id}
    event = event_of("payment_expired", at=now, card_id=card.id, payment_id=card.payment_id, facts=facts)
    return [ended, event, *_new_link_after(card, "expiry", now)]


@write
def _end_hold(payment_id: PaymentId, **columns: object) -> Update:
    held = PaymentRow.held_minor
    given_back = {"held_minor": 0, "released_minor": PaymentRow.released_minor + held, "expired_minor": held}
    return update(PaymentRow).where(PaymentRow.id == payment_id).values(**given_back, **columns)


def _end_binding(card: AnyRow, now: datetime) -> list[Write | None]:
    """The store voided, and nobody typed the code there again in time."""
    facts = {"code_id": card.code_id, "store_id": card.store_id}
    return [event_of("binding_ended", at=now, card_id=card.id, facts=facts), *_new_link_after(card, "void", now)]


def _new_link_after(card: AnyRow, reason: str, now: datetime) -> list[Write | None]:
    expires_at = issuance_rules.after_release(card.expires_at, now)
    _, writes = queue_reissue(
        card.id, "hold_expired", reason=reason, card_expires_at=expires_at, at=now, facts={"store": card.store_name}
    )
    return [one_key.kill_code(card.code_id, now), keep_for(card.id, card.expires_at, now), *writes]


def _lapse(card: AnyRow, now: datetime) -> list[Write | None]:
    return lapse_card(
        card.id,
        Money(card.balance_minor, card.currency),
        issuer_id=card.issuer_id,
        account=card.account_id,
        mode=card.mode,
        link_id=card.link_id,
        code_id=card.code_id,
        at=now,
    )


def _lapse_link(card: AnyRow, now: datetime) -> list[Write | None]:
    event = event_of("link_lapsed", at=now, card_id=card.id, facts={"link_id": card.link_id})
    return [lapse_link(card.link_id), event]
