"""A report as a workbook: numbers are numbers, text is text whatever it begins with, and a sheet says what it is."""

from datetime import date, datetime
from typing import IO

from xlsxwriter import Workbook
from xlsxwriter.format import Format
from xlsxwriter.worksheet import Worksheet

from app.money import minor_digits
from app.reports.report import CURRENCY, Chart, Kind, Report, Row, Totals, Value
from app.reports.words import decimal_of

#: A sheet has this many rows, and a workbook no more at once; the rest stands on a further one.
MOST_ROWS = 1_048_576
#: As a file says when it was made, the same report would never be the same file twice.
MADE = datetime(2000, 1, 1)  # noqa: DTZ001  the format knows no zones
WIDTHS: dict[Kind, int] = {"text": 24, "whole": 12, "money": 16, "date": 12, "time": 20, "share": 10}
FORMATS: dict[Kind, str] = {"whole": "#,##0", "share": "0.0%", "date": "yyyy-mm-dd", "time": "yyyy-mm-dd hh:mm:ss"}


def write(report: Report, file: IO[bytes], *, most_rows: int = MOST_ROWS) -> None:
    """Writes it as its rows come, of which it holds one at a time; they wait in a temporary file of the system's."""
    book = Workbook(
        file,
        {"constant_memory": True, "strings_to_formulas": False, "strings_to_urls": False, "strings_to_numbers": False},
    )
    book.set_properties({"title": report.title, "created": MADE})
    pages = _Pages(book, report, most_rows)
    totals = Totals(report.columns)
    for row in totals.counted(report.rows):
        pages.add(row)
    for row in totals.rows("Total"):
        pages.add(row, bold=True)
    for place, chart in enumerate(report.charts, 1):
        _draw(book, chart, f"Chart {place}", pages.formats)
    _tell(book, report)
    book.close()


class _Formats:
    """The forms of cells, each made once."""

    def __init__(self, book: Workbook) -> None:
        self._book = book
        self._made: dict[tuple[str, bool], Format] = {}

    def of(self, kind: Kind, currency: Value, *, bold: bool = False) -> Format:
        shown = FORMATS.get(kind, "@" if kind == "text" else "General")
        if kind == "money" and isinstance(currency, str):
            digits = minor_digits(currency)
            shown = f"#,##0.{'0' * digits}" if digits else "#,##0"
        if (shown, bold) not in self._made:
            self._made[shown, bold] = self._book.add_format({"num_format": shown, "bold": bold})
        return self._made[shown, bold]


class _Pages:
    """The sheets of rows: each begins with the columns' titles, which stay in sight."""

    def __init__(self, book: Workbook, report: Report, most_rows: int) -> None:
        self._book, self._report, self._most = book, report, most_rows
        self.formats = _Formats(book)
        self._head = book.add_format({"bold": True, "bottom": 1, "text_wrap": True, "valign": "top"})
        self._currency = next((at for at, each in enumerate(report.columns) if each.name == CURRENCY), None)
        self._pages = 0
        self._turn()

    def add(self, row: Row, *, bold: bool = False) -> None:
        if self._next == self._most:
            self._turn()
        currency = None if self._currency is None else row[self._currency]
        for at, (column, value) in enumerate(zip(self._report.columns, row, strict=True)):
            _put(self._sheet, self._next, at, value, column.kind, currency, self.formats, bold=bold)
        self._next += 1

    def _turn(self) -> None:
        self._pages += 1
        self._sheet = self._book.add_worksheet(
            f"{self._report.name} {self._pages}" if self._pages > 1 else self._report.name
        )
        self._sheet.freeze_panes(1, 0)
        for at, column in enumerate(self._report.columns):
            self._sheet.set_column(at, at, WIDTHS[column.kind])
        self._sheet.write_row(0, 0, [column.title for column in self._report.columns], self._head)
        self._next = 1


def _put(
    sheet: Worksheet, at_row: int, at: int, value: Value, kind: Kind, currency: Value, formats: _Formats, *, bold: bool
) -> None:
    if value is None:
        return
    form = formats.of(kind, currency, bold=bold)
    if isinstance(value, datetime):
        sheet.write_datetime(at_row, at, value.replace(tzinfo=None), form)
    elif isinstance(value, date):
        sheet.write_datetime(at_row, at, value, form)
    elif isinstance(value, str):
        sheet.write_string(at_row, at, value, form)
    elif kind == "money" and isinstance(currency, str):
        sheet.write_number(at_row, at, decimal_of(value, currency), form)
    else:
        sheet.write_number(at_row, at, value, form)


def _draw(book: Workbook, chart: Chart, name: str, formats: _Formats) -> None:
    """The chart beside its own table."""
    sheet = book.add_worksheet(name)
    sheet.set_column(0, len(chart.series), 16)
    sheet.write_row(0, 0, [chart.first, *(series.name for series in chart.series)])
    for at_row, label in enumerate(chart.labels, 1):
        sheet.write_string(at_row, 0, label)
        for at, series in enumerate(chart.series, 1):
            value = series.values[at_row - 1]
            _put(sheet, at_row, at, value, chart.kind, chart.currency, formats, bold=False)
    if not (chart.labels and chart.series):
        return
    drawn = book.add_chart({"type": "line" if chart.form == "lines" else "column"})
    last = len(chart.labels)
    for at, _ in enumerate(chart.series, 1):
        drawn.add_series(
            {"name": [name, 0, at], "categories": [name, 1, 0, last, 0], "values": [name, 1, at, last, at]}
        )
    drawn.set_title({"name": chart.title, "name_font": {"size": 12}})
    drawn.set_size({"width": 720, "height": 360})
    sheet.insert_chart(1, len(chart.series) + 2, drawn)


def _tell(book: Workbook, report: Report) -> None:
    sheet = book.add_worksheet("About")
    sheet.set_column(0, 0, 16)
    sheet.set_column(1, 1, 100)
    wrapped = book.add_format({"text_wrap": True, "valign": "top"})
    told: list[tuple[str, str]] = [("Report", report.title), ("Of", report.of), ("Mode", report.mode)]
    told += [("Difference" if note.wrong else "Note", note.text) for note in report.notes]
    told += [(report.seal.name, report.seal.value)] if report.seal else []
    for at_row, (what, text) in enumerate(told):
        sheet.write_string(at_row, 0, what, wrapped)
        sheet.write_string(at_row, 1, text, wrapped)
