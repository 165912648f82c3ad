"""The card behind a claim link, as its holder sees it: what is left, what is held where, what was spent where."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, func, literal, select, union_all

from app import clock
from app.db.base import AnyRow
from app.db.transaction import transaction
from app.errors import LinkSuperseded
from app.holder import rules
from app.ids import CardId, LinkId
from app.issuance import links
from app.issuance.holder_data import unseal_holder
from app.issuance.models import Card, CardKey, ClaimLink, Code, Issuer
from app.issuance.rules import after_release
from app.ledger.models import Account
from app.money import Money
from app.redemption.models import PaymentRow, RefundRow, SettlementRow, Store


@dataclass(frozen=True, slots=True)
class HoldSeen:
    """What a store holds of the card for an order, and until when."""

    store: str
    amount: Money
    until: datetime


@dataclass(frozen=True, slots=True)
class Spent:
    """Money that a store took (`settled`) or gave back (`refunded`)."""

    kind: str
    store: str
    amount: Money
    at: datetime


@dataclass(frozen=True, slots=True)
class HolderView:
    """A card for its holder. `at_store`, `at_store_until`: where its code is bound while nothing is held."""

    card_id: CardId
    issuer: str
    is_test: bool
    sent_to: str
    state: str
    standing: rules.Standing
    balance: Money
    issued: Money
    issued_at: datetime
    expires_at: datetime
    at_store: str | None
    at_store_until: datetime | None
    holds: tuple[HoldSeen, ...]
    history: tuple[Spent, ...]

    @property
    def offers_fresh_code(self) -> bool:
        """Whether the page that showed the code may show another."""
        return rules.offers_fresh_code(self.standing)

    @property
    def offers_new_link(self) -> bool:
        """Whether a new link may be asked for."""
        return rules.offers_new_link(self.standing)


def read_view(link_id: LinkId) -> HolderView:
    """The card of a link whose key has been proven or whose session lives. Raises LinkSuperseded, Busy."""
    with transaction() as db:
        view = card_state_of_link(db, link_id)
        if view is None:
            raise LinkSuperseded(superseded_at=superseded_at(db, link_id))
        return view


def read_sent_to(link_id: LinkId) -> str:
    """Where the card's letters go, masked. The caller has proven the link's key or session."""
    with transaction() as db:
        holder = select(Card.id, Card.holder_sealed).join(ClaimLink, ClaimLink.card_id == Card.id)
        row = db.execute(holder.where(ClaimLink.id == link_id)).one()
        return unseal_holder(row.holder_sealed, row.id).masked


def card_state_of_link(db: Connection, link_id: LinkId) -> HolderView | None:
    """The card at this moment, by a link that is the card's newest; None by any other.

    The caller has proven the link's key or session. A hold or a date that is past is over, even if no job has run.
    """
    row = db.execute(_CARD.where(ClaimLink.id == link_id)).first()
    if row is None or db.scalar(select(links.newest_link(row.card_id))) != link_id:
        return None
    return _described(row, _history(db, row.card_id, row.currency), clock.now(db))


def superseded_at(db: Connection, link_id: LinkId) -> datetime | None:
    """When the link that came next for the same card was made; None while there is none."""
    mine = select(ClaimLink.card_id, ClaimLink.created_at).where(ClaimLink.id == link_id).subquery()
    later = select(func.min(ClaimLink.created_at)).join(mine, mine.c.card_id == ClaimLink.card_id)
    return db.scalar(later.where(ClaimLink.created_at > mine.c.created_at))


def _described(row: AnyRow, history: tuple[Spent, ...], now: datetime) -> HolderView:
    seen = rules.CardSeen(
        state=row.state,
        expires_at=row.expires_at,
        has_hold=row.payment_id is not None,
        held_until=row.held_until,
        has_link=row.key_link_id is not None,
        code_state=row.code_state,
        bound_until=row.bound_until,
    )
    standing = rules.decide_standing(seen, now)
    is_held, is_at_store = standing is rules.Standing.HELD, standing is rules.Standing.AT_STORE
    lapsed, due = standing is rules.Standing.LAPSED, standing is rules.Standing.LINK_DUE
    return HolderView(
        card_id=row.card_id,
        issuer=row.issuer_name,
        is_test=row.mode == "test",
        sent_to=unseal_holder(row.holder_sealed, row.card_id).masked,
        state="lapsed" if lapsed else row.state,
        standing=standing,
        balance=Money(0 if lapsed else row.balance_minor, row.currency),
        issued=Money(row.issued_minor, row.currency),
        issued_at=row.created_at,
        expires_at=after_release(row.expires_at, now) if due else row.expires_at,
        at_store=row.store_name if is_at_store else None,
        at_store_until=row.bound_until if is_at_store else None,
        holds=(HoldSeen(row.store_name, Money(row.held_minor, row.currency), row.held_until),) if is_held else (),
        history=history,
    )


def _history(db: Connection, card_id: CardId, currency: str) -> tuple[Spent, ...]:
    """Newest first."""
    parts = [
        select(literal(kind).label("kind"), Store.name, table.amount_minor, table.at, table.id)
        .join(Store, Store.id == table.store_id)
        .where(table.card_id == card_id)
        for kind, table in (("settled", SettlementRow), ("refunded", RefundRow))
    ]
    either = union_all(*parts).subquery()
    newest_first = select(either).order_by(either.c.at.desc(), either.c.id.desc())
    return tuple(
        Spent(row.kind, row.name, Money(row.amount_minor, currency), row.at) for row in db.execute(newest_first)
    )


_CARD = (
    select(
        ClaimLink.card_id,
        Issuer.name.label("issuer_name"),
        Card.mode,
        Card.currency,
        Card.state,
        Card.issued_minor,
        Card.created_at,
        Card.expires_at,
        Card.holder_sealed,
        Account.balance_minor,
        CardKey.payment_id,
        CardKey.link_id.label("key_link_id"),
        Code.state.label("code_state"),
        Code.bound_until,
        Store.name.label("store_name"),
        PaymentRow.held_minor,
        PaymentRow.expires_at.label("held_until"),
    )
    .join(Card, Card.id == ClaimLink.card_id)
    .join(Issuer, Issuer.id == Card.issuer_id)
    .join(Account, Account.id == Card.account_id)
    .join(CardKey, CardKey.card_id == Card.id)
    .outerjoin(Code, Code.id == CardKey.code_id)
    .outerjoin(Store, Store.id == Code.store_id)
    .outerjoin(PaymentRow, PaymentRow.id == CardKey.payment_id)
)
