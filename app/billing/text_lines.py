"""Text files of any size as numbered lines: which encoding, where a line ends, and none of them too long to hold."""

import codecs
import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from app.billing.lines import Unreadable

LONGEST_LINE = 64 * 1024
_BOMS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
#: Of Windows-1252 what people write in names and amounts: letters, currencies, quotation marks, dashes, the no-break
#: space. Other bytes speak for another encoding.
_WESTERN = frozenset(
    "ÀÁÂÃÄÅÆÇÈÉÊËÌÍÎÏÑÒÓÔÕÖØÙÚÛÜÝàáâãäåæçèéêëìíîïñòóôõöøùúûüýÿßŒœŠšŽžŸ€£¥§°·ªº«»‘’“”–—… \u00a0".encode("cp1252")
)
#: Nobody writes so many of them in a row in a western language; in Greek or Russian everybody does.
_LONG_RUN = re.compile(rb"[\x80-\xff]{3,}")
_OF_UTF_8 = re.compile(rb"[\xc3-\xf4][\x80-\xbf]|\xc2[\xa0-\xbf]")
_HIGH = bytes(range(0x80, 0x100))
_LOW = bytes(range(0x80))


class TextLine(NamedTuple):
    """A line by its number in the file; `wrong` says why its text is not all of it, or not what was meant."""

    line_no: int
    text: str
    wrong: str | None = None


def find_encoding(parts: Iterable[bytes]) -> str:
    """UTF-8, UTF-16 by its mark, or Windows-1252 where nothing else can be meant.

    A file with both UTF-8 and something else is UTF-8 with wrong lines. Raises Unreadable with the line of the first
    character in an encoding that is not known.
    """
    decoder = codecs.getincrementaldecoder("utf-8")()
    is_utf_8, has_utf_8, has_long_run = True, False, False
    high: set[int] = set()
    newlines, bad_line, before = 0, 1, b""
    for number, part in enumerate(parts):
        if number == 0 and (named := _by_mark(part)) is not None:
            return named
        if is_utf_8:
            try:
                decoder.decode(part)
            except UnicodeDecodeError:
                is_utf_8, bad_line = False, newlines + 1 + _newlines_before_bad(before[-3:] + part)
        if not part.isascii():
            seen = before[-3:] + part
            high.update(part.translate(None, _LOW))
            has_utf_8 = has_utf_8 or _OF_UTF_8.search(seen) is not None
            has_long_run = has_long_run or _LONG_RUN.search(seen) is not None
        newlines += part.count(b"\n")
        before = part
    if is_utf_8:
        return "utf-8"
    if not has_utf_8 and not has_long_run and high <= _WESTERN:
        return "cp1252"
    if has_utf_8:
        return "utf-8"
    raise Unreadable("The text is neither UTF-8 nor UTF-16 nor surely Windows-1252.", bad_line)


def read_lines(parts: Iterable[bytes], encoding: str) -> Iterator[TextLine]:
    """The lines one by one, without what ends them: a line feed, a carriage return, or both."""
    if encoding.startswith("utf-16"):
        parts, encoding = _transcoded(parts, encoding), "utf-8"
    line_no, is_rest = 0, False
    for block, is_open in _blocks(parts):
        for text, wrong in _decoded(block, encoding):
            if is_rest:  # of a line that was told of
                is_rest = False
                continue
            line_no += 1
            if len(text) > LONGEST_LINE or is_open:
                text, wrong = text[:LONGEST_LINE], f"It is longer than {LONGEST_LINE} characters."
            yield TextLine(line_no, text, wrong)
        is_rest = is_open


def _blocks(parts: Iterable[bytes]) -> Iterator[tuple[bytes, bool]]:
    """Whole lines, many at once, without the end of the last; or the beginning of one that is far too long (True)."""
    rest, is_first, is_skipping = b"", True, False
    for part in parts:
        block = rest + part
        if is_first:
            block, is_first = block.removeprefix(codecs.BOM_UTF8), False
        end = max(block.rfind(b"\n"), block.rfind(b"\r", 0, -1))  # a line feed may follow a last \r
        rest = block[end + 1 :]
        if end >= 0:
            yield block[:end].removesuffix(b"\r") if block[end : end + 1] == b"\n" else block[:end], False
            is_skipping = False
        if len(rest) > 4 * LONGEST_LINE:
            if not is_skipping:
                yield rest[:LONGEST_LINE].replace(b"\r", b" "), True
            rest, is_skipping = rest[-1:], True
    if rest or is_skipping:
        yield rest.removesuffix(b"\r"), False


def _decoded(block: bytes, encoding: str) -> list[tuple[str, str | None]]:
    """The block's lines. Where not all of it can be decoded, each by itself."""
    try:
        text = block.decode(encoding)
    except UnicodeDecodeError:
        lines = block.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        return [_decoded_line(line, encoding) for line in lines]
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    return [
        (line, "It is not all text: a character cannot be read." if "\ufffd" in line else None)
        for line in text.split("\n")
    ]


def _decoded_line(line: bytes, encoding: str) -> tuple[str, str | None]:
    try:
        return line.decode(encoding), None
    except UnicodeDecodeError:
        return line.decode(encoding, "replace"), "It is not UTF-8, as others are."


def _transcoded(parts: Iterable[bytes], encoding: str) -> Iterator[bytes]:
    """UTF-16 as UTF-8; what is no character becomes the sign for that, by which its line is known to be wrong."""
    decoder = codecs.getincrementaldecoder(encoding)("replace")
    for part in parts:
        yield decoder.decode(part).encode("utf-8", "replace")
    yield decoder.decode(b"", final=True).encode("utf-8", "replace")


def _by_mark(part: bytes) -> str | None:
    if part.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        raise Unreadable("UTF-32 is not read: send UTF-8.", 1)
    return next((name for mark, name in _BOMS[1:] if part.startswith(mark)), None)


def _newlines_before_bad(part: bytes) -> int:
    try:
        part.decode("utf-8")
    except UnicodeDecodeError as error:
        return part.count(b"\n", 0, error.start)
    return 0
