"""Masking: gift card codes and Scrip's other secrets in what a store logs, whoever logs it."""

from __future__ import annotations

import html
import logging
import re
import traceback
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from scrip_sdk.code import ALPHABET, LENGTH, LONGEST_TYPED, read_code

MASK = "[masked]"
#: Stands for a line that cannot be masked, and so is not written either.
UNREADABLE = "[masked: a line that could not be read]"
#: So deep is looked into lists and dicts; what stands deeper is looked at as the text that it makes.
DEEPEST = 5
#: So many times may a text have been encoded: as JSON in a URL in JSON.
LAYERS = 3

#: A run that may hold a code: letters and digits, and what stands between groups. `+` is a form's space.
_RUN = re.compile(r"[0-9A-Za-z](?:[0-9A-Za-z \-+]*[0-9A-Za-z])?")
_WORD = re.compile(r"[0-9A-Za-z]+")
#: Four groups of four, with what letters, word processors and pages put between them. The service's reader refuses
#: most of these, but who reads the log can type the code as it should be. Other groups would be dates and paths.
_BETWEEN = r"[ \-+_./,\t\u00a0\u00ad\u2000-\u2015\u202f\u205f\u2212\u3000\ufe58\ufe63\uff0d]{1,3}"
_FOURS = re.compile(rf"(?<![0-9A-Za-z])(?=([0-9A-Za-z]{{4}}(?:{_BETWEEN}[0-9A-Za-z]{{4}}){{3}})(?![0-9A-Za-z]))")
#: Every UUID has two runs of groups that make sixteen characters, and in one of sixteen UUIDs a check fits by chance.
_UUID = re.compile(r"(?i)\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b")
_TOKENS = re.compile(
    r"""
      scrip_(?:live|test)_[\w-]+                       # a client secret
    | ct_[\w-]{43,}                                    # a code token
    # 256 bits in base64, as a claim link's key: with capital and small letters, which programs' long names are without
    | (?<![\w-])(?=[\w-]{0,42}[A-Z])(?=[\w-]{0,42}[a-z])[\w-]{43}(?![\w-])
    | (?<![\w-])eyJ[\w-]{8,}\.[\w-]+\.[\w-]*           # a JWT: access tokens, assertions, proofs
    | (?<![\w+/-])Y2xp[\w+/-]{40,}=*                   # ID and secret of a client in HTTP Basic
    """,
    re.VERBOSE | re.ASCII,
)
#: A character of a URL that is several bytes in UTF-8 is one escape, as is an entity of HTML.
_ESCAPE = re.compile(
    r"""%([2-7][0-9A-F] | [CD][0-9A-F]%[89AB][0-9A-F] | E[0-9A-F](?:%[89AB][0-9A-F]){2} | [0-9A-F]{2})
      | \\(?:(?-i:u)([0-9A-F]{4}) | (?-i:x)([0-9A-F]{2}) | ((?-i:U)[0-9A-F]{8} | (?-i:[abfnrtv]) | ["'\\/0]))
      | (&(?:\#[0-9]{1,7} | \#x[0-9A-F]{1,6} | amp|nbsp|shy|ensp|emsp|thinsp|ndash|mdash|dash|hyphen|minus|lowbar);)""",
    re.VERBOSE | re.IGNORECASE | re.ASCII,
)
#: The value of each character as it may be typed (docs/codes.md), and its products with the powers of α.
_VALUES = {each: value for value, letter in enumerate(ALPHABET) for each in (letter, letter.lower())}
_VALUES |= {"O": 0, "o": 0, "I": 1, "i": 1, "L": 1, "l": 1}
_TIMES_ALPHA = [list(range(32))]
for _ in range(30):
    _TIMES_ALPHA.append([value << 1 ^ (0b100101 if value & 16 else 0) for value in _TIMES_ALPHA[-1]])
#: What a record has of its own; all else was given as `extra`.
_OWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "exc_text"}


def mask_text(text: str) -> str:
    """The text without codes and Scrip's other secrets, in JSON's, Python's and URLs' escapes too; else unchanged.

    A code is what a checkout would take for one: sixteen characters, with spaces and dashes or without, whose check
    character fits, between others than letters and digits. One in 32 texts of that shape is masked without being one.
    Letters without any digit, in other groups than fours, are prose: one code in 400 has none. Four groups of four are
    a code too with what letters and pages put between them: other dashes and spaces, tabs, `_`, `.`, `/` or commas.
    """
    spans = sorted(_secrets(text))
    if not spans:
        return text
    kept, end = [], 0
    for first, last in spans:
        if first >= end:
            kept += [text[end:first], MASK]
        end = max(end, last)
    return "".join([*kept, text[end:]])


class MaskingFilter(logging.Filter):
    """Masks message, arguments, traceback, stack and extra fields of each record, and lets every record pass.

    Put it on handlers, by `install_masking` or by name in a logging configuration. Never raises.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        mask_record(record)
        return True


def install_masking(loggers: Iterable[logging.Logger] = ()) -> None:
    """From now on all that this process logs is masked: what its handlers write, and those that are added later too.

    Filters go to every handler that there is, and to the `loggers` named; later handlers get records that are masked
    when they are made. May be called again, after the logging was configured anew for instance.
    """
    factory = logging.getLogRecordFactory()
    if not isinstance(factory, _MaskingFactory):
        logging.setLogRecordFactory(_MaskingFactory(factory))
    known = (logging.root, *logging.root.manager.loggerDict.values())
    handlers = {handler for each in known if isinstance(each, logging.Logger) for handler in each.handlers}
    last = {logging.lastResort} if logging.lastResort else set()
    for filterer in (*handlers, *last, *loggers):
        if not any(isinstance(each, MaskingFilter) for each in filterer.filters):
            filterer.addFilter(MaskingFilter())


def mask_record(record: logging.LogRecord) -> None:
    """Masks a record where it stands. One without secrets stays as it is, arguments and all. Never raises."""
    try:
        _mask_message(record)
        _mask_traceback(record)
        for name, value in list(vars(record).items()):
            if name not in _OWN and (masked := _masked(value)) is not value:
                vars(record)[name] = masked
    except Exception:  # noqa: BLE001 – whatever an odd object does when it is rendered: the line is neither shown nor lost
        record.msg, record.args = UNREADABLE, None
        record.exc_info = record.exc_text = record.stack_info = None


# ── a record ────────────────────────────────────────────────────────────────────────────────────────────────────────


def _mask_message(record: logging.LogRecord) -> None:
    """Arguments keep their number and names where they can: some formatters write them one by one."""
    message, arguments = _masked(record.msg), _masked(record.args)
    try:
        shown = record.getMessage()
    except (TypeError, ValueError, KeyError):
        # They do not fit. Logging would print them as they are, with a traceback of its own, in place of the line.
        record.msg, record.args = mask_text(f"{record.msg} {record.args!r}"), None
        return
    if message is record.msg and arguments is record.args and mask_text(shown) == shown:
        return
    try:
        again = str(message) % arguments if arguments else str(message)
        is_clean = mask_text(again) == again
    except (TypeError, ValueError, KeyError):
        is_clean = False
    record.msg, record.args = (message, arguments) if is_clean else (mask_text(shown), None)


def _mask_traceback(record: logging.LogRecord) -> None:
    """A traceback with a secret becomes text, which formatters write in its place; others stay what they are."""
    if record.exc_info and record.exc_info[0] is not None:
        raised = "".join(traceback.format_exception(*record.exc_info)).rstrip("\n")
        if (masked := mask_text(raised)) != raised:
            record.exc_info, record.exc_text = None, masked
    if record.exc_text:
        record.exc_text = mask_text(record.exc_text)
    if record.stack_info:
        record.stack_info = mask_text(record.stack_info)


def _masked(value: Any, depth: int = 0) -> Any:
    """The value without secrets: itself where it has none, else of the same shape, or the text that it makes."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        masked = mask_text(value)
        return value if masked == value else masked
    if depth < DEEPEST:
        if isinstance(value, Mapping):
            return _masked_mapping(value, depth)
        if isinstance(value, list | tuple | set | frozenset):
            inner = [_masked(each, depth + 1) for each in value]
            return value if all(map(_is, inner, value)) else _of_kind(value, inner)
    for render in (str, repr):
        text = render(value)
        if (masked := mask_text(text)) != text:
            return masked
    return value


def _masked_mapping(value: Mapping[Any, Any], depth: int) -> Any:
    inner = {_masked(name, depth + 1): _masked(each, depth + 1) for name, each in value.items()}
    same = len(inner) == len(value) and all(
        name is own_name and each is own
        for (name, each), (own_name, own) in zip(inner.items(), value.items(), strict=True)
    )
    return value if same else inner


def _of_kind(value: Any, inner: list[Any]) -> Any:
    kind = type(value)
    return kind(inner) if kind in (tuple, set, frozenset) else inner


def _is(one: object, other: object) -> bool:
    return one is other


class _MaskingFactory:
    """Makes records without secrets, whose extra fields, which come after the making, are masked as they come."""

    def __init__(self, factory: Callable[..., logging.LogRecord]) -> None:
        self.factory = factory

    def __call__(self, *args: Any, **kwargs: Any) -> logging.LogRecord:
        record = self.factory(*args, **kwargs)
        mask_record(record)
        record.__dict__ = _Fields(vars(record))
        return record


class _Fields(dict[str, Any]):
    """A record's fields; a logger sets its `extra` here, one by one."""

    def __setitem__(self, name: str, value: Any) -> None:
        super().__setitem__(name, value if name in _OWN else _masked_or_not(value))

    def update(self, *args: Any, **kwargs: Any) -> None:
        for name, value in dict(*args, **kwargs).items():
            self[name] = value

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled, it is a dict like any other record's."""
        return (dict, (dict(self),))


def _masked_or_not(value: Any) -> Any:
    try:
        return _masked(value)
    except Exception:  # noqa: BLE001 – as in `mask_record`
        return MASK


# ── a text ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def _secrets(text: str) -> Iterator[tuple[int, int]]:
    """Where secrets stand: in the text as it is, and in what it says once it is decoded, time and again."""
    layer: str = text
    places: Callable[[int], int] = _as_it_is
    for _ in range(LAYERS + 1):
        for first, last in _plain_secrets(layer):
            yield places(first), places(last)
        decoded, inner = _decoded(layer)
        if decoded == layer:
            return
        layer, places = decoded, _after(inner, places)


def _as_it_is(place: int) -> int:
    return place


def _after(inner: Callable[[int], int], outer: Callable[[int], int]) -> Callable[[int], int]:
    return lambda place: outer(inner(place))


def _decoded(text: str) -> tuple[str, Callable[[int], int]]:
    """The text with one layer of escapes undone, and where each place of it stood before."""
    parts: list[str] = []
    starts, shifts = [0], [0]
    end = length = 0
    for found in _ESCAPE.finditer(text):
        parts += [text[end : found.start()], _character(found)]
        length += found.start() - end + 1
        end = found.end()
        starts.append(length)
        shifts.append(end - length)

    def place_before(place: int) -> int:
        return place + shifts[bisect_right(starts, place) - 1]

    return "".join([*parts, text[end:]]), place_before


def _character(escape: re.Match[str]) -> str:
    percent, unicode, byte, letter, entity = escape.groups()
    if entity is not None:
        return html.unescape(entity)[:1] or "\n"  # what is no character is none
    if letter is not None:
        return letter if letter in "\"'\\/" else "\t" if letter == "t" else "\n"
    if percent is not None and len(percent) > 2:
        return bytes.fromhex(percent.replace("%", "")).decode("utf-8", "replace")[:1]
    return chr(int(percent or unicode or byte, 16))


def _plain_secrets(text: str) -> Iterator[tuple[int, int]]:
    for found in _TOKENS.finditer(text):
        yield found.span()
    uuids = {found.span() for found in _UUID.finditer(text)}
    for run in _RUN.finditer(text):
        if run.end() - run.start() >= LENGTH:
            for first, last in _codes(run.group()):
                span = run.start() + first, run.start() + last
                if not any(start <= span[0] and span[1] <= end for start, end in uuids):
                    yield span
    for fours in _FOURS.finditer(text):
        if read_code("".join(_WORD.findall(fours[1]))):
            yield fours.span(1)


def _codes(run: str) -> Iterator[tuple[int, int]]:
    """Where in a run whole words make sixteen characters that are a code. It takes as many steps as there are letters.

    The check says that Σ αⁱ·cᵢ over the sixteen is zero, wherever the counting of i begins: so that the sums before and
    after them are equal.
    """
    words = [found.span() for found in _WORD.finditer(run)]
    ends = {}
    length = 0
    for first, last in words:
        length += last - first
        ends[length] = last
    starts = [0, *ends][:-1]
    wanted = [(start, first) for start, (first, _) in zip(starts, words, strict=True) if start + LENGTH in ends]
    if not wanted:
        return
    sums = _sums("".join(run[first:last] for first, last in words))
    for start, first in wanted:
        last = ends[start + LENGTH]
        if sums[start] == sums[start + LENGTH] and last - first <= LONGEST_TYPED and _is_typed(run[first:last]):
            yield first, last


def _sums(characters: str) -> list[int]:
    """Σ αⁱ·cᵢ up to each place, in GF(32), beginning anew with another mark behind what is not in the alphabet."""
    sums, total, place = [0], 0, 0
    for character in characters:
        value = _VALUES.get(character)
        if value is None:
            total += 32  # above the five bits of a sum: what stands before is never equal to what stands behind
        else:
            total ^= _TIMES_ALPHA[place][value]
        place = (place + 1) % 31  # α to the 31st is 1
        sums.append(total)
    return sums


def _is_typed(written: str) -> bool:
    lengths = {len(word) for word in _WORD.findall(written)}
    return lengths in ({LENGTH}, {4}) or any(map(str.isdigit, written))
