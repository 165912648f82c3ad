"""JSON is read as it comes, however it is put together, and never held as a whole."""

import json
import tracemalloc
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.billing.lines import Line, Unreadable, WrongLine
from app.billing.read_json import Head, read_head, read_json
from tests.billing.files import good, wrong

LINE = {"payment_id": "pay_1", "amount": {"amount_minor": 1050, "currency": "GBP"}, "order_reference": "o-1"}


def parts(content: Any, size: int = 2**20) -> Iterator[bytes]:
    raw = content if isinstance(content, bytes) else json.dumps(content).encode()
    return (raw[at : at + size] for at in range(0, len(raw), size))


def read(*items: Any, size: int = 2**20) -> list[Line]:
    return list(read_json(parts({"period": "2026-10", "reference": "r", "lines": list(items)}, size)))


def test_lines_are_numbered_by_their_place() -> None:
    for size in (1, 7, 2**20):
        assert good(read(LINE, {**LINE, "order_reference": None}, size=size)) == [
            (1, "pay_1", 1050, "GBP", "o-1"),
            (2, "pay_1", 1050, "GBP", None),
        ]


def test_what_a_bill_says_of_itself_may_stand_anywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """But not behind so many lines that whoever sends it would wait for long."""
    head = {"period": "2026-10", "reference": "r"}
    for content in ({**head, "lines": [LINE] * 3}, {"lines": [LINE] * 3, **head}):
        assert read_head(parts(content, 11)) == Head("2026-10", "r")
        assert len(good(list(read_json(parts(content, 11))))) == 3
    assert read_head(parts({"lines": []})) == Head(None, None)
    assert read_head(parts(b'{"period": "2026-10", "reference": "r", "lines": [garbage')) == Head("2026-10", "r")
    monkeypatch.setattr("app.billing.read_json.HEAD_BYTES", 100)
    late = {"period": "2026-10", "lines": [LINE] * 3, "reference": "r"}
    assert read_head(parts(late, 11)) == Head("2026-10", None)
    assert len(good(list(read_json(parts(late, 11))))) == 3


WRONG: dict[str, Any] = {
    "a text": "pay_1",
    "a list": [LINE],
    "null": None,
    "nothing": {},
    "another field": {**LINE, "note": "x"},
    "no payment": {"amount": LINE["amount"]},
    "a payment that is a number": {**LINE, "payment_id": 1},
    "no amount": {"payment_id": "pay_1"},
    "zero": {**LINE, "amount": {"amount_minor": 0, "currency": "GBP"}},
    "true": {**LINE, "amount": {"amount_minor": True, "currency": "GBP"}},
    "a decimal": {**LINE, "amount": {"amount_minor": 10.5, "currency": "GBP"}},
    "a decimal that is whole": {**LINE, "amount": {"amount_minor": 10.0, "currency": "GBP"}},
    "a text for an amount": {**LINE, "amount": {"amount_minor": "1050", "currency": "GBP"}},
    "10^13": {**LINE, "amount": {"amount_minor": 10**13, "currency": "GBP"}},
    "small letters": {**LINE, "amount": {"amount_minor": 1, "currency": "gbp"}},
    "more in an amount": {**LINE, "amount": {"amount_minor": 1, "currency": "GBP", "x": 1}},
    "NUL": {**LINE, "order_reference": "a\0b"},
    "1,000 fields": {f"f{number}": 1 for number in range(1_000)},
    "lists in lists": json.loads("[" * 500 + "]" * 500),
}


@pytest.mark.parametrize("item", WRONG.values(), ids=WRONG)
def test_a_wrong_line_is_told_and_the_others_are_taken(item: Any) -> None:
    lines = read(LINE, item, LINE)
    assert [line[0] for line in good(lines)] == [1, 3]
    assert list(wrong(lines)) == [2]
    told = next(line for line in lines if isinstance(line, WrongLine))
    assert told.begins.isprintable() and len(told.begins) <= 200


def test_a_name_that_stands_twice_in_a_line_is_wrong() -> None:
    raw = b'{"lines": [{"payment_id": "a", "payment_id": "b", "amount": {"amount_minor": 1, "currency": "GBP"}}]}'
    assert list(wrong(list(read_json(parts(raw))))) == [1]


HOPELESS = {
    "nothing": b"",
    "a list": b"[]",
    "no lines": b'{"period": "2026-10"}',
    "lines that are none": b'{"lines": {}}',
    "lines twice": b'{"lines": [], "lines": []}',
    "another field": b'{"lines": [], "x": 1}',
    "more after it": b'{"lines": []} {}',
    "cut": b'{"lines": [{"payment_id": "a"',
    "NaN": b'{"lines": [NaN]}',
    "a comma too many": b'{"lines": [1,]}',
    "no UTF-8": b'{"lines": ["\xff"]}',
    "UTF-16": json.dumps({"lines": []}).encode("utf-16"),
    "a byte order mark": b'\xef\xbb\xbf{"lines": []}',
    "10,000 digits": b'{"lines": [' + b"9" * 10_000 + b"]}",
    "an exponent beyond all": b'{"lines": [1e99999999999999999999]}',
    "a text of two megabytes": b'{"lines": ["' + b"x" * 2**21 + b'"]}',
}


@pytest.mark.parametrize("raw", HOPELESS.values(), ids=HOPELESS)
def test_what_is_no_bill_cannot_be_read(raw: bytes) -> None:
    with pytest.raises(Unreadable):
        list(read_json(parts(raw)))


def test_a_line_that_would_fill_the_memory_is_not_kept() -> None:
    def bomb() -> Iterator[bytes]:
        yield b'{"lines": [['
        yield from (b"[]," * 20_000 for _ in range(5))
        yield b"1]]}"

    tracemalloc.start()
    try:
        assert list(wrong(list(read_json(bomb())))) == [1]
        assert tracemalloc.get_traced_memory()[1] < 4 * 2**20
    finally:
        tracemalloc.stop()


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda more: st.lists(more) | st.dictionaries(st.text(), more),
    max_leaves=8,
)


@settings(max_examples=100, deadline=None)
@given(_json, st.binary(max_size=20), st.integers(1, 50))
def test_whatever_comes_nothing_else_is_raised(item: Any, junk: bytes, size: int) -> None:
    raw = json.dumps({"lines": [item]}).encode() + junk
    with suppress(Unreadable):
        list(read_json(parts(raw, size)))
    with suppress(Unreadable):
        read_head(parts(raw, size))
