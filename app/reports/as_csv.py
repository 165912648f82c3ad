"""A report as CSV (RFC 4180), in UTF-8: its columns by name, its rows, and what seals them."""

import csv
import io
from typing import IO

from app.reports.report import Column, Report, Row, Value
from app.reports.words import decimal_of, plain

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
        self._currency = next((place for place, each in enumerate(columns) if each.name == "currency"), None)

    def __call__(self, row: Row) -> bytes:
        currency = None if self._currency is None else row[self._currency]
        return _line([_cell(value, kind, currency) for value, kind in zip(row, self._kinds, strict=True)])


def _cell(value: Value, kind: str, currency: Value) -> str:
    if kind == "money" and isinstance(value, int) and isinstance(currency, str):
        return str(decimal_of(value, currency))
    text = plain(value)
    return f"'{text}" if kind == "text" and text.startswith(FORMULA) else text


def _line(cells: list[str]) -> bytes:
    line = io.StringIO()
    csv.writer(line, lineterminator="\r\n").writerow(cells)
    return line.getvalue().encode("utf-8", errors="replace")
