"""Which reports there are, what each answers, and what it can be asked for."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from sqlalchemy import Connection

from app.reports.ageing import ageing
from app.reports.asked import Asked
from app.reports.breakage import breakage
from app.reports.funding import funding
from app.reports.journal import journal
from app.reports.liability import liability
from app.reports.lines import lines
from app.reports.open_bills import breaks, unbilled
from app.reports.remittance import remittance
from app.reports.report import Note, Report
from app.reports.safeguarding import safeguarding
from app.reports.statement import statement
from app.reports.volume import volume


@dataclass(frozen=True, slots=True)
class Kind:
    """One report: of a moment or of a month, and by which parties it can be narrowed."""

    build: Callable[[Connection, Asked], Report]
    of: Literal["moment", "month", "payout"]
    answers: str
    by: tuple[Literal["issuer", "store"], ...] = ("issuer",)


KINDS: Mapping[str, Kind] = {
    "statement": Kind(statement, "month", "What issuers' cards were worth, what became of it, and whether all agrees."),
    "liability": Kind(liability, "moment", "What cards are worth, and were at the end of each month."),
    "ageing": Kind(ageing, "moment", "How old that is, by issue and by last activity."),
    "breakage": Kind(breakage, "moment", "What lapsed, and how fast cards are redeemed."),
    "volume": Kind(volume, "month", "What was issued, settled, refunded and lapsed in twelve months."),
    "unbilled": Kind(unbilled, "month", "What was settled by then and no bill has taken up.", by=("issuer", "store")),
    "breaks": Kind(breaks, "moment", "The breaks that are open now, by age.", by=("issuer", "store")),
    "remittance": Kind(remittance, "payout", "What a store is told of a payout.", by=()),
    "lines": Kind(lines, "month", "Each matched line, traced to its card and issuer.", by=("issuer", "store")),
    "funding": Kind(funding, "moment", "What issuers paid in and issued, and what must be on their accounts."),
    "safeguarding": Kind(safeguarding, "month", "Whether what must be there was there, day by day."),
    "journal": Kind(journal, "month", "Every movement of money as debit and credit, sealed by a hash."),
}


def build_report(db: Connection, name: str, asked: Asked) -> Report:
    """The report, whose rows are read in the same transaction; raises ValueError where there is nobody to ask about."""
    kind = KINDS[name]
    for party, id_ in (("issuer", asked.issuer_id), ("store", asked.store_id)):
        if id_ is None:
            continue
        if party not in kind.by:
            raise ValueError(f"the report {name} cannot be of one {party} alone")
        if db.exec_driver_sql(f"SELECT FROM {party} WHERE id = $1 AND mode = $2", (id_, asked.mode)).first() is None:
            raise ValueError(f"there is no {party} {id_} with {asked.mode} money")
    report = kind.build(db, asked)
    if kind.of == "month" and asked.month.end > asked.as_of:
        report.notes.append(Note(f"The month is not over: this is how it stands {asked.moment}."))
    return report
