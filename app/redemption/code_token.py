"""Code token: the code that a shopper typed into our field, as a store may have it: once, soon, for one order."""

from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import Connection, delete, select

from app import clock
from app.db.together import row_of, together
from app.db.transaction import transaction
from app.errors import CodeMistyped
from app.events.event import event_of
from app.guard.tries import Visitor, one_try, watch_visitor
from app.issuance.code import read_code
from app.issuance.code_hash import hashes_to_look_up
from app.money import Money
from app.redemption import codes, rules
from app.redemption.models import CodeToken
from app.secrecy import fingerprint, random_secret

#: What scanners for leaked secrets, and the masking of our logs, know it by.
PREFIX = "ct_"
#: So long a spent or expired one is kept, so that the events can tell it from one that never was.
KEPT_AFTER = timedelta(days=1)
FORGET_BATCH = 1_000


def make_code_token(typed: str, *, asker: rules.Asker, amount: Money, who: Visitor) -> str:
    """A token by which this store may exchange the code for this shopper and order, once, within 60 seconds.

    `amount` is what the shopper saw: the exchange holds no more. Nothing is held yet, and nothing of the card is told.
    `who` is at the field.

    Raises CodeMistyped (no try), TryLater and CaptchaNeeded before the code is looked at, CodeNotAccepted for every
    code that is not acceptable, CurrencyMismatch, Busy.
    """
    code = read_code(typed)
    if code is None:
        raise CodeMistyped()
    with codes.recorded(asker), one_try(watch_visitor(who, store_id=asker.store_id)):
        hashes = hashes_to_look_up(code, for_anybody=True)
        code_token = PREFIX + random_secret()
        with transaction() as db:
            _make(db, hashes, fingerprint(code_token), asker, amount)
        return code_token


def _make(db: Connection, hashes: Sequence[bytes], token_hash: bytes, asker: rules.Asker, amount: Money) -> None:
    """Raises Unaccepted, CurrencyMismatch."""
    row = codes.find_code(db, hashes, asker=asker)
    now = clock.read(row.stamp)
    rules.check_shown(amount, row.currency)
    together(
        db,
        _code_token(
            hash=token_hash,
            code_id=row.code_id,
            card_id=row.card_id,
            store_id=asker.store_id,
            shopper_key=asker.shopper_key,
            order_reference=asker.order_reference,
            amount_minor=amount.amount_minor,
            currency=amount.currency,
            created_at=now,
            expires_at=now + rules.CODE_TOKEN_TTL,
        ),
        event_of(
            "code_token_made",
            at=now,
            card_id=row.card_id,
            facts={"store_id": asker.store_id, "order_reference": asker.order_reference},
        ),
    )


_code_token = row_of(CodeToken)


def forget_code_tokens() -> int:
    """Drops a batch of those whose time is long over; returns how many. Raises Busy."""
    with transaction() as db:
        over = select(CodeToken.hash).where(CodeToken.expires_at < clock.now(db) - KEPT_AFTER).limit(FORGET_BATCH)
        return db.execute(delete(CodeToken).where(CodeToken.hash.in_(over))).rowcount
