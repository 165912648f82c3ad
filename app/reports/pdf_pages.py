"""Pages of a PDF: the font, what it cannot show, widths and lines of text, and the foot of each page."""

import io
import unicodedata
from collections.abc import Callable
from functools import cache
from importlib.resources import files
from typing import IO

from reportlab.lib.colors import Color, HexColor
from reportlab.lib.pagesizes import A4, landscape
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.pdfgen.canvas import Canvas

WIDTH, HEIGHT = landscape(A4)
MARGIN = 36.0
TOP, BOTTOM = HEIGHT - MARGIN, MARGIN + 14
INNER = WIDTH - 2 * MARGIN

REGULAR, BOLD = "Roboto", "Roboto-Bold"
INK, PALE, RULE, STRIPE = HexColor("#1a1a1a"), HexColor("#666666"), HexColor("#c8c8c8"), HexColor("#f5f6f8")
ALARM = HexColor("#b3261e")
_SHEETS = "sheets"


@cache
def use_fonts() -> frozenset[int]:
    """Registers the fonts, which are embedded, once; returns the characters that both of them have."""
    known = []
    for name, file in ((REGULAR, "Roboto-Regular.ttf"), (BOLD, "Roboto-Bold.ttf")):
        font = TTFont(name, io.BytesIO((files("font_roboto") / "files" / file).read_bytes()))
        pdfmetrics.registerFont(font)
        known.append(frozenset(font.face.charToGlyph))
    return frozenset.intersection(*known)


def visible(text: str) -> str:
    """The text with what the font has no glyph for by its number, `[U+4E2D]`: nothing that was written vanishes."""
    known = use_fonts()
    return "".join(_shown(each, known) for each in unicodedata.normalize("NFC", text))


def _shown(character: str, known: frozenset[int]) -> str:
    if character in "\n\r\t":
        return " "
    is_blank = unicodedata.category(character) in ("Cc", "Cf", "Cs", "Co", "Cn")
    return character if ord(character) in known and not is_blank else f"[U+{ord(character):04X}]"


@cache
def _advance(character: str, font: str) -> float:
    return float(pdfmetrics.stringWidth(character, font, 1))


def width_of(text: str, font: str, size: float) -> float:
    """In points."""
    return sum(_advance(character, font) for character in text) * size


def lines_of(text: str, font: str, size: float, width: float) -> list[str]:
    """The text in lines that are no wider; a word that is wider than a line is broken where the line ends."""
    lines, line = [], ""
    for word in text.split(" "):
        joined = f"{line} {word}" if line else word
        if width_of(joined, font, size) <= width:
            line = joined
            continue
        if line:
            lines.append(line)
        while width_of(word, font, size) > width and len(word) > 1:
            fits = _fitting(word, font, size, width)
            lines.append(word[:fits])
            word = word[fits:]
        line = word
    return [*lines, line]


def _fitting(word: str, font: str, size: float, width: float) -> int:
    taken = 0.0
    for count, character in enumerate(word):
        taken += _advance(character, font) * size
        if taken > width:
            return max(count, 1)
    return len(word)


class Sheets:
    """The pages of one document. `y` is where the next thing begins; `turn` begins a page."""

    def __init__(self, file: IO[bytes], *, title: str, foot: str) -> None:
        use_fonts()
        self.canvas = Canvas(file, pagesize=(WIDTH, HEIGHT), invariant=1, pageCompression=1)
        self.canvas.setTitle(title)
        self.canvas.setCreator("Scrip")
        self._foot, self._page = visible(foot), 0
        #: Called at the top of each further page: the heads of a table that goes on.
        self.head: Callable[[], None] | None = None
        self._begin()

    def _begin(self) -> None:
        self._page += 1
        self.y = TOP

    def turn(self) -> None:
        """Ends this page and begins the next."""
        self._end()
        self._begin()
        if self.head:
            self.head()

    def need(self, height: float) -> None:
        """Turns the page unless so much is left of it."""
        if self.y - height < BOTTOM:
            self.turn()

    def save(self) -> None:
        """Ends the document, and says on each page how many there are."""
        self._end()
        self.canvas.beginForm(_SHEETS)
        self.text(0, 0, f" of {self._page}", size=7, color=PALE)
        self.canvas.endForm()
        self.canvas.save()

    def text(
        self,
        x: float,
        y: float,
        text: str,
        *,
        size: float,
        font: str = REGULAR,
        color: Color = INK,
        right: bool = False,
    ) -> None:
        """One line of text, whose base line is at `y`; `right`: which ends at `x`."""
        self.canvas.setFont(font, size)
        self.canvas.setFillColor(color)
        (self.canvas.drawRightString if right else self.canvas.drawString)(x, y, text)

    def paragraph(self, text: str, *, size: float, font: str = REGULAR, color: Color = INK, after: float = 3) -> None:
        """Text over the whole width, in as many lines as it takes."""
        for line in lines_of(visible(text), font, size, INNER):
            self.need(size * 1.35)
            self.text(MARGIN, self.y - size, line, size=size, font=font, color=color)
            self.y -= size * 1.35
        self.y -= after

    def _end(self) -> None:
        self.canvas.setStrokeColor(RULE)
        self.canvas.setLineWidth(0.5)
        self.canvas.line(MARGIN, MARGIN + 6, WIDTH - MARGIN, MARGIN + 6)
        self.text(MARGIN, MARGIN - 4, lines_of(self._foot, REGULAR, 7, INNER - 80)[0], size=7, color=PALE)
        number, room = f"Page {self._page}", width_of(" of 0000", REGULAR, 7)
        self.text(WIDTH - MARGIN - room, MARGIN - 4, number, size=7, color=PALE, right=True)
        self.canvas.saveState()
        self.canvas.translate(WIDTH - MARGIN - room, MARGIN - 4)
        self.canvas.doForm(_SHEETS)
        self.canvas.restoreState()
        self.canvas.showPage()
