"""A movement of money: one row, so that its two legs balance by construction."""

from datetime import datetime

from app.db.together import Write, row_of
from app.ids import CardId, PaymentId, new_id
from app.ledger.models import Transfer
from app.money import Money


def transfer_of(
    kind: str,
    amount: Money,
    *,
    debit_id: str,
    credit_id: str,
    mode: str,
    card_id: CardId | None = None,
    payment_id: PaymentId | None = None,
    document_id: str | None = None,
    at: datetime,
) -> Write:
    """The insert of one transfer, for `together`: `amount` leaves the debit account and enters the credit account.

    It is a card's, or of the document that bears it out. The database refuses it when a card's balance would fall below
    zero, or nothing bears it out; the verbs decide before, under locks.
    """
    return _transfer(
        id=new_id("tra"),
        kind=kind,
        debit_id=debit_id,
        credit_id=credit_id,
        amount_minor=amount.amount_minor,
        currency=amount.currency,
        mode=mode,
        card_id=card_id,
        payment_id=payment_id,
        document_id=document_id,
        at=at,
    )


_transfer = row_of(Transfer)
