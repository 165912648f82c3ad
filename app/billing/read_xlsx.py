"""Reads a bill's lines from the first sheet of a spreadsheet (XLSX), with bounds on what it may unpack to."""

import math
import zipfile
from collections.abc import Iterator
from decimal import Decimal
from itertools import chain, islice
from typing import IO, Any
from xml.etree.ElementTree import ParseError, fromstring

import openpyxl
from openpyxl.utils.exceptions import InvalidFileException

from app.billing.lines import Line, Unreadable, wrong_line
from app.billing.table import MOST_COLUMNS, Number, Table

#: A million lines have some 300 MB; texts that cells share are held in memory, and so is all that is no sheet.
MOST_UNPACKED, MOST_SHARED, MOST_OTHER, MOST_MEMBERS = 2 * 1024**3, 256 * 1024**2, 16 * 1024**2, 500
#: As far as a sheet's rows go (ECMA-376, part 1, section 18.3.1.73). A file may number one without a bound, and for
#: each that is missing before it an empty one would be read.
LAST_ROW = 2**20
TYPES = "[Content_Types].xml"
_KIND = "application/vnd.openxmlformats-officedocument.spreadsheetml."
#: By what a part is said to be: sheets are read as they come.
MOST_BYTES = {f"{_KIND}worksheet+xml": MOST_UNPACKED, f"{_KIND}sharedStrings+xml": MOST_SHARED}
SAMPLE = 1_000
LONGEST_CELL = 1_000


def read_xlsx(file: IO[bytes], *, currency: str | None = None) -> Iterator[Line]:
    """The lines and wrong lines of the first sheet; line 1 is its first row. Raises Unreadable."""
    _check_archive(file)
    try:
        book = openpyxl.load_workbook(file, read_only=True, data_only=False, keep_links=False)
        sheet = book.worksheets[0]
        sheet.reset_dimensions()
        # beyond its last row openpyxl leaves off what there is, and fills up with empty ones
        rows = sheet.iter_rows(max_row=LAST_ROW + 1, max_col=MOST_COLUMNS + 1, values_only=True)
        yield from _read_rows(_full(rows), currency)
    except (InvalidFileException, zipfile.BadZipFile, ParseError, KeyError, ValueError, IndexError, EOFError) as error:
        raise Unreadable("It is no spreadsheet that can be read (XLSX).") from error


def _full(rows: Iterator[tuple[Any, ...]]) -> Iterator[tuple[int, tuple[Any, ...]]]:
    """The rows with something in them, and their numbers. Raises Unreadable: there are more than a sheet has."""
    for no, row in enumerate(rows, start=1):
        if no > LAST_ROW:
            raise Unreadable(f"A row is numbered beyond {LAST_ROW}, which no spreadsheet has.")
        if row.count(None) < len(row):
            yield no, row


def _check_archive(file: IO[bytes]) -> None:
    """A small file may unpack to far more than any machine holds. Raises Unreadable."""
    try:
        with zipfile.ZipFile(file) as archive:
            members = archive.infolist()
            for member in members:
                if member.filename.endswith(".xml") and b"<!DOCTYPE" in archive.open(member).read(4_096).upper():
                    raise Unreadable("It is no spreadsheet that can be read (XLSX).")
            kinds = _kinds_of(archive)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, OSError, ParseError) as error:
        raise Unreadable("It is no spreadsheet (XLSX).") from error
    is_too_much = len(members) > MOST_MEMBERS or sum(each.file_size for each in members) > MOST_UNPACKED
    if is_too_much or any(
        each.file_size > MOST_BYTES.get(kinds.get(each.filename, ""), MOST_OTHER) for each in members
    ):
        raise Unreadable("It unpacks to more than a spreadsheet of bills has.")


def _kinds_of(archive: zipfile.ZipFile) -> dict[str, str]:
    """What each part is said to be: by this openpyxl finds it, whatever its name. Raises ParseError; Unreadable."""
    if TYPES not in archive.namelist() or archive.getinfo(TYPES).file_size > MOST_OTHER:
        raise Unreadable("It is no spreadsheet (XLSX).")
    kinds: dict[str, str] = {}
    for part in fromstring(archive.read(TYPES)):  # noqa: S314 – it declares no entities, as was looked at
        name = part.get("PartName", "").lstrip("/")
        kinds[name] = "" if name in kinds else part.get("ContentType", "")
    return kinds


def _read_rows(rows: Iterator[tuple[int, tuple[Any, ...]]], currency: str | None) -> Iterator[Line]:
    header_no, header = next(((no, _cells(row)) for no, row in rows if any(_cells(row))), (0, None))
    if header is None:
        raise Unreadable("The first sheet is empty.", 1)
    while header and not header[-1]:
        header.pop()
    table = Table(header, header_no, currency=currency)
    sample = [(no, _cells(row)) for no, row in islice(rows, SAMPLE)]
    table.decide_mark([(no, cells[: len(header)]) for no, cells in sample])
    for no, cells in chain(sample, ((no, _cells(row)) for no, row in rows)):
        if not any(cells):
            continue
        cells += [""] * (len(header) - len(cells))  # a row ends with its last cell that has something in it
        text = "; ".join(cell for cell in cells[:20] if cell)
        if any(cell.startswith("=") for cell in cells[: len(header)]):
            yield wrong_line(no, "It has a formula.", text)
        elif (found := table.read(no, cells, text)) is not None:
            yield found


def _cells(row: tuple[Any, ...]) -> list[str]:
    return [_text(cell) for cell in row]


def _text(cell: Any) -> str:
    """A cell as text. Numbers are written with a decimal point, and as many decimals as they have."""
    if cell is None:
        return ""
    if isinstance(cell, float):
        return Number(f"{Decimal(repr(cell)).normalize():f}") if math.isfinite(cell) else "none"
    if isinstance(cell, int) and not isinstance(cell, bool):
        return Number(str(cell)[:LONGEST_CELL])
    return str(cell)[:LONGEST_CELL]
