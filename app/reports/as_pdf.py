"""A report as a PDF for people: what it is and as of when, charts, and the table over as many pages as it takes."""

from collections.abc import Iterable, Iterator
from typing import IO

from app.reports import pdf_chart
from app.reports.pdf_pages import ALARM, BOLD, PALE, Sheets
from app.reports.pdf_table import Table
from app.reports.report import Note, Report, Row, Totals

#: Nobody reads more on paper, and all of it is held in memory.
MOST_ROWS = 20_000


class TooLongForPdf(ValueError):
    """The report has too many rows for paper."""


def write(report: Report, file: IO[bytes]) -> None:
    """Writes it; the same report gives the same bytes. Raises TooLongForPdf."""
    sheets = Sheets(
        file, title=f"{report.title}, {report.of}", foot=f"{report.title} · {report.of} · {report.mode} money"
    )
    sheets.paragraph(report.title, size=17, font=BOLD, after=2)
    told = f"{report.of} · {'live money' if report.mode == 'live' else 'TEST MONEY: worth nothing'}"
    sheets.paragraph(told, size=9.5, color=PALE, after=6)
    for chart in report.charts:
        pdf_chart.draw(sheets, chart)
    places = [place for place, column in enumerate(report.columns) if column.on_paper]
    columns = [report.columns[place] for place in places]
    totals = Totals(columns)
    rows = (tuple(row[place] for place in places) for row in _bounded(report.rows))
    table = Table(sheets, columns, totals.counted(rows))
    if table.draw() == 0:
        sheets.y -= 4
        sheets.paragraph("There is nothing to show.", size=9, color=PALE)
    table.close(totals.rows("Total"))
    sheets.y -= 10
    for note in report.notes:
        _tell(sheets, note)
    if report.seal:
        sheets.paragraph(f"{report.seal.name}: {report.seal.value}", size=8)
    sheets.save()


def _tell(sheets: Sheets, note: Note) -> None:
    sheets.paragraph(
        f"Difference: {note.text}" if note.wrong else note.text,
        size=8,
        font=BOLD if note.wrong else "Roboto",
        color=ALARM if note.wrong else PALE,
    )


def _bounded(rows: Iterable[Row]) -> Iterator[Row]:
    for count, row in enumerate(rows):
        if count == MOST_ROWS:
            raise TooLongForPdf(f"it has more than {MOST_ROWS:,} rows, too many for a PDF: take csv or xlsx")
        yield row
