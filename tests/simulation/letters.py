"""What a holder finds in a letter: the sender's own filling, without the mail server."""

from sqlalchemy import select

from app import clock
from app.db.transaction import transaction
from app.ids import LinkId
from app.issuance.letters import fill_letter
from app.mail.filling import TooLate
from app.mail.letter import DueLetter
from app.mail.models import Letter
from tests.world import key_of


def keys_by_letter(link_id: LinkId) -> list[str]:
    """The claim key in the letter about this link, drawn as it is filled; none where the letter came too late."""
    with transaction() as db:
        columns = (getattr(Letter, name) for name in DueLetter.__dataclass_fields__)
        row = db.execute(select(*columns).where(Letter.link_id == link_id)).one()
        try:
            filled = fill_letter(db, DueLetter(**row._mapping), clock.now(db))
        except TooLate:
            return []
    claim_url = filled.context["claim_url"] if filled else None
    return [key_of(claim_url)[1]] if isinstance(claim_url, str) else []
