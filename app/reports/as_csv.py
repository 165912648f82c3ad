"""A report as CSV (RFC 4180), in UTF-8: its columns by name, its rows, and what seals them."""

import csv
import io
from typing import IO

from app.money import Money
from app.reports.report import CURRENCY, Column, Report, Row, Value
from app.reports.words import plain

#: What a spreadsheet takes for the beginning of a formula (OWASP, CSV Injection).
FORMULA = ("=", "+", "-", "@", "\t", "\r")


def write(report: Report, file: IO[bytes]) -> None:
    """Writes it as its rows come, without totals, notes and charts, which are no rows. The seal is the last line."""
    file.write(head_of(report.columns))
    line_of = Lines(report.columns)
    for row in report.rows:
        file.write(line_of(row))
    if report.seal:
        file.write(_line([report.seal.name, report.seal.value]))


def head_of(columns: tuple[Column, ...]) -> bytes:
    """The line with the columns' names."""
    return _line([column.name for column in columns])


class Lines:
    """Makes a line of a row of these columns."""

    def __init__(self, columns: tuple[Column, ...]) -> None:
        self._kinds = [column.kind for column in columns]
        self._currency = next((place for place, each in enumerate(columns) if each.name == CURRENCY), None)
        self._text = io.StringIO()
        self._writer = csv.writer(self._text, lineterminator="\r\n")

    def __call__(self, row: Row) -> bytes:
        currency = None if self._currency is None else row[self._currency]
        self._writer.writerow([_cell(value, kind, currency) for value, kind in zip(row, self._kinds, strict=True)])
        line = self._text.getvalue()
        self._text.seek(0)
        self._text.truncate()
        return line.encode("utf-8", errors="replace")


def _cell(value: Value, kind: str, currency: Value) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return f"'{value}" if value.startswith(FORMULA) else value
    if kind == "money" and isinstance(value, int) and isinstance(currency, str):
        return Money(value, currency).decimal
    return plain(value)


def _line(cells: list[str]) -> bytes:
    line = io.StringIO()
    csv.writer(line, lineterminator="\r\n").writerow(cells)
    return line.getvalue().encode("utf-8", errors="replace")
