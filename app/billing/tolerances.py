"""Tolerances: how far an issuer lets a line differ from what is owed before a person looks at it."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert

from app import clock
from app.billing.models import Tolerance
from app.db.together import together
from app.db.transaction import transaction
from app.errors import InvalidRequest, NotFound
from app.events.event import event_of
from app.ids import IssuerId
from app.issuance.models import Issuer
from app.money import MAX_MINOR, is_currency


@dataclass(frozen=True, slots=True)
class ToleranceSet:
    """An issuer's tolerance in one currency, in minor units."""

    issuer_id: IssuerId
    currency: str
    tolerance_minor: int


def set_tolerance(issuer_id: IssuerId, currency: str, tolerance_minor: int) -> None:
    """From now on a line may differ by so much, either way; 0: not at all. Bills that are matched stay as they are.

    What is paid is the smaller amount, whatever the tolerance. Raises InvalidRequest, NotFound, Busy.
    """
    if not is_currency(currency):
        raise InvalidRequest("There is no such currency.", pointer="/currency")
    if not 0 <= tolerance_minor <= MAX_MINOR:
        raise InvalidRequest("A tolerance is a whole number of minor units.", pointer="/tolerance_minor")
    row = {"issuer_id": issuer_id, "currency": currency, "tolerance_minor": tolerance_minor}
    changed = {"tolerance_minor": tolerance_minor}
    with transaction() as db:
        if db.scalar(select(Issuer.id).where(Issuer.id == issuer_id)) is None:
            raise NotFound(f"There is no issuer {issuer_id!r}.")
        key = [Tolerance.issuer_id, Tolerance.currency]
        db.execute(insert(Tolerance).values(row).on_conflict_do_update(index_elements=key, set_=changed))
        together(db, event_of("tolerance_set", at=clock.now(db), facts=row))


def list_tolerances() -> Sequence[ToleranceSet]:
    """By issuer and currency."""
    columns = (Tolerance.issuer_id, Tolerance.currency, Tolerance.tolerance_minor)
    with transaction() as db:
        return [ToleranceSet(*row) for row in db.execute(select(*columns).order_by(*columns[:2]))]
