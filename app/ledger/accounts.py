"""Ledger accounts: their names and how one is opened."""

from sqlalchemy.dialects.postgresql import Insert, insert

from app.db.together import Write, write
from app.ledger.models import Account

FUNDING, CARD, OWED, BREAKAGE = "funding", "card", "owed", "breakage"
BANK, GOODWILL, FRAUD_LOSS, CHARGEBACK = "bank", "goodwill", "fraud_loss", "chargeback"
IN_TRANSIT, PAID = "in_transit", "paid"


def account_id(kind: str, owner_id: str, currency: str) -> str:
    """An account's identifier says what it is, so that a transfer reads without a look-up: `str_…:owed:GBP`."""
    return f"{owner_id}:{kind}:{currency}"


def opening_of(kind: str, owner_id: str, currency: str, mode: str) -> Write:
    """The insert that opens the account unless it is open, for `together`."""
    return _open(id=account_id(kind, owner_id, currency), kind=kind, owner_id=owner_id, currency=currency, mode=mode)


@write
def _open(**columns: object) -> Insert:
    return insert(Account).values(columns).on_conflict_do_nothing()
