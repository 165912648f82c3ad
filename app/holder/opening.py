"""What the pages ask of the earlier rooms; a refusal to somebody who has proven the link tells the card's state.

In a refusal's facts `card` is the HolderView, `superseded_at` the time when a newer link was made.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from app.db.transaction import transaction
from app.errors import CardClosed, CardHeld, LinkLapsed, LinkOpened, LinkSuperseded
from app.guard.tries import Visitor, one_key, watch_visitor
from app.holder.state import card_state_of_link, superseded_at
from app.ids import LinkId
from app.issuance.claim import Claimed, claim_link
from app.redemption import reissue

#: Raised only after the link's key or the page's session was proven.
AFTER_PROOF = (LinkOpened, LinkLapsed, LinkSuperseded, CardHeld, CardClosed)


def open_link(link_id: LinkId, *, key: str, nonce: str, opened_by: str, who: Visitor) -> Claimed:
    """Claims. Raises as `claim_link`, with the card's state where the link is the card's newest; CaptchaNeeded before
    the key is looked at, TryLater for a wrong one that comes too soon."""
    with one_key(watch_visitor(who)), _telling(link_id):
        return claim_link(link_id, key=key, nonce=nonce, opened_by=opened_by)


def ask_for_link(link_id: LinkId, *, key: str, who: Visitor) -> None:
    """Has a new link mailed. Raises as `resend_link`; TryLater for a wrong key
    that comes too soon."""
    with one_key(watch_visitor(who)), _telling(link_id):
        reissue.resend_link(link_id, key=key)


def ask_for_link_in_session(link_id: LinkId) -> None:
    """The same, with the page's session as the authority. Raises as `resend_link_in_session`."""
    with _telling(link_id):
        reissue.resend_link_in_session(link_id)


def ask_for_code(link_id: LinkId) -> Claimed:
    """A fresh code in place of the one before. Raises as `fresh_code`."""
    with _telling(link_id):
        return reissue.fresh_code(link_id)


@contextmanager
def _telling(link_id: LinkId) -> Iterator[None]:
    try:
        yield
    except AFTER_PROOF as refusal:
        refusal.facts = {**refusal.facts, **_facts_of(link_id)}
        raise


def _facts_of(link_id: LinkId) -> dict[str, object]:
    """The card's state by its newest link; by an older one only when the next was made."""
    with transaction() as db:
        view = card_state_of_link(db, link_id)
        if view is not None:
            return {"card": view}
        newer = superseded_at(db, link_id)
        return {"superseded_at": newer} if newer else {}
