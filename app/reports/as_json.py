"""A report as JSON: money in minor units, a row a line, and everything that belongs to it."""

import json
from dataclasses import asdict
from typing import IO

from app.reports.report import Column, Report, Row, Totals, Value
from app.reports.words import plain


def write(report: Report, file: IO[bytes]) -> None:
    """Writes it as its rows come. A name of money ends in `_minor`: minor units of the row's currency."""
    totals = Totals(report.columns)
    head = {
        "report": report.name,
        "title": report.title,
        "mode": report.mode,
        "of": report.of,
        "columns": [{"name": _name(each), "title": each.title, "kind": each.kind} for each in report.columns],
    }
    file.write(_text(head)[:-1] + b',\n"rows": [')
    before = b"\n"
    for row in totals.counted(report.rows):
        file.write(before + _text(_object(report.columns, row)))
        before = b",\n"
    rest = {
        "totals": [_object(report.columns, row) for row in totals.rows()],
        "notes": [asdict(note) for note in report.notes],
        "charts": [asdict(chart) for chart in report.charts],
        **({report.seal.name: report.seal.value} if report.seal else {}),
    }
    file.write(b"\n],\n" + _text(rest)[1:] + b"\n")


def _name(column: Column) -> str:
    return f"{column.name}_minor" if column.kind == "money" else column.name


def _object(columns: tuple[Column, ...], row: Row) -> dict[str, Value]:
    return {_name(column): _value(value) for column, value in zip(columns, row, strict=True)}


def _value(value: Value) -> Value:
    return value if value is None or isinstance(value, str | int | float) else plain(value)


def _text(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode("utf-8", errors="replace")
