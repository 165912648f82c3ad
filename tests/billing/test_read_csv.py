"""CSV as stores and spreadsheets write it: recognised for sure, or refused with the line's number; never guessed."""

import re
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.billing.amounts import MARKS, read_amount
from app.billing.lines import BEGINS_LENGTH, ReadLine, Unreadable, WrongLine
from app.billing.text_lines import LONGEST_LINE
from app.ids import new_id
from app.money import MAX_MINOR
from scrip_sdk.bill import Bill, Line, as_csv
from scrip_sdk.money import Money
from tests.billing.files import good, read_text, wrong

ONE = [(2, "pay_1", 1050, "GBP", "o-1")]
HEADER = "payment_id,amount,currency,order_reference\n"
#: The same line, as different programs write it.
SAME = {
    "plain": HEADER + "pay_1,10.50,GBP,o-1\n",
    "without a last line end": HEADER + "pay_1,10.50,GBP,o-1",
    "CRLF": (HEADER + "pay_1,10.50,GBP,o-1\n").replace("\n", "\r\n"),
    "CR": (HEADER + "pay_1,10.50,GBP,o-1\n").replace("\n", "\r"),
    "semicolons and commas": "payment_id;amount;currency;order_reference\npay_1;10,50;GBP;o-1\n",
    "tabs": "payment_id\tamount\tcurrency\torder_reference\npay_1\t10.50\tGBP\to-1\n",
    "pipes": "payment_id|amount|currency|order_reference\npay_1|10.50|GBP|o-1\n",
    "quotes": '"payment_id","amount","currency","order_reference"\n"pay_1","10.50","GBP","o-1"\n',
    "a decimal comma in quotes": HEADER + 'pay_1,"10,50",GBP,o-1\n',
    "another order and other names": "Order No;CCY;Payment ID;Total;Shipped\no-1;gbp;pay_1;10.50;yes\n",
    "spaces": " Payment ID , Amount , Currency , Order Reference \n pay_1 , 10.50 , GBP , o-1 \n",
    "minor units": "payment_id,amount_minor,currency,order\npay_1,1050,GBP,o-1\n",
    "both amounts": "payment_id,amount,amount_minor,currency,order\npay_1,10.50,1050,GBP,o-1\n",
    "a decimal that a spreadsheet cut": HEADER + "pay_1,10.5,GBP,o-1\n",
    "a plus sign": HEADER + "pay_1,+10.50,GBP,o-1\n",
    "an empty line at the end": HEADER + "pay_1,10.50,GBP,o-1\n\n,,,\n",
}


@pytest.mark.parametrize("text", SAME.values(), ids=SAME)
def test_a_line_is_read_however_it_is_written(text: str) -> None:
    assert good(lines := read_text(text)) == ONE, lines
    assert wrong(lines) == {}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_encodings_that_are_sure(encoding: str) -> None:
    text = HEADER + "pay_1,10.50,GBP,Grüße à 5 €\n"
    assert good(read_text(text.encode(encoding))) == [(2, "pay_1", 1050, "GBP", "Grüße à 5 €")]


def test_utf_16_of_either_end() -> None:
    for encoding, mark in (("utf-16-le", b"\xff\xfe"), ("utf-16-be", b"\xfe\xff")):
        assert good(read_text(mark + SAME["plain"].encode(encoding), part=7)) == ONE


def test_other_encodings_are_refused_with_the_line() -> None:
    for raw in ("Заказ сто".encode("cp1251"), b"\x81\x8d\x8f"):
        with pytest.raises(Unreadable, match=r"Line 3: .*UTF-8"):
            read_text(HEADER.encode() + b"pay_1,1.00,GBP,o\npay_2,1.00,GBP," + raw + b"\n")


def test_a_line_that_is_not_utf_8_among_others_that_are_is_wrong_and_the_rest_is_taken() -> None:
    lines = read_text(HEADER.encode() + "pay_1,1.00,GBP,ü\npay_2,1.00,GBP,".encode() + b"\xfc\npay_3,1.00,GBP,x\n")
    assert [line[1] for line in good(lines)] == ["pay_1", "pay_3"]
    assert list(wrong(lines)) == [3]


HOPELESS = {
    "nothing": ("", 1),
    "no header": ("pay_1,10.50,GBP\n", 1),
    "no payment": ("order,amount,currency\n", 1),
    "no amount": ("payment_id,currency\n", 1),
    "no currency": ("payment_id,amount\n", 1),
    "two columns that could be it": ("payment_id,amount_minor,currency,order no,order id\n", 1),
    "a column twice": ("payment_id,amount,amount,currency\n", 1),
    "100,000 columns": ("payment_id,amount,currency" + ",x" * 100_000 + "\n", 1),
    "10,000 columns": ("payment_id,amount,currency" + ",x" * 10_000 + "\n", 1),
    "points and commas": ("payment_id;amount;currency\np1;1.50;GBP\np2;2;GBP\np3;1,50;GBP\n", 4),
    "a picture": ("\x89PNG\r\n\x1a\n\0\0\0\rIHDR", 1),
    "NULs": ("\0" * 1000, 1),
}


@pytest.mark.parametrize(("text", "line_no"), HOPELESS.values(), ids=HOPELESS)
def test_what_is_hopeless_is_refused_with_the_line(text: str, line_no: int) -> None:
    with pytest.raises(Unreadable) as refused:
        read_text(text)
    assert refused.value.line_no == line_no


WRONG = {
    "no payment": ",10.50,GBP,o",
    "a payment of 65 characters": "p" * 65 + ",10.50,GBP,o",
    "no amount": "pay_1,,GBP,o",
    "zero": "pay_1,0.00,GBP,o",
    "too much": f"pay_1,{MAX_MINOR},GBP,o",
    "20 digits": "pay_1,12345678901234567890,GBP,o",
    "more decimals than pence": "pay_1,1.005,GBP,o",
    "decimals of yen": "pay_1,100.50,JPY,o",
    "a sign for the currency": "pay_1,£10.50,GBP,o",
    "a formula": "pay_1,=10+5,GBP,o",
    "an exponent": "pay_1,1e3,GBP,o",
    "other digits": "pay_1,१०,GBP,o",
    "infinity": "pay_1,inf,GBP,o",
    "no currency": "pay_1,10.50,,o",
    "gold": "pay_1,10.50,XAU,o",
    "a currency that is none": "pay_1,10.50,EURO,o",
    "too few cells": "pay_1,10.50,GBP",
    "too many cells": "pay_1,10,50,GBP,o",
    "NUL": "pay\0_1,10.50,GBP,o",
    "an order of 201 characters": "pay_1,10.50,GBP," + "o" * 201,
    "a control character": "pay_1,10.50,GBP,o\x1b[2J",
    "a quote that is not closed": '"pay_1,10.50,GBP,o',
    "a quote in the middle": '"pay"_1,10.50,GBP,o',
    "a million characters": "pay_1,10.50,GBP," + "o" * 1_000_000,
}


@pytest.mark.parametrize("row", WRONG.values(), ids=WRONG)
@pytest.mark.parametrize("part", [1_000, 2**20])
def test_a_wrong_line_is_told_with_its_number_and_the_others_are_taken(row: str, part: int) -> None:
    lines = read_text(f"{HEADER}pay_1,1.00,GBP,a\n{row}\npay_2,2.00,GBP,b\n", part=part)
    assert [line[:3] for line in good(lines)] == [(2, "pay_1", 100), (4, "pay_2", 200)]
    told = [line for line in lines if isinstance(line, WrongLine)]
    assert [line.line_no for line in told] == [3]
    assert told[0].reason.endswith(".") and len(told[0].begins) <= BEGINS_LENGTH
    assert told[0].begins.isprintable()


def test_a_cell_may_go_on_over_lines_where_nobody_reads_it() -> None:
    header = "payment_id,note,amount,currency\n"
    lines = read_text(header + 'p1,"two\nlines, and ""quotes""",1.00,GBP\np2,x,2.00,GBP\n')
    assert good(lines) == [(2, "p1", 100, "GBP", None), (4, "p2", 200, "GBP", None)]


def test_quotes_that_are_never_closed_swallow_no_other_line() -> None:
    rows = [f'"p{number},1.00,GBP,x' if number % 3 == 0 else f"p{number},1.00,GBP,x" for number in range(300)]
    lines = read_text(HEADER + "\n".join(rows))
    assert [line[1] for line in good(lines)] == [f"p{number}" for number in range(300) if number % 3]
    assert len(wrong(lines)) == 100


def test_amounts_that_could_be_either_are_wrong_and_not_guessed() -> None:
    lines = read_text("payment_id;amount;currency\np1;1.234;GBP\np2;5;GBP\n")
    assert good(lines) == [(3, "p2", 500, "GBP", None)]
    assert "comma" in wrong(lines)[2]


def test_thousands_are_read_once_the_decimal_mark_is_known() -> None:
    header = "payment_id;amount;currency\n"
    assert [line[2] for line in good(read_text(header + "p1;1.234;GBP\np2;1.234,50;GBP\n"))] == [123_400, 123_450]
    assert [line[2] for line in good(read_text(header + "p1;1,234;GBP\np2;9.99;GBP\n"))] == [123_400, 999]
    assert [line[2] for line in good(read_text(header + "p1;1 234,50;GBP\np2;1'234'567,5;GBP\n"))] == [
        123_450,
        123_456_750,
    ]


TOLD = {
    "pounds with a comma": ("p1;12,50;GBP", None),
    "pounds with a point": ("p1;12.50;GBP", None),
    "yen with thousands": ("p1;1,234,567;JPY", None),
    "dinars with a point": ("p1;0.500;KWD", 1_234),
    "dinars with a comma": ("p1;0,500;KWD", 1_234_000),
}


@pytest.mark.parametrize(("first", "minor"), TOLD.values(), ids=TOLD)
@pytest.mark.parametrize("between", [0, 1_000], ids=["within the sample", "behind it"])
def test_thousands_and_thousandths_of_a_dinar_are_told_apart_by_dinars_alone(
    first: str, minor: int | None, between: int
) -> None:
    rows = [*(["p0;1;GBP"] * between), first, "p2;1.234;KWD"]
    lines = read_text("payment_id;amount;currency\n" + "\n".join(rows))
    assert [line[2] for line in good(lines) if line[1] == "p2"] == ([] if minor is None else [minor])
    assert len(wrong(lines)) == (minor is None)


def test_the_minor_units_of_a_line_say_which_mark_it_is() -> None:
    lines = read_text("payment_id,amount,amount_minor,currency\np1,1.000,1000,KWD\np2,2.500,2500,KWD\n")
    assert [line[2] for line in good(lines)] == [1000, 2500]
    assert wrong(read_text("payment_id,amount,amount_minor,currency\np1,1.00,101,GBP\n")) == {
        2: "Its amount and its amount_minor are not the same."
    }


def test_the_currency_may_be_given_for_the_whole() -> None:
    assert good(read_text("payment_id,amount\np1,5.00\n", currency="EUR")) == [(2, "p1", 500, "EUR", None)]


def test_goods_that_came_back_are_below_zero() -> None:
    for minus in "-\u2212":
        assert [line[2] for line in good(read_text(HEADER + f"p1,{minus}5.00,GBP,o\n"))] == [-500]


_texts = st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=20)
_moneys = st.builds(
    Money,
    st.integers(-MAX_MINOR, MAX_MINOR).filter(bool),
    st.sampled_from(["GBP", "JPY", "KWD", "EUR"]),
)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(_texts, _moneys), max_size=12), st.integers(1, 64))
def test_what_the_sdk_writes_is_read_again_to_the_last_unit(lines: list[tuple[str, Money]], part: int) -> None:
    """Its formula guard comes off; what is pending is not billed."""
    made = tuple(Line(new_id("pay"), order, money) for order, money in lines)
    pending = (Line("pay_pending", "o", Money(100, "GBP")),)
    read = read_text(as_csv(Bill("2026-10", made, pending, 0)), part=part)
    assert wrong(read) == {}
    assert [line[1:4] for line in good(read)] == [
        (line.payment_id, line.amount.amount_minor, line.amount.currency) for line in made
    ]


@settings(max_examples=150, deadline=None)
@given(st.integers(-MAX_MINOR, MAX_MINOR), st.sampled_from([0, 2, 3]), st.sampled_from(MARKS), st.booleans())
def test_an_amount_is_read_as_it_is_written(minor: int, digits: int, mark: str, grouped: bool) -> None:
    other = MARKS[1 - MARKS.index(mark)]
    text = f"{Decimal(minor).scaleb(-digits):{',' if grouped else ''}.{digits}f}"
    text = text.translate({ord(","): other, ord("."): mark})
    assert read_amount(text, digits, mark) == minor


@settings(max_examples=150, deadline=None)
@given(st.one_of(st.binary(max_size=300), st.text(max_size=200)), st.integers(1, 40))
def test_whatever_comes_each_line_is_read_wrong_or_left_out_and_nothing_else_is_raised(
    rest: bytes | str, part: int
) -> None:
    raw = HEADER.encode() + (rest if isinstance(rest, bytes) else rest.encode("utf-8", "surrogatepass"))
    try:
        lines = read_text(raw, part=part)
        assert lines == read_text(raw), "it matters not in which parts it comes"
    except Unreadable:
        return
    assert [line.line_no for line in lines] == sorted({line.line_no for line in lines})
    for line in lines:
        assert isinstance(line, ReadLine | WrongLine)
        assert not re.search("[\0\ud800-\udfff]", "".join(map(str, line)))


def test_the_largest_line_that_is_taken() -> None:
    header = "payment_id,amount,currency,note\n"
    row = "p1,1.00,GBP,"
    assert good(read_text(header + row + "x" * (LONGEST_LINE - len(row)) + "\n"))
    assert wrong(read_text(header + row + "x" * (LONGEST_LINE - len(row) + 1) + "\n"))
