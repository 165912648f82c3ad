"""A report as a table on a terminal."""

from collections.abc import Callable, Iterable, Sequence
from itertools import chain, islice

from app.reports.report import CURRENCY, Column, Report, Row, Totals
from app.reports.words import in_words, printable

#: So many rows are looked at to know how wide a column is; one that is wider later on moves its line.
LOOKED_AT = 500


def write(report: Report, say: Callable[[str], None]) -> None:
    """Says it line by line, as its rows come."""
    places = [place for place, column in enumerate(report.columns) if column.on_paper]
    columns = [report.columns[place] for place in places]
    totals = Totals(columns)
    coming = iter(totals.counted(tuple(row[place] for place in places) for row in report.rows))
    first = list(islice(coming, LOOKED_AT))
    heads = [column.title.replace("-", "") for column in columns]
    widths = _widths(heads, [_cells(columns, row) for row in [*first, *totals.rows()]])
    say(f"{report.title}, {report.of}, {report.mode} money")
    say(_line(columns, heads, widths))
    for row in chain(first, coming):
        say(_line(columns, _cells(columns, row), widths))
    for row in totals.rows("Total"):
        say(_line(columns, _cells(columns, row), widths))
    for note in report.notes:
        say(printable(f"DIFFERS: {note.text}" if note.wrong else note.text))


def _cells(columns: Sequence[Column], row: Row) -> list[str]:
    currency = next((value for column, value in zip(columns, row, strict=True) if column.name == CURRENCY), None)
    code = currency if isinstance(currency, str) else None
    return [printable(in_words(value, column.kind, code)) for column, value in zip(columns, row, strict=True)]


def _widths(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> list[int]:
    return [max(map(len, cells)) for cells in zip(heads, *rows, strict=True)]


def _line(columns: Sequence[Column], cells: Sequence[str], widths: Sequence[int]) -> str:
    placed = (
        cell.rjust(width) if column.kind in ("whole", "money", "share") else cell.ljust(width)
        for column, cell, width in zip(columns, cells, widths, strict=True)
    )
    return "  ".join(placed).rstrip()
