"""A table over the pages of a PDF: widths by what stands in it, heads on each page, numbers at the right."""

from collections.abc import Iterable, Sequence
from itertools import chain, islice

from app.reports.pdf_pages import (
    BOLD,
    INK,
    INNER,
    MARGIN,
    PALE,
    REGULAR,
    RULE,
    STRIPE,
    Sheets,
    lines_of,
    visible,
    width_of,
)
from app.reports.report import CURRENCY, Column, Row
from app.reports.words import in_words

SIZE, HEAD_SIZE, LEADING, GAP, PAD = 7.5, 7.0, 10.0, 8.0, 4.0
#: So many rows are looked at before the first is drawn, to know how wide the columns are.
LOOKED_AT = 300
#: A column of text is never narrower, however many columns there are, nor wider while another is short of room.
NARROWEST, WIDEST = 42.0, 150.0


class Table:
    """Draws rows of these columns; `rows` are read once."""

    def __init__(self, sheets: Sheets, columns: Sequence[Column], rows: Iterable[Row]) -> None:
        self._sheets, self._columns = sheets, columns
        self._currency = next((at for at, each in enumerate(columns) if each.name == CURRENCY), None)
        coming = iter(rows)
        first = list(islice(coming, LOOKED_AT))
        self._rows = chain(first, coming)
        self._widths = self._fit(first)
        self._lefts = [MARGIN + sum(self._widths[:at]) + GAP * at for at in range(len(columns))]
        self._heads = [
            lines_of(visible(each.title), BOLD, HEAD_SIZE, width)
            for each, width in zip(columns, self._widths, strict=True)
        ]
        self._striped = False

    def draw(self) -> int:
        """Draws everything; returns how many rows there were."""
        self._head()
        self._sheets.head = self._head
        count = 0
        for row in self._rows:
            count += 1
            self.add(row)
        self._sheets.head = None
        return count

    def add(self, row: Row, *, font: str = REGULAR) -> None:
        """Draws one row, on the next page where this one has no room for it."""
        cells = self._cells(row)
        lines = [
            [text] if self._is_number(at) else lines_of(text, font, SIZE, self._widths[at])
            for at, text in enumerate(cells)
        ]
        height = max(len(each) for each in lines) * LEADING + PAD
        self._sheets.need(height)
        canvas, y = self._sheets.canvas, self._sheets.y
        if self._striped:
            canvas.setFillColor(STRIPE)
            canvas.rect(MARGIN - 3, y - height, INNER + 6, height, stroke=0, fill=1)
        self._striped = not self._striped
        for at, text in enumerate(lines):
            for number, line in enumerate(text):
                self._write(at, y - PAD / 2 - LEADING * number - SIZE, line, font)
        self._sheets.y -= height

    def close(self, totals: Iterable[Row]) -> None:
        """Draws the sums below a rule."""
        for number, row in enumerate(totals):
            self._sheets.need(LEADING + PAD * 2)
            if number == 0:
                self._rule(INK)
            self._striped = False
            self.add(row, font=BOLD)

    def _cells(self, row: Row) -> list[str]:
        currency = None if self._currency is None else row[self._currency]
        code = currency if isinstance(currency, str) else None
        return [visible(in_words(value, each.kind, code)) for each, value in zip(self._columns, row, strict=True)]

    def _is_number(self, at: int) -> bool:
        return self._columns[at].kind in ("whole", "money", "share")

    def _write(self, at: int, y: float, text: str, font: str) -> None:
        """A number that is wider than its column is written smaller: it is never cut, nor leaves its column."""
        if not self._is_number(at):
            self._sheets.text(self._lefts[at], y, text, size=SIZE, font=font)
            return
        size = min(SIZE, SIZE * self._widths[at] / max(width_of(text, font, SIZE), 0.1))
        self._sheets.text(self._lefts[at] + self._widths[at], y, text, size=size, font=font, right=True)

    def _head(self) -> None:
        sheets = self._sheets
        height = max(len(lines) for lines in self._heads) * LEADING + PAD
        if sheets.head is None:
            sheets.need(height + 2 * LEADING)
        for at, lines in enumerate(self._heads):
            for number, line in enumerate(lines):
                y = sheets.y - height + PAD + LEADING * (len(lines) - 1 - number)
                if self._is_number(at):
                    sheets.text(self._lefts[at] + self._widths[at], y, line, size=HEAD_SIZE, font=BOLD, right=True)
                else:
                    sheets.text(self._lefts[at], y, line, size=HEAD_SIZE, font=BOLD)
        sheets.y -= height
        self._rule(PALE)
        self._striped = False

    def _rule(self, color: object) -> None:
        canvas = self._sheets.canvas
        canvas.setStrokeColor(color or RULE)
        canvas.setLineWidth(0.7)
        canvas.line(MARGIN - 3, self._sheets.y, MARGIN + INNER + 3, self._sheets.y)

    def _fit(self, first: Sequence[Row]) -> list[float]:
        """Numbers get what they need and a bit for sums; text shares the rest by what it would like."""
        shown = [self._cells(row) for row in first]
        wanted = [self._wanted(at, [cells[at] for cells in shown]) for at in range(len(self._columns))]
        room = INNER - GAP * (len(self._columns) - 1)
        if sum(wanted) <= room:
            return _spread(wanted, room)
        numbers = sum(width for at, width in enumerate(wanted) if self._is_number(at))
        texts = [min(width, WIDEST) for at, width in enumerate(wanted) if not self._is_number(at)]
        left = max(room - numbers, NARROWEST * len(texts))
        share = min(1.0, left / sum(texts)) if texts else 1.0
        narrowed = [
            width if self._is_number(at) else max(NARROWEST, min(width, WIDEST) * share)
            for at, width in enumerate(wanted)
        ]
        scale = min(1.0, room / sum(narrowed))
        return [width * scale for width in narrowed]

    def _wanted(self, at: int, cells: Sequence[str]) -> float:
        column = self._columns[at]
        words = max(width_of(word, BOLD, HEAD_SIZE) for word in visible(column.title).split(" "))
        content = max((width_of(text, BOLD if column.summed else REGULAR, SIZE) for text in cells), default=0.0)
        if column.summed:
            content += width_of("00,", BOLD, SIZE)
        return max(words, content) + 1


def _spread(wanted: list[float], room: float) -> list[float]:
    """What is left over is shared, but no table of two narrow columns is drawn across a whole page."""
    spare = min(room - sum(wanted), 0.6 * sum(wanted))
    return [width + spare * width / sum(wanted) for width in wanted]
