"""Issue: an issuer's money becomes a card."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import Connection, select

from app import clock
from app.db.request import Reference, done_before, keep_answer
from app.db.together import Write, row_of, together
from app.db.transaction import transaction
from app.errors import IssuingLimitReached, NotFound
from app.events.event import event_of
from app.ids import CardId, IssuerId, ProgrammeId, new_id
from app.issuance import links, rules
from app.issuance.card import Card, describe_card
from app.issuance.holder_data import HolderData, hash_email, seal_holder
from app.issuance.issuing_limit import count_card, record_limited
from app.issuance.models import Card as CardRow
from app.issuance.models import CardKey
from app.issuance.models import Programme as ProgrammeRow
from app.ledger.accounts import CARD, FUNDING, account_id, opening_of
from app.ledger.transfer import transfer_of
from app.mail.letter import letter_of
from app.money import Money

Deliver = Literal["email", "link"]


def issue_card(
    programme_id: ProgrammeId,
    amount: Money,
    *,
    issuer_id: IssuerId,
    client_id: str,
    holder: HolderData,
    deliver: Deliver,
    reference: Reference,
    order_reference: str | None = None,
    not_before: datetime | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> Card:
    """Moves `amount` from the issuer's funding to a new card, and makes its first claim link.

    With `deliver` "link" the answer carries the claim link, this once; a repeat of the request does not.
    It counts for the limits of the issuer and of `client_id`, its client that asks.

    Raises NotFound (programme), CurrencyMismatch, AmountOutsideProgramme, InvalidRequest (delivery date),
    IssuingLimitReached, ReferenceReused, Busy.
    """
    with _recording(amount, client_id=client_id, issuer_id=issuer_id), transaction() as db:
        if again := done_before(db, reference, Card):
            return again
        mode, terms = _programme(db, programme_id, issuer_id)
        now, by_email = clock.now(db), deliver == "email"
        expires_at = rules.decide_issue(terms, amount, by_email=by_email, not_before=not_before, now=now)
        card_id = CardId(new_id("card"))
        delivered_at = max(now, not_before or now)
        link = links.new_link(card_id, "issue", card_expires_at=expires_at, at=now, delivered_at=delivered_at)
        letter = letter_of("claim", card_id=card_id, link_id=link.id, facts={}, due_at=delivered_at)
        together(
            db,
            opening_of(CARD, card_id, amount.currency, mode),
            _card(
                id=card_id,
                programme_id=programme_id,
                expires_at=expires_at,
                order_reference=order_reference,
                issuer_metadata=dict(metadata or {}),
                not_before=not_before,
                created_at=now,
                **_worth(amount, card_id, issuer_id, mode),
                **_held_by(holder, card_id),
            ),
            links.link_insert(link),
            _key(card_id=card_id, link_id=link.id),
            _funding(card_id, amount, issuer_id, mode, at=now),
            event_of("card_issued", at=now, card_id=card_id, facts=_facts(amount, issuer_id, mode)),
            letter if by_email else None,
        )
        claim_link = None if by_email else links.draw_claim_key(db, link.id, now)
        card = describe_card(db, card_id, issuer_id=issuer_id)
        together(db, keep_answer(reference, card))
        count_card(db, amount, client_id=client_id, issuer_id=issuer_id, now=now)
        return replace(card, claim_link=claim_link)


@contextmanager
def _recording(amount: Money, *, client_id: str, issuer_id: IssuerId) -> Iterator[None]:
    """Whoever meets a limit is written down when the transaction is gone, for it would vanish with that."""
    try:
        yield
    except IssuingLimitReached as refused:
        record_limited(refused, amount, client_id=client_id, issuer_id=issuer_id)
        raise


_card = row_of(CardRow, state="active")
_key = row_of(CardKey)


def _worth(amount: Money, card_id: CardId, issuer_id: IssuerId, mode: str) -> dict[str, object]:
    """The columns that say what a card is worth, and whose money it is."""
    return {
        "issuer_id": issuer_id,
        "account_id": account_id(CARD, card_id, amount.currency),
        "mode": mode,
        "currency": amount.currency,
        "issued_minor": amount.amount_minor,
    }


def _held_by(holder: HolderData, card_id: CardId) -> dict[str, object]:
    return {"holder_sealed": seal_holder(holder, card_id), "email_hash": hash_email(holder.email)}


def _facts(amount: Money, issuer_id: IssuerId, mode: str) -> dict[str, object]:
    """Whose card it is and of which money: what alarms know of a card is what its first event says."""
    return {
        "issuer_id": issuer_id,
        "mode": mode,
        "currency": amount.currency,
        "amount_minor": amount.amount_minor,
    }


def _funding(card_id: CardId, amount: Money, issuer_id: IssuerId, mode: str, *, at: datetime) -> Write:
    return transfer_of(
        "issue",
        amount,
        debit_id=account_id(FUNDING, issuer_id, amount.currency),
        credit_id=account_id(CARD, card_id, amount.currency),
        mode=mode,
        card_id=card_id,
        at=at,
    )


def _programme(db: Connection, programme_id: ProgrammeId, issuer_id: IssuerId) -> tuple[str, rules.Terms]:
    """The programme's mode and what it says about issuing. Raises NotFound."""
    columns = ("mode", "currency", "card_min_minor", "card_max_minor", "valid_days")
    row = db.execute(
        select(*(getattr(ProgrammeRow, name) for name in columns)).where(
            ProgrammeRow.id == programme_id, ProgrammeRow.issuer_id == issuer_id
        )
    ).first()
    if row is None:
        raise NotFound("There is no such programme.")
    return row.mode, rules.Terms(row.currency, row.card_min_minor, row.card_max_minor, row.valid_days)
