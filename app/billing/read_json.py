"""Reads a bill from JSON as it comes: `{"period", "reference", "lines": [{"payment_id", "amount", …}]}`."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import ijson

from app.billing.lines import Line, Unreadable, Wrong, checked_currency, checked_line, wrong_line

#: More than any line has: what has more is wrong, and not kept.
MOST_EVENTS = 40
#: No name, text or number is longer.
LONGEST_VALUE = 1024 * 1024
_PIECE = 64 * 1024
#: Whoever sends a bill waits while so much of it is looked at.
HEAD_BYTES = 1024 * 1024
_TOP = frozenset({"period", "reference", "lines"})
_LINE = frozenset({"payment_id", "amount", "order_reference"})
_MONEY = frozenset({"amount_minor", "currency"})

Event = tuple[str, Any]


@dataclass(frozen=True, slots=True)
class Head:
    """What a bill says of itself, as it was found: each may be of any type, None where it is missing."""

    period: Any
    reference: Any


class _Source:
    """The file for ijson. It refuses to go on when nothing was understood for long, which would have to be kept."""

    def __init__(self, parts: Iterable[bytes]) -> None:
        self._parts, self._part, self._at = iter(parts), b"", 0
        self.silent = self.read_bytes = 0

    def read(self, size: int) -> bytes:
        if self.silent > LONGEST_VALUE:
            raise Unreadable(f"A value is longer than {LONGEST_VALUE} bytes.")
        if self._at >= len(self._part):
            self._part, self._at = next(self._parts, b""), 0
        piece = self._part[self._at : self._at + min(size, _PIECE)]
        self._at += len(piece)
        self.silent += len(piece)
        self.read_bytes += len(piece)
        return piece


def read_head(parts: Iterable[bytes]) -> Head:
    """What the bill says of itself, within its first HEAD_BYTES: its lines may stand before, and be many.

    It reads no further than it must. Raises Unreadable.
    """
    found: dict[str, Any] = {}
    walk = _Walk(parts)
    for name in walk.members():
        if name == "lines":
            for _ in walk.items():
                if walk.read_bytes > HEAD_BYTES:
                    return Head(found.get("period"), found.get("reference"))
        else:
            found[name] = walk.value()
        if {"period", "reference"} <= set(found):
            break
    return Head(found.get("period"), found.get("reference"))


def read_json(parts: Iterable[bytes]) -> Iterator[Line]:
    """The lines and wrong lines in their order; a line's number is its place in the list, from 1. Raises Unreadable."""
    walk = _Walk(parts)
    has_lines = False
    for name in walk.members():
        if name != "lines":
            walk.value()
            continue
        has_lines = True
        for item in walk.items():
            yield _line_of(walk.line_no, item)
    if not has_lines:
        raise Unreadable("It has no lines.")


class _TooMuch(list[object]):
    """Stands for a value that has more in it than any line."""


class _Walk:
    """Goes through the one object of the file, and holds no more of it than one line."""

    def __init__(self, parts: Iterable[bytes]) -> None:
        self._source = _Source(parts)
        self._events: Iterator[Event] = ijson.basic_parse(
            self._source,
            buf_size=_PIECE,
            use_float=True,  # else what int() or Decimal() refuses to read ends the process (ijson 3.6)
        )
        self.line_no = 0

    @property
    def read_bytes(self) -> int:
        """How far into the file it is."""
        return self._source.read_bytes

    def members(self) -> Iterator[str]:
        """The names in the object; the value of each must be read before the next. Raises Unreadable."""
        seen: set[str] = set()
        if self._next()[0] != "start_map":
            raise Unreadable("It is not a JSON object.")
        while (event := self._next())[0] == "map_key":
            if event[1] not in _TOP:
                raise Unreadable("It has a field that nobody asked for.")
            if event[1] in seen:
                raise Unreadable("A field stands twice.")
            seen.add(event[1])
            yield event[1]
        if self._next(last=True)[0] != "":
            raise Unreadable("Something follows the JSON object.")

    def items(self) -> Iterator[Any]:
        """Each item of the list that comes next."""
        if self._next()[0] != "start_array":
            raise Unreadable("Its lines are no list.")
        while (event := self._next())[0] != "end_array":
            self.line_no += 1
            yield self._built(event)

    def value(self) -> Any:
        return self._built(self._next())

    def _next(self, *, last: bool = False) -> Event:
        try:
            event = next(self._events, ("", None))
        except Unreadable as error:
            raise Unreadable(error.reason, self.line_no or None) from None
        except ijson.JSONError:  # whose words quote the file
            raise Unreadable("It is not JSON in UTF-8.", self.line_no or None) from None
        self._source.silent = 0
        if event[0] == "" and not last:
            raise Unreadable("It ends too soon.", self.line_no or None)
        return event

    def _built(self, event: Event) -> Any:
        """The value that begins with this event; `_TooMuch` where no line is as large. Raises Unreadable."""
        kind, value = event
        if kind not in ("start_map", "start_array"):
            return value
        root: Any = {} if kind == "start_map" else []
        inside, names, count = [root], [""], 0
        depth = 1
        while depth:
            kind, value = self._next()
            count += 1
            if kind in ("end_map", "end_array"):
                depth -= 1
                if count <= MOST_EVENTS:
                    inside.pop()
                    names.pop()
                continue
            opens = kind in ("start_map", "start_array")
            depth += opens
            if count > MOST_EVENTS:
                continue
            if kind == "map_key":
                names[-1] = value
                continue
            made: Any = ({} if kind == "start_map" else []) if opens else value
            if isinstance(inside[-1], list):
                inside[-1].append(made)
            elif names[-1] in inside[-1]:
                count = MOST_EVENTS + 1  # a name that stands twice: no line has that
                continue
            else:
                inside[-1][names[-1]] = made
            if opens:
                inside.append(made)
                names.append("")
        return root if count <= MOST_EVENTS else _TooMuch()


def _line_of(line_no: int, item: Any) -> Line:
    try:
        payment_id, money, order_reference = _parts_of(item)
        amount_minor, code = _money_of(money)
        return checked_line(line_no, payment_id.strip(), amount_minor, checked_currency(code), order_reference)
    except Wrong as wrong:
        return wrong_line(line_no, str(wrong), _shown(item))


def _parts_of(item: Any) -> tuple[str, Any, str | None]:
    if isinstance(item, _TooMuch):
        raise Wrong("It holds far more than a line, or a field twice.")
    if not isinstance(item, dict):
        raise Wrong("It is no JSON object.")
    if not item.keys() <= _LINE:
        raise Wrong("It has a field that nobody asked for.")
    payment_id, order_reference = item.get("payment_id"), item.get("order_reference")
    if not isinstance(payment_id, str):
        raise Wrong("Its payment_id is no text.")
    if order_reference is not None and not isinstance(order_reference, str):
        raise Wrong("Its order_reference is no text.")
    return payment_id, item.get("amount"), order_reference


def _money_of(money: Any) -> tuple[int, str]:
    if not isinstance(money, dict) or money.keys() != _MONEY:
        raise Wrong("Its amount is not amount_minor and currency.")
    if type(money["amount_minor"]) is not int:
        raise Wrong("Its amount_minor is no whole number.")
    if not isinstance(money["currency"], str):
        raise Wrong("Its currency is none of ISO 4217.")
    return money["amount_minor"], money["currency"]


def _shown(item: Any) -> str:
    """As JSON, for people; what is in it has few parts, but each may be long."""
    if isinstance(item, _TooMuch):
        return ""
    return json.dumps(item, ensure_ascii=False, default=str)
