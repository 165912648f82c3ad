"""Reissue: what is left of a card gets a new claim link, and the key before is dead."""

from collections.abc import Mapping
from datetime import datetime

from app.db.together import Write
from app.ids import CardId
from app.issuance import links, one_key
from app.mail.letter import letter_of


def queue_reissue(
    card_id: CardId,
    letter_kind: str | None,
    *,
    reason: str,
    card_expires_at: datetime,
    at: datetime,
    facts: Mapping[str, object] | None = None,
    due_at: datetime | None = None,
) -> tuple[links.NewLink, list[Write]]:
    """The new link and the writes that make it the card's one key and mail it, for `together`.

    The caller kills the link or code before, in a statement of its own where both are links: a card has at most one
    waiting link. `due_at` puts the letter off. Without a letter kind nothing is mailed: the caller hands the link over.
    """
    link = links.new_link(card_id, reason, card_expires_at=card_expires_at, at=at, delivered_at=due_at)
    writes: list[Write] = [links.link_insert(link), one_key.point_at(card_id, link_id=link.id)]
    if letter_kind is not None:
        writes.append(
            letter_of(letter_kind, card_id=card_id, link_id=link.id, facts=dict(facts or {}), due_at=due_at or at)
        )
    return link, writes
