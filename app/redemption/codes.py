"""What exchange and code_token share: a code as they see it, and the note of a refused try."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import Connection, Integer, bindparam, column, exists, func, literal_column, or_, select, true
from sqlalchemy.dialects.postgresql import BYTEA, array

from app import clock
from app.db.base import AnyRow, AnySelect
from app.db.together import Write, together
from app.db.transaction import transaction
from app.errors import CodeNotAccepted
from app.events.event import event_of
from app.issuance.models import Card, CardKey, Code, Programme, ProgrammeStore
from app.redemption import rules

_IS_LISTED = exists().where(
    ProgrammeStore.programme_id == Programme.id, ProgrammeStore.store_id == bindparam("asking_store")
)
#: What `seen_code` needs of a row, and what an exchange writes; the store that asks is `asking_store`.
COLUMNS: tuple[Any, ...] = (
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
    or_(Programme.all_stores, _IS_LISTED).label("store_is_in_programme"),
)


def with_card(codes: AnySelect) -> AnySelect:
    """A query of codes with the card of each, its key and its programme."""
    return (
        codes.join(Card, Card.id == Code.card_id)
        .join(CardKey, CardKey.card_id == Card.id)
        .join(Programme, Programme.id == Card.programme_id)
    )


def find_code(db: Connection, hashes: Sequence[bytes], *, asker: rules.Asker, held_too: bool = False) -> AnyRow:
    """The code that has one of these hashes, when this asker may exchange it at this moment: a row of COLUMNS, with the
    time as `stamp`. Nothing is locked. `held_too`: any that the store holds, too, from whom the caller may take it.

    Raises Unaccepted.

    Where there is none, the same is read and decided for the next code in the order of hashes, which has nothing to do
    with what was typed: so that how long a refusal takes does not tell whether there is such a code.
    """
    wanted = {f"hash_{place}": each for place, each in enumerate(hashes)}
    row = db.execute(_nearest(len(hashes)), {**wanted, "asking_store": asker.store_id}).first()
    if row is None:  # beyond the last of all hashes
        raise rules.Unaccepted("unknown")
    refusal = rules.refusal_of(seen_code(row), asker, clock.read(row.stamp))
    if not row.is_wanted:
        raise rules.Unaccepted("unknown")
    is_held = row.payment_id is not None and row.bound_store_id == asker.store_id
    if refusal is not None and not (held_too and is_held):
        raise refusal
    return row


def seen_code(row: AnyRow) -> rules.CodeSeen:
    """A row of COLUMNS for the rule."""
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
        card_id=row.card_id,
    )


@contextmanager
def recorded(asker: rules.Asker) -> Iterator[None]:
    """Keeps the event of a try that fails inside, in a transaction of its own: the refused one is gone.

    It stands around `one_try`, which has counted the try by then, whatever becomes of the event.

    Raises CodeNotAccepted in place of Unaccepted, whose reason is told to nobody else.
    """
    try:
        yield
    except rules.Unaccepted as refusal:
        with transaction() as db:
            together(db, refused_code(asker, refusal, at=clock.now(db)))
        raise CodeNotAccepted() from None


def refused_code(asker: rules.Asker, refusal: rules.Unaccepted, *, at: datetime) -> Write:
    """The event of a try that failed. It is not in the card's history, which its issuer reads."""
    facts = {"store_id": asker.store_id, "mode": asker.mode, "reason": refusal.reason, "card_id": refusal.card_id}
    return event_of("code_refused", at=at, facts={name: fact for name, fact in facts.items() if fact is not None})


@cache
def _nearest(hashes: int) -> AnySelect:
    """By one look into the index of hashes for each of so many, and by the same four joins in any case.

    How many rows are looked for stands in the statement. Of an array or a limit that is a parameter PostgreSQL assumes
    many, and would plan the statement anew each time, which takes it ten times as long as to carry it out.
    """
    one = literal_column("1", Integer)
    each = array([bindparam(f"hash_{place}", type_=BYTEA) for place in range(hashes)])
    wanted = func.unnest(each).table_valued(column("hash", BYTEA), name="wanted").render_derived()
    next_one = select(Code.id).where(Code.hash >= wanted.c.hash).order_by(Code.hash).limit(one)
    near = next_one.correlate(wanted).lateral("near")
    is_wanted = (Code.hash == wanted.c.hash).label("is_wanted")
    found = select(*COLUMNS, is_wanted, func.clock_timestamp().label("stamp")).select_from(wanted)
    return with_card(found.join(near, true()).join(Code, Code.id == near.c.id)).order_by(is_wanted.desc()).limit(one)
