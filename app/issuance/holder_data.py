"""Who a card was sent to: sealed for its card, and a keyed hash of the address for look-ups."""

import json
from dataclasses import asdict, dataclass

from app import secrecy
from app.config import settings
from app.ids import CardId


@dataclass(frozen=True, slots=True)
class HolderData:
    """A holder's address, name, language (BCP 47) and the giver's message, in clear: never logged, never stored so."""

    email: str
    name: str | None = None
    locale: str = "en-GB"
    message: str | None = None

    def __repr__(self) -> str:
        return f"HolderData({self.masked})"

    @property
    def masked(self) -> str:
        """The address as answers show it."""
        return secrecy.mask_email(self.email)


def seal_holder(holder: HolderData, card_id: CardId) -> bytes:
    """The holder sealed for this card's row alone."""
    plain = json.dumps(asdict(holder)).encode()
    return secrecy.seal(settings().keys.personal, plain, bound_to=card_id)


def unseal_holder(sealed: bytes, card_id: CardId) -> HolderData:
    """The holder of this card's row. Raises secrecy.CannotUnseal when the row was tampered with."""
    return HolderData(**json.loads(secrecy.unseal(settings().keys.personal, sealed, bound_to=card_id)))


def hash_email(email: str) -> bytes:
    """The keyed hash by which a support person finds a holder's cards without reading addresses."""
    return secrecy.keyed_hash(settings().keys.hashing, "email", email.strip().casefold())
