"""Authorization requests as rows: pushed by a store, opened by a browser, approved by a holder, redeemed or released.

The checkout room decides, and calls these functions in its own transactions; nobody else writes the table.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, and_, any_, delete, insert, select, update
from sqlalchemy.sql.dml import Update

from app import clock
from app.db.base import AnyRow
from app.db.together import Write, together, write
from app.db.transaction import transaction
from app.events.event import event_of
from app.ids import CardId, CodeId, PaymentId, StoreId, new_id
from app.money import Money
from app.oauth.authorization_details import GiftcardPayment
from app.oauth.clients import Client
from app.oauth.models import AuthorizationRequest as RequestRow
from app.oauth.models import Client as ClientRow
from app.secrecy import fingerprint, random_secret

#: RFC 9126, section 2.2. Read by whoever wants to know what kind of URN this is.
URI_PREFIX = "urn:ietf:params:oauth:request_uri:"
URI_TTL = timedelta(seconds=300)
#: So long an authorization code is good, and what was approved held for it.
CODE_TTL = timedelta(seconds=60)
#: A request is looked at by nobody any more when it is so old.
KEPT_FOR = timedelta(days=1)
FORGET_BATCH = 1_000


@dataclass(frozen=True, slots=True)
class Pushed:
    """What a client pushed: all of it was checked before."""

    redirect_uri: str
    state: str | None
    scope: str | None
    code_challenge: str
    dpop_jkt: str | None
    wanted: GiftcardPayment


@dataclass(frozen=True, slots=True)
class AuthorizationRequest:
    """A request as it stands. `standing` is its state, `state` the client's own text that goes back with the answer.

    `is_trusted`: the client is not disabled, and may still send its shoppers back there. `opened_payment`: the approval
    opened the payment, so that its release voids it.
    """

    id: str
    client_id: str
    store_id: StoreId
    mode: str
    redirect_uri: str
    state: str | None
    wanted: GiftcardPayment
    is_trusted: bool
    standing: str
    expires_at: datetime
    browser_hash: bytes | None
    tries: int
    tried_at: datetime | None
    card_id: CardId | None
    card_code_id: CodeId | None
    payment_id: PaymentId | None
    opened_payment: bool
    approved: Money | None
    code_expires_at: datetime | None


def store_request(client: Client, pushed: Pushed) -> str:
    """Keeps what a store's client has pushed; returns its `request_uri`, which lives for URI_TTL. Raises Busy."""
    secret, request_id = random_secret(), new_id("aut")
    with transaction() as db:
        now = clock.now(db)
        db.execute(
            insert(RequestRow).values(
                id=request_id,
                uri_hash=fingerprint(secret),
                client_id=client.client_id,
                store_id=client.party_id,
                mode=client.mode,
                redirect_uri=pushed.redirect_uri,
                state_given=pushed.state,
                scope=pushed.scope,
                code_challenge=pushed.code_challenge,
                dpop_jkt=pushed.dpop_jkt,
                amount_minor=pushed.wanted.amount.amount_minor,
                currency=pushed.wanted.amount.currency,
                order_reference=pushed.wanted.order_reference,
                shopper_key=pushed.wanted.shopper_key,
                created_at=now,
                expires_at=now + URI_TTL,
                state="pushed",
                tries=0,
                opened_payment=False,
            )
        )
        facts = {
            "request_id": request_id,
            "client_id": client.client_id,
            "store_id": client.party_id,
            "amount_minor": pushed.wanted.amount.amount_minor,
            "currency": pushed.wanted.amount.currency,
            "order_reference": pushed.wanted.order_reference,
        }
        together(db, event_of("authorization_requested", at=now, facts=facts))
    return URI_PREFIX + secret


def find_request(db: Connection, request_uri: str) -> AuthorizationRequest | None:
    """Locks and returns the request of this `request_uri`; None where there is none."""
    if not request_uri.startswith(URI_PREFIX):
        return None
    found = RequestRow.uri_hash == fingerprint(request_uri.removeprefix(URI_PREFIX))
    return _described(db.execute(_LOCKED.where(found)).first())


def lock_request(db: Connection, request_id: str, *, skip_locked: bool = False) -> AuthorizationRequest | None:
    """Locks and returns a request; None where there is none, or with `skip_locked` somebody else has it."""
    mine = _REQUEST.where(RequestRow.id == request_id)
    return _described(db.execute(mine.with_for_update(of=RequestRow, skip_locked=skip_locked)).first())


def lock_owner_of(db: Connection, payment_id: PaymentId) -> AuthorizationRequest | None:
    """Locks and returns the request whose approval opened this payment and which nobody redeemed yet, if there is."""
    owner = (RequestRow.payment_id == payment_id, RequestRow.state == "approved", RequestRow.opened_payment)
    return _described(db.execute(_LOCKED.where(*owner)).first())


def is_unfetched(db: Connection, payment_id: PaymentId) -> bool:
    """Whether a request's approval opened this payment, and nobody redeemed it yet; nothing is locked."""
    owner = (RequestRow.payment_id == payment_id, RequestRow.state == "approved", RequestRow.opened_payment)
    return db.execute(select(RequestRow.id).where(*owner)).first() is not None


def due_for_release(db: Connection, now: datetime, *, limit: int) -> list[str]:
    """Approved requests whose authorization code was not redeemed in its time, the oldest first."""
    late = (RequestRow.state == "approved", RequestRow.code_expires_at <= now)
    return list(db.scalars(select(RequestRow.id).where(*late).order_by(RequestRow.code_expires_at).limit(limit)))


def take_try(db: Connection, request_id: str, *, most: int, at: datetime) -> bool:
    """Counts a try before the code is looked at, so that no two slip through at once; False when none is left."""
    left = (RequestRow.id == request_id, RequestRow.state == "opened", RequestRow.tries < most)
    taken = update(RequestRow).where(*left).values(tries=RequestRow.tries + 1, tried_at=at).returning(RequestRow.id)
    return db.execute(taken).first() is not None


def give_back_try(db: Connection, request_id: str) -> None:
    """The code was right, or never looked at: it was no try."""
    mine = (RequestRow.id == request_id, RequestRow.tries > 0)
    db.execute(update(RequestRow).where(*mine).values(tries=RequestRow.tries - 1))


@write
def change_request(request_id: str, **changes: object) -> Update:
    """These columns of a request, and no others."""
    return update(RequestRow).where(RequestRow.id == request_id).values(changes)


def end_request(request_id: str, state: str, at: datetime) -> Write:
    """The request is over without a token: its authorization code, where it has one, is forgotten."""
    return change_request(request_id, state=state, code_hash=None, ended_at=at)


def forget_old_requests() -> int:
    """Drops a batch of requests that are over and a day old; returns how many. Raises Busy."""
    with transaction() as db:
        old = (RequestRow.created_at < clock.now(db) - KEPT_FOR, RequestRow.state != "approved")
        ids = select(RequestRow.id).where(*old).limit(FORGET_BATCH)
        return db.execute(delete(RequestRow).where(RequestRow.id.in_(ids))).rowcount


def wanted_of(row: AnyRow) -> GiftcardPayment:
    """What the store asked for, of a row that has these columns."""
    return GiftcardPayment(Money(row.amount_minor, row.currency), row.order_reference, row.shopper_key)


def _described(row: AnyRow | None) -> AuthorizationRequest | None:
    if row is None:
        return None
    approved = Money(row.approved_minor, row.currency) if row.approved_minor is not None else None
    same: dict[str, Any] = {column.key: getattr(row, column.key) for column in _SAME}
    return AuthorizationRequest(
        state=row.state_given,
        standing=row.state,
        wanted=wanted_of(row),
        approved=approved,
        is_trusted=row.is_trusted,
        **same,
    )


#: Columns that the dataclass has under the same names.
_SAME = (
    RequestRow.id,
    RequestRow.client_id,
    RequestRow.store_id,
    RequestRow.mode,
    RequestRow.redirect_uri,
    RequestRow.expires_at,
    RequestRow.browser_hash,
    RequestRow.tries,
    RequestRow.tried_at,
    RequestRow.card_id,
    RequestRow.card_code_id,
    RequestRow.payment_id,
    RequestRow.opened_payment,
    RequestRow.code_expires_at,
)
_IS_TRUSTED = and_(ClientRow.disabled_at.is_(None), RequestRow.redirect_uri == any_(ClientRow.redirect_uris))
_REQUEST = select(
    *_SAME,
    RequestRow.state,
    RequestRow.state_given,
    RequestRow.amount_minor,
    RequestRow.currency,
    RequestRow.order_reference,
    RequestRow.shopper_key,
    RequestRow.approved_minor,
    _IS_TRUSTED.label("is_trusted"),
).join(ClientRow, ClientRow.id == RequestRow.client_id)
_LOCKED = _REQUEST.with_for_update(of=RequestRow)
