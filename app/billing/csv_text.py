"""CSV as machines and spreadsheets read it (RFC 4180): the same bytes for the same rows, and never a formula."""

import csv
import io
from collections.abc import Iterable, Sequence

#: What a spreadsheet takes for the beginning of a formula (OWASP, CSV Injection).
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def csv_of(head: Sequence[str], rows: Iterable[Sequence[str | int | None]]) -> bytes:
    """The rows under their names, in UTF-8. Text that would be a formula gets an apostrophe; an Amount never does."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(head)
    writer.writerows([_cell(value) for value in row] for row in rows)
    return text.getvalue().encode("utf-8", "replace")


def _cell(value: str | int | None) -> str:
    if isinstance(value, Amount) or not isinstance(value, str):
        return "" if value is None else str(value)
    return f"'{value}" if value.startswith(_FORMULA) else value


class Amount(str):
    """A decimal that we have written ourselves, which may begin with a minus."""

    __slots__ = ()
