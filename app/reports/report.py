"""The shape of every report: what it is of, typed columns, rows that stream, totals, notes and charts."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Literal

#: `money` is a whole number of minor units of the currency in the row's column `currency`; `share` a part of one.
Kind = Literal["text", "whole", "money", "date", "time", "share"]
Value = str | int | float | date | datetime | None
Row = tuple[Value, ...]

#: The column that says in which currency a row's money is.
CURRENCY = "currency"


@dataclass(frozen=True, slots=True)
class Column:
    """One column. `summed`: the report ends with its sum, of money for each currency.

    `on_paper`: whether people read it; machines get all.
    """

    name: str
    title: str
    kind: Kind = "text"
    summed: bool = False
    on_paper: bool = True


@dataclass(frozen=True, slots=True)
class Note:
    """A sentence about the report. What is `wrong` makes the command that shows it fail."""

    text: str
    wrong: bool = False


@dataclass(frozen=True, slots=True)
class Series:
    """One line or one colour of bars: a value for each label of its chart."""

    name: str
    values: tuple[float | None, ...]


@dataclass(frozen=True, slots=True)
class Chart:
    """What is drawn. Values are of `kind`, money in minor units of `currency`; `first` heads the labels."""

    title: str
    form: Literal["lines", "bars"]
    first: str
    labels: tuple[str, ...]
    series: tuple[Series, ...]
    kind: Kind
    currency: str | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """A report `of` a moment or a month. Rows are read once; the notes are whole when the rows are at their end."""

    name: str
    title: str
    mode: str
    of: str
    columns: tuple[Column, ...]
    rows: Iterable[Row]
    notes: list[Note] = field(default_factory=list)
    charts: tuple[Chart, ...] = ()
    #: What seals the rows, once they are read: a line of its own behind them, such as the hash of a journal.
    seal: "Seal | None" = None

    @property
    def is_wrong(self) -> bool:
        return any(note.wrong for note in self.notes)


@dataclass(slots=True)
class Seal:
    """The name of what seals a report, and its value once the rows are read."""

    name: str
    value: str = ""


class Totals:
    """Sums of the columns that have them, by currency, as the rows go by."""

    def __init__(self, columns: Sequence[Column]) -> None:
        names = [column.name for column in columns]
        self._currency = names.index(CURRENCY) if CURRENCY in names else None
        self._summed = [place for place, column in enumerate(columns) if column.summed]
        self._sums: dict[str | None, list[int]] = {}
        self._width = len(columns)

    def counted(self, rows: Iterable[Row]) -> Iterator[Row]:
        """The rows, each of which is added."""
        for row in rows:
            self.add(row)
            yield row

    def add(self, row: Row) -> None:
        if not self._summed:
            return
        currency = None if self._currency is None else str(row[self._currency])
        sums = self._sums.setdefault(currency, [0] * len(self._summed))
        for at, place in enumerate(self._summed):
            value = row[place]
            sums[at] += value if isinstance(value, int) else 0

    def rows(self, label: str | None = None) -> list[Row]:
        """A row for each currency, in their order, which begins with `label`; what has no sum is None."""
        return [self._row(label, currency, sums) for currency, sums in sorted(self._sums.items(), key=str)]

    def _row(self, label: str | None, currency: str | None, sums: Sequence[int]) -> Row:
        row: list[Value] = [label, *[None] * (self._width - 1)]
        if self._currency is not None:
            row[self._currency] = currency
        for place, total in zip(self._summed, sums, strict=True):
            row[place] = total
        return tuple(row)
