"""Lapse: a card past its date; what is left goes to breakage, by the issuer's terms."""

from datetime import datetime

from sqlalchemy import update
from sqlalchemy.sql.dml import Update

from app.db.together import Write, write
from app.events.event import event_of
from app.ids import CardId, CodeId, IssuerId, LinkId
from app.issuance import one_key
from app.issuance.models import Card, ClaimLink
from app.ledger.accounts import BREAKAGE, account_id
from app.ledger.transfer import transfer_of
from app.money import Money


def lapse_card(
    card_id: CardId,
    balance: Money,
    *,
    issuer_id: IssuerId,
    account: str,
    mode: str,
    link_id: LinkId | None,
    code_id: CodeId | None,
    at: datetime,
) -> list[Write | None]:
    """The writes that end a card past its date with its link or code, for `together`; the caller holds its lock."""
    return [
        _end_card(card_id),
        lapse_link(link_id) if link_id else None,
        one_key.kill_code(code_id, at) if code_id else None,
        one_key.point_at(card_id),
        transfer_of(
            "lapse",
            balance,
            debit_id=account,
            credit_id=account_id(BREAKAGE, issuer_id, balance.currency),
            mode=mode,
            card_id=card_id,
            at=at,
        ),
        event_of("card_lapsed", at=at, card_id=card_id, facts={"amount_minor": balance.amount_minor}),
    ]


@write
def _end_card(card_id: CardId) -> Update:
    return update(Card).where(Card.id == card_id).values(state="lapsed")


@write
def lapse_link(link_id: LinkId) -> Update:
    """A waiting link whose time is over. Its card lives on: a new link can be asked for."""
    return update(ClaimLink).where(ClaimLink.id == link_id, ClaimLink.state == "waiting").values(state="lapsed")
