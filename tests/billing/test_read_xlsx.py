"""Spreadsheets: the first sheet, without formulas, and no more of it than a machine can hold."""

import io
import zipfile
from typing import Any

import openpyxl
import pytest

from app.billing.lines import Unreadable
from app.billing.read_xlsx import _KIND, MOST_BYTES, TYPES, read_xlsx
from tests.billing.files import good, wrong


def sheet(*rows: list[Any]) -> io.BytesIO:
    book = openpyxl.Workbook()
    for row in rows:
        book.worksheets[0].append(row)
    file = io.BytesIO()
    book.save(file)
    return file


HEADER = ["Payment ID", "Amount", "Currency", "Order"]


def test_numbers_and_texts_are_read() -> None:
    lines = list(read_xlsx(sheet(HEADER, ["p1", 10.5, "GBP", 17], ["p2", "7.25", "gbp"], [], ["p3", -3, "JPY", None])))
    assert good(lines) == [
        (2, "p1", 1050, "GBP", "17"),
        (3, "p2", 725, "GBP", None),
        (5, "p3", -3, "JPY", None),
    ]
    assert wrong(lines) == {}


def test_a_number_has_a_point_whatever_texts_are_written_with() -> None:
    lines = list(read_xlsx(sheet(HEADER, ["p1", 10.5, "GBP"], ["p2", "7,25", "GBP"], ["p3", 1.234, "KWD"])))
    assert [line[1:3] for line in good(lines)] == [("p1", 1_050), ("p2", 725), ("p3", 1_234)]
    assert wrong(lines) == {}


def test_a_formula_is_wrong_and_never_its_result() -> None:
    lines = list(read_xlsx(sheet(HEADER, ["p1", "=5+5", "GBP"], ["p2", 0.305, "GBP"], ["p3", 1, "GBP"])))
    assert [line[1] for line in good(lines)] == ["p3"]
    assert list(wrong(lines)) == [2, 3]


def archive(**members: bytes) -> io.BytesIO:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as made:
        for name, content in members.items():
            made.writestr(name, content)
    return file


def typed(name: str, *kinds: str) -> dict[str, bytes]:
    """The part that says what a part is."""
    said = "".join(f'<Override PartName="/{name}" ContentType="{_KIND}{kind}+xml"/>' for kind in kinds)
    return {TYPES: f"<Types>{said}</Types>".encode()}


@pytest.mark.parametrize("name", ["xl/sharedStrings.xml", "xl/worksheets/sheet1.xml", "xl/other.xml"])
def test_texts_that_cells_share_are_held_in_memory_and_bounded_whatever_their_name(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setitem(MOST_BYTES, f"{_KIND}sharedStrings+xml", 2**20)
    with pytest.raises(Unreadable, match="unpacks"):
        list(read_xlsx(archive(**typed(name, "sharedStrings"), **{name: bytes(2**21)})))


@pytest.mark.parametrize("kinds", [(), ("styles",), ("worksheet", "sharedStrings")])
def test_what_is_no_sheet_is_held_in_memory_and_small(kinds: tuple[str, ...]) -> None:
    name = "xl/worksheets/sheet1.xml"
    with pytest.raises(Unreadable, match="unpacks"):
        list(read_xlsx(archive(**typed(name, *kinds), **{name: bytes(2**24 + 1)})))


def test_a_row_with_a_number_beyond_all_sheets_is_neither_counted_up_to_nor_left_off() -> None:
    made, file = sheet(HEADER, ["p1", 10.5, "GBP"], ["p2", 7, "GBP"]), io.BytesIO()
    with zipfile.ZipFile(made) as book, zipfile.ZipFile(file, "w") as changed:
        for name in book.namelist():
            content = book.read(name)
            if name.startswith("xl/worksheets/"):
                content = content.replace(b'<row r="3"', b'<row r="999999999999"').replace(
                    b'r="A3"', b'r="A999999999999"'
                )
            changed.writestr(name, content)
    with pytest.raises(Unreadable, match="beyond 1048576"):
        list(read_xlsx(file))


@pytest.mark.parametrize(
    "file",
    [
        io.BytesIO(b""),
        io.BytesIO(b"PK\3\4garbage"),
        archive(a=b"b"),
        archive(**{"xl/workbook.xml": b'<!DOCTYPE x [<!ENTITY a "aaaa">]><x>&a;</x>'}),
        sheet(),
        sheet(["a", "b"]),
    ],
    ids=["nothing", "garbage", "another archive", "entities", "an empty sheet", "no header"],
)
def test_what_is_no_table_of_bills_is_refused(file: io.BytesIO) -> None:
    with pytest.raises(Unreadable):
        list(read_xlsx(file))
