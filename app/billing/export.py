"""What a released run pays, as a file for whoever makes the payments."""

from sqlalchemy import select

from app import clock
from app.billing.csv_text import Amount, csv_of
from app.billing.pay_models import PaymentRun, PayoutRow
from app.db.base import AnyRow
from app.db.together import together
from app.db.transaction import transaction
from app.errors import InvalidRequest, NotFound
from app.events.event import event_of
from app.issuance.models import Issuer
from app.money import Money
from app.redemption.models import Store

HEAD = ("end_to_end_id", "payout_id", "store_id", "store", "issuer_id", "issuer", "amount", "currency")


def export_run(run_id: str) -> bytes:
    """The payouts that the run has sent, as CSV: the same bytes each time, whatever has become of them since.

    A bank that is given the same end_to_end_id twice pays once. Raises NotFound; InvalidRequest for a run that was not
    released; Busy.
    """
    with transaction() as db:
        run = db.execute(select(PaymentRun.state, PaymentRun.mode).where(PaymentRun.id == run_id)).first()
        if run is None:
            raise NotFound(f"There is no payment run {run_id!r}.")
        if run.state != "released":
            raise InvalidRequest(f"The run is {run.state}: only a released one is exported.", pointer="/run_id")
        found = db.execute(_SENT.where(PayoutRow.run_id == run_id)).all()
        facts = {"run_id": run_id, "mode": run.mode, "payouts": len(found)}
        together(db, event_of("payment_run_exported", at=clock.now(db), facts=facts))
    return csv_of(HEAD, ([*row[:6], _decimal(row), row.currency] for row in found))


def _decimal(row: AnyRow) -> Amount:
    return Amount(Money(row.amount_minor, row.currency).decimal)


_SENT = (
    select(
        PayoutRow.end_to_end_id,
        PayoutRow.id,
        PayoutRow.store_id,
        Store.name.label("store"),
        PayoutRow.issuer_id,
        Issuer.name.label("issuer"),
        PayoutRow.amount_minor,
        PayoutRow.currency,
    )
    .join(Store, Store.id == PayoutRow.store_id)
    .join(Issuer, Issuer.id == PayoutRow.issuer_id)
    .where(PayoutRow.sent_at.is_not(None))
    .order_by(PayoutRow.id)
)
