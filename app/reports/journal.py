"""The journal of a month: every movement of money as two rows, debit and credit, in an order that never changes."""

# ruff: noqa: E501, S608  queries are read as tables, and nothing of a caller's is put into one

import hashlib
from collections.abc import Iterator
from typing import Any

from sqlalchemy import Connection

from app.reports.as_csv import Lines, head_of
from app.reports.asked import Asked
from app.reports.posting import POSTED
from app.reports.report import Column, Note, Report, Row, Seal
from app.reports.streams import streamed

COLUMNS = (
    Column("date", "Date", "time"),
    Column("effective", "Effective", "time"),
    Column("transfer_id", "Transfer"),
    Column("kind", "Kind"),
    Column("account", "Account"),
    Column("account_id", "Account ID", on_paper=False),
    Column("debit", "Debit", "money", summed=True),
    Column("credit", "Credit", "money", summed=True),
    Column("currency", "Currency"),
    Column("issuer_id", "Issuer", on_paper=False),
    Column("programme_id", "Programme", on_paper=False),
    Column("store_id", "Store", on_paper=False),
    Column("card_id", "Card", on_paper=False),
    Column("payment_id", "Payment"),
    Column("document_id", "Document"),
)


def journal(db: Connection, asked: Asked) -> Report:
    """What posted in the month. Its seal is the SHA-256 of all lines before it, as CSV has them."""
    notes: list[Note] = []
    seal = Seal("sha256")
    return Report(
        "journal",
        "Journal",
        asked.mode,
        f"month {asked.month} (UTC)",
        COLUMNS,
        _sealed(_rows(db, asked), seal, notes),
        notes,
        seal=seal,
    )


def _sealed(rows: Iterator[Row], seal: Seal, notes: list[Note]) -> Iterator[Row]:
    """The rows, which are counted and hashed on their way."""
    digest, line_of, count = hashlib.sha256(head_of(COLUMNS)), Lines(COLUMNS), 0
    for row in rows:
        count += 1
        digest.update(line_of(row))
        yield row
    seal.value = digest.hexdigest()
    notes.append(Note(f"{count:,} rows. The SHA-256 of their lines as CSV, with the head, is {seal.value}."))


def _rows(db: Connection, asked: Asked) -> Iterator[Row]:
    for moved in streamed(db, _POSTED, (asked.mode, asked.month.start, asked.month.end, asked.issuer_id)):
        for account_id, debit, credit in (
            (moved.debit_id, moved.amount_minor, None),
            (moved.credit_id, None, moved.amount_minor),
        ):
            yield (
                moved.posted,
                moved.at,
                moved.id,
                moved.kind,
                account_id.split(":")[1],
                account_id,
                debit,
                credit,
                moved.currency,
                moved.issuer_id or _owner(moved, "iss_"),
                moved.programme_id,
                _owner(moved, "str_"),
                moved.card_id,
                moved.payment_id,
                moved.document_id,
            )


def _owner(moved: Any, prefix: str) -> str | None:
    """The issuer, or the store, that one of the two accounts belongs to."""
    owners = (account_id.split(":")[0] for account_id in (moved.debit_id, moved.credit_id))
    return next((owner for owner in owners if owner.startswith(prefix)), None)


# A payout's accounts are its store's; whose money it is, the payout says.
_POSTED = f"""
SELECT t.id, t.kind, t.debit_id, t.credit_id, t.amount_minor, t.currency, t.card_id, t.payment_id, t.document_id, t.at, t.posted,
    coalesce(c.issuer_id, p.issuer_id) AS issuer_id, c.programme_id
FROM (
    SELECT t.id, t.kind, t.debit_id, t.credit_id, t.amount_minor, t.currency, t.card_id, t.payment_id, t.document_id, t.at, {POSTED} AS posted
    FROM transfer t WHERE t.mode = $1 AND t.at < $3
) AS t
LEFT JOIN card c ON c.id = t.card_id
LEFT JOIN payout p ON p.id = t.document_id
WHERE t.posted >= $2 AND t.posted < $3
    AND ($4::text IS NULL OR coalesce(c.issuer_id, p.issuer_id, split_part(t.debit_id, ':', 1)) = $4)
ORDER BY t.posted, t.id
"""
