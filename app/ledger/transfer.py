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
    card_id: CardId,
    payment_id: PaymentId | None = None,
    at: datetime,
) -> Write:
    """The insert of one transfer, for `together`: `amount` leaves the debit account and enters the credit account.

    The database refuses it when a card's balance would fall below zero; the verbs decide before, under the card's lock.
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
        at=at,
    )


_transfer = row_of(Transfer)
