"""Balances of the accounts that keep issuers' money: entered by a person, or taken from a file of the bank's."""

import csv
import re
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime

from sqlalchemy import Connection, delete, insert, select
from sqlalchemy.dialects.postgresql import insert as upsert

from app import clock
from app.db.transaction import transaction
from app.ids import new_id
from app.issuance.models import Issuer
from app.money import is_currency, minor_digits
from app.reports.models import BankBalance, LowBalance

#: The columns of a file, in any order.
COLUMNS = ("date", "issuer", "currency", "balance")
#: Digits before the point: more than any account has, and a sum of many stays a bigint.
MOST_DIGITS = 13


class WrongBalance(ValueError):
    """What was given is no balance of an issuer's account; the message says why."""


@dataclass(frozen=True, slots=True)
class Balance:
    """What lay on an issuer's account at the end of a day."""

    issuer_id: str
    mode: str
    currency: str
    day: date
    balance_minor: int


@dataclass(frozen=True, slots=True)
class Imported:
    """What became of a file: how many balances were new, how many were known, and which lines were wrong and why."""

    taken: int
    known: int
    wrong: list[tuple[int, str]]


def enter_balance(issuer_id: str, currency: str, day: date, balance: str, *, operator: str) -> Balance:
    """Records what a person read off a statement of the bank's, `balance` in decimals.

    Raises WrongBalance.
    """
    with transaction() as db:
        found = _read(db, issuer_id, currency, day, balance, today=clock.now(db).date())
        _add(db, found, source="entered", operator=operator)
    return found


def import_balances(lines: Iterable[str], *, operator: str) -> Imported:
    """Records each line of a CSV file that can be read, in one transaction, and says what is wrong with the others.

    Raises WrongBalance where the columns are others than COLUMNS.
    """
    rows = csv.reader(lines, strict=True)
    try:
        head = [name.strip().lower().removeprefix("\ufeff") for name in next(rows, [])]
    except csv.Error as error:
        raise WrongBalance(f"the first line is no line of CSV: {error}") from None
    if sorted(head) != sorted(COLUMNS):
        raise WrongBalance(f"the first line must name the columns {', '.join(COLUMNS)}")
    taken, known = 0, 0
    wrong: list[tuple[int, str]] = []
    with transaction() as db:
        db.exec_driver_sql("SET LOCAL idle_in_transaction_session_timeout = 60000")  # the file may be on a slow disk
        today = clock.now(db).date()
        for number, cells in _numbered(rows, wrong):
            if len(cells) != len(head):
                wrong.append((number, f"{len(cells)} cells instead of {len(head)}"))
                continue
            named = dict(zip(head, (cell.strip() for cell in cells), strict=True))
            try:
                day = _day(named["date"])
                found = _read(db, named["issuer"], named["currency"], day, named["balance"], today=today)
            except WrongBalance as why:
                wrong.append((number, str(why)))
            else:
                is_new = _add(db, found, source="imported", operator=operator)
                taken, known = taken + is_new, known + (not is_new)
    return Imported(taken, known, wrong)


def warn_below(issuer_id: str, currency: str, least_minor: int | None) -> None:
    """Has people told when the balance is below so much; nobody, without a number. Raises WrongBalance."""
    if not is_currency(currency):
        raise WrongBalance(f"{currency} is not a currency of ISO 4217")
    if least_minor is not None and not 0 <= least_minor < 10**15:
        raise WrongBalance("the least balance is a number of minor units from 0")
    with transaction() as db:
        _mode_of(db, issuer_id)
        if least_minor is None:
            where = (LowBalance.issuer_id == issuer_id, LowBalance.currency == currency)
            db.execute(delete(LowBalance).where(*where))
        else:
            values = {"issuer_id": issuer_id, "currency": currency, "least_minor": least_minor}
            wanted = upsert(LowBalance).values(values)
            db.execute(
                wanted.on_conflict_do_update(
                    index_elements=["issuer_id", "currency"], set_={"least_minor": least_minor}
                )
            )


def _numbered(rows: Iterator[list[str]], wrong: list[tuple[int, str]]) -> Iterator[tuple[int, list[str]]]:
    """The rows by the number of their line in the file; empty ones are none."""
    while True:
        try:
            cells = next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            wrong.append((rows.line_num, f"no line of CSV: {error}"))  # type: ignore[attr-defined]
            continue
        if cells:
            yield rows.line_num, cells  # type: ignore[attr-defined]


def _read(db: Connection, issuer_id: str, currency: str, day: date, balance: str, *, today: date) -> Balance:
    if not is_currency(currency):
        raise WrongBalance(f"{currency} is not a currency of ISO 4217")
    if day > today:
        raise WrongBalance("the day lies in the future")
    digits = minor_digits(currency)
    fraction = rf"\.[0-9]{{{digits}}}" if digits else ""
    if not re.fullmatch(rf"-?(0|[1-9][0-9]{{0,{MOST_DIGITS - 1}}}){fraction}", balance):
        raise WrongBalance(f"the balance is no amount such as {'1234' + ('.' + '5' * digits if digits else '')}")
    return Balance(issuer_id, _mode_of(db, issuer_id), currency, day, int(balance.replace(".", "")))


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise WrongBalance("the date is none such as 2026-11-28") from None


def _mode_of(db: Connection, issuer_id: str) -> str:
    mode = db.execute(select(Issuer.mode).where(Issuer.id == issuer_id)).scalar_one_or_none()
    if mode is None:
        raise WrongBalance(f"there is no issuer {issuer_id}")
    return mode


def _add(db: Connection, balance: Balance, *, source: str, operator: str) -> bool:
    """Whether it was news: a file that is imported again adds nothing, also where a person has corrected it since."""
    where = (
        BankBalance.issuer_id == balance.issuer_id,
        BankBalance.currency == balance.currency,
        BankBalance.day == balance.day,
    )
    newest = select(BankBalance.balance_minor).where(*where).order_by(BankBalance.recorded_at.desc()).limit(1)
    imported = select(BankBalance.balance_minor).where(*where, BankBalance.source == "imported")
    known = {*db.scalars(newest), *(db.scalars(imported) if source == "imported" else ())}
    if balance.balance_minor in known:
        return False
    more = {"id": new_id("bal"), "source": source, "recorded_by": operator, "recorded_at": clock.now(db)}
    db.execute(insert(BankBalance).values(**asdict(balance), **more))
    return True


def end_of(day: date) -> datetime:
    """The first moment after the day, in UTC."""
    return datetime.fromordinal(day.toordinal() + 1).replace(tzinfo=UTC)
