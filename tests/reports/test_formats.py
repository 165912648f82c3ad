"""One report in every format: the same figures, text that stays text, and the same bytes each time."""

import csv
import io
import json
from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import IO, Any

import pytest
from openpyxl import load_workbook
from pypdf import PdfReader

from app.reports import as_csv, as_json, as_pdf, as_text, as_xlsx
from app.reports.as_pdf import MOST_ROWS, TooLongForPdf
from app.reports.pdf_chart import scale_of
from app.reports.pdf_pages import BOLD, lines_of, use_fonts, visible, width_of
from app.reports.report import Chart, Column, Note, Report, Row, Seal, Series

COLUMNS = (
    Column("id", "Identifier", on_paper=False),
    Column("name", "Name"),
    Column("currency", "Currency"),
    Column("amount", "Amount", "money", summed=True),
    Column("count", "Count", "whole", summed=True),
    Column("day", "Day", "date"),
    Column("at", "At", "time"),
    Column("part", "Part", "share"),
)
AT = datetime(2026, 10, 31, 23, 59, 59, 999_999, tzinfo=UTC)
LONG = "Gesellschaft für Geschenkkartenabwicklungsdienstleistungen mbH & Co. KG, Zweigniederlassung Süd"
NASTY = [
    "=cmd|' /C calc'!A0",
    "+1",
    "-1",
    "@SUM(A1)",
    "\tx",
    "\rx",
    'a "quoted", name',
    "two\nlines",
    "中文 Żółć",
    LONG,
]
ROWS: list[Row] = [
    *[(f"id_{place}", name, "GBP", 123_456_789, 1, date(2026, 10, 31), AT, 0.125) for place, name in enumerate(NASTY)],
    ("id_y", "Yen", "JPY", -1_500, 1_000, None, None, None),
    ("id_k", "Dinar", "KWD", 1_500, None, None, None, None),
]
#: What all GBP rows come to.
POUNDS = 123_456_789 * len(NASTY)
CHART = Chart("By month", "lines", "Month", ("2026-09", "2026-10"), (Series("Acme", (0, POUNDS)),), "money", "GBP")
WRITE: dict[str, Callable[[Report, IO[bytes]], None]] = {
    "json": as_json.write,
    "csv": as_csv.write,
    "xlsx": as_xlsx.write,
    "pdf": as_pdf.write,
}


def report(rows: list[Row] = ROWS, **more: Any) -> Report:
    notes = [Note("The balances are 0.07 GBP more.", wrong=True), Note("=1+1 is a note")]
    return Report(
        "tried", "A report", "test", "month 2026-10", COLUMNS, iter(rows), notes, **{"charts": (CHART,), **more}
    )


def written(form: str, made: Report | None = None) -> bytes:
    file = io.BytesIO()
    WRITE[form](made or report(), file)
    return file.getvalue()


def csv_rows() -> list[list[str]]:
    return list(csv.reader(io.StringIO(written("csv").decode(), newline="")))


@pytest.mark.parametrize("form", WRITE)
def test_the_same_report_is_the_same_bytes(form: str) -> None:
    assert written(form) == written(form)


def test_json_has_minor_units_and_everything_else_as_well() -> None:
    found = json.loads(written("json"))
    assert found["rows"][0] == {
        "id": "id_0",
        "name": NASTY[0],
        "currency": "GBP",
        "amount_minor": 123_456_789,
        "count": 1,
        "day": "2026-10-31",
        "at": "2026-10-31T23:59:59.999999Z",
        "part": 0.125,
    }
    assert [row["name"] for row in found["rows"]] == [row[1] for row in ROWS]
    totals = {row["currency"]: (row["amount_minor"], row["count"]) for row in found["totals"]}
    assert totals == {"GBP": (POUNDS, 10), "JPY": (-1_500, 1_000), "KWD": (1_500, 0)}
    assert found["notes"][0] == {"text": "The balances are 0.07 GBP more.", "wrong": True}
    assert found["charts"][0]["series"][0]["values"] == [0, POUNDS]


def test_csv_is_rfc_4180_with_decimals_and_no_formulas() -> None:
    head, *rows = csv_rows()
    assert head == [column.name for column in COLUMNS]
    assert rows[0][2:] == ["GBP", "1234567.89", "1", "2026-10-31", "2026-10-31T23:59:59.999999Z", "0.125"]
    assert [row[3] for row in rows[-2:]] == ["-1500", "1.500"], "an amount below zero is no formula"
    for name, row in zip(NASTY, rows, strict=False):
        assert row[1] == (f"'{name}" if name[0] in "=+-@\t\r" else name)
    assert written("csv").count(b"\r\n") == len(ROWS) + 1


def test_a_workbook_has_numbers_as_numbers_and_formulas_as_text() -> None:
    book = load_workbook(io.BytesIO(written("xlsx")))
    sheet = book["tried"]
    assert sheet.freeze_panes == "A2"
    assert [cell.value for cell in sheet[1]] == [column.title for column in COLUMNS]
    for place, row in enumerate(ROWS, 2):
        name = sheet.cell(place, 2)
        assert (name.value, name.data_type, name.hyperlink) == (str(row[1]).replace("\r", "_x000D_"), "s", None)
    first = sheet[2]
    assert [cell.data_type for cell in first[3:]] == ["n", "n", "d", "d", "n"]
    assert (first[3].value, first[3].number_format) == (1234567.89, "#,##0.00")
    assert sheet.cell(len(ROWS), 4).number_format == "#,##0"
    assert (sheet.cell(len(ROWS) + 1, 4).value, sheet.cell(len(ROWS) + 1, 4).number_format) == (1.5, "#,##0.000")
    assert sheet.cell(len(ROWS) + 2, 4).value == POUNDS / 100
    assert [sheet.title for sheet in book] == ["tried", "Chart 1", "About"]
    assert [row[0].value for row in book["About"].iter_rows()] == ["Report", "Of", "Mode", "Difference", "Note"]
    assert book["About"]["B5"].data_type == "s"


def test_a_workbook_goes_on_on_the_next_sheet_when_one_is_full() -> None:
    file = io.BytesIO()
    as_xlsx.write(report(), file, most_rows=5)
    sheets = [sheet for sheet in load_workbook(file) if sheet.title.startswith("tried")]
    assert len(sheets) == 4
    assert [sheet["A1"].value for sheet in sheets] == ["Identifier"] * 4
    shown = [row[0].value for sheet in sheets for row in sheet.iter_rows(min_row=2)]
    assert shown[: len(ROWS)] == [row[0] for row in ROWS]


def test_paper_says_what_json_csv_and_the_workbook_say() -> None:
    pages = [page.extract_text() for page in PdfReader(io.BytesIO(written("pdf"))).pages]
    text = "\n".join(pages)
    assert "A report" in text and "month 2026-10" in text and "TEST MONEY" in text
    assert text.count("1,234,567.89") == len(NASTY)
    for shown in ("12,345,678.90", "-1,500", "1.500", "2026-10-31 23:59:59", "12.5 %", "=cmd|' /C calc'!A0", "Żółć"):
        assert shown in text, shown
    assert "[U+4E2D][U+6587]" in text, "what the font has no glyph for is told by its number"
    assert "Difference: The balances are 0.07 GBP more." in text
    assert "id_0" not in text
    assert all(f"Page {place}" in page for place, page in enumerate(pages, 1))


def test_paper_repeats_the_heads_and_never_lets_a_name_or_a_number_leave_its_column() -> None:
    rows: list[Row] = [("x", LONG * 2, "GBP", 10**14 + place, 10**9, date(2026, 1, 1), AT, 0.5) for place in range(120)]
    pages = PdfReader(io.BytesIO(written("pdf", report(rows, charts=())))).pages
    assert len(pages) > 3
    assert all("Amount" in page.extract_text() for page in pages)
    for width in (20.0, 42.0, 150.0):
        for text in (*NASTY, LONG * 3, "x" * 500):
            lines = lines_of(visible(text), BOLD, 7.5, width)
            assert max(width_of(line, BOLD, 7.5) for line in lines) <= width
            assert "".join(lines).replace(" ", "") == visible(text).replace(" ", "")


def test_more_than_anybody_reads_is_refused_on_paper() -> None:
    row: Row = ("x", "y", "GBP", 1, 1, None, None, None)
    with pytest.raises(TooLongForPdf, match="take csv or xlsx"):
        as_pdf.write(report([row] * (MOST_ROWS + 1), charts=()), io.BytesIO())


@pytest.mark.parametrize("form", WRITE)
def test_nothing_is_something_that_can_be_shown(form: str) -> None:
    empty = report([], charts=(Chart("None", "bars", "Age", (), (), "money", "GBP"),), seal=Seal("sha256", "abc"))
    assert written(form, empty)


def test_a_terminal_shows_figures_below_each_other_and_obeys_nothing() -> None:
    lines: list[str] = []
    as_text.write(report([("x", "\x1b[2J", "GBP", 100, 1, None, None, None), *ROWS]), lines.append)
    assert "\x1b" not in "".join(lines)
    assert any("[U+001B][2J" in line for line in lines)
    ends = {
        line.index(amount) + len(amount)
        for amount in ("1.00", "1,234,567.89")
        for line in lines
        if f" {amount} " in line
    }
    assert len(ends) == 1
    assert lines[-2] == "DIFFERS: The balances are 0.07 GBP more."


def test_the_font_has_what_most_names_in_europe_need() -> None:
    assert set(map(ord, "ÄäßÇçĐđĞğĄąŁłŐőŘřŞşÞþΑωЯяЇї€£–’…")) <= use_fonts()


@pytest.mark.parametrize(
    ("low", "high", "scale"),
    [
        (0, 0, (0, 1, 0.2)),
        (0, 10, (0, 10, 2)),
        (-3, 7, (-4, 8, 2)),
        (0, 0.9, (0, 1, 0.2)),
        (0, 123_456, (0, 150_000, 50_000)),
    ],
)
def test_an_axis_holds_all_values_in_round_steps(low: float, high: float, scale: tuple[float, float, float]) -> None:
    assert scale_of(low, high, 0.0) == pytest.approx(scale)
