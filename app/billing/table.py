"""Tables of bill lines: which column is what, and how a row becomes a line. For CSV and spreadsheets alike."""

import re
from collections.abc import Mapping, Sequence

from app.billing.amounts import find_mark, is_lone_group, is_undecided, read_amount, vote_of
from app.billing.lines import Line, ReadLine, Unreadable, Wrong, checked_currency, checked_line, wrong_line
from app.money import minor_digits

#: What columns may be called, without case, spaces and punctuation; the first name is the one that wins.
NAMES: Mapping[str, tuple[str, ...]] = {
    "payment_id": ("paymentid", "payment", "paymentno", "paymentnumber", "scrippaymentid"),
    "amount": ("amount", "total", "value", "sum"),
    "amount_minor": ("amountminor", "minorunits", "amountinminorunits", "minor"),
    "currency": ("currency", "currencycode", "ccy"),
    "order_reference": ("orderreference", "order", "orderref", "orderid", "orderno", "ordernumber"),
}
#: The columns of the SDK's own file (scrip_sdk.bill), which has rows that are not billed yet.
SDK_COLUMNS = frozenset({"payment_id", "order_reference", "amount", "currency", "amount_minor", "state"})
MOST_COLUMNS = 1_000

_FORMULA = re.compile(r"'\s*[=+\-@\t\r]")
_WHOLE = re.compile(r"[+-]?[0-9]{1,14}")
_PUNCTUATION = re.compile(r"[\W_]+")


class Number(str):
    """A cell that holds a number and no text: it is written with a decimal point, whatever texts are written with."""


class Table:
    """The columns of one file, and the decimal mark of its amounts as soon as that is known."""

    def __init__(self, header: Sequence[str], line_no: int, *, currency: str | None = None) -> None:
        """`currency`: of the lines that name none. Raises Unreadable: the header does not name what is needed."""
        if len(header) > MOST_COLUMNS:
            raise Unreadable(f"A table has {MOST_COLUMNS} columns at most.", line_no)
        self._places = _places(header, line_no)
        self._width = len(header)
        self._currency = currency
        if "payment_id" not in self._places:
            raise Unreadable("The first line must name the columns; none of them is payment_id.", line_no)
        if "amount" not in self._places and "amount_minor" not in self._places:
            raise Unreadable("No column is called amount or amount_minor.", line_no)
        if "currency" not in self._places and currency is None:
            raise Unreadable("No column is called currency, and no currency is given for the whole.", line_no)
        names = [name.strip() for name in header]
        self._state = names.index("state") if frozenset(names) == SDK_COLUMNS else None
        places = (
            self._places.get(name) for name in ("payment_id", "amount", "amount_minor", "currency", "order_reference")
        )
        self._payment, self._decimal, self._minor, self._code, self._order = places
        self._digits: dict[str, tuple[str, int]] = {}
        self._mark: str | None = None
        #: The most digits of a currency whose line told the mark: those of pounds say nothing of a dinar's thousands.
        self._told_digits = -1

    def decide_mark(self, rows: Sequence[tuple[int, Sequence[str]]]) -> None:
        """Finds the decimal mark by the first rows. Raises Unreadable: they contradict each other."""
        whole = [(no, cells) for no, cells in rows if len(cells) == self._width]
        self._mark, self._told_digits = find_mark(
            (line_no, text, found[1], _whole(_cell(cells, self._minor)))
            for line_no, cells in whole
            if (text := _cell(cells, self._decimal))
            and not self._has_number(cells)
            and (found := self._currency_of(_cell(cells, self._code)))
        )

    def read(self, line_no: int, cells: Sequence[str], text: str) -> Line | None:
        """The row as a line; None where it is empty, or not to be billed yet. `text`: the row as it stands."""
        if len(cells) != self._width:
            if not any(cell.strip() for cell in cells):
                return None
            if len(cells) < self._width or any(cell.strip() for cell in cells[self._width :]):
                return wrong_line(line_no, f"It has {len(cells)} cells, the first line has {self._width}.", text)
        try:
            return self._read(line_no, cells)
        except Wrong as wrong:
            return wrong_line(line_no, str(wrong), text) if any(cell.strip() for cell in cells) else None

    def _read(self, line_no: int, cells: Sequence[str]) -> ReadLine | None:
        if self._state is not None and cells[self._state] == "pending":
            return None
        said = _cell(cells, self._code)
        found = self._digits.get(said) or self._currency_of(said)
        if found is None:
            raise Wrong("Its currency is none of ISO 4217." if said else "It names no currency.")
        return checked_line(
            line_no,
            _unguarded(_cell(cells, self._payment)),
            self._amount(cells, found[1]),
            found[0],
            _unguarded(_cell(cells, self._order)),
        )

    def _currency_of(self, said: str) -> tuple[str, int] | None:
        """Code and digits, None where it is no currency."""
        try:
            code = checked_currency(said.upper() or self._currency or "")
        except Wrong:
            return None
        self._digits[said] = (code, minor_digits(code))
        return self._digits[said]

    def _has_number(self, cells: Sequence[str]) -> bool:
        return self._decimal is not None and isinstance(cells[self._decimal], Number)

    def _amount(self, cells: Sequence[str], digits: int) -> int:
        decimal, whole = _cell(cells, self._decimal), _cell(cells, self._minor)
        minor = _whole(whole)
        if whole and minor is None:
            raise Wrong("Its amount_minor is no whole number.")
        if not decimal:
            if minor is None:
                raise Wrong("It names no amount.")
            return minor
        decimal = decimal.removeprefix("'")
        mark = "." if self._has_number(cells) else self._mark_of(decimal, digits, minor)
        amount = read_amount(decimal, digits, mark)
        if amount is None:
            raise Wrong("Its amount is no decimal number of its currency, written as the others are.")
        if minor is not None and minor != amount:
            raise Wrong("Its amount and its amount_minor are not the same.")
        return amount

    def _mark_of(self, decimal: str, digits: int, minor: int | None) -> str:
        """The decimal mark of a text, which may be the first to tell it. Raises Wrong: it could be either."""
        if self._told_digits < digits and is_undecided(decimal):
            vote = vote_of(decimal, digits, minor)
            if vote is None and (self._mark is None or is_lone_group(decimal)):
                raise Wrong("Its amount could be read with a decimal point as well as with a comma, or not at all.")
            if vote is not None and self._mark in (None, vote):
                self._mark, self._told_digits = vote, digits
        return self._mark or "."


def _places(header: Sequence[str], line_no: int) -> dict[str, int]:
    """Where each known column stands. Raises Unreadable where two columns could be meant."""
    called = [_PUNCTUATION.sub("", name).casefold() for name in header]
    places: dict[str, int] = {}
    for name, synonyms in NAMES.items():
        exact = [place for place, each in enumerate(called) if each == synonyms[0]]
        found = exact or [place for place, each in enumerate(called) if each in synonyms]
        if len(found) > 1:
            raise Unreadable(f"More than one column could be {name}.", line_no)
        if found:
            places[name] = found[0]
    return places


def _whole(text: str) -> int | None:
    return int(text) if text and _WHOLE.fullmatch(text) else None


def _unguarded(text: str) -> str:
    """Without the apostrophe that kept a spreadsheet from taking it for a formula."""
    return text[1:].strip() if text[:1] == "'" and _FORMULA.match(text) else text


def _cell(cells: Sequence[str], place: int | None) -> str:
    return "" if place is None else cells[place].strip()
