"""Correct an address: the letter went astray, nobody has opened the link yet."""

from dataclasses import replace

from sqlalchemy import select, update

from app import clock
from app.db.request import Reference, done_before, keep_answer
from app.db.together import together
from app.db.transaction import transaction
from app.errors import CardClosed, LinkOpened, NotFound
from app.events.event import event_of
from app.ids import CardId, IssuerId
from app.issuance import links, rules
from app.issuance.card import Card, describe_card
from app.issuance.holder_data import hash_email, seal_holder, unseal_holder
from app.issuance.models import Card as CardRow
from app.issuance.models import CardKey, Code
from app.issuance.reissue import queue_reissue


def correct_address(card_id: CardId, email: str, *, issuer_id: IssuerId, reference: Reference) -> Card:
    """Kills the unopened link, and mails a new one to the corrected address.

    Raises NotFound, CardClosed, LinkOpened when somebody has opened the link, ReferenceReused, Busy.
    """
    with transaction() as db:
        if again := done_before(db, reference, Card):
            return again
        card = db.execute(
            select(CardRow.holder_sealed, CardRow.state, CardRow.expires_at, CardRow.not_before)
            .where(CardRow.id == card_id, CardRow.issuer_id == issuer_id)
            .with_for_update()
        ).first()
        if card is None:
            raise NotFound("There is no such card.")
        key = db.execute(
            select(CardKey.link_id, Code.state.label("code_state"))
            .outerjoin(Code, Code.id == CardKey.code_id)
            .where(CardKey.card_id == card_id)
            .with_for_update(of=CardKey)
        ).one()
        now = clock.now(db)
        held, link_id = key.code_state == "bound", key.link_id  # a store that has the code keeps the card alive
        if card.state == "spent" or rules.has_lapsed(state=card.state, expires_at=card.expires_at, held=held, now=now):
            raise CardClosed()
        if link_id is None:
            raise LinkOpened("The link has been opened: the address can no longer be corrected.")
        holder = replace(unseal_holder(card.holder_sealed, card_id), email=email)
        corrected = update(CardRow).where(CardRow.id == card_id)
        together(
            db,
            links.supersede_link(link_id),
            corrected.values(holder_sealed=seal_holder(holder, card_id), email_hash=hash_email(email)),
            event_of("address_corrected", at=now, card_id=card_id, facts={"link_id": link_id}),
        )
        due_at = max(now, card.not_before or now)
        _, writes = queue_reissue(
            card_id, "claim", reason="address", card_expires_at=card.expires_at, at=now, due_at=due_at
        )
        together(db, writes)
        answer = describe_card(db, card_id, issuer_id=issuer_id)
        db.execute(keep_answer(reference, answer))
        return answer
