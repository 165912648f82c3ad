"""Reads a bill's lines from CSV: delimiter and decimal mark are recognised, or refused with the line's number."""

import csv
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import islice

from app.billing.lines import Line, ReadLine, Unreadable, wrong_line
from app.billing.table import Table
from app.billing.text_lines import TextLine, find_encoding, read_lines

DELIMITERS = (",", ";", "\t", "|")
#: The decimal mark is looked for in so many lines.
SAMPLE = 1_000
#: A quoted cell may go on over so many lines; a quote that is not closed by then never was meant to be.
MOST_JOINED = 20
#: Spreadsheets write it before the header, and understand it.
_SEP = re.compile(r"sep=([,;\t|])", re.IGNORECASE)


def read_csv(open_parts: Callable[[], Iterable[bytes]], *, currency: str | None = None) -> Iterator[Line]:
    """The lines and wrong lines in their order; line 1 is the first of the file, and names the columns.

    `open_parts` gives the file's bytes from the beginning; it is called twice. `currency`: of lines that name none.
    Raises Unreadable.
    """
    lines = _Ahead(read_lines(open_parts(), find_encoding(open_parts())))
    delimiter, table = _header(lines, currency)
    table.decide_mark([(line.line_no, cells) for line, cells in _sample(lines, delimiter)])
    for line in lines:
        if line.wrong is not None:
            yield wrong_line(line.line_no, line.wrong, line.text)
        elif '"' not in line.text:
            found = table.read(line.line_no, line.text.split(delimiter), line.text)
            if found is not None:
                yield found
        else:
            yield from _read_quoted(line, lines, delimiter, table)


class _Ahead:
    """Lines that can be looked at before their turn."""

    def __init__(self, lines: Iterator[TextLine]) -> None:
        self._lines, self._ahead = lines, deque[TextLine]()

    def __iter__(self) -> Iterator[TextLine]:
        while True:
            while self._ahead:
                yield self._ahead.popleft()
            for line in self._lines:
                yield line
                if self._ahead:
                    break
            else:
                return

    def look(self, most: int) -> list[TextLine]:
        """The next lines, which stay where they are."""
        self._ahead.extend(islice(self._lines, max(0, most - len(self._ahead))))
        return list(islice(self._ahead, most))

    def drop(self, count: int) -> None:
        for _ in range(count):
            self._ahead.popleft()


def _header(lines: _Ahead, currency: str | None) -> tuple[str, Table]:
    """The delimiter by which the first line names the columns. Raises Unreadable."""
    told = None
    for line in lines:
        if line.wrong is not None:
            raise Unreadable(line.wrong, line.line_no)
        if told is None and (named := _SEP.fullmatch(line.text.strip(" "))):
            told = named[1]
        elif line.text.strip():
            return _recognise(line, (told,) if told else DELIMITERS, currency)
    raise Unreadable("The file is empty.", 1)


def _recognise(line: TextLine, delimiters: Iterable[str], currency: str | None) -> tuple[str, Table]:
    refused: list[tuple[int, Unreadable]] = []
    for delimiter in delimiters:
        cells = _cells(line.text, delimiter)
        try:
            return delimiter, Table(cells or (), line.line_no, currency=currency)
        except Unreadable as error:
            refused.append((len(cells or ()), error))
    raise max(refused, key=lambda each: each[0])[1]


def _sample(lines: _Ahead, delimiter: str) -> Iterator[tuple[TextLine, list[str]]]:
    for line in lines.look(SAMPLE):
        cells = None if line.wrong is not None else _cells(line.text, delimiter)
        if cells is not None:
            yield line, cells


def _read_quoted(line: TextLine, lines: _Ahead, delimiter: str, table: Table) -> Iterator[Line]:
    """A line with quotes. What goes on over several lines is one only if it is right as one."""
    cells, joined = _cells(line.text, delimiter), 0
    if cells is None:
        cells, joined = _joined(line, lines, delimiter)
    found = None if cells is None else table.read(line.line_no, cells, line.text)
    if cells is None or (joined and not isinstance(found, ReadLine)):
        yield wrong_line(line.line_no, "Its quotes do not fit together.", line.text)
        return
    lines.drop(joined)
    if found is not None:
        yield found


def _joined(line: TextLine, lines: _Ahead, delimiter: str) -> tuple[list[str] | None, int]:
    text, is_open = line.text, line.text.count('"') % 2 == 1
    for number, more in enumerate(lines.look(MOST_JOINED) if is_open else (), start=1):
        text += "\n" + more.text
        if more.text.count('"') % 2 == 1:
            return _cells(text, delimiter), number
    return None, 0


def _cells(text: str, delimiter: str) -> list[str] | None:
    """The cells by RFC 4180's quotes, None where these do not fit together."""
    if '"' not in text:
        return text.split(delimiter)
    try:
        rows = list(csv.reader(text.splitlines(keepends=True), delimiter=delimiter, strict=True))
    except csv.Error:
        return None
    return rows[0] if len(rows) == 1 else None
