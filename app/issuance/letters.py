"""How letters about a card are filled: at the moment of sending, with a claim key drawn for this letter alone."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select

from app.ids import LinkId
from app.issuance import links
from app.issuance.holder_data import unseal_holder
from app.issuance.models import Card, ClaimLink, Issuer
from app.ledger.models import Account
from app.mail.filling import Filled, TooLate
from app.mail.letter import DueLetter
from app.money import Money

#: Letters that are worth nothing without their link.
ONLY_WITH_LINK = frozenset({"claim", "new_link"})


def fill_letter(db: Connection, letter: DueLetter, now: datetime) -> Filled | None:
    """The letter's address and content. None when its link is no longer wanted and there is nothing else to say.

    A letter that also tells of a settlement or an ended hold is sent without its link then: the newer letter has one.
    Raises TooLate when the link lapsed with nobody ever having been told of it.
    """
    card = db.execute(_CARD.where(Card.id == letter.card_id)).one()
    link = _locked_link(db, letter.link_id)
    if link is not None and (link.state != "waiting" or link.expires_at <= now):
        if letter.kind in ONLY_WITH_LINK and link.state in ("waiting", "lapsed"):
            raise TooLate
        link = None
    if link is None and letter.kind in ONLY_WITH_LINK:
        return None
    holder = unseal_holder(card.holder_sealed, letter.card_id)

    def money(name: str) -> Money | None:
        return Money(letter.facts[name], card.currency) if name in letter.facts else None

    left = money("left_minor")
    context: Mapping[str, object] = {
        "issuer_name": card.issuer_name,
        "holder_name": holder.name,
        "message": holder.message,
        "amount": Money(card.balance_minor, card.currency) if left is None or link else left,
        "claim_url": links.draw_claim_key(db, link.id, now) if link else None,
        "link_valid_until": link.expires_at if link else None,
        "expires_at": card.expires_at,
        "store_name": letter.facts.get("store"),
        "taken": money("taken_minor"),
        "refunded": money("refunded_minor"),
    }
    return Filled(holder.email, holder.name, holder.locale, letter.kind, context)


def _locked_link(db: Connection, link_id: LinkId | None) -> Any:
    """The link, locked so that nobody opens or kills it while a key is drawn for it."""
    if link_id is None:
        return None
    columns = (ClaimLink.id, ClaimLink.state, ClaimLink.expires_at)
    return db.execute(select(*columns).where(ClaimLink.id == link_id).with_for_update()).first()


_CARD = (
    select(Card.holder_sealed, Card.currency, Card.expires_at, Account.balance_minor, Issuer.name.label("issuer_name"))
    .join(Account, Account.id == Card.account_id)
    .join(Issuer, Issuer.id == Card.issuer_id)
)
