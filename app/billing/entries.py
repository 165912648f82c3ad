"""Entries: an issuer's money that came in, and what is moved between its funding and its other accounts."""

from dataclasses import asdict, dataclass, replace
from datetime import datetime

from sqlalchemy import Connection, select, text, update

from app import clock
from app.billing.pay_models import EntryRow
from app.db.together import row_of, together
from app.db.transaction import transaction
from app.errors import InvalidRequest, NotFound, ReferenceReused
from app.events.event import event_of
from app.ids import IssuerId, new_id
from app.issuance.models import Issuer
from app.ledger.accounts import BANK, CHARGEBACK, FRAUD_LOSS, FUNDING, GOODWILL, account_id, opening_of
from app.ledger.transfer import transfer_of
from app.money import MAX_MINOR, Money, is_currency

#: Between which accounts and its funding an issuer's money may be adjusted.
ADJUSTED = (BANK, GOODWILL, FRAUD_LOSS, CHARGEBACK)


@dataclass(frozen=True, slots=True)
class Entry:
    """Above zero, in minor units, it enters the issuer's funding from `account`; below zero it goes the other way."""

    id: str
    mode: str
    issuer_id: IssuerId
    kind: str
    account: str
    amount_minor: int
    currency: str
    effective_at: datetime
    reference: str | None
    reason: str | None
    proposed_by: str
    proposed_at: datetime
    state: str = "proposed"


def fund(
    issuer_id: IssuerId, amount: Money, *, reference: str, operator: str, effective_at: datetime | None = None
) -> Entry:
    """An issuer's money has come, as the bank's reference says, at `effective_at`; now unless it says otherwise.

    The same reference again is the same money, and changes nothing. Raises NotFound, InvalidRequest; ReferenceReused
    when it came with another amount or currency, or at another time; Busy.
    """
    _check_words(reference, "/reference")
    if amount.amount_minor <= 0:
        raise InvalidRequest("What came in is more than nothing.", pointer="/amount_minor")
    with transaction() as db:
        entry = _made(db, issuer_id, "fund", BANK, amount, reference=reference, by=operator, effective_at=effective_at)
        same = select(*_COLUMNS).where(EntryRow.issuer_id == issuer_id, EntryRow.reference == reference)
        if row := db.execute(same).first():
            known = Entry(**row._mapping)
            if (known.amount_minor, known.currency) != (amount.amount_minor, amount.currency):
                raise ReferenceReused("This reference of the bank came before with another amount.")
            if effective_at is not None and known.effective_at != effective_at:
                raise ReferenceReused(f"This reference of the bank came before, for {known.effective_at:%F %T} UTC.")
            return known
        together(db, _insert(**_given(entry)))
        return _book(db, entry, operator)


def propose_adjustment(
    issuer_id: IssuerId,
    amount: Money,
    *,
    account: str,
    reason: str,
    operator: str,
    effective_at: datetime | None = None,
) -> Entry:
    """Proposes to move an issuer's money between its funding and one of ADJUSTED; another operator must approve it.

    Raises NotFound, InvalidRequest, Busy.
    """
    _check_words(reason, "/reason")
    if account not in ADJUSTED:
        raise InvalidRequest(f"An account is one of {', '.join(ADJUSTED)}.", pointer="/account")
    with transaction() as db:
        entry = _made(db, issuer_id, "adjust", account, amount, reason=reason, by=operator, effective_at=effective_at)
        event = event_of("adjustment_proposed", at=entry.proposed_at, facts=_facts(entry))
        together(db, _insert(**_given(entry)), event)
        return entry


def approve_adjustment(entry_id: str, *, operator: str) -> Entry:
    """Books what another operator proposed. Raises NotFound when no such adjustment waits, InvalidRequest, Busy."""
    with transaction() as db:
        _lock_months(db)
        entry = _lock(db, entry_id)
        if entry.proposed_by == operator:
            raise InvalidRequest("You proposed it: another operator must approve.", pointer="/entry_id")
        return _book(db, entry, operator)


def reject_adjustment(entry_id: str, *, operator: str) -> Entry:
    """Ends a proposal, somebody else's or the operator's own. Raises NotFound when no such adjustment waits, Busy."""
    with transaction() as db:
        entry, now = _lock(db, entry_id), clock.now(db)
        decided = {"state": "rejected", "decided_by": operator, "decided_at": now}
        db.execute(update(EntryRow).where(EntryRow.id == entry_id).values(decided))
        together(db, event_of("adjustment_rejected", at=now, facts=_facts(entry)))
        return entry


def list_entries(*, state: str | None = None) -> list[Entry]:
    """Entries, the oldest first. Raises Busy."""
    query = select(*_COLUMNS).order_by(EntryRow.proposed_at, EntryRow.id)
    with transaction() as db:
        found = db.execute(query if state is None else query.where(EntryRow.state == state))
        return [Entry(**row._mapping) for row in found]


def _made(
    db: Connection,
    issuer_id: IssuerId,
    kind: str,
    account: str,
    amount: Money,
    *,
    by: str,
    effective_at: datetime | None,
    reference: str | None = None,
    reason: str | None = None,
) -> Entry:
    """The issuer is locked, so that of two that name one reference the second finds what the first has written."""
    if not is_currency(amount.currency):
        raise InvalidRequest("There is no such currency.", pointer="/currency")
    if not 0 < abs(amount.amount_minor) <= MAX_MINOR:
        raise InvalidRequest("An amount is a whole number of minor units, not 0.", pointer="/amount_minor")
    _lock_months(db)
    mode = db.scalar(select(Issuer.mode).where(Issuer.id == issuer_id))
    if mode is None:
        raise NotFound(f"There is no issuer {issuer_id!r}.")
    db.execute(_ONE_AT_A_TIME, {"key": f"entries of {issuer_id}"})
    now = clock.now(db)
    at = effective_at or now
    if at > now:
        raise InvalidRequest("It cannot be effective later than now.", pointer="/effective_at")
    money = (amount.amount_minor, amount.currency)
    return Entry(new_id("ent"), mode, issuer_id, kind, account, *money, at, reference, reason, by, now)


def _book(db: Connection, entry: Entry, operator: str) -> Entry:
    now = clock.now(db)
    decided = {"state": "booked", "decided_by": operator, "decided_at": now}
    db.execute(update(EntryRow).where(EntryRow.id == entry.id).values(decided))
    accounts = [account_id(kind, entry.issuer_id, entry.currency) for kind in (entry.account, FUNDING)]
    debit_id, credit_id = accounts if entry.amount_minor > 0 else reversed(accounts)
    opened = [opening_of(kind, entry.issuer_id, entry.currency, entry.mode) for kind in (entry.account, FUNDING)]
    amount = Money(abs(entry.amount_minor), entry.currency)
    facts = {**_facts(entry), "signed_minor": entry.amount_minor, "amount_minor": amount.amount_minor}
    together(
        db,
        opened,
        transfer_of(
            entry.kind,
            amount,
            debit_id=debit_id,
            credit_id=credit_id,
            mode=entry.mode,
            document_id=entry.id,
            at=entry.effective_at,
        ),
        event_of("issuer_funded", at=now, facts=facts)
        if entry.kind == "fund"
        else event_of("account_adjusted", at=now, facts=facts),
    )
    return replace(entry, state="booked")


def _lock(db: Connection, entry_id: str) -> Entry:
    waits = select(*_COLUMNS).where(EntryRow.id == entry_id, EntryRow.state == "proposed")
    row = db.execute(waits.with_for_update()).first()
    if row is None:
        raise NotFound(f"No adjustment {entry_id!r} waits: it was decided, or never was.")
    return Entry(**row._mapping)


def _check_words(words: str, pointer: str) -> None:
    if not words.strip() or not words.isprintable() or len(words) > 200:
        raise InvalidRequest("Say it on one line, in at most 200 characters.", pointer=pointer)


def _lock_months(db: Connection) -> None:
    """No month closes while something is booked that may belong to it: see close_month."""
    db.execute(_NO_MONTH_CLOSES)


def _given(entry: Entry) -> dict[str, object]:
    return {name: value for name, value in asdict(entry).items() if name != "state"}


def _facts(entry: Entry) -> dict[str, object]:
    named = ("issuer_id", "mode", "account", "currency", "amount_minor", "reference", "reason")
    facts = {"entry_id": entry.id, **{name: getattr(entry, name) for name in named}}
    return {**facts, "effective_at": entry.effective_at.isoformat(), "proposed_by": entry.proposed_by}


_COLUMNS = tuple(getattr(EntryRow, name) for name in Entry.__dataclass_fields__)
_insert = row_of(EntryRow)
_ONE_AT_A_TIME = text("SELECT pg_advisory_xact_lock(hashtextextended(:key, 0))")
_NO_MONTH_CLOSES = text("SELECT pg_advisory_xact_lock_shared(hashtextextended('months of the books', 0))")
