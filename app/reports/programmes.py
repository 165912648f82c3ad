"""The programmes that a report is about, by ID: their issuers and names."""

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Connection

from app.reports.asked import Asked
from app.reports.report import Column


@dataclass(frozen=True, slots=True)
class Programme:
    """A programme, and whose it is."""

    issuer_id: str
    issuer: str
    programme_id: str
    programme: str
    currency: str

    @property
    def cells(self) -> tuple[str, str, str, str, str]:
        """As `COLUMNS` has them."""
        return self.issuer_id, self.issuer, self.programme_id, self.programme, self.currency

    @property
    def named(self) -> str:
        """In a sentence."""
        return f"{self.issuer}, {self.programme} ({self.programme_id})"


#: Identifiers are for machines; on paper stand the names.
COLUMNS = (
    Column("issuer_id", "Issuer ID", on_paper=False),
    Column("issuer", "Issuer"),
    Column("programme_id", "Programme ID", on_paper=False),
    Column("programme", "Programme"),
    Column("currency", "Currency"),
)


def read_programmes(db: Connection, asked: Asked) -> Mapping[str, Programme]:
    """Those of the mode, or of the issuer, in the order in which reports have them."""
    rows = db.exec_driver_sql(_PROGRAMMES, (asked.mode, asked.issuer_id))
    return {row.programme_id: Programme(**row._mapping) for row in rows}


_PROGRAMMES = """
SELECT i.id AS issuer_id, i.name AS issuer, p.id AS programme_id, p.name AS programme, p.currency
FROM programme p JOIN issuer i ON i.id = p.issuer_id
WHERE p.mode = $1 AND ($2::text IS NULL OR p.issuer_id = $2)
ORDER BY i.name, i.id, p.name, p.id
"""
