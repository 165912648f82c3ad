"""The statement: what an issuer's cards were worth, what became of it in a month, and whether everything agrees."""

# ruff: noqa: E501, S608  queries are read as tables, and nothing of a caller's is put into one

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sqlalchemy import Connection

from app.reports.asked import Asked
from app.reports.posting import POSTED, SIGNED
from app.reports.programmes import COLUMNS, Programme, read_programmes
from app.reports.report import Column, Note, Report
from app.reports.words import money

#: What a transfer's month is to the statement's: its past, itself, its future.
BEFORE, WITHIN, AFTER = 0, 1, 2
#: By kind the documents that must come to the same as the transfers.
DOCUMENTS = {
    "issue": "the cards' amounts as issued",
    "settle": "the payments' settlements",
    "refund": "the payments' refunds",
}


@dataclass(frozen=True, slots=True)
class Line:
    """One programme in one month, in minor units of its currency."""

    programme: Programme
    opening_minor: int
    funded_minor: int
    refunded_minor: int
    settled_minor: int
    lapsed_minor: int
    adjusted_minor: int
    #: What the cards' own balances come to at the month's end.
    balances_minor: int

    @property
    def closing_minor(self) -> int:
        """By the transfers."""
        came = self.opening_minor + self.funded_minor + self.refunded_minor + self.adjusted_minor
        return came - self.settled_minor - self.lapsed_minor

    @property
    def difference_minor(self) -> int:
        return self.balances_minor - self.closing_minor

    @property
    def is_empty(self) -> bool:
        """Nothing was there, and nothing happened."""
        return not any(
            (
                self.opening_minor,
                self.funded_minor,
                self.refunded_minor,
                self.settled_minor,
                self.lapsed_minor,
                self.adjusted_minor,
                self.balances_minor,
            )
        )


def statement(db: Connection, asked: Asked) -> Report:
    """opening + funded + refunds − settled − lapsed ± adjustments = closing, by programme, and what does not agree."""
    lines, notes = read_statement(db, asked)
    return Report(
        "statement",
        "Issuers' statement",
        asked.mode,
        f"month {asked.month} (UTC)",
        (
            *COLUMNS,
            Column("opening", "Opening liability", "money", summed=True),
            Column("funded", "Funded", "money", summed=True),
            Column("refunds", "Refunds", "money", summed=True),
            Column("settled", "Settled", "money", summed=True),
            Column("lapsed", "Lapsed", "money", summed=True),
            Column("adjustments", "Adjust-ments", "money", summed=True),
            Column("closing", "Closing liability", "money", summed=True),
            Column("balances", "Cards' balances", "money", summed=True),
            Column("difference", "Difference", "money", summed=True),
        ),
        [
            (
                *line.programme.cells,
                line.opening_minor,
                line.funded_minor,
                line.refunded_minor,
                line.settled_minor,
                line.lapsed_minor,
                line.adjusted_minor,
                line.closing_minor,
                line.balances_minor,
                line.difference_minor,
            )
            for line in lines
        ],
        notes,
    )


def read_statement(db: Connection, asked: Asked) -> tuple[list[Line], list[Note]]:
    """The lines of programmes in which there was anything, and what there is to say of them."""
    programmes = read_programmes(db, asked)
    when = (asked.mode, asked.issuer_id, asked.month.start, asked.month.end)
    moved = {(row.programme_id, row.kind, row.phase): row.signed_minor for row in db.exec_driver_sql(_MOVED, when)}
    kept = dict(_pairs(db.exec_driver_sql(_BALANCES, when[:2])))
    lines = [_line(each, moved, kept) for each in programmes.values()]
    notes = [*_differences(lines), *_documents(db, asked, programmes, moved)]
    if not notes:
        notes = [
            Note(
                "The transfers, the cards' balances and the documents of issue, settlement and refund agree to the minor unit."
            )
        ]
    return [line for line in lines if not line.is_empty], notes


Moved = Mapping[tuple[str, str, int], int]


def _line(programme: Programme, moved: Moved, kept: Mapping[str, int]) -> Line:
    mine = {(kind, phase): signed for (id_, kind, phase), signed in moved.items() if id_ == programme.programme_id}
    others = sum(
        signed
        for (kind, phase), signed in mine.items()
        if phase == WITHIN and kind not in ("issue", "refund", "settle", "lapse")
    )
    return Line(
        programme,
        opening_minor=_sum(mine, BEFORE),
        funded_minor=mine.get(("issue", WITHIN), 0),
        refunded_minor=mine.get(("refund", WITHIN), 0),
        settled_minor=-mine.get(("settle", WITHIN), 0),
        lapsed_minor=-mine.get(("lapse", WITHIN), 0),
        adjusted_minor=others,
        balances_minor=kept.get(programme.programme_id, 0) - _sum(mine, AFTER),
    )


def _sum(mine: Mapping[tuple[str, int], int], phase: int) -> int:
    return sum(signed for (_, when), signed in mine.items() if when == phase)


def _differences(lines: Iterable[Line]) -> list[Note]:
    return [
        _difference(line.programme, "the cards' balances", line.balances_minor, line.closing_minor)
        for line in lines
        if line.difference_minor
    ]


def _documents(db: Connection, asked: Asked, programmes: Mapping[str, Programme], moved: Moved) -> list[Note]:
    """Over all times: a document and its transfer are of the same moment, but for what posts late."""
    told = {
        (row.programme_id, row.kind): row.minor for row in db.exec_driver_sql(_DOCUMENTS, (asked.mode, asked.issuer_id))
    }
    notes = []
    for id_, programme in programmes.items():
        for kind, documents in DOCUMENTS.items():
            booked = abs(sum(moved.get((id_, kind, phase), 0) for phase in (BEFORE, WITHIN, AFTER)))
            if told.get((id_, kind), 0) != booked:
                notes.append(_difference(programme, documents, told.get((id_, kind), 0), booked))
    return notes


def _difference(programme: Programme, what: str, found: int, booked: int) -> Note:
    shown = [money(each, programme.currency) for each in (found, booked, abs(found - booked))]
    more = "more" if found > booked else "less"
    return Note(
        f"{programme.named}: {what} come to {shown[0]}, the transfers to {shown[1]}: {shown[2]} {more}.", wrong=True
    )


def _pairs(rows: Iterable[Iterable[object]]) -> Iterable[tuple[str, int]]:
    return ((str(key), int(str(value))) for key, value in rows)


_MOVED = f"""
SELECT c.programme_id, t.kind, (t.posted >= $3)::integer + (t.posted >= $4)::integer AS phase, sum({SIGNED})::bigint AS signed_minor
FROM (SELECT t.kind, t.card_id, t.credit_id, t.amount_minor, {POSTED} AS posted FROM transfer t WHERE t.mode = $1 AND t.card_id IS NOT NULL) AS t
JOIN card c ON c.id = t.card_id
WHERE $2::text IS NULL OR c.issuer_id = $2
GROUP BY c.programme_id, t.kind, phase
"""

_BALANCES = """
SELECT c.programme_id, sum(a.balance_minor)::bigint
FROM card c JOIN account a ON a.id = c.account_id
WHERE c.mode = $1 AND ($2::text IS NULL OR c.issuer_id = $2)
GROUP BY c.programme_id
"""

_DOCUMENTS = """
SELECT c.programme_id, 'issue' AS kind, sum(c.issued_minor)::bigint AS minor
FROM card c WHERE c.mode = $1 AND ($2::text IS NULL OR c.issuer_id = $2) GROUP BY c.programme_id
UNION ALL
SELECT c.programme_id, k.kind, sum(CASE k.kind WHEN 'settle' THEN p.settled_minor ELSE p.refunded_minor END)::bigint
FROM payment p JOIN card c ON c.id = p.card_id CROSS JOIN (VALUES ('settle'), ('refund')) AS k(kind)
WHERE p.mode = $1 AND ($2::text IS NULL OR c.issuer_id = $2) GROUP BY c.programme_id, k.kind
"""
